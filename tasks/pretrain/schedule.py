"""How far a run is, and what share of the learning rate that allows.

The budget is the first of steps, minutes, tokens, epochs and kWh to be used up; its largest share is the progress that
schedules follow, so that a run cut by wall clock also ends at a learning rate of zero (the idea of cramming, arXiv 2212.14034).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from lang_configs.training import Pretrain
from tasks.pretrain.machine.energy import JOULES_PER_KWH
from tasks.pretrain.state import State

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


class Budget:
    """How much of its budget a run has used. Time, that of compiling too, and energy go on where an earlier part stopped."""

    def __init__(self, config: Pretrain, state: State, joules: Callable[[], float], epoch_windows: int) -> None:
        self._config, self._state, self._joules, self._epoch_windows = config, state, joules, epoch_windows
        self._started, self._seconds_before, self._joules_before = time.monotonic(), state.seconds, state.joules

    def used(self) -> float:
        """Share of the budget that is used; the state is given the time and the energy of now. All processes ask at once."""
        state = self._state
        state.seconds = self._seconds_before + time.monotonic() - self._started
        state.joules = self._joules_before + self._joules()
        used = Used(
            steps=state.step,
            seconds=state.seconds,
            tokens=state.windows * self._config.model.context,
            epochs=state.windows / self._epoch_windows,
            kwh=state.joules / JOULES_PER_KWH,
        )
        return progress(self._config, used)
