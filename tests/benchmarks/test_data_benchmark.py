"""The benchmark's corpus has the truth that it states, and the score of our stage on it comes out right."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from data import Cost, Row, table
from data_corpus import BINS, Corpus, Pair, build, score
from data_ours import jsonl, stage

from tests.pipeline import rows

DOCUMENTS = 300


@pytest.fixture(scope="module")
def corpus(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return build(bundle, tmp_path_factory.mktemp("benchmark"), DOCUMENTS)


def grams(text: str) -> set[str]:
    words = re.sub(r"[^\w]+", " ", text.lower()).split()
    return {" ".join(words[start : start + 5]) for start in range(len(words) - 4)}


def test_the_truth_is_that_of_the_texts(corpus: Corpus) -> None:
    texts = [row["text"] for row in rows(corpus.shards)]
    truth = corpus.truth()
    assert len(texts) == DOCUMENTS
    assert [sum(pair.kind == kind for pair in truth) for kind in ("near", "exact")] == [60, 30]
    planted = {number for pair in truth for number in (pair.source, pair.copy)}
    assert len(planted) == 180  # no document is in two pairs
    for pair in truth:
        one, two = grams(texts[pair.source]), grams(texts[pair.copy])
        assert pair.jaccard == pytest.approx(len(one & two) / len(one | two))
        assert (texts[pair.source] == texts[pair.copy]) == (pair.kind == "exact")
    copies = {pair.copy for pair in truth}
    originals = [grams(text) for number, text in enumerate(texts) if number not in copies]
    shared = [len(one & two) / len(one | two) for i, one in enumerate(originals) for two in originals[:i]]
    assert max(shared) < 0.3


def test_the_same_bundle_gives_the_same_corpus(corpus: Corpus, bundle: Path, tmp_path: Path) -> None:
    again = build(bundle, tmp_path, DOCUMENTS)
    for name in ("documents.jsonl", "truth.jsonl", "shards/part-00000.parquet"):
        assert (corpus.folder / name).read_bytes() == (again.folder / name).read_bytes()


def test_our_stage_finds_all_pairs_at_the_threshold_and_no_other(corpus: Corpus, tmp_path: Path) -> None:
    stage(corpus.shards, tmp_path, workers=1)
    removed = {int(line) for line in (tmp_path / "removed.txt").read_text().split()}
    truth = corpus.truth()
    assert len(removed) == sum(pair.jaccard >= 0.7 for pair in truth)
    found = score(truth, removed)
    assert all(any(low <= pair.jaccard < high for pair in truth if pair.kind == "near") for low, high in BINS)
    assert (found.exact, found.near, found.below) == (1.0, (0.0, 0.0, 0.0, 1.0, 1.0), 0)
    base = Row("ours", DOCUMENTS, Cost(2.0, 3.0, 5 * 10**6), found, 100, Cost(1.0, 2.0, 10**6))
    slow = Row("theirs", 200, Cost(5.0, 6.0, 4 * 10**6), found, 100, Cost(3.0, 3.0, 10**6))
    ours, theirs = table([base, slow]).splitlines()[2:]
    recalls = "1.000 | 0.000 | 0.000 | 0.000 | 1.000 | 1.000 | 0 |"
    assert ours == f"| ours | 300 | 2.0 | 1.0 | 200 | 1.0 | 3.0 | 1.0 | 5 | {recalls}"
    assert theirs == f"| theirs | 200 | 5.0 | 3.0 | 50 | 4.0 | 6.0 | 6.0 | 4 | {recalls}"


@pytest.mark.parametrize("workers", [1, 2])
def test_from_json_lines_to_json_lines(corpus: Corpus, tmp_path: Path, workers: int) -> None:
    jsonl(corpus.jsonl, tmp_path, workers)
    removed = {int(line) for line in (tmp_path / "removed.txt").read_text().split()}
    kept = {int(json.loads(line)["url"].rpartition("/")[2]) for line in (tmp_path / "kept.jsonl").read_text().splitlines()}
    assert kept | removed == set(range(DOCUMENTS))
    assert not kept & removed
    assert len(removed) == sum(pair.jaccard >= 0.7 for pair in corpus.truth())


def test_the_score_counts_what_is_missed_and_what_should_have_stayed() -> None:
    truth = [
        Pair("exact", 0, 1, 0.0, 1.0),
        Pair("exact", 2, 3, 0.0, 1.0),
        Pair("near", 4, 5, 0.05, 0.55),
        Pair("near", 6, 7, 0.02, 0.75),
        Pair("near", 8, 9, 0.02, 0.75),
    ]
    # one exact pair missed; the pair at 0.55 and a document without duplicate removed; both documents of a pair removed
    found = score(truth, {1, 5, 6, 7, 10})
    assert found.exact == 0.5
    assert found.near[1] == 1.0
    assert found.near[3] == 0.5
    assert found.below == 3
