"""Checkpoints: one folder each, published by a rename, checked by a checksum, never unpickled.

    .checkpoints/step-00001200/   model.safetensors  optimizer.safetensors  state.json
    .checkpoints/best-00001100/   model.safetensors  state.json

`state.json` holds everything that is not a tensor and the checksums of the others. The order of the data is a pure
function of the seed and training draws no random numbers, so there is no generator to save.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import xxhash
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tasks.core.files import replacing

KEEP = 2
Tensors = dict[str, Tensor]
Checkpoint = tuple[Tensors, Tensors, dict[str, Any]]
"""Weights, optimizer state, and the rest."""

log = logging.getLogger(__name__)


def save(folder: Path, step: int, weights: Tensors, optimizer: Tensors, state: dict[str, Any]) -> Path:
    """Write the checkpoint of `step` below `folder` and remove all but the last two. A kill leaves it whole or absent."""
    target = _write(folder / f"step-{step:08d}", {"model": weights, "optimizer": optimizer}, state)
    for old in saved(folder)[:-KEEP]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def save_best(folder: Path, step: int, weights: Tensors, loss: float) -> Path:
    """Write the weights of `step`, better than all before at a held-out loss of `loss`, and remove those."""
    target = _write(folder / f"best-{step:08d}", {"model": weights}, {"step": step, "loss": loss})
    for old in _folders(folder, "best"):
        if old != target:
            shutil.rmtree(old, ignore_errors=True)
    return target


def load_latest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint that is whole, or None. One that is damaged is removed, with a warning."""
    for leftover in folder.glob(".*-*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)
    if found := _newest_whole(saved(folder)):
        tensors, state = found
        return tensors["model"], tensors["optimizer"], state
    return None


def load_best(folder: Path) -> tuple[Tensors, int, float] | None:
    """Weights, step and held-out loss of the best weights that were saved and are whole, or None."""
    if found := _newest_whole(_folders(folder, "best")):
        tensors, state = found
        return tensors["model"], state["step"], state["loss"]
    return None


def saved(folder: Path) -> list[Path]:
    """Checkpoint folders, oldest first."""
    return _folders(folder, "step")


@contextlib.contextmanager
def disk_may_be_full(what: str, step: int) -> Iterator[None]:
    """A disk that is full costs what is written in the block, and a warning, not the run."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        log.warning("%s of step %d could not be written (%s); the one before is kept", what, step, error)


def _folders(folder: Path, kind: str) -> list[Path]:
    return sorted(folder.glob(f"{kind}-????????"))


def _write(target: Path, tensors: dict[str, Tensors], state: dict[str, Any]) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    with replacing(target) as temporary:
        temporary.mkdir(parents=True)
        for name, values in tensors.items():
            contents = {key: tensor.detach().contiguous().cpu() for key, tensor in values.items()}
            save_file(contents, temporary / f"{name}.safetensors")
        text = json.dumps({**state, "checksums": {name: _checksum(temporary / f"{name}.safetensors") for name in tensors}})
        (temporary / "state.json").write_text(json.dumps({"state": text, "checksum": xxhash.xxh3_128_hexdigest(text.encode())}))
    return target


def _newest_whole(folders: list[Path]) -> tuple[dict[str, Tensors], dict[str, Any]] | None:
    for path in reversed(folders):
        try:
            return _read(path)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            log.warning("%s is damaged (%s) and is removed; the one before it is used, if there is one", path, error)
            shutil.rmtree(path, ignore_errors=True)
    return None


def _read(path: Path) -> tuple[dict[str, Tensors], dict[str, Any]]:
    record = json.loads((path / "state.json").read_text())
    if xxhash.xxh3_128_hexdigest(record["state"].encode()) != record["checksum"]:
        raise ValueError("state.json has the wrong checksum")
    state = json.loads(record["state"])
    tensors = {}
    for name, checksum in state.pop("checksums").items():
        if _checksum(path / f"{name}.safetensors") != checksum:
            raise ValueError(f"{name}.safetensors has the wrong checksum")
        tensors[name] = load_file(path / f"{name}.safetensors")
    return tensors, state


def _checksum(path: Path) -> str:
    digest = xxhash.xxh3_128()
    with open(path, "rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
