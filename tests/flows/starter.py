"""The starter with a tiny model, built by the command line in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests import REPOSITORY

TINY = ["--preset", "starter"]
for _key in (
    "pretrain.steps=6",
    "runtime.compile=false",
    "pretrain.model.layers=1",
    "pretrain.model.width=64",
    "pretrain.model.heads=1",
    "evaluate.seeds=2",
    "evaluate.sample_tokens=5",
):
    TINY += ["--set", _key]


def lugha(
    workspace: Path, *arguments: str, check: bool = True, timeout: float = 300, before: str = ""
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", f"{before}\nfrom flows.cli import main; main()", *arguments, "--workspace", str(workspace)]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=timeout)
    if check and result.returncode:
        raise AssertionError(f"{arguments}: {result.stdout[-2000:]}\n{result.stderr[-2000:]}")
    return result


TASKS = ("task.starter-topics",)
"""What the starter's model is measured on; of other sets there are no files here."""


def query(workspace: Path, sql: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(lugha(workspace, "stats", "--json", "--sql", sql).stdout)
    return rows


def fingerprints(workspace: Path) -> dict[str, dict[str, str]]:
    """Stage -> path -> sha256, of the stages whose bytes a run must reproduce anywhere."""
    found: dict[str, dict[str, str]] = {}
    for path in workspace.glob("swahili/*/[!.]*/manifest.json"):
        manifest = json.loads(path.read_text())
        if manifest["stage"] not in ("pretrain", "evaluate", "task", "cards", "release"):
            found[manifest["stage"]] = {entry["path"]: entry["sha256"] for entry in manifest["files"]}
    return found
