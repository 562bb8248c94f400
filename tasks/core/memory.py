"""Memory of this process."""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path


def peak_memory() -> int:
    """Largest resident memory in bytes of this process or of one of its children so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    own, children = (unit * resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    with contextlib.suppress(OSError):  # Linux, where getrusage counts what the parent held when it started this program
        lines = Path("/proc/self/status").read_text().splitlines()
        own = next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), own)
    return max(own, children)
