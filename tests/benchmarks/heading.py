"""Where and when figures came about, for the head of every table: a ratio holds for the processors that it was measured on."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
BF16_FLAGS = ("amx_bf16", "avx512_bf16")


def heading() -> str:
    """The command, date, commit, processor with its cores, whether it multiplies bf16, and the load before."""
    changed = " and changes" if _git("status", "--porcelain", "--untracked-files=no") else ""
    words = [f"{time.strftime('%d %B %Y')}, commit {_git('rev-parse', '--short', 'HEAD') or 'unknown'}{changed}"]
    words += [processor(), f"Python {platform.python_version()}", f"load {load()} before"]
    command = " ".join(["python", str(Path(sys.argv[0]).resolve().relative_to(ROOT)), *sys.argv[1:]])
    return f"    {command}\n\n{', '.join(words)}."


def processor() -> str:
    """Model, family, cores that may be used, and whether it multiplies bf16."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0].splitlines()
    except OSError:
        return f"{os.cpu_count()} cores of {platform.processor() or platform.machine()}"
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    flags = facts.get("flags", "").split()
    bf16 = next((f"multiplies bf16 ({flag})" for flag in BF16_FLAGS if flag in flags), "does not multiply bf16")
    family = f"family {facts.get('cpu family', '?')}, model {facts.get('model', '?')}"
    return f"{len(os.sched_getaffinity(0))} cores of {facts.get('model name', platform.machine())} ({family}), {bf16}"


def load() -> str:
    """Load averages of 1, 5 and 15 minutes."""
    return " ".join(f"{average:.1f}" for average in os.getloadavg())


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip()
