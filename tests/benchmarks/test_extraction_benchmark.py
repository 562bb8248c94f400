"""The labels of the extraction benchmark, and what they say of ours beside plain trafilatura."""

from __future__ import annotations

from pathlib import Path

import extraction
import extraction_labels
import numpy as np
import pytest
from extraction_labels import blocks, chosen, labelled, main_text


def test_overlap_counts_word_5_grams() -> None:
    text = "Mvua kubwa imenyesha leo mjini Dodoma na maeneo ya jirani"
    expected = extraction.grams(text)
    assert len(expected) == 6
    assert extraction.overlap(text.upper() + "!", expected) == (1, 1, 1)
    assert extraction.overlap("Mvua kubwa imenyesha leo mjini Dodoma", expected) == (1, 2 / 6, 0.5)
    assert extraction.overlap("", expected) == (0, 0, 0)


def test_blocks_are_what_lies_between_block_elements() -> None:
    page = (
        "<html><body><nav><a href=/>Nyumbani</a></nav><main class='kuu x'><h1>Mvua <em>kubwa</em></h1>Imenyesha<br>leo"
        "<script>x()</script><ul><li>moja<li>mbili</ul> jioni</main></body>"
    )
    found = blocks(page)
    assert [block.text for block in found] == ["Nyumbani", "Mvua kubwa", "Imenyesha", "leo", "moja", "mbili", "jioni"]
    assert found[1].where == "html body main.kuu h1"


def test_labels_are_of_sixty_fresh_pages_and_of_the_pages_of_the_bundle(bundle: Path) -> None:
    labels, found = labelled(), chosen(bundle)
    assert len(labels) == 60
    assert [page["id"] for page in found] == list(labels)
    assert not set(labels) & set(extraction.gold())
    for page in found:
        numbers = [number for run in labels[page["id"]]["main"] for number in run]
        assert numbers == sorted(numbers)
        assert not numbers or numbers[-1] < len(blocks(page["html"]))
        main_text(page)  # raises ValueError for another page
    with pytest.raises(ValueError, match="another page than the one that was labelled"):
        main_text({**found[0], "html": found[0]["html"] + " "})


def test_differences_are_between_the_same_pages_and_sites_are_drawn_whole() -> None:
    ours, theirs = np.array([0.9, 0.9, 0.5, 0.5]), np.array([0.8, 0.8, 0.6, 0.6])
    low, high = extraction.difference(ours, theirs, ["a", "a", "b", "b"])
    assert (low, high) == (pytest.approx(-0.1), pytest.approx(0.1))
    assert extraction.difference(ours, ours, ["a", "a", "b", "b"]) == (0, 0)


@pytest.mark.slow
def test_ours_beside_plain_trafilatura_on_labelled_pages(bundle: Path) -> None:
    pages = extraction_labels.pages(bundle)
    known, labels = extraction.extractors(), extraction.gold()
    assert len(labels) == 40
    ours = extraction.scores(pages, labels, known["ours"])
    assert (ours[:, 2] > 0).all()  # none is taken for a page in another language
    assert ours[:, 2].mean() > extraction.scores(pages, labels, known["trafilatura"])[:, 2].mean()
    assert ours.mean(0).min() > 0.9
