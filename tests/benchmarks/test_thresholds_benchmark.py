"""Thresholds measured on real text that six tenths of junk surround do what they do on the text alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from thresholds import judge, mix


@pytest.mark.slow
def test_junk_moves_no_threshold(bundle: Path, tmp_path: Path) -> None:
    alone, among_junk = judge(mix(bundle, 0, 800), tmp_path / "alone"), judge(mix(bundle, 0.6, 2000), tmp_path / "mix")
    assert alone.text > 0.93
    assert among_junk.text > alone.text - 0.03
    assert among_junk.junk > 0.85
    assert {kind: share for kind, share in among_junk.dropped.items() if share < 0.6} == {}
    assert among_junk.found["loose"] <= 6
