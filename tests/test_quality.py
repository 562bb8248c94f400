"""Quality signals against a plain reference, on any text and on real documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipeline import rows, run, texts

from tasks.characters import DIGIT, LETTER, SPACE, STOP, SYMBOL, TABLE_SIZE, classes
from tasks.quality import SIGNALS, QualitySignals, measure, quality

NEWS = (
    "Wakazi wa Mtwara walikutana jana kujadili bei ya korosho. “Tumevuna tani 40,” alisema Bi Asha.\nMkutano uliisha saa kumi!"
)
ETHIOPIC = "ሰላም ለዓለም ሁሉ። እንዴት ነህ?"


def kind(character: str) -> int:
    return int(classes()[ord(character)]) if ord(character) < TABLE_SIZE else LETTER


def reference(text: str) -> dict[str, float]:
    """The signals as their docstring words them, character by character."""
    words, word = [], ""
    for character in text + " ":
        if kind(character) in (LETTER, DIGIT):
            word += character
        elif word:
            words.append(word)
            word = ""
    visible = [character for character in text if kind(character) != SPACE]
    lines = ["".join(c for c in line if kind(c) != SPACE) for line in text.split("\n")]
    lines = [line for line in lines if line]
    window = words[:1000]
    share = {
        name: sum(kind(c) == k for c in visible) / max(1, len(visible))
        for name, k in (("letters", LETTER), ("digits", DIGIT), ("symbols", SYMBOL))
    }
    stops = sum(kind((line.rstrip("\"')”’»") or line)[-1]) == STOP for line in lines)
    repeated = sum(len(line) for number, line in enumerate(lines) if line in lines[:number])
    return {
        "words": len(words),
        "mean_word_length": sum(map(len, words)) / max(1, len(words)),
        **share,
        "unique_words": len(set(window)) / max(1, len(window)),
        "top_word": max((window.count(w) for w in set(window)), default=0) / max(1, len(window)),
        "lines": len(lines),
        "stop_lines": stops / max(1, len(lines)),
        "bullet_lines": sum(line[0] in "*-•●▪·–" for line in lines) / max(1, len(lines)),
        "repeated_lines": repeated / max(1, len(visible)),
    }


def signals(*items: str) -> list[dict[str, Any]]:
    return [dict(zip(SIGNALS, row.tolist(), strict=True)) for row in measure(pa.array(items, pa.string()))]


@pytest.mark.parametrize(
    "text", ["", " \n ", NEWS, ETHIOPIC, "- moja\n- mbili\n- moja\n- moja", "a b a b a b 1 2 | # {x}", "Ng'ombe wangu."]
)
def test_signals_of_known_texts(text: str) -> None:
    assert signals(text)[0] == pytest.approx(reference(text), abs=1e-5)


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=120), min_size=1, max_size=5))
def test_signals_of_any_texts(items: list[str]) -> None:
    for text, found in zip(items, signals(*items), strict=True):
        # a line of nothing but closing quotes has no last character of its own; any answer will do
        expected = reference(text)
        if any(line and not line.strip("\"')”’» \t") for line in text.split("\n")):
            expected["stop_lines"] = found["stop_lines"]
        assert found == pytest.approx(expected, abs=1e-5)


def test_the_stage_writes_one_row_per_document(tmp_path: Path) -> None:
    documents = texts(tmp_path / "documents", NEWS, ETHIOPIC, "x" * 5000, shard_bytes=100)
    assert len(list(documents.glob("*.parquet"))) > 1
    assert run(quality, tmp_path / "out", QualitySignals(), {"clean": documents}) == {"documents": 3}
    assert [row["id"] for row in rows(tmp_path / "out")] == [row["id"] for row in rows(documents)]
    assert [row["words"] for row in rows(tmp_path / "out")] == [reference(NEWS)["words"], 5, 1]
