"""fastText classifiers read from their files and applied by compiled code, with the library's probabilities to five digits.

The library makes a string of each n-gram, finds it in a hash map and adds up a compressed row; this is 3 to 5 times as fast
(docs/benchmarks.md). The library is also to be compiled where it is installed, and ends the process on a damaged file.
Training is left to it. Format: fastText 0.9.3, `FastText::loadModel`.
"""

from __future__ import annotations

import functools
import struct
from pathlib import Path
from typing import Any

import numba
import numpy as np

from tasks.annotate.language.model_file import FormatError, Reader
from tasks.core.errors import StageError

MAGIC, VERSION = 793712314, 12
SUPERVISED = 3
LOSSES = {1: "hierarchical softmax", 3: "softmax", 4: "one against all"}
PRIME_32, BASIS_32 = 16777619, 2166136261
PRIME_64, BASIS_64 = 1099511628211, 14695981039346656037
"""Of FNV-1a (Fowler, Noll, Vo)."""
WORDS, MINN, MAXN, WORD_NGRAMS, LOSS, END = range(6)
"""Places in the array of settings; END is the number of the word </s>, -1 if the model has none."""
CACHED_WORDS = 1 << 14
"""Slots for words whose sums are kept while a batch is classified."""
END_HASH = 3617362777
"""FNV-1a, 32 bits, of </s>, the end of every text."""


