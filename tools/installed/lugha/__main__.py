"""The command `lugha`, and `python -m lugha`."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn


def main() -> NoReturn:
    """Run the command; Ctrl-C and SIGTERM are answered in one line from the first moment on, while modules are still read."""
    before = {number: signal.signal(number, _stopped) for number in (signal.SIGINT, signal.SIGTERM)}
    from flows.cli import main as command

    for number, handler in before.items():
        signal.signal(number, handler)
    command()


def _stopped(number: int, _frame: FrameType | None) -> None:
    print("\nstopped; nothing was begun: give the same command again", file=sys.stderr, flush=True)
    os._exit(128 + number)


if __name__ == "__main__":
    main()
