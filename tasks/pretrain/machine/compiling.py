"""Compiling the loss, where a run is long enough for that."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from lang_configs.training import Pretrain

if TYPE_CHECKING:
    from torch import Tensor

SHORTEST, SHORTEST_WITHOUT_BF16 = 90, 900
"""Seconds of the shortest run that gets the time for compiling back (measured, 2 cores). In fp32 on a processor, where
matrix products are most of a step, compiling gains less and takes longer: 48 s before the first step."""
MOST_DIFFERENCE = 0.2
"""Of the gradients of a compiled model from its own, as a share of their norm: bf16 rounds otherwise in fused kernels, by some
per cent (measured: .0003 to .042 in the six families); a kernel that is wrong gives NaN or 1 and more."""
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

    @contextlib.contextmanager
    def plain(self) -> Iterator[None]:
        """As it is without a compiler, in the block."""
        before, self._current = self._current, self._plain
        try:
            yield
        finally:
            self._current = before

    def give_up_compiling(self, error: Exception) -> None:
        """Go on without, as the compiler failed: no compiler, no headers, no Triton all mean the same here."""
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        log.warning("the model could not be compiled, so training is slower (is a C++ compiler installed?): %s", reason)
        self._current, self.compiled = self._plain, False

    def give_up_compiled(self, difference: float) -> None:
        """Go on without, as what was compiled computes something else."""
        said = f"they differ by {difference:.0%} of their norm" if math.isfinite(difference) else "they are not finite"
        log.warning(
            "the compiled model has other gradients than the model (%s), so training goes on without, and is slower; another"
            " version of torch or of the C++ compiler may help",
            said,
        )
        self._current, self.compiled = self._plain, False


def difference(gradients: Mapping[str, Tensor], others: Mapping[str, Tensor | None]) -> float:
    """Norm of the difference of two gradients over the norm of the first; infinite where only the second is not finite."""
    apart = size = 0.0
    for name, gradient in gradients.items():
        other = others[name]
        size += float(gradient.float().square().sum())
        apart += float((gradient.float() - (0 if other is None else other.float())).square().sum())
    if not math.isfinite(size):
        return 0.0  # the model itself has no finite gradients, which is the guard's business
    return math.sqrt(apart / max(size, 1e-30)) if math.isfinite(apart) else math.inf
