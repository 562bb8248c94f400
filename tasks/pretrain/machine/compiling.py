"""Compiling the loss, where a run is long enough for that."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, Literal

from lang_configs.training import Pretrain

if TYPE_CHECKING:
    from torch import Tensor

SHORTEST, SHORTEST_WITHOUT_BF16 = 90, 900
"""Seconds of the shortest run that gets the time for compiling back (measured, 2 cores). In fp32 on a processor, where
matrix products are most of a step, compiling gains less and takes longer: 48 s before the first step."""
FLOPS = {"cpu": 4e11, "cuda": 2e13}
FLOPS_WITHOUT_BF16 = 1e11
"""Rough speed, only to guess from a budget of steps or epochs whether a run is that short."""

log = logging.getLogger(__name__)


def worth_compiling(
    config: Pretrain, wanted: bool | Literal["auto"], parameters: int, epoch_tokens: int, device: str, precision: str
) -> bool:
    """Whether a run is to be compiled: as `runtime.compile` says, or if its budget is long enough on this kind of device, whose
    numbers are those of `precision` (as torch names it).
    """
    if wanted != "auto":
        return wanted
    slow = device == "cpu" and precision == "float32"
    flops, shortest = (FLOPS_WITHOUT_BF16, SHORTEST_WITHOUT_BF16) if slow else (FLOPS[device], SHORTEST)
    tokens = min(config.epochs * epoch_tokens, (config.steps or math.inf) * config.batch_tokens, config.tokens or math.inf)
    return min(6 * parameters * tokens / flops, 60 * (config.minutes or math.inf)) > shortest


class Loss:
    """A model's loss, compiled or not. Each kind of batch is compiled when it first comes."""

    def __init__(self, loss: Callable[..., Tensor]) -> None:
        self.compiled = False
        self._plain = self._current = loss
        self._seen: set[Hashable] = set()

    def __call__(self, *batch: Tensor, **options: Any) -> Tensor:
        return self._current(*batch, **options)

    def compile(self) -> None:
        """Compile from now on."""
        import torch

        self._current, self.compiled = torch.compile(self._plain, dynamic=False), True

    def is_new(self, kind: Hashable) -> bool:
        """Whether a batch of this kind would now be compiled, which is asked once for each."""
        new = self.compiled and kind not in self._seen
        self._seen.add(kind)
        return new

    def give_up_compiling(self, error: Exception) -> None:
        """Go on without, as the compiler failed: no compiler, no headers, no Triton all mean the same here."""
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        log.warning("the model could not be compiled, so training is slower (is a C++ compiler installed?): %s", reason)
        self._current, self.compiled = self._plain, False
