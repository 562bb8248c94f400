"""One language against all others: logistic regression on the words and character n-grams of fastText.

It is fastText's classifier with one dimension (Joulin et al. 2017, arXiv:1607.01759), trained by AdaGrad (Duchi et al. 2011)
with numba, so that no compiler is needed where a model is made, and written in fastText's format, so that what reads other
models reads it too.
"""

from __future__ import annotations

import itertools
import struct
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np

from tasks.annotate.language.model import BASIS_32, MAGIC, SUPERVISED, VERSION, step32
from tasks.core.files import replacing

MINN, MAXN = 2, 5
"""Characters of an n-gram, as in the packaged model."""
BUCKETS = 1 << 18
LEAST_COUNT = 3
"""Times that a word stands in the windows before it is a feature of its own."""
EPOCHS, RATE, DECAY = 5, 0.5, 1e-5
SOFTMAX = 3
OTHER = "other"


@dataclass(frozen=True)
class Windows:
    """Runs of words: window i has the words `words[ends[i - 1]:ends[i]]`, places in the vocabulary."""

    words: np.ndarray
    ends: np.ndarray


def joined(parts: Sequence[Windows]) -> Windows:
    """Windows one after the other."""
    offsets = np.cumsum([0, *(len(part.words) for part in parts)]).tolist()
    words = [np.zeros(0, np.int32), *(part.words for part in parts)]
    ends = [np.zeros(0, np.int64), *(part.ends + offset for part, offset in zip(parts, offsets, strict=False))]
    return Windows(np.concatenate(words), np.concatenate(ends))


@dataclass(frozen=True)
class Vocabulary:
    """All words of some windows, and the features of each: its own place if it is frequent, and its n-grams."""

    places: dict[str, int]
    frequent: list[tuple[str, int]]
    starts: np.ndarray
    features: np.ndarray

    @classmethod
    def of(cls, windows: Iterable[Sequence[str]]) -> Vocabulary:
        """The vocabulary of windows of normalised words."""
        counts = Counter(itertools.chain.from_iterable(windows))
        ranked = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
        frequent = [one for one in ranked if one[1] >= LEAST_COUNT]
        encoded = [f"<{word}>".encode() for word, _ in ranked]
        data = np.frombuffer(b"".join(encoded) or b"\0", np.uint8)
        ends = np.cumsum([len(word) for word in encoded], dtype=np.int64)
        starts, features = _features(data, ends, len(frequent), MINN, MAXN, BUCKETS)
        return cls({word: place for place, (word, _) in enumerate(ranked)}, frequent, starts, features)

    def windows(self, texts: Sequence[Sequence[str]]) -> Windows:
        """Windows of words that are all in the vocabulary, as places."""
        words = np.array([self.places[word] for word in itertools.chain.from_iterable(texts)], np.int32)
        return Windows(words, np.cumsum([len(text) for text in texts], dtype=np.int64))


@dataclass(frozen=True)
class Linear:
    """Weights of the features of a vocabulary, and what is added to each."""

    vocabulary: Vocabulary
    weights: np.ndarray
    bias: float

    def logits(self, windows: Windows) -> np.ndarray:
        """Logit of the probability of each window that it is in the language."""
        starts, features = self.vocabulary.starts, self.vocabulary.features
        found: np.ndarray = _logits(windows.words, windows.ends, starts, features, self.weights, self.bias)
        return found

    def scores(self, windows: Windows) -> np.ndarray:
        """Probability of each window that it is in the language."""
        found: np.ndarray = 1 / (1 + np.exp(-self.logits(windows)))
        return found

    def shifted(self, by: float) -> Linear:
        """The same with another bias: where probabilities of one half were, those of the logit `by` are."""
        return Linear(self.vocabulary, self.weights, self.bias - by)

    def write(self, path: Path, label: str) -> None:
        """Write the model with the labels `label` and `other` in the format of fastText (0.9.3, `FastText::saveModel`)."""
        frequent = self.vocabulary.frequent
        entries = [(word.encode(), count, 0) for word, count in frequent]
        entries += [(f"__label__{name}".encode(), 1, 1) for name in (label, OTHER)]
        # every row holds the bias, so that the mean of any of them does
        rows = (self.weights + self.bias).astype("<f4")
        parts = [struct.pack("<ii", MAGIC, VERSION)]
        parts.append(struct.pack("<12id", 1, 5, EPOCHS, LEAST_COUNT, 5, 1, SOFTMAX, SUPERVISED, BUCKETS, MINN, MAXN, 100, 1e-4))
        parts.append(struct.pack("<iiiqq", len(entries), len(frequent), 2, sum(count for _, count in frequent), -1))
        parts += [word + b"\0" + struct.pack("<qb", count, kind) for word, count, kind in entries]
        parts += [struct.pack("<?qq", False, len(rows), 1), rows.tobytes()]
        # the softmax over h/2 and -h/2 is the logistic function of h
        parts.append(struct.pack("<?qqff", False, 2, 1, 0.5, -0.5))
        with replacing(path) as temporary:
            temporary.write_bytes(b"".join(parts))


