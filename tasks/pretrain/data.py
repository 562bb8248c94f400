"""Token files by memory map, cut into windows whose order is a pure function of the seed.

Nothing has to be stored to go on after a stop: the number of windows read so far says which one is next.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tasks.core.errors import StageError
from tasks.pretrain.batches import masked_count

VALIDATION_TOKENS = 8192
"""Held-out tokens on which a run is looked at while it goes on: ten such looks cost a run of five minutes 1 % of its time."""


@dataclass(frozen=True)
class TokenFiles:
    """What `meta.json` says about a folder of token files."""

    folder: Path
    dtype: str
    vocab_size: int
    bos: int
    eos: int
    pad: int | None
    mask: int | None
    train_tokens: int
    train_bytes: int

    @classmethod
    def read(cls, folder: Path) -> TokenFiles:
        """Read `meta.json`; raises StageError when it or `train.bin` is missing or they disagree."""
        try:
            meta = json.loads((folder / "meta.json").read_text())
            names = ("dtype", "vocab_size", "bos", "eos", "pad", "mask", "train_tokens", "train_bytes")
            files = cls(folder, **{name: meta[name] for name in names})
            width = np.dtype(files.dtype).itemsize
            size = (folder / "train.bin").stat().st_size
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise StageError(f"{folder}: not a folder of token files ({error!r}); run the tokens stage again") from error
        if size != files.train_tokens * width:
            raise StageError(f"{folder / 'train.bin'}: {size} bytes, not {files.train_tokens} tokens of {width}")
        return files


class Windows:
    """The training tokens as windows of `context` + 1 tokens, the last one of each being the first of the next.

    An epoch is all of them in an order drawn from (seed, epoch). Raises StageError when there is not one whole window.
    """

    def __init__(self, files: TokenFiles, context: int, seed: int) -> None:
        self.files, self.context, self.seed = files, context, seed
        self.count = (files.train_tokens - 1) // context
        if self.count < 1:
            raise StageError(
                f"{files.folder}: {files.train_tokens} training tokens are less than one window; "
                f"add text, or set pretrain.model.context below {files.train_tokens}"
            )
        self._tokens = _mapped(files, "train")
        if (largest := int(self._tokens.max())) >= files.vocab_size:
            raise StageError(f"{files.folder}: token {largest} is outside of a vocabulary of {files.vocab_size}")

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The windows of an epoch, by number."""
        return _order(self.seed, epoch, self.count)

    def read(self, position: int, count: int) -> Tensor:
        """The `count` windows after the first `position` ones, `[count, context + 1]` of int64; epochs follow each other."""
        epochs_and_places = (divmod(position + index, self.count) for index in range(count))
        starts = [self.order(epoch)[place] * self.context for epoch, place in epochs_and_places]
        rows = np.stack([self._tokens[start : start + self.context + 1] for start in starts])
        return torch.from_numpy(rows.astype(np.int64))


def validation_windows(files: TokenFiles, context: int) -> Tensor | None:
    """Windows `[count, context + 1]` from all over the held-out tokens; None where they do not fill one."""
    path = files.folder / "validation.bin"
    length = path.stat().st_size // np.dtype(files.dtype).itemsize if path.exists() else 0
    most = (length - 1) // context
    if most < 1:
        return None
    tokens = _mapped(files, "validation")
    count = min(most, max(1, VALIDATION_TOKENS // context))
    starts = np.arange(count) * most // count * context
    return torch.from_numpy(np.stack([tokens[start : start + context + 1] for start in starts]).astype(np.int64))


def halve(windows: Tensor) -> Tensor:
    """Windows `[count, 2 n + 1]` as twice as many of half the length, `[2 count, n + 1]`; the middle token is in both."""
    half = windows.shape[1] // 2
    return torch.cat([windows[:, : half + 1], windows[:, half:]])


def mask(windows: Tensor, share: float, token: int, key: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Windows `[count, n + 1]` as what a masked model learns from: ids `[count, n]`, masked positions and their labels, both
    `[count, masked]`.

    The same number of tokens, `share` of them, is replaced by `token` in every window. All of them are: leaving some in place
    or drawing others for them, as BERT did, gained nothing in cramming (arXiv 2212.14034). The positions are drawn from `key`
    and the number of the window; the first token, which no hidden state of a causal model stands before, is never one.
    """
    ids = windows[:, :-1].clone()
    masked = masked_count(ids.shape[1], share)
    drawn = [np.random.default_rng([*key, row]).permutation(ids.shape[1] - 1)[:masked] for row in range(len(ids))]
    positions = torch.from_numpy(np.sort(np.stack(drawn))) + 1
    labels = ids.gather(1, positions)
    return ids.scatter_(1, positions, token), positions, labels


def _mapped(files: TokenFiles, split: str) -> NDArray[np.integer]:
    return np.memmap(files.folder / f"{split}.bin", np.dtype(files.dtype).newbyteorder("<"), "r")


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(count)
