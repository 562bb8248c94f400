"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests import REPOSITORY

os.environ.setdefault("OMP_NUM_THREADS", "1")  # models this small are no faster on more threads, and two tests run at a time
settings.register_profile("thorough", max_examples=5_000, deadline=None)  # a search by hand, not for every run

BUNDLE = Path(os.environ.get("LUGHA_BUNDLE", REPOSITORY.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def bundle() -> Path:
    """The folder of real text for development; a test that needs it is skipped where it is absent, but where it is named."""
    if not (BUNDLE / "raw").is_dir():
        if "LUGHA_BUNDLE" in os.environ:
            pytest.fail(f"{BUNDLE}: LUGHA_BUNDLE names no data bundle")
        pytest.skip("the data bundle is not here (set LUGHA_BUNDLE)")
    return BUNDLE
