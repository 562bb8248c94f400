"""8 MB of Swahili news and scripture on which tokenizers and models are compared, split for training, validation and test."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import zstandard

TRANSLATED = "lafand_mt_train"
"""News of lafand-mt (Adelani et al. 2022), line by line as translators got it; the lines of an article are neighbours."""
ARTICLES = ("masakhanews_fewshot_train", "CONTAMINATED_masakhanews_dev_test", "bible_nt_cc0")
"""Whole texts: articles of MasakhaNEWS (Adelani et al. 2023), of which the first line is the headline, and chapters."""
BLOCK_LINES = 40
"""Lines of `TRANSLATED` that make one document."""
HELD_OUT = 0.05
"""Share of the documents held out: half for validation, on which recipes are chosen, half for test, which figures are of."""
SENTENCE_WORDS = 8
"""A sentence of so many words that stands in two documents was copied; a shorter one may be a phrase of the language."""


def corpus(bundle: Path) -> tuple[list[str], list[str], list[str]]:
    """Documents for training (about 8.1 MB), validation and test (about .22 MB each), always in the same order.

    `bundle` holds raw/swahili/*.jsonl.zst. The text is NFC, white space is single blanks and line breaks; no line of the
    translated news, no headline and no whole text is there twice. A hash of a document decides whether it is held out
    (5 %), and a training line that holds a sentence of a held-out document is left out, so that none is learned from.
    Raises `FileNotFoundError` where the bundle lacks a file.
    """
    documents = dict.fromkeys(_documents(bundle / "raw" / "swahili"))
    validation, test = ([text for text in documents if low <= _lot(text) < low + HELD_OUT / 2] for low in (0, HELD_OUT / 2))
    held_out = {sentence for text in validation + test for sentence in _sentences(text)}
    cleared = (_without(text, held_out) for text in documents if _lot(text) >= HELD_OUT)
    return [text for text in cleared if text], validation, test


def _documents(folder: Path) -> Iterator[str]:
    lines = list(dict.fromkeys(line for text in _texts(folder, TRANSLATED) for line in text.split("\n")))
    yield from ("\n".join(lines[start : start + BLOCK_LINES]) for start in range(0, len(lines), BLOCK_LINES))
    first_lines: set[str] = set()
    for name in ARTICLES:
        for text in _texts(folder, name):
            if (first := text.split("\n", 1)[0]) not in first_lines:
                first_lines.add(first)
                yield text


def _texts(folder: Path, name: str) -> Iterator[str]:
    with zstandard.open(folder / f"{name}.jsonl.zst", "rt", encoding="utf-8") as rows:
        for row in rows:
            lines = (" ".join(line.split()) for line in unicodedata.normalize("NFC", json.loads(row)["text"]).split("\n"))
            if text := "\n".join(line for line in lines if line):
                yield text


def _lot(text: str) -> float:
    """A number from 0 to 1 that a text always draws."""
    return int.from_bytes(hashlib.md5(text.encode(), usedforsecurity=False).digest()[:8], "big") / 2**64


def _sentences(text: str) -> Iterator[str]:
    return (found for found in re.split(r"(?<=[.!?])\s+|\n", text) if found.count(" ") >= SENTENCE_WORDS - 1)


def _without(text: str, sentences: set[str]) -> str:
    return "\n".join(line for line in text.split("\n") if sentences.isdisjoint(_sentences(line)))
