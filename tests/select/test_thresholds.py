"""Thresholds that the config leaves open: measured within bounds, and shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from lang_configs.schema import Quality
from tasks.select import select
from tasks.select.thresholds import BOUNDS, LEAST_DOCUMENTS, LEAST_TRUSTED, USAGE, resolve
from tests.pipeline import rows, run
from tests.select.judged import config, world


def thresholds(folder: Path, notes: list[dict[str, Any]], **stated: float) -> dict[str, dict[str, Any]]:
    inputs = world(folder, notes, length=40)
    return {row["name"]: row for row in run(select, folder / "out", config(**stated), inputs)["thresholds"]}


def spread(number: int = LEAST_DOCUMENTS, **ranges: tuple[float, float]) -> list[dict[str, Any]]:
    """Documents whose signals are evenly spread over a range."""
    return [{name: low + (high - low) * i / (number - 1) for name, (low, high) in ranges.items()} for i in range(number)]


def test_a_threshold_is_as_far_beyond_the_middle_as_the_language_spreads(tmp_path: Path) -> None:
    # evenly from 7 to 9: the root of the middle is 2.83, the best tenth begins at 7.2 with 2.68
    found = thresholds(tmp_path, spread(1000, mean_word_length=(7.0, 9.0)))["max_mean_word_length"]
    assert (found["how"], found["documents"], found["middle"]) == ("measured", 1000, pytest.approx(8.0, abs=1e-3))
    assert found["value"] == found["measured"] == pytest.approx((8**0.5 + 3 * (8**0.5 - 7.2**0.5)) ** 2, abs=1e-2)


def test_usage_is_asked_of_a_text_by_the_language_it_is_in(tmp_path: Path) -> None:
    for typical in (0.16, 0.3):
        found = thresholds(tmp_path / str(typical), [{"function_words": typical} for _ in range(200)])["min_function_words"]
        assert (found["how"], found["value"]) == ("measured", pytest.approx(USAGE["min_function_words"][1] * typical, abs=1e-4))


@pytest.mark.parametrize("junk", [0.2, 0.4, 0.6])
@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [("max_mean_word_length", (7.0, 9.0), 15.0), ("min_letters", (0.78, 0.98), 0.5), ("max_top_word", (0.1, 0.2), 0.9)],
)
def test_junk_does_not_move_a_threshold(tmp_path: Path, name: str, good: tuple[float, float], bad: float, junk: float) -> None:
    text = spread(400, **{name[4:]: good})
    among = text + [{name[4:]: bad, "capital_words": 0.9, "bullet_lines": 0.9}] * round(400 * junk / (1 - junk))
    expected = thresholds(tmp_path / "alone", text)[name]
    assert thresholds(tmp_path / "among", among)[name]["measured"] == pytest.approx(expected["measured"], rel=0.02)


@pytest.mark.parametrize("name", BOUNDS)
def test_the_bounds_hold_whatever_the_corpus_is(tmp_path: Path, name: str) -> None:
    loose, tight = BOUNDS[name]
    kind, _, signal = name.partition("_")
    assert (loose < tight) == (kind == "min")
    assert loose != tight
    worse = loose / 2 if kind == "min" else loose + 1
    better = tight + 1 if kind == "min" else tight - 1
    # text that is far from what the bounds allow for, on either side; a fifth that is not is kept for the split's sake
    dirty = thresholds(tmp_path / "dirty", [{signal: worse} if i % 5 else {} for i in range(200)])[name]
    clean = thresholds(tmp_path / "clean", [{signal: better} for _ in range(200)])[name]
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
    [("lao_Laoo", 1.0, 0.2), ("mya_Mymr", 1.0, 0.2), ("jpn_Jpan", 1.0, 0.02), ("swh_Latn", 1.5, 0.02)],
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
