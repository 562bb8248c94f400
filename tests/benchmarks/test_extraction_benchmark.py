"""The labels of the extraction benchmark, and what they say of ours beside plain trafilatura."""

from __future__ import annotations

from pathlib import Path

import extraction
import pytest


def test_overlap_counts_word_5_grams() -> None:
    text = "Mvua kubwa imenyesha leo mjini Dodoma na maeneo ya jirani"
    expected = extraction.grams(text)
    assert len(expected) == 6
    assert extraction.overlap(text.upper() + "!", expected) == (1, 1, 1)
    assert extraction.overlap("Mvua kubwa imenyesha leo mjini Dodoma", expected) == (1, 2 / 6, 0.5)
    assert extraction.overlap("", expected) == (0, 0, 0)


@pytest.mark.slow
def test_ours_beside_plain_trafilatura_on_labelled_pages(bundle: Path) -> None:
    pages = extraction.pages(bundle)
    labels = extraction.gold()
    known = extraction.extractors()
    assert len(labels) == 40
    labelled = [page for page in pages if page["id"] in labels]
    assert all(known["ours"](page) for page in labelled)  # none is taken for a page in another language
    precision, recall, f1 = extraction.quality(labelled, known["ours"])
    assert f1 > extraction.quality(labelled, known["trafilatura"])[2]
    assert min(precision, recall, f1) > 0.9
