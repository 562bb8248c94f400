"""A model from elsewhere as an artifact of ours: a folder of transformers' files, or a repository of the Hub."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from tasks.core.artifacts import Model
from tasks.core.errors import StageError
from tasks.core.files import copy, replacing, sha256
from tasks.core.stage import Metrics, Stage, Work
from tasks.evaluate.model import load_model, load_tokenizer, objective

FILES = (
    *("config.json", "generation_config.json", "*.safetensors", "*.safetensors.index.json"),
    *("tokenizer*.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "*.model"),
)
"""What a model and its tokenizer are read from: no pickles, and no code."""


class PretrainedConfig(BaseModel):
    """A model under the name that people call it by: its folder's, or `owner/name` on the Hub and the commit there."""

    model_config = ConfigDict(frozen=True)
    name: str
    revision: str | None = None
    folder: Path = Field(exclude=True)


def pretrained(inputs: Mapping[str, Path], config: PretrainedConfig, out: Path, work: Work) -> Metrics:
    """Copy a model and its tokenizer, after both were loaded; `parameters` counts those of the model.

    Raises StageError when there is no model or tokenizer that transformers can read without running code of theirs.
    """
    model = load_model(config.folder)
    pieces, embeddings = len(load_tokenizer(config.folder)), model.get_input_embeddings().num_embeddings
    if pieces > embeddings:
        raise StageError(
            f"{config.name}: the tokenizer has {pieces} pieces, the model {embeddings} embeddings: not its tokenizer"
        )
    target = Model(out).transformers
    target.mkdir(exist_ok=True)
    for path in model_files(config.folder):
        with replacing(target / path.name) as temporary:
            copy(path, temporary)
    architecture = json.loads((config.folder / "config.json").read_text())["architectures"][0]
    return {"architecture": architecture, "objective": objective(architecture), "parameters": model.num_parameters()}


def model_files(folder: Path) -> list[Path]:
    """The files of a model and its tokenizer in a folder."""
    return sorted({path for pattern in FILES for path in folder.glob(pattern) if path.is_file()})


def find_model(name: str) -> PretrainedConfig:
    """The model in a folder, in a release (its folder `model`), or of the Hub, from where it is fetched.

    Raises StageError, in one sentence, when there is none.
    """
    given = Path(name).expanduser()
    for folder in (given, given / "model"):
        if (folder / "config.json").is_file():
            return PretrainedConfig(name=given.resolve().name, folder=folder)
    if given.exists() or not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise StageError(f"{name}: no model is there: give a language that was built, a folder with config.json, or OWNER/NAME")
    return _from_hub(name)


def _from_hub(name: str) -> PretrainedConfig:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, allow_patterns=list(FILES)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise StageError(
            f"{name}: the Hub does not give this model ({reason}); check the name and the network, or download it and give its"
            " folder"
        ) from error
    return PretrainedConfig(name=name, revision=folder.name, folder=folder)


PRETRAINED = Stage(
    "pretrained",
    pretrained,
    inputs={},
    artifact=Model,
    outside=lambda config: " ".join(f"{path.name}:{sha256(path)}" for path in model_files(config.folder)),
    headline=lambda metrics: f"{metrics['parameters']:,} parameters, {metrics['architecture']}",
)
