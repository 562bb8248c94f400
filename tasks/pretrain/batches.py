"""What a step reads: how many windows, of which length, in how many micro-batches, and from when to when in the run."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lang_configs.training import Pretrain

LEAST_SAMPLED = 1_000_000
"""A corpus of fewer tokens is always scored whole: it is read several times, and time is not what it lacks. By the sample, four
epochs of 150 kB lost .04 bits per byte, of 1 MB (230,000 tokens) .015, of 5 MB (1.2 million) nothing."""
STEPS_PER_EPOCH = 32
"""A small corpus gets smaller batches than the config allows, so that an epoch has this many steps."""


@dataclass(frozen=True)
class Phase:
    """Steps of one kind, until this share of the budget; windows are cut in two if `half`."""

    until: float
    micro_batch: int
    """Windows that are computed at a time."""
    accumulation: int
    """Micro-batches whose gradients make one step."""
    half: bool = False
    narrow: bool = False
    scored: int = 0
    """Pieces of the vocabulary that a step scores in place of all; 0: all."""

    @property
    def windows(self) -> int:
        """Windows read in one step."""
        return self.micro_batch * self.accumulation


def masked_count(length: int, share: float) -> int:
    """How many tokens of a window of this length are masked: `share` of them, at least one, and not all."""
    return min(max(1, round(share * length)), length - 1)


def enough_tokens(config: Pretrain) -> int:
    """Training tokens from which on more of them change nothing in the phases of a run."""
    windows = max(
        STEPS_PER_EPOCH * max(1, config.batch_tokens // config.model.context), LEAST_SAMPLED // config.model.context + 1
    )
    return windows * config.model.context + 1


def plan_phases(config: Pretrain, windows: int, most: int, vocab_size: int, processes: int = 1) -> list[Phase]:
    """The phases of a run over epochs of `windows`: first half windows and half as many, at last whole ones.

    A step has at most `config.batch_tokens`, less for a small corpus, in equal micro-batches of at most `most` windows, the
    same number for each of `processes`. A masked model may compute less in its first share (`narrow_layers`); a causal one
    scores a sample of the vocabulary while windows are short, at least as many pieces as a step has tokens, if that saves half
    and there is text enough.
    """
    context, size = config.model.context, round(config.sampled_softmax * vocab_size)
    whole = max(1, min(config.batch_tokens // context, windows // STEPS_PER_EPOCH))
    narrow = config.narrow_share if config.narrow_layers else 0.0
    may_sample = size > 0 and windows * context >= LEAST_SAMPLED and not config.model.masked
    phases = []
    for until in sorted({config.half_context, narrow, 1.0} - {0.0}):
        half = until <= config.half_context
        wanted = max(1, whole // 2) if half else whole
        accumulation = math.ceil(wanted / most / processes) * processes
        micro_batch = max(1, wanted // accumulation)
        scored = max(size, micro_batch * accumulation * context)
        scored = scored if may_sample and half and 2 * scored <= vocab_size else 0
        phases.append(Phase(until, micro_batch, accumulation, half, until <= narrow, scored))
    return phases
