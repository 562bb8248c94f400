"""Checkpoints: one folder each, published by a rename, checked by a checksum, never unpickled.

    .checkpoints/step-00001200/   model.safetensors  optimizer.safetensors  state.json

`state.json` holds everything that is not a tensor and the checksums of the other two. The order of the data is a pure
function of the seed and training draws no random numbers, so there is no generator to save.
"""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import xxhash
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tasks.stage import replacing

KEEP = 2
TENSORS = ("model.safetensors", "optimizer.safetensors")
Checkpoint = tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]
"""Weights, optimizer state, and the rest."""

log = logging.getLogger(__name__)


def save(folder: Path, step: int, weights: dict[str, Tensor], optimizer: dict[str, Tensor], state: dict[str, Any]) -> Path:
    """Write the checkpoint of `step` below `folder` and remove all but the last two. A kill leaves it whole or absent."""
    target = folder / f"step-{step:08d}"
    shutil.rmtree(target, ignore_errors=True)
    with replacing(target) as temporary:
        temporary.mkdir(parents=True)
        for name, tensors in zip(TENSORS, (weights, optimizer), strict=True):
            save_file({key: tensor.detach().contiguous().cpu() for key, tensor in tensors.items()}, temporary / name)
        text = json.dumps({**state, "checksums": {name: _checksum(temporary / name) for name in TENSORS}})
        (temporary / "state.json").write_text(json.dumps({"state": text, "checksum": xxhash.xxh3_128_hexdigest(text.encode())}))
    for old in saved(folder)[:-KEEP]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def load_latest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint that is whole, or None. One that is damaged is removed, with a warning."""
    for leftover in folder.glob(".step-*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)
    for path in reversed(saved(folder)):
        try:
            return _load(path)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            log.warning("%s is damaged (%s); going on from the checkpoint before it", path, error)
            shutil.rmtree(path, ignore_errors=True)
    return None


def saved(folder: Path) -> list[Path]:
    """Checkpoint folders, oldest first."""
    return sorted(folder.glob("step-????????"))


def _load(path: Path) -> Checkpoint:
    record = json.loads((path / "state.json").read_text())
    if xxhash.xxh3_128_hexdigest(record["state"].encode()) != record["checksum"]:
        raise ValueError("state.json has the wrong checksum")
    state = json.loads(record["state"])
    for name, checksum in state.pop("checksums").items():
        if _checksum(path / name) != checksum:
            raise ValueError(f"{name} has the wrong checksum")
    weights, optimizer = (load_file(path / name) for name in TENSORS)
    return weights, optimizer, state


def _checksum(path: Path) -> str:
    digest = xxhash.xxh3_128()
    with open(path, "rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
