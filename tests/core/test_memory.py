"""The memory of a stage, measured in programs of their own, whose memory nothing else changes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests import REPOSITORY

HELD = 200_000_000
PROGRAM = f"""
import subprocess, sys, time
from tasks.core.memory import PeakMemory, peak_memory
def fill():
    block = bytearray({HELD})
    for place in range(0, len(block), 4096):
        block[place] = 1
    return block
def child():
    code = "import time; block = b'x' * {HELD}; print('held', flush=True); time.sleep(1)"
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
BEFORE
with PeakMemory() as memory:
    INSIDE
    print(memory.bytes())
"""


def peak(before: str = "pass", inside: str = "pass") -> int:
    code = PROGRAM.replace("BEFORE", before).replace("INSIDE", inside)
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return int(done.stdout)


CHILD = "one = child(); one.stdout.readline(); one.wait()"
TWO = "two = [child(), child()]; [one.stdout.readline() for one in two]; [one.wait() for one in two]"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's peak is set back on Linux only")
@pytest.mark.parametrize("earlier", ["block = fill(); del block", CHILD])
def test_what_an_earlier_stage_held_is_not_counted(earlier: str) -> None:
    assert peak(before=earlier) < HELD / 2


@pytest.mark.parametrize(("inside", "least"), [("fill()", 1), (CHILD, 1), (f"block = fill(); {CHILD}", 2), (TWO, 2)])
def test_what_a_stage_and_its_children_hold_at_one_time_is_counted(inside: str, least: int) -> None:
    assert least * HELD < peak(inside=inside) < least * HELD + HELD / 2
