"""How an identifier is learned: whose documents are the language's, and what tells them from everything else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tasks.annotate.language.confusion import MOST_FALSE_POSITIVES, MOST_OF_A_NEIGHBOUR, NEIGHBOURS
from tasks.annotate.language.own.core import FAR, core
from tasks.annotate.language.own.linear import Linear, Vocabulary, Windows, joined, train
from tasks.annotate.language.own.reference import drawn, frequencies
from tasks.annotate.language.words import without_diacritics

SEED = 7
LEAST_DOCUMENTS = 20
WINDOW_WORDS = (3, 30)
MOST_WINDOWS = 12
"""Training windows of one document."""
BARE = 0.25
"""Share of them in Latin script that lose their diacritics, as much of the web does."""
REFERENCES, OF_GUESSED = 80, 6_000
"""Windows of each packaged language, and of those that the packaged model takes the documents for together."""
NOISE = 0.05
"""Windows of letters in no order, for each of those."""
READ = 28
"""Words of each of the three windows by which a document is judged: about as many as `language` reads."""
LIKENED = 33
"""Words of each of the three parts by which documents are compared."""
SUSPECTS, SUREST = 2 / 3, 0.9
"""Quantiles of how surely documents are in the nearest packaged language: beyond the first they are no part of the core, as a
third of what is vouched for may be that; beyond the second, and unlike the core, they are what the first pass tells it from."""
FOLDS, PASSES = 5, 3
NEAREST = 30
"""How much more a window of a packaged language counts in the next pass for the probability that it gets in this one."""


@dataclass(frozen=True)
class Learned:
    """The classifier, and what was measured of it.

    `probabilities`: of each document, by a classifier that has not seen it. `recall`: share of the `windows` of those that are
    taken which are by themselves taken by such a classifier. `mistaken`: share of `drawn` fresh windows of each packaged
    language that are.
    """

    model: Linear
    probabilities: np.ndarray
    core: np.ndarray
    far: np.ndarray
    windows: int
    recall: float
    drawn: int
    mistaken: dict[str, float]

    def nearest(self) -> list[tuple[str, float]]:
        """The packaged languages that are taken for this one most often."""
        ranked = sorted(self.mistaken.items(), key=lambda one: (-one[1], one[0]))
        return [one for one in ranked[:NEIGHBOURS] if one[1]]


@dataclass
class _Material:
    """What a classifier is trained on: the windows of each document, and those of everything else with how much they count."""

    vocabulary: Vocabulary
    own: list[Windows]
    others: Windows
    importance: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.importance = np.ones(len(self.others.ends))

    def fit(self, inside: np.ndarray, outside: np.ndarray) -> Linear:
        """A classifier of the documents `inside` from those `outside` (bool) and from everything else."""
        positive = joined([self.own[place] for place in np.flatnonzero(inside)])
        rejected = joined([self.own[place] for place in np.flatnonzero(outside)])
        windows = joined([positive, rejected, self.others])
        truth = np.arange(len(windows.ends)) < len(positive.ends)
        vouched = len(positive.ends) + len(rejected.ends)
        # a window that was vouched for counts alike on both sides: of a document that is wrongly rejected many others speak
        weights = np.concatenate([np.full(vouched, self.importance.sum() / max(1, len(positive.ends))), self.importance])
        return train(self.vocabulary, windows, truth, weights / weights.mean(), SEED)


def learn(
    documents: Sequence[Sequence[str]],
    guesses: Sequence[tuple[str, float]],
    packaged: Path,
    label: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Learned:
    """Learn what most of `documents` (normalised words each) have in common that no packaged language has.

    `guesses` are label and probability that the packaged model gives each of them.
    """
    chance = np.random.default_rng(SEED)
    names = [name for name in sorted(frequencies(packaged)) if name != label]
    sizes = (WINDOW_WORDS[0] + 2, WINDOW_WORDS[1])
    guessed = Counter(name for name, _ in guesses)
    numbers = [REFERENCES + OF_GUESSED * guessed[name] // len(guesses) for name in names]
    references = [w for name, number in zip(names, numbers, strict=True) for w in drawn(packaged, name, number, chance, sizes)]
    of_label = np.repeat(np.arange(len(names)), numbers)
    fresh = [window for name in names for window in drawn(packaged, name, REFERENCES, chance, (READ, READ))]
    noise = _noise(documents, int(NOISE * len(references)), chance)
    cut = [_windows(words, chance, BARE if label.endswith("_Latn") else 0) for words in documents]
    likened = [[word for part in _three(words, LIKENED) for word in part] for words in documents]
    judged = [part for words in documents for part in _three(words, READ)]
    vocabulary = Vocabulary.of([*likened, *judged, *(window for some in cut for window in some), *references, *fresh, *noise])
    material = _Material(vocabulary, [vocabulary.windows(some) for some in cut], vocabulary.windows([*references, *noise]))
    sure = _surely_another(guesses)
    suspects = sure > np.quantile(sure, SUSPECTS)
    inside, distance = core(vocabulary, vocabulary.windows(likened), suspects)
    outside = (distance > FAR) | ((sure > np.quantile(sure, SUREST)) & (distance > np.median(distance)))
    first = inside, outside
    read, unseen = vocabulary.windows(judged), vocabulary.windows(fresh)
    for done in range(PASSES):
        progress(done, PASSES + 1)
        scores = _cross_validated(material, inside, outside, read)
        probabilities = scores.mean(axis=1)
        inside, outside = probabilities >= 0.5, (first[1] | suspects) & (probabilities < 0.5)
        model = material.fit(inside, outside)
        taken = np.bincount(of_label, model.scores(material.others)[: len(references)]) / np.array(numbers)
        material.importance[: len(references)] = (1 + NEAREST * taken)[of_label]
    model = material.fit(inside, outside)
    model, mistaken = _raised(model, unseen, len(names))
    windows = scores[inside]
    return Learned(
        model, probabilities, *first, windows.size, float((windows >= 0.5).mean()), REFERENCES,
        dict(zip(names, mistaken.tolist(), strict=True)),
    )  # fmt: skip


def _surely_another(guesses: Sequence[tuple[str, float]]) -> np.ndarray:
    """How sure the packaged model is that a document is in the language that it takes most of them for; 0 for the others."""
    most, _ = Counter(name for name, _ in guesses).most_common(1)[0]
    return np.array([score if name == most else 0.0 for name, score in guesses])


def _cross_validated(material: _Material, inside: np.ndarray, outside: np.ndarray, read: Windows) -> np.ndarray:
    """Probabilities of the three windows of each document, by a classifier that was trained on other documents."""
    found = np.zeros((len(inside), 3))
    fold = np.arange(len(inside)) % FOLDS
    for held in range(FOLDS):
        scores = material.fit(inside & (fold != held), outside & (fold != held)).scores(read).reshape(-1, 3)
        found[fold == held] = scores[fold == held]
    return found


def _raised(model: Linear, unseen: Windows, labels: int) -> tuple[Linear, np.ndarray]:
    """The model with its bias lowered until few windows of other languages are taken, and the shares of those that are."""
    logits = np.sort(model.logits(unseen).reshape(labels, -1), axis=1)
    for by in np.arange(0, 6, 0.25):
        shares = (logits >= by).mean(axis=1)
        if shares.mean() <= MOST_FALSE_POSITIVES and shares.max() <= MOST_OF_A_NEIGHBOUR:
            return model.shifted(float(by)), shares
    return model, (logits >= 0).mean(axis=1)


def _three(words: Sequence[str], each: int) -> list[Sequence[str]]:
    """Start, middle and end."""
    middle = max(0, (len(words) - each) // 2)
    return [words[:each], words[middle : middle + each], words[-each:]]


def _windows(words: Sequence[str], chance: np.random.Generator, bare: float) -> list[Sequence[str]]:
    """Random runs of words, about as many as hold each word twice; a share of them loses tone marks or all diacritics."""
    fewest, most = WINDOW_WORDS
    number = max(1, min(MOST_WINDOWS, 4 * len(words) // (fewest + most)))
    found = []
    for length, draw in zip(chance.integers(fewest, most + 1, number).tolist(), chance.random(number).tolist(), strict=True):
        start = int(chance.integers(0, max(1, len(words) - length + 1)))
        window = words[start : start + length]
        found.append(without_diacritics(" ".join(window), draw < bare / 2).split() if draw < bare else window)
    return found


def _noise(documents: Sequence[Sequence[str]], number: int, chance: np.random.Generator) -> list[list[str]]:
    """Words of the documents' letters in no order."""
    letters = list("".join("".join(words[:50]) for words in documents)[:200_000])
    found = []
    for _ in range(number):
        lengths = chance.integers(2, 12, int(chance.integers(*WINDOW_WORDS))).tolist()
        found.append(["".join(letters[place] for place in chance.integers(0, len(letters), length)) for length in lengths])
    return found
