import numpy as np
import pytest

from tasks.evaluate import bootstrap
from tasks.evaluate.examples import Examples
from tasks.evaluate.harness import score
from tasks.evaluate.tasks import classification
from tasks.evaluation_sets import Item


def accuracy(sums: np.ndarray) -> np.ndarray:
    return sums[:, 0] / sums[:, 1]


def hits_of_documents(generator: np.random.Generator, documents: int, paragraphs: int) -> np.ndarray:
    """Hits and items of documents whose paragraphs are mostly all right or all wrong: `[documents, 2]`."""
    chances = generator.choice([0.1, 0.9], documents)
    hits = generator.binomial(paragraphs, chances)
    return np.stack([hits, np.full(documents, paragraphs)], 1).astype(float)


def test_intervals_cover_the_truth_where_paragraphs_of_a_document_go_together() -> None:
    """Of 200 samples of 40 documents, about 95 % have an interval with the true accuracy of 0.5; by paragraph, far fewer do."""
    generator = np.random.default_rng(7)
    covered = {"documents": 0, "paragraphs": 0}
    for _ in range(200):
        documents = hits_of_documents(generator, 40, 10)
        single = np.repeat([[1.0, 1.0], [0.0, 1.0]], [int(documents[:, 0].sum()), int(400 - documents[:, 0].sum())], 0)
        for name, statistics in (("documents", documents), ("paragraphs", single)):
            low, high = bootstrap.interval(accuracy(bootstrap.resample(statistics, 200)))
            covered[name] += low <= 0.5 <= high
    assert 0.88 <= covered["documents"] / 200 <= 0.99
    assert covered["paragraphs"] / 200 < 0.7


def test_a_resample_is_documents_drawn_with_replacement() -> None:
    statistics = np.eye(5)
    sums = bootstrap.resample(statistics, 50)
    assert sums.shape == (50, 5)
    assert (sums.sum(1) == 5).all() and (sums >= 0).all() and (sums == sums.round()).all()
    assert sums.max() > 1  # with replacement
    assert (sums != sums[0]).any()
    assert np.array_equal(sums, bootstrap.resample(statistics, 50))
    assert np.array_equal(2 * sums, bootstrap.resample(2 * statistics, 50))  # another system meets the same documents


def test_items_are_added_up_by_document() -> None:
    statistics = np.array([[1.0, 1.0], [0.0, 1.0], [1.0, 1.0]])
    assert bootstrap.by_document(statistics, ["b", "a", "b"]).tolist() == [[2.0, 2.0], [0.0, 1.0]]


def test_resamples_without_a_value_do_not_count() -> None:
    assert bootstrap.interval(np.array([np.nan, 1.0, 1.0])) == (1.0, 1.0)


def test_the_interval_of_several_runs_is_wider_than_one_runs_alone() -> None:
    """Three seeds that differ by more than the documents do: their spread is part of the interval of their mean."""
    generator = np.random.default_rng(3)
    runs = np.stack([generator.normal(mean, 0.01, 1000) for mean in (0.2, 0.5, 0.8)])
    low, high = bootstrap.interval(bootstrap.average_runs(runs))
    assert low < 0.32 and high > 0.68
    assert np.array_equal(bootstrap.average_runs(runs[:1]), runs[0])


def labelled(truth: list[str], documents: int) -> Examples:
    items = [Item(f"d{n % documents}/{n}", "", label, document=f"d{n % documents}") for n, label in enumerate(truth)]
    return Examples("made-up", items, [], items)


@pytest.fixture(scope="module")
def truth() -> list[str]:
    return np.random.default_rng(1).choice(["a", "b", "c"], 300).tolist()


def wrong_at(truth: list[str], places: np.ndarray) -> list[str]:
    return [{"a": "b", "b": "c", "c": "a"}[label] if n in set(places.tolist()) else label for n, label in enumerate(truth)]


def test_the_difference_to_the_best_floor_is_paired(truth: list[str]) -> None:
    """The floor errs wherever the model does and 15 times more: intervals overlap, yet every resample has the model above."""
    errors = np.random.default_rng(2).permutation(300)
    systems = {
        "model": [wrong_at(truth, errors[:60])],
        "tfidf": [wrong_at(truth, errors[:75])],
        "majority": [["a"] * 300],
    }
    scores = {(s["system"], s["metric"]): s for s in score(classification, labelled(truth, 300), systems, 1000)}
    model, floor = scores["model", "accuracy"], scores["tfidf", "accuracy"]
    assert model["low"] < floor["high"]
    assert model["floor"] == "tfidf"
    assert model["difference"] == pytest.approx(0.05)
    assert 0 < model["difference_low"] < 0.05 < model["difference_high"] < 0.1
    assert "difference" not in floor


def test_a_difference_within_chance_is_not_told_apart_and_a_worse_model_is_below(truth: list[str]) -> None:
    from tasks.evaluate.metrics import verdict

    errors = np.random.default_rng(4).permutation(300)
    for errors_of_model, errors_of_floor, expected in (
        (60, 75, "above the best floor"),
        (75, 60, "below the best floor"),
        (60, 60, "not told apart from the best floor"),
    ):
        systems = {"model": [wrong_at(truth, errors[:errors_of_model])], "tfidf": [wrong_at(truth, errors[:errors_of_floor])]}
        [row] = [
            s
            for s in score(classification, labelled(truth, 300), systems, 300)
            if (s["system"], s["metric"]) == ("model", "macro_f1")
        ]
        assert verdict(row) == expected
    systems = {"model": [wrong_at(truth, errors[:60])], "tfidf": [wrong_at(truth, errors[240:])]}  # as many errors, elsewhere
    [row, *_] = score(classification, labelled(truth, 300), systems, 300)
    assert verdict(row) == "not told apart from the best floor"
    assert verdict({"system": "tfidf"}) is None
