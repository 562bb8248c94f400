"""Contamination: planted evaluation items are found however they were changed, and nothing else."""

from __future__ import annotations

import itertools
import json
import random
import re
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from lang_configs import load
from lang_configs.evaluation import EvaluationSet
from lang_configs.schema import Contamination
from tasks.annotate.contamination import ContaminationConfig, containment, contamination
from tasks.core.errors import StageError
from tasks.evaluation_sets import EvaluationData
from tests.pipeline import rows, run, texts

ITEM = "Serikali imetangaza kuwa shule zote zitafunguliwa tena wiki ijayo baada ya mafuriko"
OTHER = "Timu ya taifa ilishinda mechi yake ya mwisho kwa mabao mawili kwa moja jijini Dodoma"


CHINESE = "教育部宣布所有学校将在洪水退去之后的下个星期重新开放"
"""As much text as in `ITEM`, in a third of the letters."""


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
    assert found(tmp_path / "a", [ITEM[:46]], evaluation, threshold=0.5) == [(None, 0.0)]
    assert found(tmp_path / "b", [ITEM[:46]], evaluation)[0][0] == "news/test/0"
    # 34 letters are asked for, whatever the threshold
    assert found(tmp_path / "c", [ITEM[:36]], evaluation, threshold=0.01) == [(None, 0.0)]


def test_a_common_phrase_speaks_for_no_item_and_a_copy_always_does(tmp_path: Path) -> None:
    phrase = "rais wa jamhuri ya muungano wa Tanzania bara"
    item = f"Waziri alimkaribisha {phrase} uwanjani"
    others = [
        f"{start} {phrase} {end}"
        for start in ("Jana", "Leo", "Kesho", "Mwaka jana")
        for end in ("alisema", "alikwenda", "atafika")
    ]
    evaluation = data(tmp_path / "eval", [item])
    assert [part for part, _ in found(tmp_path / "few", others[:8], evaluation)] == ["news/test/0"] * 8
    result = found(tmp_path / "many", [*others, item, item.replace("Waziri", "Mkuu")], evaluation)
    assert [part for part, _ in result] == [None] * 12 + ["news/test/0"] * 2
    # twenty copies of an item make its n-grams common, and are copies of it all the same
    assert [part for part, _ in found(tmp_path / "copies", [f"{item} {number}" for number in range(20)], evaluation)] == [
        "news/test/0"
    ] * 20


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


VARIANTS = {
    "verbatim": lambda text: text,
    "re-tokenised": lambda text: " ".join(re.findall(r"\w+|[^\w\s]", text)),
    "upper-cased": str.upper,
    "one word changed": lambda text: " ".join(
        "badala" if n == len(text.split()) // 2 else w for n, w in enumerate(text.split())
    ),
}


@pytest.mark.parametrize(("variant", "least"), [(name, 0.8 if name == "one word changed" else 0.97) for name in VARIANTS])
def test_planted_items_are_found_and_others_are_not(tmp_path: Path, bundle: Path, variant: str, least: float) -> None:
    # 100 items of each set, each in the middle of an article of other news
    config = load("swahili")
    sets = [entry for entry in config.evaluation if entry.format != "sections"]
    settings = ContaminationConfig(rule=config.contamination, data=EvaluationData(sets=sets, folder=bundle / "eval"))
    generator = random.Random(1)
    items = {entry.name: settings.data.items(entry.name, "test") for entry in sets}
    planted = [item for of_set in items.values() for item in generator.sample(of_set, 100)]
    with zstandard.open(bundle / "raw" / "swahili" / "lafand_mt_train.jsonl.zst", "rt", encoding="utf-8") as lines:
        hosts = [text.split() for line in lines if len((text := json.loads(line)["text"]).split()) > 40]
    documents = []
    for item, host in zip(planted, itertools.cycle(hosts)):
        half = len(host) // 2
        documents.append(" ".join([*host[:half], VARIANTS[variant](" ".join(item.text.split())), *host[half:]]))

    def items_in(name: str, *documents: str) -> set[str]:
        clean = texts(tmp_path / name / "documents", *documents)
        run(contamination, tmp_path / name / "out", settings, {"clean": clean})
        return {row["item"] for row in rows(tmp_path / name / "out" / "items") if row["documents"]}

    everywhere = items_in("planted", *documents, *(" ".join(host) for host in hosts))
    # the sets share sentences: what stands in a planted item stands in its document
    inside = items_in("items", *(item.text for item in planted))
    for name, of_set in items.items():
        own = {item.place for item in planted if item.place.startswith(f"{name}/")}
        others = {item.place for item in of_set} - inside
        assert len(own & everywhere) >= least * len(own), name
        assert len(others) > 100
        assert len(others & everywhere) <= 0.005 * len(others), name


