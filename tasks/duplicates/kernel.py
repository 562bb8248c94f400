"""Shingles, MinHash signatures and Jaccard similarities over Arrow buffers, compiled by numba.

A shingle is `k` consecutive words (runs of letters, marks and digits, lower-cased); its hash is the upper half of a 64-bit
polynomial hash. A signature is that of `datasketch.MinHash(scheme="affine32")` with the same seed and these hashes as input.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
import pyarrow as pa

from tasks.characters import DIGIT, LETTER, TABLE_SIZE, buffers, classes, code_point, lower_case, mix

PRIME = np.uint64(0x100000001B3)


@functools.cache
def permutations(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The factors and summands (uint32[count] each) that datasketch 2 draws for this seed; its import takes two seconds."""
    generator = np.random.RandomState(seed)
    factors = generator.randint(0, 1 << 31, count, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    return factors, generator.randint(0, 1 << 32, count, dtype=np.uint32)


def signatures(texts: pa.Array, k: int, count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Signature (uint32[texts, count]), hash of all words (uint64) and number of words (int32) of each text.

    Texts with fewer than `k` words have one shingle, all of their words; texts without words have signatures of ones.
    """
    data, offsets = buffers(texts)
    a, b = permutations(count, seed)
    documents = len(offsets) - 1
    out = np.full((documents, count), 0xFFFFFFFF, np.uint32)
    whole, words = np.zeros(documents, np.uint64), np.zeros(documents, np.int32)
    longest = int(np.diff(offsets).max(initial=0)) // 2 + 2
    _signatures(data, offsets, classes(), lower_case(), k, a, b, out, whole, words, longest)
    return out, whole, words


def shingle_sets(texts: pa.Array, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Sorted distinct shingle hashes of all texts one after the other (uint64), and their offsets (int64, texts + 1)."""
    data, offsets = buffers(texts)
    longest = int(np.diff(offsets).max(initial=0)) // 2 + 2
    sets = _shingle_sets(data, offsets, classes(), lower_case(), k, longest)
    starts = np.concatenate([[0], np.cumsum([len(s) for s in sets])]).astype(np.int64)
    return (np.concatenate(sets) if sets else np.zeros(0, np.uint64)), starts


def similarities(sets: np.ndarray, starts: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Exact Jaccard similarity (float64) of the shingle sets of each pair (left[i], right[i])."""
    return _similarities(sets, starts, left.astype(np.int64), right.astype(np.int64))


@numba.njit(cache=True, nogil=True)
def _shingles(data: Any, start: int, end: int, table: Any, lower: Any, k: int, out: Any) -> tuple[int, int, Any]:
    """Fill `out` with the shingle hashes of one text; returns their number, the number of words and a hash of all words."""
    recent = np.zeros(16, np.uint64)
    word, whole = np.uint64(0), np.uint64(0xCBF29CE484222325)
    in_word = False
    words = found = 0
    position = start
    while position <= end:
        code, length = (32, 1) if position == end else code_point(data, position)
        position += length
        kind = table[code] if code < TABLE_SIZE else LETTER
        if kind == LETTER or kind == DIGIT:
            folded = lower[code] if code < TABLE_SIZE else code
            word = (word ^ np.uint64(folded)) * PRIME
            word ^= word >> np.uint64(29)
            in_word = True
        elif in_word:
            recent[words % k] = mix(word)
            whole = mix(whole ^ mix(word)) + np.uint64(words)
            words += 1
            if words >= k:
                total = np.uint64(0)
                for i in range(k):  # oldest first: a shingle is a sequence, not a set
                    total = total * np.uint64(0x9E3779B97F4A7C15) + recent[(words + i) % k]
                out[found] = mix(total)
                found += 1
            word, in_word = np.uint64(0), False
    if 0 < words < k:
        out[0] = whole
        found = 1
    return found, words, whole


@numba.njit(cache=True, nogil=True)
def _signatures(
    data: Any, offsets: Any, table: Any, lower: Any, k: int, a: Any, b: Any, out: Any, whole: Any, words: Any, longest: int
) -> None:
    shingles = np.empty(longest, np.uint64)
    mixed = np.empty(longest, np.uint32)
    for document in range(offsets.shape[0] - 1):
        found, words[document], whole[document] = _shingles(
            data, offsets[document], offsets[document + 1], table, lower, k, shingles
        )
        for i in range(found):
            mixed[i] = _mix32(np.uint32(shingles[i] >> np.uint64(32)))
        for permutation in range(a.shape[0]):
            factor, summand, least = a[permutation], b[permutation], np.uint32(0xFFFFFFFF)
            for i in range(found):
                least = min(least, np.uint32(mixed[i] * factor + summand))
            out[document, permutation] = least


@numba.njit(cache=True, nogil=True, inline="always")
def _mix32(value: Any) -> Any:
    value ^= value >> np.uint32(16)
    value = np.uint32(value * np.uint32(0x85EBCA6B))
    value ^= value >> np.uint32(13)
    value = np.uint32(value * np.uint32(0xC2B2AE35))
    return value ^ (value >> np.uint32(16))


@numba.njit(cache=True, nogil=True)
def _shingle_sets(data: Any, offsets: Any, table: Any, lower: Any, k: int, longest: int) -> Any:
    shingles = np.empty(longest, np.uint64)
    sets = []
    for document in range(offsets.shape[0] - 1):
        found, _, _ = _shingles(data, offsets[document], offsets[document + 1], table, lower, k, shingles)
        sets.append(np.unique(shingles[:found]))
    return sets


@numba.njit(cache=True, nogil=True)
def _similarities(sets: Any, starts: Any, left: Any, right: Any) -> Any:
    out = np.empty(left.shape[0], np.float64)
    for pair in range(left.shape[0]):
        i, j = starts[left[pair]], starts[right[pair]]
        end_i, end_j = starts[left[pair] + 1], starts[right[pair] + 1]
        size_i, size_j = end_i - i, end_j - j
        common = 0
        while i < end_i and j < end_j:
            if sets[i] == sets[j]:
                common += 1
                i += 1
                j += 1
            elif sets[i] < sets[j]:
                i += 1
            else:
                j += 1
        union = size_i + size_j - common
        out[pair] = common / union if union else 0.0
    return out
