"""Memory of this process and of those that it starts."""

from __future__ import annotations

import contextlib
import resource
import sys
import threading
from pathlib import Path
from types import TracebackType

SAMPLE_SECONDS = 0.1
PROC = Path("/proc")


def peak_memory() -> int:
    """Largest resident memory in bytes of this process or of one of its children so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    own, children = (unit * resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    # on Linux getrusage counts what the parent held when it started this program
    return max(_status("self", "VmHWM") or own, children)


class PeakMemory:
    """Largest resident memory in bytes of this process and its children together while the block runs.

    Linux: its own peak is the kernel's, set back at the beginning; with children, which are asked ten times a second, it is the
    largest sum. Elsewhere nothing can be set back: it is `peak_memory`, which may be that of an earlier block.
    """

    def __enter__(self) -> PeakMemory:
        with contextlib.suppress(OSError):
            (PROC / "self" / "clear_refs").write_text("5")  # proc_pid_clear_refs(5): the peak is what is resident now
        self._most, self._ended = 0, threading.Event()
        self._watch = threading.Thread(target=self._sample, daemon=True)
        self._watch.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        self._watch.join()

    def bytes(self) -> int:
        """The peak so far."""
        return max(_status("self", "VmHWM"), self._most) or peak_memory()

    def _sample(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            self._most = max(self._most, sum(_status(process, "VmRSS") for process in ("self", *_descendants("self"))))


def _status(process: str, field: str) -> int:
    """A size in bytes that the kernel states of a process; 0 where it states none, as of one that has ended."""
    with contextlib.suppress(OSError):
        lines = (PROC / process / "status").read_text().splitlines()
        return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:")), 0)
    return 0


def _descendants(process: str) -> list[str]:
    found: list[str] = []
    with contextlib.suppress(OSError):
        for thread in (PROC / process / "task").iterdir():
            for child in (thread / "children").read_text().split():
                found += [child, *_descendants(child)]
    return found
