"""Where the results of earlier builds are."""

from __future__ import annotations

from pathlib import Path

from lang_configs import find, stem
from tasks import ledger
from tasks.core.artifacts import Release
from tasks.core.errors import StageError
from tasks.core.stage import Output


def model_folder(workspace: Path, language: str) -> Path:
    """The exported model of a language's last complete run, or `language` itself if it is such a folder.

    Raises ConfigError for a language that is not known, and StageError for one that has no model.
    """
    if (Path(language) / "config.json").is_file():
        return Path(language)
    check_language(workspace, language)
    release = _latest(workspace, stem(language)).get("release")
    if release is not None and Release(release.folder).model.is_dir():
        return Release(release.folder).model
    raise StageError(
        f"{language}: no model was built in {workspace}; run `lugha build {language}` first, or give a model folder"
    )


def last_run(workspace: Path, language: str) -> dict[str, Output]:
    """What a language's last complete run holds, by label and in the order of the DAG.

    Raises ConfigError for a language that is not known, and StageError for one without such a run.
    """
    check_language(workspace, language)
    found = _latest(workspace, stem(language))
    if not found:
        raise StageError(f"{language}: no build reached its end in {workspace}; run `lugha build {language}` first")
    for output in found.values():
        if output.manifest() is None:
            raise StageError(
                f"{output.folder}: this stage of the last complete run is gone or damaged; run `lugha build {language}` again"
            )
    return found


def check_language(workspace: Path, language: str) -> None:
    """Raises ConfigError for a language that neither was built in the workspace nor comes with the package."""
    name = stem(language)
    if name in ("", ".", "..") or not (workspace / name).is_dir():
        find(language)


def _latest(workspace: Path, name: str) -> dict[str, Output]:
    if not (workspace / ledger.LEDGER).exists():
        return {}
    statement = "SELECT label, stage, fingerprint FROM latest WHERE language = $name ORDER BY position"
    rows = ledger.query(workspace, statement, {"name": name})[1]
    return {label: Output(stage, fingerprint, workspace / name / stage / fingerprint) for label, stage, fingerprint in rows}
