"""The workspace that the tests of the flows share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from tests.flows.starter import TINY, lugha


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A workspace in which the starter was built once; a test that adds a stage to it takes a copy.

    Of tests that run in several processes (pytest-xdist) one builds it for all.
    """
    base = tmp_path_factory.getbasetemp()
    original = (base if worker_id == "master" else base.parent) / "original"
    with FileLock(f"{original}.lock"):
        if not original.exists():
            output = lugha(original.with_name("building"), "build", "swahili", *TINY).stdout
            for line in output.splitlines():
                if line.startswith(("data card", "model card", "model ", "samples")):
                    assert Path(line.split()[-1]).exists(), line
            original.with_name("building").rename(original)
    return Path(shutil.copytree(original, base / "built"))
