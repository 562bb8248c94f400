"""A training process whose counters stand still: `python -m tests.pretrain.metered [--rapl] ARGUMENTS OF tasks.pretrain.train`.

The GPU of process n stands at 10 (n + 1) joules, the estimate of its processor at n + 1; RAPL, if it can be read, at 1,000.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from tasks.pretrain.machine import device, energy
from tasks.pretrain.train import main


@dataclass
class Standing:
    """A counter that stands at so many joules."""

    total: float
    measured: bool
    shared: bool
    description: str = "a counter of the test"

    def joules(self) -> float:
        return self.total


def rapl() -> Standing:
    if "--rapl" not in sys.argv:
        raise OSError("nobody may read it")
    return Standing(1000, measured=True, shared=True)


if __name__ == "__main__":
    number = int(os.environ["RANK"]) + 1
    energy.Rapl = rapl  # type: ignore[assignment, misc]
    energy.BusyCores = lambda *given: Standing(number, False, False)  # type: ignore[assignment, misc]
    energy._gpu_counter = lambda: Standing(10 * number, True, False)
    device.Meter = lambda name, first: energy.Meter("cuda", first)  # type: ignore[assignment, misc]
    sys.exit(main([argument for argument in sys.argv[1:] if argument != "--rapl"]))
