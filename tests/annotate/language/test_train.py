from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from lang_configs.schema import LanguageId
from tasks.annotate.language import identify
from tasks.annotate.language.confusion import beside, facts, threshold
from tasks.annotate.language.train import train_own, training_windows
from tasks.core.errors import StageError
from tests import REPOSITORY
from tests.annotate.language.test_classifier import windows_of_words
from tests.annotate.language.test_language import TEXTS


def _lines(word: str) -> list[str]:
    return [f"{word} namba {number} ya mfano huu" for number in range(25)]


def test_training_windows_are_the_same_every_time_and_lose_some_diacritics() -> None:
    text = {"yor_Latn": ["Ọ̀pọ̀ nínú wọn ń dúró de oṣù tí ń bọ̀ kí wọ́n tó ta irè oko wọn"] * 30, "swh_Latn": _lines("mstari")}
    windows = training_windows(text, {})
    assert windows == training_windows(text, {})
    assert {line.split()[0] for line in windows} == {"__label__yor_Latn", "__label__swh_Latn"}
    assert all(3 <= len(line.split()) - 1 <= 30 for line in windows)  # too little text for short windows
    yoruba = [line for line in windows if any(word in line.split() for word in ("oṣù", "oṣu", "osu"))]
    bare = sum("oṣù" not in line.split() for line in yoruba)
    assert 0.1 < bare / len(yoruba) < 0.4


def test_a_larger_label_gets_short_windows_too() -> None:
    windows = training_windows({"swh_Latn": _lines("mstari") * 100, "yor_Latn": _lines("ọ̀rọ̀")}, {})
    lengths = {label: [len(line.split()) - 1 for line in windows if label in line] for label in ("swh_Latn", "yor_Latn")}
    assert min(lengths["swh_Latn"]) == 1
    assert min(lengths["yor_Latn"]) >= 3


def test_a_factor_multiplies_the_windows_of_its_label_alone() -> None:
    text = {"swh_Latn": _lines("mstari"), "zdj_Latn": _lines("sentensi")}
    plain, more = (Counter(line.split()[0] for line in training_windows(text, factors)) for factors in ({}, {"zdj_Latn": 4}))
    assert more["__label__zdj_Latn"] == 4 * plain["__label__zdj_Latn"]
    assert more["__label__swh_Latn"] == plain["__label__swh_Latn"]


def test_without_fasttext_one_sentence_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lines.txt").write_text("\n".join(windows_of_words(100)), "utf-8")
    monkeypatch.setitem(sys.modules, "fasttext", None)
    with pytest.raises(StageError, match=r"pip install 'lugha\[train-lid\]'") as error:
        train_own(tmp_path / "lines.txt", tmp_path / "mine.ftz")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "mine.ftz").exists()


def test_reading_a_model_needs_no_fasttext() -> None:
    program = (
        "import sys; sys.modules['fasttext'] = None\n"
        "from tasks.annotate.language import identify\n"
        f"print(identify([{TEXTS['swh_Latn']!r}])[0].label)"
    )
    assert (
        subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True).stdout == "swh_Latn\n"
    )


def test_another_table_of_aliases_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("\n".join(windows_of_words(100)), "utf-8")
    (tmp_path / "label_aliases.tsv").write_text("swa_Latn,swh_Latn\n")
    with pytest.raises(StageError, match=r"label_aliases\.tsv: its first line must be macro_or_variant"):
        train_own(tmp_path, tmp_path / "mine.ftz")


@pytest.mark.slow
def test_a_model_of_ones_own_from_fasttext_lines(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("\n".join(windows_of_words(500)), "utf-8")
    (tmp_path / "test.txt").write_text("\n".join(windows_of_words(700)[500:]), "utf-8")
    model = tmp_path / "own" / "mine.ftz"
    found = train_own(tmp_path, model)
    assert (found["labels"], found["held_out_lines"]) == (7, 200)
    assert [entry.label for entry in identify(list(TEXTS.values()), model)] == list(TEXTS)
    row = facts(model, "swh_Latn")
    assert row["known"]
    assert row["threshold"] == threshold(LanguageId(model=str(model)), "swh_Latn")
    assert "| swh_Latn |" in beside(model).with_suffix(".md").read_text()
    again = tmp_path / "again" / "mine.ftz"
    train_own(tmp_path / "train.txt", again, test=tmp_path / "test.txt")
    assert again.read_bytes() == model.read_bytes()
    assert beside(again).read_bytes() == beside(model).read_bytes()


@pytest.mark.slow
def test_without_test_lines_some_are_held_out(tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("\n".join(windows_of_words(700)), "utf-8")
    found = train_own(tmp_path / "lines.txt", tmp_path / "mine.ftz")
    assert 60 <= found["held_out_lines"] <= 80


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("__label__swh_Latn habari za leo\nhabari\n", "line 2 has no label or no text"),
        ("__label__swh_Latn\n", "line 1 has no label or no text"),
        ("__label__swh_Latn a b\n__label__swh_Latn c d\n__label__kam_Latn e f\n", "kam_Latn has a single line"),
        ("__label__swh_Latn a b\n__label__swh_Latn c d\n", "all lines have the label swh_Latn"),
        (b"__label__swh_Latn \xff\xfe\n", "cannot be read"),
    ],
)
def test_lines_that_cannot_be_used_are_one_clear_sentence(content: str | bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(StageError, match=message):
        train_own(tmp_path / "lines.txt", tmp_path / "mine.ftz")
    with pytest.raises(StageError, match="cannot be read"):
        train_own(tmp_path / "missing.txt", tmp_path / "mine.ftz")
    with pytest.raises(StageError, match=r"ends in \.ftz"):
        train_own(tmp_path / "lines.txt", tmp_path / "mine.bin")
