"""The workspace that the tests of the flows share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.flows.starter import TINY, lugha


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the starter was built once; a test that adds a stage to it takes a copy."""
    workspace = tmp_path_factory.mktemp("built")
    output = lugha(workspace, "build", "swahili", *TINY).stdout
    for line in output.splitlines():
        if line.startswith(("data card", "model card", "model ", "samples")):
            assert Path(line.split()[-1]).exists(), line
    return workspace