class Classifier:
    """A fastText classifier; `labels` are its labels without the prefix. Raises StageError if the file is none."""

    def __init__(self, path: str) -> None:
        try:
            self._read(Reader(Path(path)))
        except (FormatError, struct.error, ValueError, OverflowError, MemoryError) as error:
            raise StageError(f"{path}: no fastText classifier ({error}); give language.model a .bin or .ftz file") from error

    def predict(self, data: np.ndarray, ends: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The best `k` labels of each text (int32[texts, k], places in `labels`) and their probabilities (float32), best first.

        Text i ends at byte `ends[i]` of `data` (UTF-8) and begins where the one before ends. A text in which the model knows
        nothing has probabilities of 0; where there are fewer than `k` labels, the last ones are -1.
        """
        labels = np.full((len(ends), k), -1, np.int32)
        scores = np.zeros((len(ends), k), np.float32)
        _predict(data, ends, *self._tables, labels, scores)
        return labels, scores

    def _read(self, file: Reader) -> None:
        if file.take("<ii") != (MAGIC, VERSION):
            raise FormatError("it does not begin like one")
        dim, _, _, _, _, word_ngrams, loss, model, bucket, minn, maxn, _, _ = file.take("<12id")
        if model != SUPERVISED or loss not in LOSSES or not 0 < dim < 10_000 or not 0 <= bucket < 1 << 27:
            raise FormatError("it holds word vectors" if model in (1, 2) else "its settings make no sense")
        size, words, labels, _, pruned = file.take("<iiiqq")
        if size != words + labels or labels < 1:
            raise FormatError("its dictionary is damaged")
        entries = [file.word() for _ in range(size)]
        if any(kind != (number >= words) for number, (_, _, kind) in enumerate(entries)):
            raise FormatError("its dictionary is damaged")
        names = [word.decode("utf-8", "replace") for word, _, _ in entries[words:]]
        self.labels = [name.removeprefix("__label__") for name in names]
        buckets = np.arange(bucket, dtype=np.int32) if pruned < 0 else np.full(bucket, -1, np.int32)
        if pruned > 0:
            pairs = file.array("<i4", 2 * pruned).reshape(-1, 2)
            if bucket == 0 or pairs[:, 0].min() < 0 or pairs[:, 0].max() >= bucket:
                raise FormatError("its buckets are damaged")
            buckets[pairs[:, 0]] = pairs[:, 1]
        quantised = file.flag()
        rows = file.quantised() if quantised else file.dense()
        weights = file.quantised() if file.flag() and quantised else file.dense()
        if rows.shape[1] != dim or weights.shape != (labels, dim) or len(rows) <= words + int(buckets.max(initial=-1)):
            raise FormatError("its matrices have other sizes than its settings say")
        keys, values = _word_table([word for word, _, _ in entries[:words]])
        end = next((number for number, (word, _, _) in enumerate(entries[:words]) if word == b"</s>"), -1)
        tree = _huffman([count for _, count, _ in entries[words:]]) if loss == 1 else _NO_TREE
        settings = np.array([words, minn, maxn, word_ngrams, loss, end], np.int64)
        # one column for each label, so that the sums over the dimensions run over labels side by side
        columns = np.ascontiguousarray(weights.T)
        self._tables = (settings, (keys, values, buckets, np.ascontiguousarray(rows)), columns, tree)


@functools.lru_cache(maxsize=2)
def classifier(path: str) -> Classifier:
    """The model in the file `path`, read once in a process. Raises StageError if it is no fastText classifier."""
    return Classifier(path)


def _word_table(words: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Open addressing, at most half full: 64-bit hashes of the words (0 where there is none), and their numbers."""
    size = 1 << max(4, (2 * len(words)).bit_length())
    keys, values = np.zeros(size, np.uint64), np.zeros(size, np.int32)
    data = np.frombuffer(b"".join(words) or b"\0", np.uint8)
    _fill(data, np.cumsum([len(word) for word in words], dtype=np.int64), keys, values)
    return keys, values


_NO_TREE = (np.zeros((1, 1), np.int32), np.zeros((1, 1), np.bool_), np.zeros(1, np.int32))


def _huffman(counts: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inner nodes on the way from each label to the root, which branch was taken there, and how many they are."""
    labels = len(counts)
    weights = np.full(2 * labels - 1, int(1e15), np.int64)
    weights[:labels] = counts
    parent, right = np.full(2 * labels - 1, -1), np.zeros(2 * labels - 1, np.bool_)
    leaf, node = labels - 1, labels
    for new in range(labels, 2 * labels - 1):
        total = 0
        for branch in (False, True):
            if leaf >= 0 and weights[leaf] < weights[node]:
                least, leaf = leaf, leaf - 1
            else:
                least, node = node, node + 1
            total += int(weights[least])
            parent[least], right[least] = new, branch
        weights[new] = total
    ways: list[list[int]] = []
    for label in range(labels):
        way, at = [], label
        while parent[at] >= 0:
            way.append(at)
            at = int(parent[at])
        ways.append(way)
    depth = max(1, *map(len, ways))
    paths, codes = np.zeros((labels, depth), np.int32), np.zeros((labels, depth), np.bool_)
    for label, way in enumerate(ways):
        paths[label, : len(way)] = [parent[at] - labels for at in way]
        codes[label, : len(way)] = right[way]
    return paths, codes, np.array([len(way) for way in ways], np.int32)


@numba.njit(cache=True, nogil=True)
def word_hash(data: Any, start: int, end: int) -> Any:
    """FNV-1a, 64 bits, of a run of bytes; never 0."""
    value = np.uint64(BASIS_64)
    for at in range(start, end):
        value = (value ^ np.uint64(data[at])) * np.uint64(PRIME_64)
    return value if value != 0 else np.uint64(1)


@numba.njit(cache=True, nogil=True)
def _fill(data: Any, ends: Any, keys: Any, values: Any) -> None:
    mask = np.uint64(len(keys) - 1)
    start = 0
    for number in range(len(ends)):
        key = word_hash(data, start, ends[number])
        slot = key & mask
        while keys[slot] != 0:
            slot = (slot + np.uint64(1)) & mask
        keys[slot], values[slot] = key, number
        start = ends[number]


@numba.njit(cache=True, nogil=True)
def _number(data: Any, start: int, end: int, keys: Any, values: Any) -> int:
    """Number of the word in these bytes, or -1."""
    key, mask = word_hash(data, start, end), np.uint64(len(keys) - 1)
    slot = key & mask
    while keys[slot] != 0:
        if keys[slot] == key:
            return values[slot]
        slot = (slot + np.uint64(1)) & mask
    return -1


@numba.njit(cache=True, nogil=True)
def _hash32(data: Any, start: int, end: int) -> Any:
    """FNV-1a, 32 bits, of the bytes as signed characters: the hash of fastText."""
    value = np.uint64(BASIS_32)
    for at in range(start, end):
        value = step32(value, data[at])
    return value


@numba.njit(cache=True, nogil=True, inline="always")
def step32(value: Any, byte: Any) -> Any:
    """One byte of FNV-1a, 32 bits, kept in 64: numba would widen the product anyway."""
    signed = np.uint64(byte) if byte < 128 else np.uint64(byte) | np.uint64(0xFFFFFF00)
    return ((value ^ signed) * np.uint64(PRIME_32)) & np.uint64(0xFFFFFFFF)


@numba.njit(cache=True, nogil=True)
def _add_ngrams(word: Any, length: int, minn: int, maxn: int, buckets: Any, words: int, rows: Any, hidden: Any) -> int:
    """Add the rows of the character n-grams of `word` (with its marks < and >) to `hidden`; how many they were."""
    added = 0
    for start in range(length):
        if (word[start] & 0xC0) == 0x80:
            continue
        value, at, characters = np.uint64(BASIS_32), start, 0
        while at < length and characters < maxn:
            while True:
                value = step32(value, word[at])
                at += 1
                if at == length or (word[at] & 0xC0) != 0x80:
                    break
            characters += 1
            if characters >= minn and not (characters == 1 and (start == 0 or at == length)):
                bucket = buckets[value % np.uint64(len(buckets))]
                if bucket >= 0:
                    _add(rows, words + bucket, hidden)
                    added += 1
    return added


@numba.njit(cache=True, nogil=True, inline="always")
def _add(rows: Any, row: int, hidden: Any) -> None:
    for dimension in range(len(hidden)):
        hidden[dimension] += rows[row, dimension]


@numba.njit(cache=True, nogil=True)
def _word(data: Any, start: int, end: int, settings: Any, tables: Any, marked: Any, out: Any) -> int:
    """Sum in `out` the rows of a word and of its n-grams; how many they are."""
    keys, values, buckets, rows = tables
    out[:] = 0
    added = 0
    number = _number(data, start, end, keys, values)
    if number >= 0:
        _add(rows, number, out)
        added = 1
    if settings[MAXN] > 0 and len(buckets) > 0:
        length = end - start
        marked[0] = 0x3C
        marked[1 : length + 1] = data[start:end]
        marked[length + 1] = 0x3E
        added += _add_ngrams(marked, length + 2, settings[MINN], settings[MAXN], buckets, settings[WORDS], rows, out)
    return added


@numba.njit(cache=True, nogil=True)
def _hidden(data: Any, start: int, end: int, settings: Any, tables: Any, cache: Any, marked: Any, hidden: Any) -> int:
    """Sum in `hidden` the rows of the words and n-grams of one text; how many they are."""
    _, _, buckets, rows = tables
    known, sums, counts = cache
    hidden[:] = 0
    added, at, tokens = 0, start, 0
    hashes = np.empty((end - start) // 2 + 2, np.uint64)
    while at < end:
        stop = at
        while stop < end and data[stop] != 0x20:
            stop += 1
        if stop > at:
            key = word_hash(data, at, stop)
            slot = key & np.uint64(CACHED_WORDS - 1)
            if known[slot] != key:
                known[slot] = key
                counts[slot] = _word(data, at, stop, settings, tables, marked, sums[slot])
            _add(sums, slot, hidden)
            added += counts[slot]
            if settings[WORD_NGRAMS] > 1:
                hashes[tokens] = _hash32(data, at, stop)
            tokens += 1
        at = stop + 1
    if settings[END] >= 0:
        _add(rows, settings[END], hidden)
        added += 1
    if settings[WORD_NGRAMS] > 1 and len(buckets) > 0:
        hashes[tokens] = END_HASH
        added += _add_word_ngrams(hashes[: tokens + 1], settings[WORD_NGRAMS], buckets, settings[WORDS], rows, hidden)
    return added


@numba.njit(cache=True, nogil=True, inline="always")
def _signed(value: Any) -> Any:
    """A hash of 32 bits as fastText widens it: with its sign."""
    return value | np.uint64(0xFFFFFFFF00000000) if value >= np.uint64(0x80000000) else value


@numba.njit(cache=True, nogil=True)
def _add_word_ngrams(hashes: Any, longest: int, buckets: Any, words: int, rows: Any, hidden: Any) -> int:
    added = 0
    for first in range(len(hashes)):
        value = _signed(hashes[first])
        for last in range(first + 1, min(len(hashes), first + longest)):
            value = value * np.uint64(116049371) + _signed(hashes[last])
            bucket = buckets[value % np.uint64(len(buckets))]
            if bucket >= 0:
                _add(rows, words + bucket, hidden)
                added += 1
    return added


@numba.njit(cache=True, nogil=True)
def _predict(data: Any, ends: Any, settings: Any, tables: Any, columns: Any, tree: Any, labels: Any, scores: Any) -> None:
    loss, longest, start = settings[LOSS], 0, 0
    for end in ends:
        longest, start = max(longest, end - start), end
    marked = np.empty(longest + 2, np.uint8)
    dimensions = columns.shape[0]
    hidden, out = np.empty(dimensions, np.float32), np.empty(columns.shape[1], np.float32)
    # most words of a text are frequent ones: their sums are kept
    cache = (
        np.zeros(CACHED_WORDS, np.uint64),
        np.empty((CACHED_WORDS, dimensions), np.float32),
        np.empty(CACHED_WORDS, np.int64),
    )
    start = 0
    for number in range(len(ends)):
        added = _hidden(data, start, ends[number], settings, tables, cache, marked, hidden)
        start = ends[number]
        if not added:
            continue
        hidden /= np.float32(added)
        out[:] = 0
        for dimension in range(dimensions):
            factor = hidden[dimension]
            for label in range(len(out)):
                out[label] += factor * columns[dimension, label]
        if loss == 3:
            _softmax(out)
        else:
            out[:] = 1 / (1 + np.exp(-out))
        if loss == 1:
            out[:] = _label_probabilities(out, tree)
        _best(out, labels[number], scores[number])


@numba.njit(cache=True, nogil=True)
def _softmax(out: Any) -> None:
    highest, total = out.max(), np.float32(0)
    for label in range(len(out)):
        # most labels are far below: what would add less than 1e-9 of the best one is nothing
        out[label] = np.exp(out[label] - highest) if out[label] - highest > -20 else np.float32(0)
        total += out[label]
    out /= total


@numba.njit(cache=True, nogil=True)
def _label_probabilities(nodes: Any, tree: Any) -> Any:
    """Probability of each label from that of the right branch at each inner node."""
    paths, codes, depths = tree
    out = np.ones(len(depths), np.float32)
    for label in range(len(depths)):
        for step in range(depths[label]):
            right = nodes[paths[label, step]]
            out[label] *= right if codes[label, step] else 1 - right
    return out


@numba.njit(cache=True, nogil=True)
def _best(probabilities: Any, labels: Any, scores: Any) -> None:
    """The highest probabilities, best first; of equal ones the first."""
    for label in range(len(probabilities)):
        score, place = probabilities[label], len(labels)
        while place > 0 and (labels[place - 1] < 0 or score > scores[place - 1]):
            place -= 1
        if place == len(labels):
            continue
        for other in range(len(labels) - 1, place, -1):
            labels[other], scores[other] = labels[other - 1], scores[other - 1]
        labels[place], scores[place] = label, score