def train(vocabulary: Vocabulary, windows: Windows, inside: np.ndarray, importance: np.ndarray, seed: int) -> Linear:
    """Train on windows that are `inside` the language (bool) or not, each as often as its `importance` says.

    The same windows give the same weights on one kind of processor.
    """
    weights, squares = (np.zeros(len(vocabulary.frequent) + BUCKETS) for _ in range(2))
    order = np.concatenate([np.random.default_rng(seed + epoch).permutation(len(inside)) for epoch in range(EPOCHS)])
    bias = _train(
        windows.words, windows.ends, vocabulary.starts, vocabulary.features, inside.astype(np.float64),
        importance.astype(np.float64), order, RATE, DECAY, weights, squares,
    )  # fmt: skip
    return Linear(vocabulary, weights, bias)


@numba.njit(cache=True, nogil=True)
def _features(data: Any, ends: Any, frequent: int, minn: int, maxn: int, buckets: int) -> Any:
    """Where the features of each marked word begin, and the features."""
    starts = np.zeros(len(ends) + 1, np.int64)
    out = np.empty(len(data) * (maxn - minn + 1) + len(ends), np.int32)
    filled, begin = 0, 0
    for number in range(len(ends)):
        end = ends[number]
        if number < frequent:
            out[filled] = number
            filled += 1
        for start in range(begin, end):
            if (data[start] & 0xC0) == 0x80:
                continue
            value, at, characters = np.uint64(BASIS_32), start, 0
            while at < end and characters < maxn:
                while True:
                    value = step32(value, data[at])
                    at += 1
                    if at == end or (data[at] & 0xC0) != 0x80:
                        break
                characters += 1
                if characters >= minn:
                    out[filled] = frequent + np.int64(value % np.uint64(buckets))
                    filled += 1
        begin = end
        starts[number + 1] = filled
    return starts, out[:filled].copy()


@numba.njit(cache=True, nogil=True, inline="always")
def _logit(words: Any, start: int, end: int, starts: Any, features: Any, weights: Any, bias: float) -> Any:
    total, number = 0.0, 0
    for at in range(start, end):
        word = words[at]
        for place in range(starts[word], starts[word + 1]):
            total += weights[features[place]]
        number += starts[word + 1] - starts[word]
    return total / max(1, number) + bias, max(1, number)


@numba.njit(cache=True, nogil=True)
def _logits(words: Any, ends: Any, starts: Any, features: Any, weights: Any, bias: float) -> Any:
    out = np.empty(len(ends))
    begin = 0
    for number in range(len(ends)):
        out[number], _ = _logit(words, begin, ends[number], starts, features, weights, bias)
        begin = ends[number]
    return out


@numba.njit(cache=True, nogil=True)
def _train(
    words: Any, ends: Any, starts: Any, features: Any, inside: Any, importance: Any, order: Any, rate: float, decay: float,
    weights: Any, squares: Any,
) -> float:  # fmt: skip
    bias, square = 0.0, 0.0
    for window in order:
        begin = ends[window - 1] if window else 0
        logit, number = _logit(words, begin, ends[window], starts, features, weights, bias)
        error = importance[window] * (inside[window] - 1 / (1 + np.exp(-logit)))
        square += error * error
        bias += rate * error / np.sqrt(square + 1e-12)
        step = error / number
        for at in range(begin, ends[window]):
            word = words[at]
            for place in range(starts[word], starts[word + 1]):
                feature = features[place]
                squares[feature] += step * step
                weights[feature] += rate * step / np.sqrt(squares[feature] + 1e-12) - decay * weights[feature]
    return bias
