"""How the language uses its words, learned from a sample of its own text: its frequent words, and which words follow which.

Junk of all kinds (menus, keyword lists, shuffled or generated words, text without function words) differs from running
text in these two respects, in any language; no list of words has to be written for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.annotate.quality.kernel import FOLDS, fold_of, word_class
from tasks.annotate.quality.scan import COUNTERS, HEADS, WORDS, Words, room_for_lines, scan
from tasks.core.artifacts import Documents
from tasks.core.characters import buffers, classes, lower_case, unspaced
from tasks.core.documents import batches

SAMPLE_BYTES = 12 << 20
"""Text to learn from, taken in equal parts from the beginnings of all shards, so that no large source outweighs the others."""
LEAST_WORDS = 5_000
"""A smaller sample says nothing about a language: the two signals are then null."""
KNOWN_WORDS = 255
FUNCTION_WORDS = 100
"""The most frequent words, which are nearly all function words in any language (Zipf; FineWeb-2 takes them as stop words)."""
SPREAD = 200
"""A word is counted once in this many words, so that a text that repeats it does not make it frequent."""
SMOOTHING = 2.0
"""Added to the observed and to the expected number of each pair of classes."""
LEAST_SCORE = 0.8
"""Confidence in the language of the documents to learn from."""


@dataclass(frozen=True)
class Usage:
    """Frequent words in descending order and the pointwise mutual information of adjacent classes of words.

    `order` is float32[2, FOLDS, classes, classes] in nats, classes = frequent words + HEADS, which are by the beginnings of
    words in the first and by their ends in the second: for each fold what the texts of all others say, so that no text is
    judged by itself; empty if the sample was too small.
    """

    frequent: list[str]
    order: np.ndarray
    keys: np.ndarray
    classes: np.ndarray

    def save(self, path: Path) -> None:
        """Write what the kernel needs, for the workers."""
        np.savez(path, order=self.order, keys=self.keys, classes=self.classes)

    @staticmethod
    def load(path: Path) -> Usage:
        """Read what `save` wrote; the words themselves are not part of it."""
        with np.load(path) as stored:
            return Usage([], stored["order"], stored["keys"], stored["classes"])


NOTHING = Usage([], np.zeros((0, 0, 0, 0), np.float32), np.zeros(1, np.uint64), np.full(1, -1, np.int32))


def sample(documents: Path, language: Path, label: str, size: int = SAMPLE_BYTES) -> pa.Array:
    """About `size` bytes of different texts that are surely in the language."""
    paths = Documents(documents).shards()
    share = -(-size // max(1, len(paths)))
    texts = [text for path in paths for text in _beginning(path, language / path.name, label, share)]
    return pa.concat_arrays(texts).unique() if texts else pa.array([], pa.string())


def _beginning(documents: Path, language: Path, label: str, size: int) -> Iterator[pa.Array]:
    taken = 0
    notes = batches(language, ["label", "score"], 512)
    for batch, note in zip(batches(documents, ["text", "bytes"], 512), notes, strict=True):
        sure = pc.and_(pc.equal(note.column("label"), label), pc.greater_equal(note.column("score"), LEAST_SCORE))
        chosen = batch.filter(sure)
        before = pc.subtract(
            pc.cumulative_sum(chosen.column("bytes").cast(pa.int64())), chosen.column("bytes").cast(pa.int64())
        )
        chosen = chosen.filter(pc.less(before, size - taken))
        yield chosen.column("text")
        taken += pc.sum(chosen.column("bytes")).as_py() or 0
        if taken >= size:
            return


def learn(texts: pa.Array) -> Usage:
    """The frequent words and the word order of a sample; NOTHING if it has fewer than LEAST_WORDS words."""
    data, offsets = buffers(texts)
    words, kinds, joined, begins, sizes, starts = _words(data, offsets, classes(), lower_case(), unspaced())
    if len(words) < LEAST_WORDS:
        return NOTHING
    chosen, where = _most_frequent(words)
    size = 1 << int(4 * len(chosen)).bit_length()
    keys, ranks = np.zeros(size, np.uint64), np.full(size, -1, np.int32)
    _insert(chosen, keys, ranks)
    pairs = [_pairs(words, kind, joined, starts, keys, ranks, len(chosen)) for kind in kinds]
    order = np.stack([[_information(of_kind.sum(0) - fold) for fold in of_kind] for of_kind in pairs])
    # a character has at most four bytes, and a joiner inside of a word is counted as one of its characters
    spelled = [bytes(data[begins[i] : begins[i] + 4 * sizes[i]]).decode("utf-8", "ignore")[: sizes[i]].lower() for i in where]
    return Usage(spelled, order, keys, ranks)


def _information(pairs: np.ndarray) -> np.ndarray:
    """Pointwise mutual information of counted pairs."""
    expected = pairs.sum(1, keepdims=True) * pairs.sum(0, keepdims=True) / max(1, pairs.sum())
    information: np.ndarray = np.log((pairs + SMOOTHING) / (expected + SMOOTHING)).astype(np.float32)
    return information


def _most_frequent(words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of the words that occur in most spans of SPREAD words, most frequent first, and where each first stands."""
    by_word = np.argsort(words, kind="stable")
    spans = by_word // SPREAD
    ordered = words[by_word]
    new_word = np.append(True, ordered[1:] != ordered[:-1])
    counted = new_word | np.append(True, spans[1:] != spans[:-1])
    first = np.flatnonzero(new_word)
    counts = np.add.reduceat(counted.astype(np.int64), first)
    ranking = np.lexsort((by_word[first], -counts))[:KNOWN_WORDS]
    return ordered[first[ranking]], by_word[first[ranking]]


