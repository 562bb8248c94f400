"""How far a run is, and what share of the learning rate that allows.

The budget is the first of steps, minutes, tokens, epochs and kWh to be used up; its largest share is the progress that
schedules follow, so that a run cut by wall clock also ends at a learning rate of zero (the idea of cramming, arXiv 2212.14034).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from lang_configs.training import Pretrain

FLOOR = 0.02
"""Smallest share during warm-up, so that the first step does something."""


@dataclass(frozen=True)
class Used:
    """What a run has used so far."""

    steps: int
    seconds: float
    tokens: int
    epochs: float
    kwh: float


def progress(config: Pretrain, used: Used) -> float:
    """Share of the budget that is used, from 0 to 1; 1 ends the run."""
    shares = [used.epochs / config.epochs]
    if config.steps:
        shares.append(used.steps / config.steps)
    if config.minutes:
        shares.append(used.seconds / (60 * config.minutes))
    if config.tokens:
        shares.append(used.tokens / config.tokens)
    if config.kwh:
        shares.append(used.kwh / config.kwh)
    return min(1.0, max(shares))


def learning_rate_scale(kind: Literal["wsd", "cosine", "linear"], progress: float, warm_up: float, decay: float) -> float:
    """Share of the peak learning rate at `progress` in [0, 1]: up linearly for `warm_up`, then down as `kind` says.

    wsd (warm-up, stable, decay: arXiv 2404.06395) stays at 1 until the last `decay` of the run, then falls linearly to
    0; linear falls from the peak to 0; cosine falls to a tenth.
    """
    if progress < warm_up:
        return max(progress / warm_up, FLOOR)
    if kind == "wsd":
        return min(1.0, (1 - progress) / decay)
    after = (progress - warm_up) / (1 - warm_up)
    return 1 - after if kind == "linear" else 0.1 + 0.45 * (1 + math.cos(math.pi * after))
