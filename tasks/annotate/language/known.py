"""What a run knows languages by: a classifier, an identifier of one more beside it, and relatives taken for one."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from tasks.annotate.language.model import classifier


class Knowing(Protocol):
    """Labels, and the k best of them for each text; see `Classifier.predict`."""

    @property
    def labels(self) -> Sequence[str]:
        """Names of the languages."""

    def predict(self, data: np.ndarray, ends: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Places of the k best labels of each text, -1 for none, and their probabilities."""


class Beside:
    """Knows one label more, or better, than a classifier: that gets its own probability, all others what is left of theirs."""

    def __init__(self, known: Knowing, own: Knowing) -> None:
        self._known, self._own = known, own
        self.labels = list(dict.fromkeys([*known.labels, own.labels[0]]))
        self._place = self.labels.index(own.labels[0])

    def predict(self, data: np.ndarray, ends: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """As `Knowing` has it."""
        places, scores = self._known.predict(data, ends, k)
        found, sure = self._own.predict(data, ends, 2)
        own = np.where(found == 0, sure, 0).sum(axis=1, dtype=np.float32)
        others = np.where(places == self._place, 0, scores)
        others *= ((1 - own) / np.maximum(1e-9, others.sum(axis=1)) * scores.sum(axis=1))[:, None]
        scores = np.column_stack([others, own])
        places = np.column_stack([np.where(places == self._place, -1, places), np.full(len(ends), self._place)]).astype(
            np.int32
        )
        return _best(places, scores, k)


class Merged:
    """Takes the labels of close relatives for one: among the best labels of a text their probabilities are added up."""

    def __init__(self, known: Knowing, label: str, relatives: Sequence[str]) -> None:
        self.labels = list(known.labels)
        self._known, self._label = known, self.labels.index(label)
        self._alike = np.array([self._label, *map(self.labels.index, relatives)])

    def predict(self, data: np.ndarray, ends: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """As `Knowing` has it."""
        places, scores = self._known.predict(data, ends, k)
        alike = np.isin(places, self._alike)
        together = np.where(alike, scores, 0).sum(axis=1, dtype=np.float32)
        first = alike & (np.cumsum(alike, axis=1) == 1)
        scores = np.where(alike, np.where(first, together[:, None], 0), scores).astype(np.float32)
        return _best(np.where(alike, np.where(first, self._label, -1), places).astype(np.int32), scores, k)


def _best(places: np.ndarray, scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(places, order, 1), np.take_along_axis(scores, order, 1)


@functools.lru_cache(maxsize=4)
def known(model: str, own: str | None = None, label: str = "", accept: tuple[str, ...] = ()) -> Knowing:
    """The classifier in the file `model`, that in the file `own` beside it, and the labels `accept` taken for `label`."""
    found: Knowing = classifier(model) if own is None else Beside(classifier(model), classifier(own))
    return Merged(found, label, accept) if accept else found
