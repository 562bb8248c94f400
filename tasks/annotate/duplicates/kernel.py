"""Shingles, MinHash signatures, Jaccard similarities and connected components over Arrow buffers, compiled by numba.

A shingle is `k` consecutive words: runs of letters, marks and digits, lower-cased, and cut where `tasks.core.characters.parts`
says in scripts that set off no words by spaces, so that a changed letter touches about as much text in every script. The hash
of a shingle is the upper half of a 64-bit polynomial hash. A signature is that of `datasketch.MinHash(scheme="affine32")`
with the same seed and these hashes as input. In a pair of texts of 1,000 words two of these 32-bit hashes collide with a chance
of 1 in 2,000, which moves the Jaccard similarity by 1/1,000.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import pyarrow as pa

from tasks.core.characters import (
    DIGIT,
    FIRST_JOINER,
    LAST_JOINER,
    LETTER,
    TABLE_SIZE,
    buffers,
    classes,
    code_point,
    lower_case,
    mix,
    parts,
    unspaced,
)

MOST = 16
"""Most words of a shingle."""
PRIME = np.uint64(0x100000001B3)


@functools.cache
def permutations(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The factors and summands (uint32[count] each) that datasketch 2 draws for this seed; its import takes two seconds."""
    generator = np.random.RandomState(seed)
    factors = generator.randint(0, 1 << 31, count, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    return factors, generator.randint(0, 1 << 32, count, dtype=np.uint32)


@dataclass(frozen=True)
class MinHashes:
    """Signatures and shingles of the texts of a batch."""

    signatures: np.ndarray
    """uint32[texts, permutations]; all ones for a text without words."""
    whole: np.ndarray
    """Hash of all words in their order: uint64[texts]."""
    words: np.ndarray
    """Number of words: int32[texts]."""
    shingles: np.ndarray
    """Hashes of the shingles of all texts one after the other, as they stand in the text: uint32."""
    counts: np.ndarray
    """Shingles of each text: int32[texts]."""


def minhash(texts: pa.Array, k: int, count: int, seed: int) -> MinHashes:
    """Signatures of `count` permutations and shingles of `k` words; a text with fewer words has one shingle, all of them."""
    data, offsets = buffers(texts)
    a, b = permutations(count, seed)
    documents = len(offsets) - 1
    out = np.full((documents, count), 0xFFFFFFFF, np.uint32)
    whole, words, counts = np.zeros(documents, np.uint64), np.zeros(documents, np.int32), np.zeros(documents, np.int32)
    sizes = np.diff(offsets)
    longest = int(sizes.max(initial=0)) // 2 + 2
    shingles = np.empty(int(sizes.sum()) // 2 + 2 * documents, np.uint32)
    used = _minhash(data, offsets, classes(), unspaced(), lower_case(), k, a, b, out, whole, words, shingles, counts, longest)
    return MinHashes(out, whole, words, shingles[:used], counts)


def similarities(shingles: np.ndarray, starts: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Exact Jaccard similarity (float64) of the shingles of each pair (left[i], right[i]).

    Text `n` has the shingles `shingles[starts[n]:starts[n + 1]]` (uint32), which are sorted in place.
    """
    return _similarities(shingles, starts, left, right)


def components(parents: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """First member (int64) of each document's connected component, when each pair (left[i], right[i]) is joined.

    `parents` are the first members of the components so far.
    """
    return _components(parents.astype(np.int64), left, right)


@numba.njit(cache=True, nogil=True)
def _shingles(data: Any, start: int, end: int, table: Any, letters: Any, lower: Any, k: int, out: Any) -> tuple[int, int, Any]:
    """Fill `out` with the shingle hashes of one text; returns their number, the number of words and a hash of all words."""
    recent = np.zeros(MOST, np.uint64)
    word, whole = np.uint64(0), np.uint64(0xCBF29CE484222325)
    in_word, last = False, np.int64(0)
    words = found = 0
    position = start
    while position <= end:
        code, length = (32, 1) if position == end else code_point(data, position)
        position += length
        if in_word and FIRST_JOINER <= code <= LAST_JOINER:
            continue
        kind = table[code] if code < TABLE_SIZE else LETTER
        letter = kind == LETTER or kind == DIGIT
        if in_word and (not letter or parts(last, code, letters)):
            recent[words % MOST] = mix(word)
            whole = mix(whole ^ mix(word)) + np.uint64(words)
            words += 1
            if words >= k:
                total = np.uint64(0)
                for i in range(k, 0, -1):  # oldest first: a shingle is a sequence, not a set
                    total = total * np.uint64(0x9E3779B97F4A7C15) + recent[(words - i) % MOST]
                out[found] = mix(total)
                found += 1
            word, in_word = np.uint64(0), False
        if letter:
            folded = lower[code] if code < TABLE_SIZE else code
            word = (word ^ np.uint64(folded)) * PRIME
            word ^= word >> np.uint64(29)
            in_word, last = True, np.int64(code)
    if words and not found:
        out[0] = whole
        found = 1
    return found, words, whole


@numba.njit(cache=True, nogil=True)
def _minhash(
    data: Any, offsets: Any, table: Any, letters: Any, lower: Any, k: int, a: Any, b: Any, out: Any, whole: Any, words: Any,
    kept: Any, counts: Any, longest: int,
) -> int:  # fmt: skip
    shingles = np.empty(longest, np.uint64)
    mixed = np.empty(longest, np.uint32)
    used = 0
    for document in range(offsets.shape[0] - 1):
        found, words[document], whole[document] = _shingles(
            data, offsets[document], offsets[document + 1], table, letters, lower, k, shingles
        )
        counts[document] = found
        for i in range(found):
            kept[used + i] = np.uint32(shingles[i] >> np.uint64(32))
            mixed[i] = _mix32(kept[used + i])
        used += found
        for permutation in range(a.shape[0]):
            factor, summand, least = a[permutation], b[permutation], np.uint32(0xFFFFFFFF)
            for i in range(found):
                least = min(least, np.uint32(mixed[i] * factor + summand))
            out[document, permutation] = least
    return used


@numba.njit(cache=True, nogil=True, inline="always")
def _mix32(value: Any) -> Any:
    value ^= value >> np.uint32(16)
    value = np.uint32(value * np.uint32(0x85EBCA6B))
    value ^= value >> np.uint32(13)
    value = np.uint32(value * np.uint32(0xC2B2AE35))
    return value ^ (value >> np.uint32(16))


@numba.njit(cache=True, nogil=True)
def _similarities(shingles: Any, starts: Any, left: Any, right: Any) -> Any:
    sizes = np.empty(starts.shape[0] - 1, np.int64)
    for text in range(sizes.shape[0]):
        sizes[text] = _distinct(shingles[starts[text] : starts[text + 1]])
    out = np.empty(left.shape[0], np.float64)
    for pair in range(left.shape[0]):
        i, j = starts[left[pair]], starts[right[pair]]
        end_i, end_j = i + sizes[left[pair]], j + sizes[right[pair]]
        common = 0
        while i < end_i and j < end_j:
            if shingles[i] == shingles[j]:
                common += 1
                i += 1
                j += 1
            elif shingles[i] < shingles[j]:
                i += 1
            else:
                j += 1
        union = sizes[left[pair]] + sizes[right[pair]] - common
        out[pair] = common / union if union else 0.0
    return out


@numba.njit(cache=True, nogil=True)
def _distinct(values: Any) -> int:
    """Sort the values and move the distinct ones to the front, in place; returns how many there are."""
    values.sort()
    found = 0
    for i in range(values.shape[0]):
        if i == 0 or values[i] != values[found - 1]:
            values[found] = values[i]
            found += 1
    return found


@numba.njit(cache=True, nogil=True)
def _components(parents: Any, left: Any, right: Any) -> Any:
    for pair in range(left.shape[0]):
        i, j = left[pair], right[pair]
        while parents[i] != i:
            parents[i] = parents[parents[i]]
            i = parents[i]
        while parents[j] != j:
            parents[j] = parents[parents[j]]
            j = parents[j]
        parents[max(i, j)] = min(i, j)
    for document in range(parents.shape[0]):  # a parent comes before its children, and has its root by then
        parents[document] = parents[parents[document]]
    return parents
