"""Contamination: planted evaluation items are found however they were changed, and nothing else."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipeline import rows, run, texts

from lang_configs.schema import Contamination, EvaluationSet
from tasks.contamination import ContaminationConfig, containment, contamination
from tasks.evaluation_sets import EvaluationData
from tasks.stage import StageError

ITEM = "Serikali imetangaza kuwa shule zote zitafunguliwa tena wiki ijayo baada ya mafuriko"
OTHER = "Timu ya taifa ilishinda mechi yake ya mwisho kwa mabao mawili kwa moja jijini Dodoma"


def data(folder: Path, tests: list[str], trains: list[str] = []) -> EvaluationData:  # noqa: B006
    folder.mkdir(exist_ok=True)
    for split, items in (("test", tests), ("train", trains)):
        lines = ["category\ttext", *(f"habari\t{item}" for item in items)]
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    entry = EvaluationSet(name="news", format="tsv", files={"test": "test.tsv", "train": "train.tsv"}, label="category")
    return EvaluationData(sets=[entry], folder=folder)


def found(tmp_path: Path, documents: list[str], evaluation: EvaluationData, **rule: float) -> list[tuple[str | None, float]]:
    clean = texts(tmp_path / "documents", *documents, shard_bytes=300)
    config = ContaminationConfig(rule=Contamination(**rule), data=evaluation)  # type: ignore[arg-type]
    run(contamination, tmp_path / "out", config, {"clean": clean})
    return [(row["item"], round(row["coverage"], 2)) for row in rows(tmp_path / "out")]


@pytest.mark.parametrize(
    "planted",
    [
        ITEM,
        ITEM.upper(),
        " ".join(ITEM),
        ITEM.replace(" ", " , "),
        ITEM.replace("wiki", "mwezi"),
        f"Jana usiku. {ITEM}! Mwisho wa habari.",
    ],
    ids=["verbatim", "upper-cased", "spaced", "re-tokenised", "one word changed", "inside a text"],
)
def test_a_planted_item_is_found(tmp_path: Path, planted: str) -> None:
    result = found(
        tmp_path,
        [planted, "Wavuvi wa ziwa hilo walirudi na samaki wachache sana jana asubuhi."],
        data(tmp_path / "eval", [OTHER, ITEM]),
    )
    assert result[0][0] == "news/test/1"
    assert result[1] == (None, 0.0)


def test_training_splits_are_not_protected(tmp_path: Path) -> None:
    assert found(tmp_path, [ITEM, OTHER], data(tmp_path / "eval", [OTHER], [ITEM])) == [(None, 0.0), ("news/test/0", 1.0)]


def test_part_of_an_item_below_the_threshold_is_left(tmp_path: Path) -> None:
    evaluation = data(tmp_path / "eval", [ITEM])
    assert found(tmp_path / "a", [ITEM[:36]], evaluation) == [(None, 0.0)]
    assert found(tmp_path / "b", [ITEM[:36]], evaluation, threshold=0.1)[0][0] == "news/test/0"


def test_items_record_their_coverage_and_what_was_too_short(tmp_path: Path) -> None:
    evaluation = data(tmp_path / "eval", [ITEM, OTHER, "fupi mno"])
    clean = texts(tmp_path / "documents", ITEM, ITEM + " leo", "hakuna")
    metrics = run(contamination, tmp_path / "out", ContaminationConfig(rule=Contamination(), data=evaluation), {"clean": clean})
    assert metrics["sets"] == [{"set": "news", "items": 3, "too_short": 1, "found_in_corpus": 1}]
    assert [(row["documents"], row["coverage"]) for row in rows(tmp_path / "out" / "items")] == [(2, 1.0), (0, 0.0), (0, 0.0)]


def test_sets_that_are_not_at_hand_are_named(tmp_path: Path) -> None:
    evaluation = EvaluationData(sets=[EvaluationSet(name="pos", format="conll", files={"test": "pos/test.txt"})], folder=None)
    clean = texts(tmp_path / "documents", ITEM)
    metrics = run(contamination, tmp_path / "out", ContaminationConfig(rule=Contamination(), data=evaluation), {"clean": clean})
    assert metrics["sets_not_at_hand"] == ["pos"]
    assert rows(tmp_path / "out")[0]["item"] is None


def test_a_set_in_another_format_is_one_clear_sentence(tmp_path: Path) -> None:
    evaluation = data(tmp_path / "eval", [ITEM])
    broken = evaluation.model_copy(update={"sets": [evaluation.sets[0].model_copy(update={"text": ["headline"]})]})
    with pytest.raises(StageError, match=r"test\.tsv: not tsv with \['headline'\]"):
        found(tmp_path, [ITEM], broken)


words = st.lists(st.sampled_from("moja mbili tatu nne tano sita saba nane tisa kumi".split()), min_size=12, max_size=40)


@given(words, words)
def test_containment_is_one_inside_and_bounded(item: list[str], around: list[str]) -> None:
    text = " ".join(item)
    half = len(around) // 2
    document = "; ".join([*around[:half], text, *around[half:]])
    assert containment(document, [text], 20)[0] == 1.0
    assert 0 <= containment(" ".join(around), [text], 20)[0] <= 1


def test_real_articles_are_found_and_others_are_not(bundle: Path) -> None:
    evaluation = EvaluationSet(
        name="news", format="tsv", files={"test": "test.tsv"}, text=["headline", "text"], label="category"
    )
    items = [
        item.text
        for item in EvaluationData(sets=[evaluation], folder=bundle / "eval" / "masakhanews" / "swa").items("news", "test")
    ]
    assert len(items) == 476
    generator = random.Random(1)
    for item in generator.sample(items[:200], 20):
        changed = item.split()
        changed[len(changed) // 2] = "badala"
        shares = containment(" ".join(changed).upper(), [item, *items[300:310]], 20)
        assert shares[0] > 0.8
        assert (shares[1:] < 0.3).all()
