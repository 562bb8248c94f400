"""Sampled softmax: the scores of some pieces stand for those of the whole vocabulary.

The output matrix is a third of the work of a small model. A step may score only the pieces that occur in it and some of the
others, drawn evenly, each counted for as many as were left out: the sum of exponentials is then right in expectation, and
what a piece learns as well (Bengio and Senecal 2008; with the targets of a batch always in it, Jean et al., arXiv 1412.2007).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Sample(NamedTuple):
    """The pieces that a step scores."""

    pieces: Tensor
    """`[size]` of int64: those that occur, in order, then the drawn ones."""
    log_weights: Tensor
    """`[size]` of fp32: logarithm of how many pieces each counts for."""
    positions: Tensor
    """`[vocab_size]` of int64: where each piece that occurs is among `pieces`."""


def sample(labels: Tensor, vocab_size: int, size: int, key: Sequence[int]) -> Sample:
    """All pieces of `labels` and others drawn from `key`, `size` in all; where all of these occur, nothing counts for the rest.

    Raises ValueError when more than `size` pieces occur.
    """
    occur = np.unique(labels.numpy())
    if len(occur) > size:
        raise ValueError(f"{len(occur)} pieces occur, more than the {size} that are to be scored")
    others = np.setdiff1d(np.arange(vocab_size), occur, assume_unique=True)
    drawn = np.random.default_rng(key).choice(others, size - len(occur), replace=False)
    weights = np.concatenate([np.ones(len(occur)), np.full(len(drawn), len(others) / max(1, len(drawn)))])
    positions = np.zeros(vocab_size, np.int64)
    positions[occur] = np.arange(len(occur))
    log_weights = torch.from_numpy(np.log(weights)).float()
    return Sample(torch.from_numpy(np.concatenate([occur, drawn])), log_weights, torch.from_numpy(positions))