def test_test_sentences_in_the_text_they_were_taken_from_are_found(tmp_path: Path, bundle: Path) -> None:
    entry = next(entry for entry in load("hausa").evaluation if entry.name == "masakhaner1")
    evaluation = EvaluationData(sets=[entry], folder=bundle / "eval")
    with zstandard.open(bundle / "raw" / "hausa" / "voa_ner_unlabelled.jsonl.zst", "rt", encoding="utf-8") as lines:
        clean = texts(tmp_path / "documents", *(json.loads(line)["text"] for line in lines))
    run(contamination, tmp_path / "out", ContaminationConfig(rule=Contamination(), data=evaluation), {"clean": clean})
    test = [row for row in rows(tmp_path / "out" / "items") if row["item"].startswith("masakhaner1/test/")]
    assert sum(row["documents"] > 0 for row in test) >= 0.96 * len(test)


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


@pytest.mark.parametrize(
    "planted", [CHINESE, " ".join(CHINESE), f"昨天晚上。{CHINESE}！新闻结束了。", CHINESE.replace("星期", "月初")]
)
def test_an_item_in_few_letters_that_are_words_is_found(tmp_path: Path, planted: str) -> None:
    other = "渔民们昨天早上从湖上回来的时候只带回了很少的鱼，下个星期他们还要再去"
    result = found(tmp_path, [planted, other], data(tmp_path / "eval", [CHINESE]))
    assert [item for item, _ in result] == ["news/test/0", None]


STORIES = [
    "Wakulima wa Mtoni wamevuna mahindi mengi mwaka huu kuliko uliopita.",
    "Barabara ya kwenda kazini imejaa maji tena leo asubuhi jamani.",
    "Mkutano wa wavuvi utafanyika kesho katika ukumbi wa kijiji chetu.",
    "Duka la vitabu limefunguliwa karibu na kituo cha mabasi mjini.",
]
OPEN, CLOSED = f'"{STORIES[0]}', f'{STORIES[1]}"'
FILES = {
    "an open mark first": ("tweet\tlabel", [f"{OPEN}\tx", *(f"{story}\tx" for story in STORIES[1:])]),
    "an open mark last": ("label\ttweet", [*(f"x\t{story}" for story in STORIES[1:]), f"x\t{OPEN}"]),
    "open here and closed there": ("tweet\tlabel", [f"{OPEN}\tx", f"{CLOSED}\tx", *(f"{story}\tx" for story in STORIES[2:])]),
    "open and closed at the end": ("label\ttweet", [f"x\t{OPEN}", f"x\t{CLOSED}", *(f"x\t{story}" for story in STORIES[2:])]),
    "one column": ("tweet", [OPEN, CLOSED, *STORIES[2:]]),
    "one column, never closed": ("tweet", [*STORIES[1:], OPEN]),
    "all quoted": ("tweet\tlabel", [f'"{story}"\t"x"' for story in STORIES]),
    "a mark within": ("tweet\tlabel", [f'{story[:20]}"{story[20:]}\tx' for story in STORIES]),
    "a quoted head": ('"tweet"', [OPEN, CLOSED, *STORIES[2:]]),
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("name", FILES)
def test_no_item_hides_behind_a_quotation_mark(name: str, encoding: str, tmp_path: Path) -> None:
    head, lines = FILES[name]
    (tmp_path / "t.tsv").write_bytes("\n".join([head, *lines, ""]).encode(encoding))
    entry = EvaluationSet(name="t", format="tsv", files={"test": "t.tsv"}, text=["tweet"])
    held = found(
        tmp_path,
        [*STORIES, OTHER],
        EvaluationData(sets=[entry], folder=tmp_path),
    )
    assert [item is not None for item, _ in held] == [True] * 4 + [False]


def test_a_file_that_can_be_read_in_two_ways_is_read_in_both_and_named(tmp_path: Path) -> None:
    head, lines = FILES["one column"]
    (tmp_path / "t.tsv").write_text("\n".join([head, *lines, ""]))
    entry = EvaluationSet(name="t", format="tsv", files={"test": "t.tsv"}, text=["tweet"])
    data = EvaluationData(sets=[entry], folder=tmp_path)
    joined = f"{STORIES[0]} {STORIES[1]}"
    assert [len(data.items("t", "test")), len(data.other_reading("t", "test"))] == [3, 4]
    places = [item for item, _ in found(tmp_path, [joined, STORIES[1]], data)]
    assert places[0] in ("t/test/0", "t/test/3", "t/test/4")
    assert places[1] == "t/test/4"
