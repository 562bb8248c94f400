"""Duplicates: signatures that datasketch agrees with, exact evidence, and no chain that removes an unlike document."""

from __future__ import annotations

import random
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

from lang_configs.schema import Duplicates
from tasks.annotate.duplicates import duplicates
from tasks.annotate.duplicates.kernel import components, minhash, similarities
from tasks.core.engines import Processes
from tasks.core.stage import Work
from tests.pipeline import rows, run, texts

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
    found = minhash(column, 5, 100, 7)
    assert found.words.tolist() == [11, 2, 0, 6]
    assert found.counts.tolist() == [7, 1, 0, 2]
    for row, hashes in zip(found.signatures, np.split(found.shingles, np.cumsum(found.counts)[:-1]), strict=True):
        theirs = MinHash(100, seed=7, scheme="affine32", hashfunc=lambda value: value)
        for value in hashes.tolist():
            theirs.update(value)
        assert (row == theirs.hashvalues).all()


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.sampled_from(["a", "b", "c", "ቤት", "é"]), min_size=5, max_size=40),
    st.lists(st.sampled_from("abc"), min_size=5, max_size=40),
)
def test_the_similarity_is_the_jaccard_index_of_the_word_shingles(first: list[str], second: list[str]) -> None:
    one, two = " ".join(first), ", ".join(second).upper()
    hashed = minhash(pa.array([one, two]), 5, 4, 1)
    starts = np.cumsum([0, *hashed.counts])
    assert similarities(hashed.shingles, starts, np.array([0]), np.array([1]))[0] == pytest.approx(jaccard(one, two))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40), st.integers(0, 40))
def test_components_are_those_of_a_search_from_each_document(pairs: list[tuple[int, int]], cut: int) -> None:
    reached = list(range(30))
    for _ in range(30):
        for i, j in pairs:
            reached[i] = reached[j] = min(reached[i], reached[j])
    found = np.arange(30)
    for part in (pairs[:cut], pairs[cut:]):  # in two runs, as a refresh does
        found = components(found, np.array([i for i, _ in part], int), np.array([j for _, j in part], int))
    assert found.tolist() == reached


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


def near_copies(seed: int, count: int) -> list[str]:
    """Documents of few words, of which many are exact or near copies, or a link between two others."""
    generator = random.Random(seed)
    items: list[str] = [" ".join(sentence(generator, generator.randint(2, 60))) for _ in range(3)]
    while len(items) < count:
        source = generator.choice(items).split()
        kind = generator.random()
        if kind < 0.2:
            items.append(" ".join(sentence(generator, generator.randint(1, 60))))
        elif kind < 0.4:
            items.append(" ".join([*source, *generator.choice(items).split()]))
        else:
            items.append(" ".join(edited(source, generator.choice([0, 0.02, 0.1]), generator)))
    return items


@pytest.mark.parametrize("seed", range(12))
def test_a_refresh_gives_what_all_at_once_gives(tmp_path: Path, seed: int) -> None:
    items = near_copies(seed, 90)
    documents = texts(tmp_path / "documents", *items, shard_bytes=1500)
    paths = sorted(documents.glob("*.parquet"))
    assert len(paths) >= 5
    cached = Work(cache=tmp_path / "cache")
    for count in sorted({*random.Random(seed).sample(range(len(paths)), 3), len(paths)}):
        part = tmp_path / f"part-{count}"
        part.mkdir()
        for path in paths[:count]:
            shutil.copy(path, part)
        run(duplicates, tmp_path / f"cached-{count}", Duplicates(bands=4, rows=2), {"clean": part}, cached)
        metrics = run(duplicates, tmp_path / f"alone-{count}", Duplicates(bands=4, rows=2), {"clean": part})
        for path in paths[:count]:
            assert (tmp_path / f"cached-{count}" / path.name).read_bytes() == (
                tmp_path / f"alone-{count}" / path.name
            ).read_bytes()
    again = run(duplicates, tmp_path / "again", Duplicates(bands=4, rows=2), {"clean": documents}, cached)
    assert again == metrics
    assert not list((tmp_path / "again" / ".signatures").iterdir())  # nothing was hashed a second time
    assert metrics["near"] > 5


