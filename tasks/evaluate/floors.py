"""Floors: what a score has to be above before it says anything about training.

A task takes those that make sense for it, on the same items: the majority class, a linear classifier on TF-IDF, and whatever
the task does with the model, done with models of the same shape that were never trained.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tasks.evaluate.examples import Examples, label_counts
from tasks.evaluate.linear import fit_predict
from tasks.evaluate.model import auto_class

MAJORITY, FREQUENT_TAG, TFIDF, RANDOM_INIT = "majority", "frequent-tag", "tfidf", "random-init"
"""Names of the floors in scores."""

TFIDF_STRENGTHS = (1.0, 10.0, 100.0)
"""Inverse regularisation strengths tried: the rows of TF-IDF have unit length."""


def majority(examples: Examples) -> list[str]:
    """The most frequent label of the training items, for every test item."""
    counts = label_counts(examples.train)
    return [max(counts, key=lambda label: counts[label])] * len(examples.test)


def tfidf(examples: Examples) -> tuple[list[str], float]:
    """Labels predicted by logistic regression on TF-IDF of words 1-2 and characters 2-5, and the strength chosen."""
    return fit_predict(tfidf_features(examples), examples, TFIDF_STRENGTHS)


def tfidf_features(examples: Examples) -> dict[str, np.ndarray]:
    """TF-IDF of the items of each split, in the coordinates of the space that the training texts span.

    A logistic regression with an L2 penalty has its weights in that space (the representer theorem), so the predictions are
    those of the sparse features, from as many columns as there are training texts instead of some 200,000.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union

    union = make_union(
        TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\S+"),  # \w would cut words at combining marks
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5)),
    )
    train = union.fit_transform([item.text for item in examples.train])
    values, vectors = np.linalg.eigh((train @ train.T).toarray())
    kept = values > 1e-9 * values[-1]
    to_span = vectors[:, kept] / np.sqrt(values[kept])
    rest = {name: [item.text for item in getattr(examples, name)] for name in ("dev", "test")}
    projected = {name: (union.transform(texts) @ train.T) @ to_span for name, texts in rest.items() if texts}
    return {"train": vectors[:, kept] * np.sqrt(values[kept]), "dev": np.zeros((0, int(kept.sum()))), **projected}


def random_initialised(model: Any, seed: int) -> Any:
    """A model of the same configuration that has learned nothing."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        fresh = auto_class(type(model).__name__).from_config(model.config, dtype=torch.float32)
    return fresh.to(model.device).eval()
