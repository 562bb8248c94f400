"""Logistic regression on features of texts, its regularisation chosen on dev items or by cross-validation, never on test."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tasks.evaluate.examples import Examples
from tasks.evaluation_sets import Item

FOLDS = 5
FOLD_SEED = 1

Features = Mapping[str, np.ndarray]
"""Split (train, dev, test) -> `[items, features]`."""


def fit_predict(features: Features, examples: Examples, strengths: Sequence[float]) -> tuple[list[str], float]:
    """Predicted labels of the test items, and the inverse regularisation strength (scikit-learn's C) that was chosen.

    Of `strengths`, from strong to weak, the one with the best macro F1 on the dev items, or in cross-validation over training
    documents where there are none; ties go to the stronger.
    """
    labels = np.array([str(item.label) for item in examples.train])
    if examples.dev:
        truth = [str(item.label) for item in examples.dev]
        quality = [_macro_f1(truth, predict(features["train"], labels, features["dev"], c)) for c in strengths]
    else:
        folds = _folds(labels, examples.train)
        quality = [_cross_validated(features["train"], labels, folds, c) for c in strengths]
    strength = strengths[int(np.argmax(np.round(quality, 6)))]
    return predict(features["train"], labels, features["test"], strength), strength


def predict(train: np.ndarray, labels: np.ndarray, other: np.ndarray, strength: float) -> list[str]:
    """Labels of `other` `[items, features]` by a logistic regression on `train` `[items, features]` and its labels."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    if len(set(labels)) == 1:
        return [str(labels[0])] * len(other)
    # thousands of products of small matrices, for which threads cost more than they give: `make swahili` evaluates 35 s sooner
    with warnings.catch_warnings(), threadpool_limits(1, user_api="blas"):
        warnings.simplefilter("ignore", ConvergenceWarning)  # weak regularisation may not end; dev decides what it is worth
        return [str(label) for label in LogisticRegression(C=strength, max_iter=1000).fit(train, labels).predict(other)]


def standardised(features: Features) -> dict[str, np.ndarray]:
    """Features with the mean 0 and the variance 1 that those of the training items get."""
    mean, deviation = features["train"].mean(0), features["train"].std(0)
    deviation = np.where(deviation < 1e-12, 1.0, deviation)
    return {split: (values - mean) / deviation for split, values in features.items()}


def _folds(labels: np.ndarray, items: Sequence[Item]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Folds with no document on both sides; a published set, whose items are its documents, is cut by label alone."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    parts = {item.document for item in items if item.document is not None}
    kinds: Callable[..., Any] = StratifiedGroupKFold if len(parts) >= FOLDS else StratifiedKFold
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        count = max(2, min(FOLDS, int(np.unique(labels, return_counts=True)[1].max())))
        documents = [item.document or item.place for item in items]
        return list(kinds(count, shuffle=True, random_state=FOLD_SEED).split(labels, labels, documents))


def _cross_validated(
    features: np.ndarray, labels: np.ndarray, folds: list[tuple[np.ndarray, np.ndarray]], strength: float
) -> float:
    predicted = np.empty(len(labels), object)
    for inside, outside in folds:
        predicted[outside] = predict(features[inside], labels[inside], features[outside], strength)
    return _macro_f1(labels.tolist(), predicted.tolist())


def _macro_f1(truth: list[str], predicted: list[str]) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(truth, predicted, average="macro", zero_division=0))
