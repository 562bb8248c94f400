from __future__ import annotations

import json
from pathlib import Path

import pytest
import zstandard

from lang_configs.schema import LanguageId
from tasks.annotate.language import identify
from tasks.annotate.language.confusion import beside, facts, threshold
from tasks.annotate.language.train import collect, train_own, training_windows
from tasks.core.errors import StageError
from tests.annotate.language.test_classifier import windows_of_words
from tests.annotate.language.test_language import TEXTS

LICENCES = {
    "CC0 (repository LICENSE)": True,
    "CC BY": True,
    "CC-BY-SA-4.0 (LICENSE.md)": True,
    "MIT": True,
    "Apache-2.0 (repository); Wikipedia text CC-BY-SA": True,
    "unknown (UDHR in XML project; UN text)": True,
    "CC-BY-NC": False,
    "CC BY-NC-SA": False,
    "CC-BY-ND-4.0": False,
    "GPL-3.0": False,
    "unknown": False,
    "unknown (competition data; the full dataset is CC-BY-4.0 elsewhere)": False,
    "open licence, terms not stated": False,
}


def _bundle(folder: Path, documents: list[dict[str, str]], train: list[str], test: list[str]) -> tuple[Path, Path]:
    lid, raw = folder / "lid", folder / "raw"
    lid.mkdir()
    raw.mkdir()
    (lid / "train.txt").write_text("\n".join(train), "utf-8")
    (lid / "dev.txt").write_text("")
    (lid / "test.txt").write_text("\n".join(test), "utf-8")
    (lid / "label_aliases.tsv").write_text("macro_or_variant\tindividual\tnote\nswa_Latn\tswh_Latn\tSwahili\n")
    packed = "".join(json.dumps({"source": "Hadithi", "lang_hint": "swh_Latn"} | document) + "\n" for document in documents)
    (raw / "hadithi.jsonl.zst").write_bytes(zstandard.compress(packed.encode()))
    return lid, raw


def _lines(word: str) -> list[str]:
    return [f"{word} namba {number} ya mfano huu" for number in range(25)]


@pytest.mark.parametrize("licence", LICENCES)
def test_only_text_whose_licence_permits_a_model_is_used(licence: str, tmp_path: Path) -> None:
    lines = _lines("sentensi")
    documents = [{"text": "\n".join(lines), "license": licence}, {"text": "\n".join(_lines("mstari")), "license": "CC0"}]
    lid, raw = _bundle(tmp_path, documents, [f"__label__swh_Latn {line}" for line in lines + _lines("mstari")], [])
    found = collect(lid, raw)
    used = " ".join(found.train["swh_Latn"])
    assert "mstari" in used
    assert ("sentensi" in used) == LICENCES[licence]
    assert dict(found.refused) == ({} if LICENCES[licence] else {licence: 1})
    assert (found.lines_kept, found.lines_dropped) == ((50, 0) if LICENCES[licence] else (25, 25))


def test_more_text_comes_from_documents_without_held_out_lines(tmp_path: Path) -> None:
    documents = [{"text": " ".join(_lines(word)), "license": "CC0"} for word in ("mafunzo", "jaribio", "nyongeza")]
    train = [f"__label__swa_Latn {line}" for line in _lines("mafunzo")]
    lid, raw = _bundle(tmp_path, documents, train, [f"__label__swh_Latn {_lines('jaribio')[3]}"])
    found = collect(lid, raw)
    used = " ".join(found.train["swh_Latn"])
    assert "nyongeza" in used
    assert "jaribio" not in used
    assert list(found.test) == ["swh_Latn"]


def test_training_windows_are_the_same_every_time_and_lose_some_diacritics() -> None:
    text = {"yor_Latn": ["Ọ̀pọ̀ nínú wọn ń dúró de oṣù tí ń bọ̀ kí wọ́n tó ta irè oko wọn"] * 30, "swh_Latn": _lines("mstari")}
    windows = training_windows(text)
    assert windows == training_windows(text)
    assert {line.split()[0] for line in windows} == {"__label__yor_Latn", "__label__swh_Latn"}
    assert all(3 <= len(line.split()) - 1 <= 30 for line in windows)  # too little text for short windows
    yoruba = [line for line in windows if any(word in line.split() for word in ("oṣù", "oṣu", "osu"))]
    bare = sum("oṣù" not in line.split() for line in yoruba)
    assert 0.1 < bare / len(yoruba) < 0.4


def test_a_larger_label_gets_short_windows_too() -> None:
    windows = training_windows({"swh_Latn": _lines("mstari") * 100, "yor_Latn": _lines("ọ̀rọ̀")})
    lengths = {label: [len(line.split()) - 1 for line in windows if label in line] for label in ("swh_Latn", "yor_Latn")}
    assert min(lengths["swh_Latn"]) == 1
    assert min(lengths["yor_Latn"]) >= 3


def test_a_document_in_another_language_than_its_source_says_is_left_out(tmp_path: Path) -> None:
    documents = [
        {"id": "asp-myx-0121_x", "text": " ".join(_lines("mzee")), "license": "CC0", "lang_hint": "myx_Latn"},
        {"id": "asp-myx-0122_y", "text": " ".join(_lines("mlosi")), "license": "CC0", "lang_hint": "myx_Latn"},
    ]
    lid, raw = _bundle(tmp_path, documents, [f"__label__myx_Latn {line}" for line in _lines("mzee") + _lines("mlosi")], [])
    used = " ".join(collect(lid, raw).train["myx_Latn"])
    assert "mlosi" in used
    assert "mzee" not in used


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
