"""Where the project's packages lie, and how a program that we start finds them, whatever lies in the folder it starts in."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The folder of `flows`, `tasks` and `lang_configs`: the top of the repository, or the package `lugha` of an installation."""


def child_environment() -> dict[str, str]:
    """Environment variables for a Python that is to import our packages before others: those of this process, and two paths.

    With them, neither it nor what it starts itself imports from the current folder, where a person's own `tasks.py` may lie.
    """
    paths = dict.fromkeys([str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))])
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"}
