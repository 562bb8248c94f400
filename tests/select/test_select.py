"""One decision for every document, the first reason that fits; and a split that keeps families together."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lang_configs.schema import Corpus, Quality, Select
from tasks.core.documents import write_table
from tasks.core.engines import make_engine
from tasks.core.errors import StageError
from tasks.core.stage import Work
from tasks.corpus import corpus
from tasks.select import select
from tasks.select.rules import rules
from tests.pipeline import publish, rows, run, texts
from tests.select.judged import config, decisions, world


@pytest.mark.parametrize(
    ("note", "expected"),
    [
        ({}, "keep"),
        ({"item": "news/test/3", "words": 0, "label": "eng_Latn"}, "contamination"),
        ({"words": 0}, "empty"),
        ({"label": "eng_Latn", "words": 3}, "language"),
        ({"score": 0.4}, "language_score"),
        ({"affinity": 0.01, "score": 0.9}, "language_affinity"),
        ({"affinity": 0.01, "score": 0.98}, "keep"),
        ({"affinity": None, "score": 0.9}, "keep"),
        ({"line_share": 0.1}, "language_lines"),
        ({"line_share": None}, "keep"),
        ({"words": 19}, "quality_min_words"),
        ({"words": 200_001}, "quality_max_words"),
        ({"mean_word_length": 1.4}, "quality_min_mean_word_length"),
        ({"mean_word_length": 21}, "quality_max_mean_word_length"),
        ({"letters": 0.5}, "quality_min_letters"),
        ({"digits": 0.4}, "quality_max_digits"),
        ({"symbols": 0.2}, "quality_max_symbols"),
        ({"alpha_words": 0.5}, "quality_min_alpha_words"),
        ({"capital_words": 0.99}, "quality_max_capital_words"),
        ({"punctuation": 1.5}, "quality_max_punctuation"),
        ({"hash_words": 0.3}, "quality_max_hash_words"),
        ({"ellipsis_words": 0.3}, "quality_max_ellipsis_words"),
        ({"unique_words": 0.05}, "quality_min_unique_words"),
        ({"top_word": 0.5}, "quality_max_top_word"),
        ({"bullet_lines": 0.96}, "quality_max_bullet_lines"),
        ({"short_lines": 1.0, "stop_lines": 0.0, "ellipsis_lines": 1.0}, "keep"),
        ({"newlines": 1.5}, "quality_max_newlines"),
        ({"duplicate_lines": 0.6}, "quality_max_duplicate_lines"),
        ({"duplicate_line_characters": 0.6}, "quality_max_duplicate_line_characters"),
        ({"duplicate_paragraphs": 0.6}, "quality_max_duplicate_paragraphs"),
        ({"duplicate_paragraph_characters": 0.6}, "quality_max_duplicate_paragraph_characters"),
        ({"top_2_grams": 0.5, "top_3_grams": 0.5}, "quality_max_top_2_grams"),
        ({"top_4_grams": 0.5}, "quality_max_top_4_grams"),
        ({"duplicate_5_grams": 0.5, "duplicate_6_grams": 0.4}, "quality_max_duplicate_5_grams"),
        ({"duplicate_10_grams": 0.3}, "quality_max_duplicate_10_grams"),
        ({"function_words": 0.01}, "quality_min_function_words"),
        ({"word_order": -0.1}, "quality_min_word_order"),
        ({"function_words": None, "word_order": None}, "keep"),
    ],
)
def test_the_first_reason_that_fits_decides(tmp_path: Path, note: dict[str, Any], expected: str) -> None:
    assert decisions(tmp_path, [note])[0]["decision"] == expected


def test_every_threshold_of_the_config_is_used() -> None:
    named = {str(rule.threshold) for rule in rules(config().annotations)}
    assert {f"${name}" for name in Quality.model_fields} <= named


def test_a_copy_outlives_an_original_with_a_fault(tmp_path: Path) -> None:
    notes = [{"words": 5}, {"of": 0, "kind": "exact"}, {"of": 0}, {}, {"of": 3, "kind": "exact"}]
    found = [row["decision"] for row in decisions(tmp_path, notes)[:5]]
    assert found == ["quality_min_words", "keep", "near_duplicate", "keep", "exact_duplicate"]


def test_weights_of_sources(tmp_path: Path) -> None:
    kept = decisions(tmp_path / "a", [{}], Select(sources={"test": 2.5}))
    assert {row["weight"] for row in kept if row["split"] == "train"} == {2.5}
    assert {row["weight"] for row in kept if row["split"] == "validation"} == {1.0}
    with pytest.raises(
        StageError, match=r"all 201 documents were dropped \(source 201; labels found: swh_Latn 201\); correct what"
    ):
        decisions(tmp_path / "b", [{}], Select(sources={"test": 0.0}))


def test_rows_in_are_rows_kept_and_dropped_in_order(tmp_path: Path) -> None:
    inputs = world(tmp_path, [{"words": number % 40} for number in range(400)], shard_bytes=20_000)
    metrics = run(select, tmp_path / "out", config(), inputs)
    found = rows(tmp_path / "out")
    assert [row["id"] for row in found] == [row["id"] for row in rows(inputs["clean"])]
    assert sum(entry["documents"] for entry in metrics["decisions"]) == metrics["documents"] == 400
    assert Counter(row["decision"] for row in found) == {e["decision"]: e["documents"] for e in metrics["decisions"]}
    assert all((row["split"] is None) == (row["decision"] != "keep") for row in found)


def test_related_documents_stay_on_one_side_and_the_split_has_its_size(tmp_path: Path) -> None:
    notes = [{"related": number - number % 4} for number in range(2000)]
    inputs = world(tmp_path, notes)
    metrics = run(select, tmp_path / "out", config(Select(validation=0.05)), inputs)
    sides: dict[bytes, set[str]] = {}
    for row in rows(tmp_path / "out"):
        sides.setdefault(row["related"], set()).add(row["split"])
    assert all(len(side) == 1 for side in sides.values())
    share = metrics["splits"]["validation"]["bytes"] / sum(side["bytes"] for side in metrics["splits"].values())
    assert 0.03 < share <= 0.05


def test_a_large_family_does_not_fill_the_validation_set(tmp_path: Path) -> None:
    notes = [{"related": 0} for _ in range(300)] + [{} for _ in range(300)]
    inputs = world(tmp_path, notes)
    run(select, tmp_path / "out", config(Select(validation=0.1)), inputs)
    assert {row["split"] for row in rows(tmp_path / "out")[:300]} == {"train"}


def test_the_corpus_is_what_was_kept(tmp_path: Path) -> None:
    inputs = world(tmp_path, [{"words": 5 if number % 3 else 100} for number in range(300)], shard_bytes=20_000)
    folder, _ = publish(select, tmp_path / "w", config(), inputs)
    metrics = run(corpus, tmp_path / "corpus", Corpus(), {"clean": inputs["clean"], "select": folder})
    split = {row["id"]: row["split"] for row in rows(folder)}
    texts_of = {row["id"]: row["text"] for row in rows(inputs["clean"])}
    found = rows(tmp_path / "corpus")
    assert {row["id"] for row in found} == {identity for identity, side in split.items() if side}
    assert all(row["text"] == texts_of[row["id"]] for row in found)
    for side in ("train", "validation"):
        documents = [
            row for path in sorted((tmp_path / "corpus").glob(f"{side}-*")) for row in pa.parquet.read_table(path).to_pylist()
        ]
        assert {split[row["id"]] for row in documents} == {side}
        assert metrics[f"{side}_documents"] == len(documents)
        assert metrics[f"{side}_bytes"] == sum(row["bytes"] for row in documents)


def test_a_limit_on_a_source_keeps_a_fixed_choice_of_its_text(tmp_path: Path) -> None:
    found = decisions(tmp_path / "a", [{} for _ in range(100)], Select(source_bytes={"test": 40_000}))
    kept = sum(row["bytes"] for row in found if row["decision"] == "keep")
    assert 39_000 < kept <= 40_000
    assert {row["decision"] for row in found} == {"keep", "source_limit"}
    chosen = {row["id"] for row in found if row["decision"] == "keep"}
    less = decisions(tmp_path / "b", [{} for _ in range(100)], Select(source_bytes={"test": 20_000}))
    assert {row["id"] for row in less if row["decision"] == "keep"} < chosen


def test_documents_that_stand_for_many_copies_weigh_more(tmp_path: Path) -> None:
    notes = [{}, {"of": 0}, {}, *({"of": 2} for _ in range(5)), {}]
    found = decisions(tmp_path, notes, Select(rehydration={2: 1.5, 5: 3.0}, sources={"test": 2.0}, validation=0.0001))
    assert found[0]["decision"] == "keep"
    weights = [row["weight"] for row in found[: len(notes)] if row["decision"] == "keep" and row["split"] == "train"]
    assert weights == [3.0, 6.0, 2.0]


LONG = "Wakazi wa Mtwara walikutana jana kujadili bei ya korosho, na mkutano uliendelea hadi saa kumi jioni bila mapumziko."


@pytest.mark.parametrize("workers", [1, 2])
def test_repeated_paragraphs_are_kept_once(tmp_path: Path, workers: int) -> None:
    other = LONG.replace("korosho", "mahindi")
    items = [f"Kwanza\n{LONG}", f"{LONG.upper()}\nfupi\n{other}", LONG, f"fupi\n{other}\nfupi", "fupi"]
    clean = texts(tmp_path / "clean", *items, shard_bytes=150)
    assert len(list(clean.glob("*.parquet"))) > 2
    table = [{"id": row["id"], "decision": "keep", "split": "train", "weight": 1.0} for row in rows(clean)]
    (tmp_path / "select").mkdir()
    write_table(pa.Table.from_pylist(table, schema=DECISIONS), tmp_path / "select" / "decisions.parquet")
    inputs = {"clean": clean, "select": tmp_path / "select"}
    work = Work(make_engine("processes", workers))
    metrics = run(corpus, tmp_path / "out", Corpus(drop_repeated_paragraphs=True), inputs, work)
    assert [row["text"] for row in rows(tmp_path / "out")] == [f"Kwanza\n{LONG}", f"fupi\n{other}", LONG, "fupi\nfupi", "fupi"]
    assert [row["bytes"] for row in rows(tmp_path / "out")] == [len(row["text"].encode()) for row in rows(tmp_path / "out")]
    assert metrics["repeated_paragraphs"] == 2
    assert metrics["train_documents"] == 5


DECISIONS = pa.schema([("id", pa.binary(16)), ("decision", pa.string()), ("split", pa.string()), ("weight", pa.float64())])


def test_a_corpus_of_nearly_nothing_is_a_mistake(tmp_path: Path) -> None:
    notes = [{"label": "sna_Latn" if number < 300 else "nya_Latn"} for number in range(310)]
    with pytest.raises(StageError) as error:
        run(select, tmp_path / "out", config(), world(tmp_path, [*notes, {}]))
    said = str(error.value)
    assert said.startswith("select: all but 1 of 311 documents were dropped (language 310; ")
    assert "labels found: sna_Latn 300, " in said
    assert "`trusted: true`" in said
