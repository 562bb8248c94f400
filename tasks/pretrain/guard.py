"""Which steps to skip: those whose gradient is not finite, and those whose loss stands far out of the last ones.

The rule for spikes is that of OLMo 2's skip-step optimizer (arXiv 2501.00656, section 3.3; OLMo-core `SkipStepOptimizer`): six
standard deviations above the mean of the last 128 losses, once there are 64.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field

from tasks.core.errors import StageError

INTERVAL = 128
DEVIATIONS = 6.0
MOST_IN_A_ROW = 3
LEAST_SCALE = 1.0
"""A loss scale below this cannot be what made fp16 gradients overflow."""


@dataclass
class Guard:
    """Judges each step; its fields are saved with the run."""

    losses: list[float] = field(default_factory=list)
    not_finite: int = 0
    spikes: int = 0
    in_a_row: int = 0

    def allows(self, loss: float, norm: float, loss_scale: float = 1.0) -> bool:
        """Whether a step with this loss and gradient norm may change the weights; counts those that may not.

        Raises StageError at the third in a row. In fp16, gradients that overflow while the loss is scaled up are no fault
        and only counted.
        """
        finite = math.isfinite(loss) and math.isfinite(norm)
        spike = finite and self._is_spike(loss)
        if finite and not spike:
            self.in_a_row = 0
            self.losses = [*self.losses, loss][-INTERVAL:]
            return True
        self.not_finite += not finite
        self.spikes += spike
        self.in_a_row += spike or loss_scale <= LEAST_SCALE
        if self.in_a_row == MOST_IN_A_ROW:
            what = f"loss jumped to {loss:.3g}" if spike else "loss or gradient was infinite or NaN"
            raise StageError(
                f"the {what} {MOST_IN_A_ROW} steps in a row; lower pretrain.learning_rate, raise pretrain.warm_up, or look at "
                "the documents; the last checkpoint is kept"
            )
        return False

    def _is_spike(self, loss: float) -> bool:
        if len(self.losses) < INTERVAL // 2:
            return False
        return loss > statistics.fmean(self.losses) + DEVIATIONS * statistics.stdev(self.losses)
