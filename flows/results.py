"""Where the results of earlier builds are."""

from __future__ import annotations

from pathlib import Path

from lang_configs import stem
from tasks import ledger
from tasks.stage import StageError


def model_folder(workspace: Path, language: str) -> Path:
    """The exported model of a language's last complete run, or `language` itself if it is such a folder."""
    if (Path(language) / "config.json").is_file():
        return Path(language)
    name = stem(language)
    if (workspace / ledger.LEDGER).exists():
        found = ledger.query(
            workspace, "SELECT fingerprint FROM latest WHERE stage = 'release' AND language = $name", {"name": name}
        )
        for (fingerprint,) in found[1]:
            folder = workspace / name / "release" / fingerprint / "model"
            if folder.is_dir():
                return folder
    raise StageError(
        f"{language}: no model was built in {workspace}; run `lugha build {language}` first, or give a model folder"
    )
