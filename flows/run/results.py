"""Where the results of earlier builds are."""

from __future__ import annotations

from pathlib import Path

from lang_configs import stem
from tasks import ledger
from tasks.core.errors import StageError
from tasks.core.stage import Output


def model_folder(workspace: Path, language: str) -> Path:
    """The exported model of a language's last complete run, or `language` itself if it is such a folder."""
    if (Path(language) / "config.json").is_file():
        return Path(language)
    for output in _latest(workspace, stem(language)):
        if output.stage == "release" and (output.folder / "model").is_dir():
            return output.folder / "model"
    raise StageError(
        f"{language}: no model was built in {workspace}; run `lugha build {language}` first, or give a model folder"
    )


def last_run(workspace: Path, language: str) -> dict[str, Output]:
    """The stages of a language's last complete run by their labels in the DAG, in its order; raises StageError."""
    found: dict[str, Output] = {}
    for output in _latest(workspace, stem(language)):
        manifest = output.manifest()
        if manifest is None:
            raise StageError(
                f"{output.folder}: this stage of the last complete run is gone or damaged; run `lugha build {language}` again"
            )
        found[f"crawl-{manifest['config']['name']}" if output.stage == "crawl" else output.stage] = output
    if not found:
        raise StageError(f"{language}: no build reached its end in {workspace}; run `lugha build {language}` first")
    return found


def _latest(workspace: Path, name: str) -> list[Output]:
    if not (workspace / ledger.LEDGER).exists():
        return []
    statement = "SELECT stage, fingerprint FROM latest WHERE language = $name ORDER BY position"
    rows = ledger.query(workspace, statement, {"name": name})[1]
    return [Output(stage, fingerprint, workspace / name / stage / fingerprint) for stage, fingerprint in rows]
