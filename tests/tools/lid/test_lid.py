from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

from tasks.annotate.language import identify
from tasks.annotate.language.confusion import beside
from tasks.annotate.language.words import list_sizes
from tasks.core.files import sha256
from tests import REPOSITORY
from tests.annotate.language.test_language import TEXTS
from tools.lid.bundle import collect

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


def test_a_document_in_another_language_than_its_source_says_is_left_out(tmp_path: Path) -> None:
    documents = [
        {"id": "asp-myx-0121_x", "text": " ".join(_lines("mzee")), "license": "CC0", "lang_hint": "myx_Latn"},
        {"id": "asp-myx-0122_y", "text": " ".join(_lines("mlosi")), "license": "CC0", "lang_hint": "myx_Latn"},
    ]
    lid, raw = _bundle(tmp_path, documents, [f"__label__myx_Latn {line}" for line in _lines("mzee") + _lines("mlosi")], [])
    used = " ".join(collect(lid, raw).train["myx_Latn"])
    assert "mlosi" in used
    assert "mzee" not in used


def _shuffled(label: str, number: int) -> list[str]:
    """Lines of the words of the text in this language."""
    chance = random.Random(f"{label}{number}")
    words = TEXTS.get(label, TEXTS["swh_Latn"].replace("wa", "ha").replace("ni", "wo")).split()
    return [" ".join(chance.sample(words, 8)) for _ in range(number)]


@pytest.mark.slow
def test_the_program_makes_a_model_its_tables_and_a_card_that_describes_it(tmp_path: Path) -> None:
    lid, raw, out = tmp_path / "lid", tmp_path / "raw", tmp_path / "out"
    lid.mkdir()
    raw.mkdir()
    documents, lines = [], {"train": [], "dev": [], "test": []}
    for label in (*TEXTS, "swb_Latn", "zdj_Latn"):
        texts = _shuffled(label, 1560)
        documents += [{"lang_hint": label, "text": "\n".join(texts[:1500]), "license": "CC0", "source": "Hadithi", "id": label}]
        for split, first, last in (("train", 0, 1500), ("dev", 1500, 1530), ("test", 1530, 1560)):
            lines[split] += [f"__label__{label} {line}" for line in texts[first:last]]
    held_back = {"license": "CC-BY-NC", "lang_hint": "swh_Latn", "source": "Hadithi", "text": TEXTS["swh_Latn"]}
    for name, rows in {
        "hadithi": documents,
        "masakhanews": [{**held_back, "id": f"news-{label}", "lang_hint": label, "text": TEXTS[label]} for label in TEXTS],
        "african_storybook": [{**held_back, "id": "asp-sw-0001_hadithi"}],
    }.items():
        packed = "".join(json.dumps(row) + "\n" for row in rows)
        (raw / f"{name}.jsonl.zst").write_bytes(zstandard.compress(packed.encode()))
    for split, found in lines.items():
        (lid / f"{split}.txt").write_text("\n".join(found), "utf-8")
    (lid / "label_aliases.tsv").write_text("macro_or_variant\tindividual\tnote\n")
    program = [sys.executable, "-m", "tools.lid", "--lid", lid, "--raw", raw, "--out", out]
    subprocess.run(program, cwd=REPOSITORY, check=True)
    model, card = out / "lid.ftz", (out / "lid_card.md").read_text("utf-8")
    assert [entry.label for entry in identify(list(TEXTS.values()), model)] == list(TEXTS)
    assert sha256(model) in card
    assert "`lid.ftz` tells 9 languages apart" in card
    assert "| Hadithi | CC0 | 9 | 9 |" in card
    assert "| CC-BY-NC | 8 |" in card
    assert "asp-sw-0001_hadithi" in card
    assert set(json.loads(beside(model).read_text())["labels"]) == {*TEXTS, "swb_Latn", "zdj_Latn"}
    assert "swh_Latn" in list_sizes(model)


def test_the_committed_card_is_of_the_committed_template() -> None:
    """Sentences of the template that hold no figure stand in the card."""
    template = (REPOSITORY / "tools" / "lid" / "card.md.j2").read_text("utf-8").splitlines()
    card = (REPOSITORY / "tasks" / "annotate" / "language" / "lid_card.md").read_text("utf-8").splitlines()
    fixed = [line for line in template if line and "{" not in line]
    assert len(fixed) > 30
    assert [line for line in fixed if line not in card] == []
