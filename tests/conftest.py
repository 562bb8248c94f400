"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

BUNDLE = Path(os.environ.get("LUGHA_BUNDLE", Path(__file__).parent.parent.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def bundle() -> Path:
    """The folder of real text for development; a test that needs it is skipped where it is absent."""
    if not (BUNDLE / "raw").is_dir():
        pytest.skip("the data bundle is not here (set LUGHA_BUNDLE)")
    return BUNDLE
