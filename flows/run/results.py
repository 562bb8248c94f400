"""Where the results of earlier builds are."""

from __future__ import annotations

from pathlib import Path

from lang_configs import stem
from tasks import ledger
from tasks.core.artifacts import Release
from tasks.core.errors import StageError
from tasks.core.stage import Output


def model_folder(workspace: Path, language: str) -> Path:
    """The exported model of a language's last complete run, or `language` itself if it is such a folder."""
    if (Path(language) / "config.json").is_file():
        return Path(language)
    release = _latest(workspace, stem(language)).get("release")
    if release is not None and Release(release.folder).model.is_dir():
        return Release(release.folder).model
    raise StageError(
        f"{language}: no model was built in {workspace}; run `lugha build {language}` first, or give a model folder"
    )


def last_run(workspace: Path, language: str) -> dict[str, Output]:
    """What a language's last complete run holds, by label and in the order of the DAG; raises StageError."""
    found = _latest(workspace, stem(language))
    if not found:
        raise StageError(f"{language}: no build reached its end in {workspace}; run `lugha build {language}` first")
    for output in found.values():
        if output.manifest() is None:
            raise StageError(
                f"{output.folder}: this stage of the last complete run is gone or damaged; run `lugha build {language}` again"
            )
    return found


def _latest(workspace: Path, name: str) -> dict[str, Output]:
    if not (workspace / ledger.LEDGER).exists():
        return {}
    statement = "SELECT label, stage, fingerprint FROM latest WHERE language = $name ORDER BY position"
    rows = ledger.query(workspace, statement, {"name": name})[1]
    return {label: Output(stage, fingerprint, workspace / name / stage / fingerprint) for label, stage, fingerprint in rows}