@numba.njit(cache=True, nogil=True)
def _words(data: Any, offsets: Any, kinds: Any, lower: Any, letters: Any) -> Any:
    """All words: hash, classes by first and by last characters, whether it is joined, place in `data`, characters; and each
    text's first word.
    """
    texts = offsets.shape[0] - 1
    longest = 0
    for text in range(texts):
        longest = max(longest, offsets[text + 1] - offsets[text])
    total = (offsets[texts] - offsets[0]) // 2 + texts + 1
    words, kinds_of, joined = np.empty(total, np.uint64), np.empty((2, total), np.int16), np.empty(total, np.bool_)
    begins, sizes = np.empty(total, np.int64), np.empty(total, np.int64)
    ends, lines = np.zeros(longest // 2 + 2, np.int64), room_for_lines(longest)
    counted = np.zeros(COUNTERS, np.int64)
    starts = np.zeros(texts + 1, np.int64)
    for text in range(texts):
        first = starts[text]
        room = Words(words[first:], kinds_of[0, first:], kinds_of[1, first:], joined[first:], begins[first:], ends)
        scan(data, offsets[text], offsets[text + 1], kinds, lower, letters, room, lines, lines, counted)
        for i in range(counted[WORDS]):
            sizes[first + i] = ends[i + 1] - ends[i]
        starts[text + 1] = first + counted[WORDS]
    end = starts[texts]
    return words[:end], kinds_of[:, :end], joined[:end], begins[:end], sizes[:end], starts


@numba.njit(cache=True, nogil=True)
def _insert(words: Any, keys: Any, classes: Any) -> None:
    """Fill the hash table of `kernel.word_class`: a word's class is its index."""
    mask = np.uint64(keys.shape[0] - 1)
    for i in range(words.shape[0]):
        slot = words[i] & mask
        while classes[slot] >= 0:
            slot = (slot + np.uint64(1)) & mask
        keys[slot], classes[slot] = words[i], i


@numba.njit(cache=True, nogil=True)
def _pairs(words: Any, kinds: Any, joined: Any, starts: Any, keys: Any, classes: Any, known: int) -> Any:
    """How often a word of one class follows a word of another in the texts of a fold: int64[FOLDS, classes, classes]."""
    found = np.zeros((FOLDS, known + HEADS, known + HEADS), np.int64)
    for text in range(starts.shape[0] - 1):
        previous, fold = -1, fold_of(words[starts[text] : starts[text + 1]])
        for i in range(starts[text], starts[text + 1]):
            kind = word_class(words[i], kinds[i], keys, classes, known)
            if previous >= 0 and not joined[i]:
                found[fold, previous, kind] += 1
            previous = kind
    return found
