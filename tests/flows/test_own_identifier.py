"""A language that no identifier knows, from three lines of YAML and text of which a third is something else."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.dag import Made
from flows.run.build import Build
from flows.run.progress import watch
from flows.run.request import Request
from lang_configs.schema import LanguageId
from tasks.annotate.language import PACKAGED, identify_column, language, own
from tasks.annotate.language.confusion import facts
from tasks.annotate.language.own import IDENTIFIER, OwnIdentifier, identifier
from tasks.annotate.language.own.reference import drawn, frequencies_beside
from tasks.core.artifacts import Identifier
from tasks.core.documents import Document, to_table, write_table
from tasks.core.errors import StageError
from tasks.core.stage import Work
from tests.annotate.language.own.invented import RELATIVE, Language

ENGLISH = (
    "The committee said on Monday that the new road would be opened before the rains, and that the old bridge stays closed."
)


def documents(folder: Path) -> dict[str, str]:
    """First line -> kind of the document."""
    chance, language = random.Random(1), Language(1)
    relative = drawn(frequencies_beside(PACKAGED), RELATIVE, 200, np.random.default_rng(1), (40, 200))
    kinds = {}
    folder.mkdir()
    for number in range(200):
        kind = ("own", "own", "relative", "own", "own", "english", "own")[number % 7]
        others = {"relative": relative[number], "english": chance.sample(ENGLISH.split() * 3, 60)}
        words = others.get(kind) or language.document(chance).split()
        lines = [" ".join(words[at : at + 12]).capitalize() + "." for at in range(0, len(words), 12)]
        (folder / f"{number:03d}.txt").write_text("\n".join(lines), "utf-8")
        kinds[lines[0]] = kind
    return kinds


def request(folder: Path) -> Request:
    (folder / "jaribio.yaml").write_text("name: Jaribio\ncode: qaa\nscript: Latn\n")
    return Request(
        str(folder / "jaribio.yaml"),
        "starter",
        documents=[str(folder / "texts")],
        overrides=["runtime.engine=inline", "quality.min_word_order=-1"],  # the words of made languages stand in no order
        workspace=folder / "w",
        until="corpus",
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Made, dict[str, str]]:
    folder = tmp_path_factory.mktemp("own")
    kinds = documents(folder / "texts")
    return Build(request(folder), watch).all(), kinds


def test_the_language_is_kept_and_the_rest_is_not(built: tuple[Made, dict[str, str]]) -> None:
    made, kinds = built
    texts = [text for path in made["corpus"].folder.glob("*.parquet") for text in pq.read_table(path)["text"].to_pylist()]
    kept = Counter(kinds[text.partition("\n")[0]] for text in texts)
    assert kept["own"] >= 0.95 * list(kinds.values()).count("own")
    assert kept["own"] >= 0.98 * kept.total(), kept


def test_the_card_says_what_the_identifier_was_made_from(built: tuple[Made, dict[str, str]]) -> None:
    card = (built[0]["cards"].folder / "data_card.md").read_text("utf-8")
    assert "The packaged identifier does not know qaa\\_Latn, so one was made for this run from " in card.replace(
        "qaa_", "qaa\\_"
    )
    assert built[0]["identifier"].headline.endswith(" vouched documents in qaa_Latn")


def test_too_little_text_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    for number in range(9):
        (tmp_path / "texts" / f"{number}.txt").write_text(Language(1).document(random.Random(number)), "utf-8")
    with pytest.raises(
        StageError, match=r"identifier: qaa_Latn is to be learned .* only 9 different documents of 5 words or more"
    ):
        Build(request(tmp_path), watch).all()


def test_text_in_another_script_is_not_the_language_s(tmp_path: Path) -> None:
    documents(tmp_path / "texts")
    asked = request(tmp_path)
    (tmp_path / "jaribio.yaml").write_text("name: Jaribio\ncode: qaa\nscript: Arab\n")
    with pytest.raises(StageError, match=r"only 0 different documents .* in the script Arab"):
        Build(replace(asked, workspace=tmp_path / "w2"), watch).all()


def test_too_little_text_of_a_label_that_is_known_is_left_to_the_packaged_identifier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = np.random.default_rng(1)
    texts = [" ".join(words) for words in drawn(frequencies_beside(PACKAGED), "zul_Latn", 9, chance, (40, 200))]
    for name in ("clean", "identifier", "language"):
        (tmp_path / name).mkdir()
    write_table(to_table(Document(text, "shelf") for text in texts), tmp_path / "clean" / "a.parquet")
    inputs = {"clean": tmp_path / "clean"}
    found = identifier(inputs, OwnIdentifier(label="zul_Latn", trusted=("shelf",)), tmp_path / "identifier", Work())
    assert IDENTIFIER.headline(found) == "9 vouched documents are too few to learn zul_Latn from"
    inputs["identifier"] = tmp_path / "identifier"
    metrics = language(inputs, LanguageId(label="zul_Latn"), tmp_path / "language", Work())
    assert metrics["labels"]["zul_Latn"] >= 8
    assert metrics["identification"] == facts(PACKAGED, "zul_Latn")

    monkeypatch.setattr(own, "MOST_BYTES", sum(map(len, texts)) // 3 + 1)  # of much text every so many documents are read
    assert identifier(inputs, OwnIdentifier(label="zul_Latn", trusted=("shelf",)), tmp_path, Work())["documents"] == 3


def test_a_label_that_was_learned_is_not_held_against_the_packaged_words(tmp_path: Path) -> None:
    """Of Xhosa documents that were surely recognised, half were dropped for want of words of a list made from little text."""
    chance = np.random.default_rng(2)
    texts = [" ".join(words) for words in drawn(frequencies_beside(PACKAGED), "xho_Latn", 60, chance, (40, 200))]
    (tmp_path / "clean").mkdir()
    write_table(to_table(Document(text, "shelf") for text in texts), tmp_path / "clean" / "a.parquet")
    (tmp_path / "out").mkdir()
    config = OwnIdentifier(label="xho_Latn", trusted=("shelf",))
    found = identifier({"clean": tmp_path / "clean"}, config, tmp_path / "out", Work())
    assert found["taken"] >= 55
    assert found["packaged"]
    learned = identify_column(pa.array(texts), own=str(Identifier(tmp_path / "out").model))
    packaged = identify_column(pa.array(texts))
    for table, listed in ((learned, False), (packaged, True)):
        rows = [row for row in table.to_pylist() if row["label"] == "xho_Latn"]
        assert len(rows) >= 20
        assert all((row["affinity"] is not None) == listed for row in rows)
