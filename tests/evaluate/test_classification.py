from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from lang_configs.evaluation import Evaluate, EvaluationSet
from tasks.core.errors import StageError
from tasks.evaluate.examples import Examples, Unavailable
from tasks.evaluate.floors import tfidf, tfidf_features
from tasks.evaluate.harness import run_task
from tasks.evaluate.tasks import classification
from tasks.evaluate.tasks.classification import embed
from tasks.evaluation_sets import EvaluationData, Item
from tests.evaluate.tiny_world import CONTEXT, World, document, write_corpus

SECTIONS = EvaluationSet(name="topics", task="classification", format="sections", source="starter")
RULE = Evaluate(seeds=2, bootstrap=100)


def quiet(*_: object) -> None:
    pass


def read_sections(corpus: Path) -> Examples:
    return classification.examples(SECTIONS, EvaluationData(sets=[SECTIONS]), corpus)


def scored(truth: list[str], predicted: list[str]) -> dict[str, float]:
    items = [Item(str(number), "", label) for number, label in enumerate(truth)]
    values = classification.compute(classification.statistics(items, predicted).sum(0))
    return {name: float(value) for name, value in values.items()}


def test_sections_share_no_document_and_no_label_is_new(world: World) -> None:
    examples = read_sections(world.inputs["corpus"])
    sides = [{item.document for item in items} for items in (examples.train, examples.test)]
    assert len(examples.train) == 90 and len(examples.test) == 36
    assert [len(side) for side in sides] == [30, 12]
    assert not sides[0] & sides[1]
    assert {item.label for item in examples.test} == {item.label for item in examples.train} == {"michezo", "kilimo"}
    assert examples.left_out == {"label without a training document": 3, "paragraph of a training document": 0}


def test_a_paragraph_of_training_is_not_tested(world: World, tmp_path: Path) -> None:
    import random

    train = [document("michezo", 1, random.Random(n)) for n in range(10)] + [document("kilimo", 2, random.Random(9))]
    fresh = [document("michezo", 3, random.Random(90 + n)) for n in range(8)]
    copied = {**fresh[0], "text": fresh[0]["text"] + "\n" + train[0]["text"].split("\n")[0]}
    write_corpus(tmp_path, train, [copied, *fresh[1:]])
    assert read_sections(tmp_path).left_out["paragraph of a training document"] == 1


def test_probe_beats_the_majority_and_is_deterministic(world: World, tmp_path: Path) -> None:
    examples = read_sections(world.inputs["corpus"])
    results = [run_task(classification, examples, world.model, world.tokenizer, RULE, tmp_path, quiet) for _ in range(2)]
    assert results[0] == results[1]
    macro = {entry["system"]: entry for entry in results[0]["scores"] if entry["metric"] == "macro_f1"}
    assert set(macro) == {"model", "tfidf", "majority", "random-init"}
    assert macro["model"]["low"] > macro["majority"]["high"]
    assert macro["tfidf"]["value"] > 0.9
    assert macro["random-init"]["seeds"] == 2
    assert results[0]["details"]["documents"] == 12
    table = pq.read_table(tmp_path / "predictions.parquet", filters=[("system", "=", "model")]).to_pydict()
    assert table["place"] == [item.place for item in examples.test]
    assert f1_score(table["label"], table["predicted"], average="macro") == pytest.approx(macro["model"]["value"])


def test_embedding_does_not_depend_on_the_batch(world: World) -> None:
    draw = np.random.default_rng(3)
    sequences = [[1, *draw.integers(3, 300, length).tolist()] for length in (4, 1, 2 * CONTEXT + 3, CONTEXT, 9)]
    together = embed(world.model, sequences, quiet)
    alone = np.concatenate([embed(world.model, [ids], quiet) for ids in sequences])
    assert np.allclose(together, alone, atol=1e-5)
    assert not np.allclose(together[0], together[4], atol=1e-2)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abcd")), min_size=1, max_size=30))
def test_scores_are_those_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    truth, predicted = map(list, zip(*pairs, strict=True))
    values = scored(truth, predicted)
    assert values["accuracy"] == pytest.approx(accuracy_score(truth, predicted))
    for average in ("macro", "weighted"):
        expected = f1_score(truth, predicted, average=average, zero_division=0)
        assert values[f"{average}_f1"] == pytest.approx(expected)


def test_projected_tfidf_predicts_what_the_sparse_features_do(world: World) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_union

    examples = read_sections(world.inputs["corpus"])
    union = make_union(
        TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\S+"), TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5))
    )
    labels = [item.label for item in examples.train]
    texts = [item.text for item in examples.train]
    sparse = LogisticRegression(C=10.0, max_iter=1000).fit(union.fit_transform(texts), labels)
    features = tfidf_features(examples)
    dense = LogisticRegression(C=10.0, max_iter=1000).fit(features["train"], labels)
    expected = sparse.decision_function(union.transform([item.text for item in examples.test]))
    assert np.allclose(dense.decision_function(features["test"]), expected, atol=0.02 * np.abs(expected).max())


def published(folder: Path, **changes: object) -> tuple[EvaluationSet, EvaluationData]:
    files = {"train": "train.tsv", "test": "test.tsv"}
    entry = EvaluationSet(name="news", task="classification", format="tsv", **{"files": files, **changes})
    return entry, EvaluationData(sets=[entry], folder=folder)


def test_sets_that_cannot_be_used_say_why(world: World, tmp_path: Path) -> None:
    corpus = world.inputs["corpus"]
    with pytest.raises(Unavailable, match=r"not at hand: train\.tsv"):
        classification.examples(*published(tmp_path), corpus)
    for name in ("train", "test"):
        (tmp_path / f"{name}.tsv").write_text("label\ttext\nmichezo\tTimu ilishinda\nkilimo\tMvua ilinyesha\n")
    with pytest.raises(Unavailable, match="too few items: 2 to train, 2 to test"):
        classification.examples(*published(tmp_path), corpus)
    with pytest.raises(Unavailable, match="names no train file"):
        classification.examples(*published(tmp_path, files={"test": "test.tsv"}), corpus)
    with pytest.raises(StageError, match="without 'topic'"):
        classification.examples(*published(tmp_path, label="topic"), corpus)
    other = EvaluationSet(name="topics", task="classification", format="sections", source="elsewhere")
    with pytest.raises(Unavailable, match="no document of source elsewhere"):
        classification.examples(other, EvaluationData(sets=[other]), corpus)


@pytest.mark.slow
def test_tfidf_on_masakhanews_is_where_others_measured_it(bundle: Path, tmp_path: Path) -> None:
    """Weighted F1 of TF-IDF and logistic regression on 50 items per class of Swahili MasakhaNEWS: 0.790 measured apart."""
    files = {"train": "fewshot_50_train", "dev": "dev", "test": "test"}
    entry, data = published(
        bundle / "eval",
        files={split: f"masakhanews/swa/{name}.tsv" for split, name in files.items()},
        text=["headline", "text"],
        label="category",
    )
    examples = classification.examples(entry, data, tmp_path)
    assert [len(examples.train), len(examples.dev), len(examples.test)] == [350, 237, 476]
    predicted, _ = tfidf(examples)
    assert scored([str(item.label) for item in examples.test], predicted)["weighted_f1"] == pytest.approx(0.790, abs=0.03)
