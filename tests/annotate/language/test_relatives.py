"""Close relatives that a config accepts count as the language, and are counted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lang_configs.schema import LanguageId
from tasks.annotate.language import PACKAGED, identify, identify_column, language
from tasks.annotate.language.known import Beside, Merged
from tasks.annotate.language.own.reference import drawn, frequencies_beside
from tasks.core.artifacts import Annotations
from tasks.core.documents import Document, to_table, write_table
from tasks.core.stage import Work

SET = ("kin_Latn", "run_Latn")


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Words of Kinyarwanda, of Kirundi and of Swahili, as often as they are used."""
    chance = np.random.default_rng(1)
    return [
        " ".join(words)
        for label in (*SET, "swh_Latn")
        for words in drawn(frequencies_beside(PACKAGED), label, 40, chance, (8, 60))
    ]


def test_a_set_has_the_sum_of_its_probabilities(texts: list[str]) -> None:
    plain = identify(texts)
    found = identify_column(pa.array(texts), label="kin_Latn", accept=("run_Latn",)).to_pylist()
    assert {one.label for one in plain} == {*SET, "swh_Latn"}, "the test needs documents of all three"
    for one, row in zip(plain, found, strict=True):
        if one.label in SET:
            both = one.score + (one.runner_up_score if one.runner_up in SET else 0)
            assert row["label"] == "kin_Latn"
            assert row["score"] >= one.score - 1e-6
            assert row["score"] == pytest.approx(both, abs=0.05)  # words of the text whose set is beyond the runner-up
            assert row["runner_up"] not in SET
        else:
            assert (row["label"], row["score"]) == (one.label, pytest.approx(one.score, abs=1e-6))


class Fixed:
    """Says the same of every three texts."""

    def __init__(self, labels: str, places: list[list[int]], scores: list[list[float]]) -> None:
        self.labels = tuple(labels)
        self._said = np.array(places, np.int32), np.array(scores, np.float32)

    def predict(self, data: np.ndarray, ends: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        return self._said


FOUR = Fixed("abcd", [[2, 0, 1, 3], [3, -1, -1, -1], [1, 3, 2, 0]], [[0.4, 0.3, 0.2, 0.1], [1, 0, 0, 0], [0.7, 0.2, 0.1, 0]])


@pytest.mark.parametrize("label", ["b", "e"])
def test_a_language_of_the_run_s_own_leaves_the_others_the_rest(label: str) -> None:
    own = Fixed(label + "x", [[0, 1], [1, 0], [1, 0]], [[0.9, 0.1], [1, 0], [0.5, 0.5]])
    found = Beside(FOUR, own)
    assert found.labels == ["a", "b", "c", "d"] if label == "b" else ["a", "b", "c", "d", "e"]
    places, scores = found.predict(np.zeros(0), np.zeros(3), 5)
    place = found.labels.index(label)
    for row, sure in zip(range(3), (0.9, 0, 0.5), strict=True):
        assert scores[row][places[row] == place].sum() == pytest.approx(sure)
        assert scores[row].sum() == pytest.approx(1)
        assert (places[row] == place).sum() == 1
    assert places[0, 0] == place
    assert places[1, 0] == 3
    ratio = dict(zip(places[0].tolist(), scores[0].tolist(), strict=True))
    assert ratio[2] / ratio[0] == pytest.approx(0.4 / 0.3, rel=1e-4)


def test_a_set_that_is_best_only_together_comes_first() -> None:
    places, scores = Merged(FOUR, "a", ["b"]).predict(np.zeros(0), np.zeros(3), 4)
    assert places[:, 0].tolist() == [0, 3, 0]
    assert scores[:, 0] == pytest.approx([0.5, 1, 0.7])
    assert places[:, 1].tolist() == [2, -1, 3]
    assert (np.sort(places, axis=1) <= 3).all()
    assert not (places == 1).any()


def test_the_stage_counts_them(texts: list[str], tmp_path: Path) -> None:
    (tmp_path / "clean").mkdir()
    write_table(to_table(Document(text, "s") for text in texts), tmp_path / "clean" / "a.parquet")
    (tmp_path / "out").mkdir()
    config = LanguageId(label="run_Latn", accept=("kin_Latn",))
    metrics = language({"clean": tmp_path / "clean"}, config, tmp_path / "out", Work())
    alone = Counter(one.label for one in identify(texts))
    assert metrics["labels"] == {"run_Latn": alone["kin_Latn"] + alone["run_Latn"], "swh_Latn": alone["swh_Latn"]}
    assert metrics["accepted"] == {"kin_Latn": alone["kin_Latn"]}
    (shard,) = Annotations(tmp_path / "out").shards()
    assert Counter(pq.read_table(shard).column("label").to_pylist()) == metrics["labels"]


def test_nothing_accepted_is_no_part_of_the_config() -> None:
    assert "accept" not in LanguageId(label="run_Latn").model_dump(mode="json")
    assert LanguageId(accept=("kin_Latn",)).model_dump(mode="json")["accept"] == ["kin_Latn"]
