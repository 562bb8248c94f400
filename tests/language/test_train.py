from __future__ import annotations

import json
from pathlib import Path

import pytest
import zstandard

from tasks.language.train import collect, training_windows

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
    assert all(3 <= len(line.split()) - 1 <= 30 for line in windows)
    yoruba = [line for line in windows if any(word in line.split() for word in ("oṣù", "oṣu", "osu"))]
    bare = sum("oṣù" not in line.split() for line in yoruba)
    assert 0.1 < bare / len(yoruba) < 0.4