def test_an_index_that_does_not_fit_is_made_anew(tmp_path: Path) -> None:
    work = Work(cache=tmp_path / "cache")
    first = texts(tmp_path / "first", "moja mbili tatu", "nne tano sita")
    second = texts(tmp_path / "second", "nne tano sita", "moja mbili tatu", "Nne tano sita")
    run(duplicates, tmp_path / "a", Duplicates(), {"clean": first}, work)
    assert run(duplicates, tmp_path / "b", Duplicates(), {"clean": second}, work)["exact"] == 1
    (index,) = (tmp_path / "cache").rglob("*.duckdb")
    index.write_bytes(b"no database" * 1000)
    assert run(duplicates, tmp_path / "c", Duplicates(), {"clean": second}, work)["exact"] == 1
    assert run(duplicates, tmp_path / "d", Duplicates(threshold=0.9), {"clean": second}, work)["exact"] == 1
    assert len(list((tmp_path / "cache").rglob("*.duckdb"))) == 1
    assert rows(tmp_path / "b") == rows(tmp_path / "c") == rows(tmp_path / "d")


def test_an_empty_corpus_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "documents").mkdir()
    assert run(duplicates, tmp_path / "out", Duplicates(), {"clean": tmp_path / "documents"})["documents"] == 0


@pytest.mark.parametrize(
    "letters",
    [
        "กขคงจฉชซฌญฎฏฐฑฒณดตถทธนบปผ",  # Thai
        "ກຂຄງຈສຊຍດຕຖທນບປຜຝພຟມຢຣລວຫອຮ",
        "កខគឃងចឆជឈញដឋឌឍណតថទធនបផពភម",
        "ကခဂဃငစဆဇဈညဋဌဍဎဏတထဒဓနပဖဗဘမ",
        "的一是不了人我在有他这中大来上个国到说们为子和你地出道也时年",
        "ꀀꀁꀂꀃꀄꀅꀆꀇꀈꀉꀊꀋꀌꀍꀎꀏꀐꀑ",  # Yi
        "abcdefghijklmnopqrstuvwxyz",
    ],
)
def test_a_changed_letter_in_three_hundred_leaves_a_near_duplicate_in_every_script(letters: str) -> None:
    generator = random.Random(5)
    spaced = letters.isascii()
    clauses = ["".join(generator.choices(letters, k=6 if spaced else 30)) for _ in range(400 if spaced else 80)]
    first = " ".join(clauses)
    changed = list(first)
    for place in generator.sample([n for n, one in enumerate(first) if one.isalpha()], len(first) // 300):
        changed[place] = generator.choice(letters)
    other = " ".join("".join(generator.choices(letters, k=30)) for _ in range(80))
    hashed = minhash(pa.array([first, "".join(changed), other]), 5, 100, 1)
    starts = np.concatenate([[0], np.cumsum(hashed.counts)])
    near, far = similarities(hashed.shingles.copy(), starts, np.array([0, 0]), np.array([1, 2]))
    assert 0.75 < near < 0.97
    assert far < 0.1


@pytest.mark.parametrize(
    ("with_joiners", "without"),
    [("ខ្ញុំ\u200bទៅ\u200bសាលា\u200bរៀន", "ខ្ញុំទៅសាលារៀន"), ("می\u200cخواهم بروم", "میخواهم بروم"), ("ශ්\u200dරී ලංකා", "ශ්රී ලංකා")],
)
def test_texts_that_differ_in_joiners_alone_are_the_same(tmp_path: Path, with_joiners: str, without: str) -> None:
    assert [row["kind"] for row in decided(tmp_path, with_joiners, without)] == [None, "exact"]
