"""Does each commit that touches a stage say what it does to the stage's bytes?

    python -m tools.check_versions [RANGE]

A result of a stage is reused for as long as its version stays the same, so a change of its sources comes with a new version, or
with the words "same bytes" in the commit's message. Without a range, the commits since this check came are looked at. Prints
the commits that say neither; the exit code is 1 if there are any.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import PurePosixPath

DECLARED = re.compile(r"^[-+].*\bversion=(\d+),", re.MULTILINE)
SAID = "same bytes"
PACKAGES = ("tasks/annotate",)
"""Folders of stages; everything else directly in `tasks` is a stage or holds one."""
SHARED = {"core", "net", "ledger", "__init__.py", "evaluation_sets.py"}
"""What stands directly in `tasks` and is no stage."""


def stage_of(path: str) -> str | None:
    """The stage whose source a file is: its folder or module, as a path; None for what belongs to no single stage."""
    parts = PurePosixPath(path).parts
    if len(parts) < 2 or parts[0] != "tasks" or parts[1] in SHARED or not path.endswith((".py", ".sql", ".j2")):
        return None
    depth = 3 if "/".join(parts[:2]) in PACKAGES else 2
    return "/".join(parts[:depth]) if len(parts) >= depth and parts[depth - 1] not in ("__init__.py", "annotator.py") else None


def silent_stages(message: str, patch: str) -> list[str]:
    """The stages that a commit (its message and its patch against its parent) changes without a word on their bytes."""
    if SAID in message.lower():
        return []
    changed: dict[str, bool] = {}
    for part in re.split(r"^diff --git ", patch, flags=re.MULTILINE)[1:]:
        found = re.match(r"a/(\S+) b/(\S+)", part)
        if found and (stage := stage_of(found[2])) is not None:
            body = part[part.find("@@") :] if "@@" in part else ""
            changed[stage] = changed.get(stage, False) or len(set(DECLARED.findall(body))) > 1
    return sorted(stage for stage, raised in changed.items() if not raised)


def main(arguments: list[str]) -> int:
    """Look at the commits of a range; returns the exit code."""
    came = _git("log", "--diff-filter=A", "--format=%H", "--", __file__).split()
    if not arguments and not came:  # not committed yet, or a clone without its history
        return 0
    commits = arguments[0] if arguments else f"{came[-1]}..HEAD"
    wrong = 0
    for commit in _git("rev-list", "--no-merges", commits).split():
        subject, message = _git("log", "-1", "--format=%s", commit).strip(), _git("log", "-1", "--format=%B", commit)
        for stage in silent_stages(message, _git("show", "--format=", "--unified=0", "--no-renames", commit)):
            print(f'{commit[:10]} "{subject}" changes {stage}: raise the version of its stage, or say "{SAID}" in the message')
            wrong += 1
    return 1 if wrong else 0


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
