"""Where the results of earlier builds are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path

from lang_configs import find, stem
from tasks import ledger
from tasks.core.artifacts import Release
from tasks.core.errors import StageError
from tasks.core.stage import Output


class NoRunError(StageError):
    """A language has no complete run."""


def model_folder(workspace: Path, language: str) -> Path:
    """The exported model of a language's last complete run that made one, or `language` itself if it is such a folder.

    Raises ConfigError for a language that is not known, and StageError for one that has no model.
    """
    if (Path(language) / "config.json").is_file():
        return Path(language)
    check_language(workspace, language)
    for outputs in _complete_runs(workspace, stem(language), "release"):
        for output in outputs.values():
            if output.stage == "release" and Release(output.folder).model.is_dir():
                return Release(output.folder).model
    raise StageError(
        f"{language}: no model was built in {workspace}; run `lugha build {language}` first, or give a model folder"
    )


def last_run(workspace: Path, language: str, having: str | None = None) -> dict[str, Output]:
    """What a language's last complete run (`having` a stage) holds, by label and in the order of the DAG.

    Raises ConfigError for a language that is not known, NoRunError for one without such a run, StageError for damaged stages.
    """
    check_language(workspace, language)
    found = next(_complete_runs(workspace, stem(language), having), None)
    if found is None:
        stage = f" with `{having}`" if having else ""
        raise NoRunError(f"{language}: no build reached its end{stage} in {workspace}; run `lugha build {language}` first")
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


def _complete_runs(workspace: Path, name: str, having: str | None) -> Iterator[dict[str, Output]]:
    """The stages of the runs that reached their end, the newest first."""
    if not (workspace / ledger.LEDGER).exists():
        if any((workspace / name / "runs").glob("[!.]*.json")):
            raise StageError(
                f"{workspace / ledger.LEDGER}: the ledger is gone; `lugha ledger rebuild` makes it anew, from the manifests"
            )
        return
    statement = (
        "SELECT run, label, stage, fingerprint FROM run_stages JOIN runs USING (run)"
        " WHERE language = $name AND status = 'completed' ORDER BY number DESC, started DESC, position"
    )
    rows = ledger.query(workspace, statement, {"name": name})[1]
    for _, stages in itertools.groupby(rows, key=itemgetter(0)):
        outputs = {
            label: Output(stage, fingerprint, workspace / name / stage / fingerprint) for _, label, stage, fingerprint in stages
        }
        if having is None or any(output.stage == having for output in outputs.values()):
            yield outputs
