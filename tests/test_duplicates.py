"""Duplicates: signatures that datasketch agrees with, exact evidence, and no chain that removes an unlike document."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline import rows, run, texts

from lang_configs.schema import Duplicates
from tasks.duplicates import duplicates
from tasks.duplicates.kernel import shingle_sets, signatures, similarities
from tasks.engines import Processes
from tasks.stage import Work

VOCABULARY = [f"neno{n}" for n in range(4000)]


def sentence(generator: random.Random, words: int = 120) -> list[str]:
    return [generator.choice(VOCABULARY) for _ in range(words)]


def edited(words: list[str], share: float, generator: random.Random) -> list[str]:
    return [generator.choice(VOCABULARY) if generator.random() < share else word for word in words]


def jaccard(first: str, second: str, k: int = 5) -> float:
    sets = []
    for text in (first, second):
        words = re.findall(r"\w+", text.lower())
        sets.append({tuple(words[i : i + k]) for i in range(len(words) - k + 1)} or {tuple(words)})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def decided(
    folder: Path, *items: str, config: Duplicates | None = None, shard_bytes: int = 1 << 20, work: Work | None = None
) -> list[dict[str, Any]]:
    documents = texts(folder / "documents", *items, shard_bytes=shard_bytes)
    run(duplicates, folder / "out", config or Duplicates(), {"clean": documents}, work)
    found = rows(folder / "out")
    numbers = {row["id"]: number for number, row in enumerate(found)}
    for row in found:
        row["of"] = numbers.get(row["duplicate_of"])
        row["group"] = numbers[row["related"]]
    return found


def test_signatures_are_those_of_datasketch() -> None:
    items = ["Paka mweupe alilala juu ya paa la nyumba jirani usiku kucha.", "moja mbili", "", "አንድ ሁለት ሦስት አራት አምስት ስድስት"]
    column = pa.array(items)
    found, _, words = signatures(column, 5, 100, 7)
    hashes, starts = shingle_sets(column, 5)
    assert words.tolist() == [11, 2, 0, 6]
    for row, low, high in zip(found, starts[:-1], starts[1:], strict=True):
        minhash = MinHash(100, seed=7, scheme="affine32", hashfunc=lambda value: value)
        for value in hashes[low:high].tolist():
            minhash.update(value >> 32)
        assert (row == minhash.hashvalues).all()


@settings(max_examples=50)
@given(
    st.lists(st.sampled_from(["a", "b", "c", "ቤት", "é"]), min_size=5, max_size=40),
    st.lists(st.sampled_from("abc"), min_size=5, max_size=40),
)
def test_the_similarity_is_the_jaccard_index_of_the_word_shingles(first: list[str], second: list[str]) -> None:
    one, two = " ".join(first), ", ".join(second).upper()
    sets, starts = shingle_sets(pa.array([one, two]), 5)
    assert similarities(sets, starts, np.array([0]), np.array([1]))[0] == pytest.approx(jaccard(one, two))


def test_exact_duplicates_differ_at_most_in_case_and_punctuation(tmp_path: Path) -> None:
    found = decided(tmp_path, "Habari za leo, rafiki!", "kesho", "habari za LEO rafiki", "za habari leo rafiki", "", "")
    assert [(row["of"], row["kind"]) for row in found] == [
        (None, None),
        (None, None),
        (0, "exact"),
        (None, None),
        (None, None),
        (None, None),
    ]
    assert [row["copies"] for row in found] == [2, 1, 0, 1, 1, 1]


def test_near_duplicates_have_true_evidence_and_recall(tmp_path: Path) -> None:
    generator = random.Random(3)
    originals = [sentence(generator) for _ in range(150)]
    items = [" ".join(words) for words in originals]
    items += [" ".join(edited(words, generator.choice([0.0, 0.01, 0.03, 0.06]), generator)) for words in originals]
    found = decided(tmp_path, *items, shard_bytes=40_000)
    bins: dict[str, list[bool]] = {"below": [], "0.7-0.8": [], "0.8-1": [], "1": []}
    for number in range(150, 300):
        similarity = jaccard(items[number - 150], items[number])
        name = "1" if similarity == 1 else "0.8-1" if similarity >= 0.8 else "0.7-0.8" if similarity >= 0.7 else "below"
        bins[name].append(found[number]["of"] is not None)
        if found[number]["of"] is not None:
            assert found[number]["of"] == number - 150
            assert found[number]["jaccard"] == pytest.approx(similarity)
    assert all(len(values) >= 10 for values in bins.values())
    assert not any(bins["below"])
    assert all(bins["0.8-1"])
    assert all(bins["1"])
    assert np.mean(bins["0.7-0.8"]) >= 0.98


def test_a_chain_keeps_the_document_that_is_unlike_the_one_kept(tmp_path: Path) -> None:
    words = sentence(random.Random(5), 200)
    first, second, third = (" ".join(words[start : start + 150]) for start in (0, 22, 44))
    assert jaccard(first, second) > 0.7 > jaccard(first, third)
    found = decided(tmp_path, first, second, third)
    assert [row["of"] for row in found] == [None, 0, None]
    assert [row["group"] for row in found] == [0, 0, 0]


def test_a_false_leader_of_a_bucket_hides_nobody(tmp_path: Path) -> None:
    # one row per band makes buckets of unlike documents; the pair must be found behind any leader
    generator = random.Random(11)
    shared = sentence(generator, 30)
    twin = sentence(generator)
    items = [" ".join(shared + sentence(generator, 90)) for _ in range(12)]
    items += [" ".join(shared + twin), " ".join(shared + edited(twin, 0.01, generator))]
    found = decided(tmp_path, *items, config=Duplicates(bands=4, rows=1))
    assert [row["of"] for row in found] == [None] * 13 + [12]


def test_any_number_of_workers_gives_the_same_annotations(tmp_path: Path) -> None:
    generator = random.Random(2)
    items = [" ".join(sentence(generator, 60)) for _ in range(40)]
    items += [" ".join(edited(items[n].split(), 0.02, generator)) for n in range(40)]
    one = decided(tmp_path / "one", *items, shard_bytes=8000)
    two = decided(tmp_path / "two", *items, shard_bytes=8000, work=Work(Processes(2)))
    assert one == two
    assert sum(row["of"] is not None for row in one) > 20


def test_an_empty_corpus_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "documents").mkdir()
    assert run(duplicates, tmp_path / "out", Duplicates(), {"clean": tmp_path / "documents"})["documents"] == 0
