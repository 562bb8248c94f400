"""Thresholds that the config leaves open: measured within bounds, and shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from lang_configs.schema import Quality
from tasks.select import select
from tasks.select.thresholds import BOUNDS, LEAST_DOCUMENTS, LEAST_TRUSTED, TAIL, resolve
from tests.pipeline import rows, run
from tests.select.judged import config, world


def thresholds(folder: Path, notes: list[dict[str, Any]], **stated: float) -> dict[str, dict[str, Any]]:
    inputs = world(folder, notes, length=40)
    return {row["name"]: row for row in run(select, folder / "out", config(**stated), inputs)["thresholds"]}


def spread(number: int = LEAST_DOCUMENTS, **ranges: tuple[float, float]) -> list[dict[str, Any]]:
    """Documents whose signals are evenly spread over a range."""
    return [{name: low + (high - low) * i / (number - 1) for name, (low, high) in ranges.items()} for i in range(number)]


def test_a_quantile_between_the_bounds_is_the_threshold(tmp_path: Path) -> None:
    loose, tight = BOUNDS["max_duplicate_5_grams"]
    found = thresholds(tmp_path, spread(1000, duplicate_5_grams=(0.0, (loose + tight) / 2)))["max_duplicate_5_grams"]
    assert (found["how"], found["documents"], found["quantile"]) == ("measured", 1000, 1 - TAIL)
    assert found["value"] == found["measured"] == pytest.approx((loose + tight) / 2 * (1 - TAIL), abs=1e-4)
    dropped = [row for row in rows(tmp_path / "out") if row["decision"] == "quality_max_duplicate_5_grams"]
    assert len(dropped) == 5


@pytest.mark.parametrize("name", BOUNDS)
def test_the_bounds_hold_whatever_the_corpus_is(tmp_path: Path, name: str) -> None:
    loose, tight = BOUNDS[name]
    kind, _, signal = name.partition("_")
    assert (loose < tight) == (kind == "min")
    assert loose != tight
    worse = loose - 1 if kind == "min" else loose + 1
    better = tight + 1 if kind == "min" else tight - 1
    # a fifth junk (in documents that are kept for the split's sake by nothing else) and none at all
    dirty = thresholds(tmp_path / "dirty", [{signal: worse} if i % 5 == 0 else {} for i in range(LEAST_DOCUMENTS)])[name]
    clean = thresholds(tmp_path / "clean", [{signal: better} for _ in range(LEAST_DOCUMENTS)])[name]
    assert (dirty["how"], dirty["value"]) == ("loose", loose)
    assert (clean["how"], clean["value"]) == ("tight", tight)


def test_a_small_corpus_gets_the_loose_bounds_and_stated_ones_stay(tmp_path: Path) -> None:
    found = thresholds(tmp_path, [{} for _ in range(LEAST_DOCUMENTS - 1)], min_letters=0.9)
    assert found["min_letters"] == found["min_letters"] | {"value": 0.9, "how": "config", "measured": None}
    assert found["max_symbols"]["value"] == BOUNDS["max_symbols"][0]
    assert (found["max_symbols"]["how"], found["max_symbols"]["measured"]) == ("too little text", None)
    assert set(BOUNDS) == {name for name, value in Quality().model_dump().items() if value is None}


def test_other_languages_and_copies_are_not_measured(tmp_path: Path) -> None:
    junk = [{"label": "eng_Latn", "symbols": 0.5}, {"score": 0.6, "symbols": 0.5}, {"of": 0, "kind": "exact", "symbols": 0.5}]
    found = thresholds(tmp_path, [{}, *junk * 100, *({} for _ in range(LEAST_DOCUMENTS))])["max_symbols"]
    assert (found["how"], found["measured"], found["documents"]) == ("tight", 0.0, LEAST_DOCUMENTS + 1)


def test_text_without_measured_usage_is_judged_by_the_rest(tmp_path: Path) -> None:
    found = thresholds(tmp_path, [{"word_order": None, "function_words": None} for _ in range(LEAST_DOCUMENTS)])
    assert found["min_word_order"]["how"] == "too little text"
    assert {row["decision"] for row in rows(tmp_path / "out")} == {"keep"}


@pytest.mark.parametrize(
    ("label", "length", "order"),
    [("lao_Laoo", 1.0, 0.2), ("mya_Mymr", 1.0, 0.2), ("jpn_Jpan", 1.0, -0.05), ("swh_Latn", 1.5, -0.05)],
)
def test_bounds_are_those_of_the_words_that_the_script_has(label: str, length: float, order: float) -> None:
    with duckdb.connect() as database:
        columns = ", ".join(f"0.5 AS {name[4:]}" for name in BOUNDS)
        database.execute(f"CREATE TABLE quality AS SELECT 'a'::BLOB AS id, 100 AS words, {columns}")
        database.execute(f"CREATE TABLE language AS SELECT 'a'::BLOB AS id, '{label}' AS label, 1.0 AS score")
        database.execute("CREATE TABLE duplicates AS SELECT 'a'::BLOB AS id, NULL AS kind")
        found = {threshold.name: threshold.value for threshold in resolve(database, Quality(), label)}
    assert (found["min_mean_word_length"], found["min_word_order"]) == (length, order)


@pytest.mark.parametrize(("vouched", "source"), [(LEAST_TRUSTED, "shelf"), (LEAST_TRUSTED - 1, "web")])
def test_sources_that_are_vouched_for_are_measured_alone_if_they_are_enough(vouched: int, source: str) -> None:
    shares = {"shelf": 0.2, "web": 0.25}
    with duckdb.connect() as database:
        database.execute(
            "CREATE TABLE documents AS SELECT i::VARCHAR::BLOB AS id, if(i < $vouched, 'shelf', 'web') AS source"
            " FROM range(5000) r(i)",
            {"vouched": vouched},
        )
        columns = ", ".join(f"0.5 AS {name[4:]}" for name in BOUNDS if name != "max_duplicate_5_grams")
        database.execute(
            f"CREATE TABLE quality AS SELECT id, 100 AS words, {columns},"
            f" if(source = 'shelf', {shares['shelf']}, {shares['web']}) AS duplicate_5_grams FROM documents"
        )
        database.execute("CREATE TABLE language AS SELECT id, 'swh_Latn' AS label, 1.0 AS score FROM documents")
        database.execute("CREATE TABLE duplicates AS SELECT id, NULL AS kind FROM documents")
        found = {one.name: one for one in resolve(database, Quality(), "swh_Latn", ["shelf"])}["max_duplicate_5_grams"]
    assert found.measured == pytest.approx(shares[source])
    assert (found.documents == vouched) == (source == "shelf")
