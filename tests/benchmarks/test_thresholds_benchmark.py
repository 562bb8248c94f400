"""Thresholds measured on real text that six tenths of junk surround do what they do on the text alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from thresholds import judge, mix

LABEL = "lug_Latn"
"""A language with long words and many stories, on which nothing was chosen."""


@pytest.mark.slow
def test_junk_moves_no_threshold(bundle: Path, tmp_path: Path) -> None:
    alone = judge(mix(bundle, LABEL, 0), LABEL, tmp_path / "alone")
    among_junk = judge(mix(bundle, LABEL, 0.6), LABEL, tmp_path / "mix")
    for found in (alone, among_junk):
        assert found.kept() >= 0.95
        assert found.kept("stories") >= 0.85
    assert among_junk.dropped() >= 0.9


@pytest.mark.slow
def test_a_hundred_documents_are_enough(bundle: Path, tmp_path: Path) -> None:
    found = judge(mix(bundle, "sna_Latn", 0.6, 100), "sna_Latn", tmp_path / "mix")
    assert found.kept() >= 0.95
    assert found.dropped() >= 0.9
