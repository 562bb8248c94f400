"""The corpus on which tokenizers and models are compared: clean, without repetition, nothing held out in the training text."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import zstandard
from training_corpus import ARTICLES, TRANSLATED, corpus


def write(bundle: Path, name: str, texts: list[str]) -> None:
    folder = bundle / "raw" / "swahili"
    folder.mkdir(parents=True, exist_ok=True)
    with zstandard.open(folder / f"{name}.jsonl.zst", "wt", encoding="utf-8") as rows:
        rows.writelines(json.dumps({"text": text}) + "\n" for text in texts)


def test_lines_and_headlines_are_there_once_and_a_copied_sentence_only_in_what_is_held_out(tmp_path):
    write(tmp_path, TRANSLATED, [f"mstari  wa {i // 2}\n\nna huu wa\u0301 {i}\u00a0" for i in range(400)])
    copied = "Sentensi hii ndefu imo katika makala zote za gazeti hili."
    for name in ARTICLES:
        write(tmp_path, name, [f"Kichwa {i}\n{copied} Habari {name} {i}.\nMwisho wa {i}" for i in range(400)])
    train, validation, test = corpus(tmp_path)
    assert corpus(tmp_path) == (train, validation, test)
    lines = [line for text in train + validation + test for line in text.split("\n")]
    assert len([line for line in lines if line.startswith("mstari")]) == 200
    assert len([line for line in lines if line.startswith("Kichwa")]) == 400
    assert "na huu w\u00e1 7" in lines  # NFC, and one blank for any white space
    assert not any(copied in text for text in train)
    assert any(copied in text for text in validation + test)
    assert 8 <= len(validation + test) <= 40


def test_the_real_corpus_has_the_stated_size(bundle):
    train, validation, test = corpus(bundle)
    assert 8_000_000 < sum(len(text.encode()) for text in train) < 8_200_000
    for held_out in (validation, test):
        assert 170_000 < sum(len(text.encode()) for text in held_out) < 270_000
    assert all(unicodedata.is_normalized("NFC", text) and "  " not in text for text in train + validation + test)
    assert len({*train, *validation, *test}) == len(train) + len(validation) + len(test)
