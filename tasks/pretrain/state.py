"""Where a run is, and how it is asked to end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

CHECKPOINTS = ".checkpoints"
"""Folder of a run's checkpoints, in the folder that it writes to."""
STOPPED = 75
"""Exit code of a training process that saved because of a signal (EX_TEMPFAIL of sysexits.h: try again)."""
STOP_SECONDS = 20
"""Time to save after a signal."""


class Stopped(BaseException):
    """A signal asked for the end. Not an Exception, so that no library takes it for an error of its own."""


@dataclass
class State:
    """Where a run is; `windows` read so far determines what is read next."""

    step: int = 0
    windows: int = 0
    seconds: float = 0.0
    joules: float = 0.0
    flops: float = 0.0
    loss_scale: float = 1.0
    good_steps: int = 0
    validation_loss: float | None = None
    losses: list[float] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)


class Stop:
    """Whether a signal asked for the end: at once while there is nothing to save, as compiling may take long."""

    def __init__(self) -> None:
        self.asked = False
        self.at_once = True

    def on_signal(self, number: int, frame: object) -> None:
        """To be installed as the handler of SIGINT and SIGTERM; raises Stopped where the run may end at once."""
        self.asked = True
        if self.at_once:
            raise Stopped
