"""n-grams of letters in documents, and the evaluation items that they speak for, compiled by numba."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from tasks.core.characters import LETTER, TABLE_SIZE, code_point, mix

BASE = np.uint64(0x9E3779B97F4A7C15)
VERBATIM = 0.8
"""Share of an item's n-grams from which on a document holds the item itself, however common its phrases are."""
VERBATIM_NGRAMS = 20
"""n-grams that such an item has at least: about 40 letters. Shorter ones may be sayings."""
EVIDENCE = 15
"""n-grams that are not common, and that a document must share with an item: 34 letters. Of a shorter item all of them.
With fewer, phrases such as "with full military honours" are taken for items."""


@numba.njit(cache=True, nogil=True)
def letter_grams(data: Any, start: int, end: int, table: Any, lower: Any, worth: Any, characters: int, out: Any) -> int:
    """Hashes of all runs of `characters` letters of a text; returns how many (a rolling polynomial hash).

    A letter stands as often in its place as the table `worth` says, so that a run of Chinese says as much as one of English.
    """
    ring = np.zeros(characters, np.uint64)
    power = np.uint64(1)
    for _ in range(characters):
        power *= BASE
    value = np.uint64(0)
    seen = found = 0
    position = start
    while position < end:
        code, length = code_point(data, position)
        position += length
        if code < TABLE_SIZE:
            if table[code] != LETTER:
                continue
            letter, times = np.uint64(lower[code]), worth[code]
        else:
            letter, times = np.uint64(code), np.uint8(3)
        for _ in range(times):
            slot = seen % characters
            value = value * BASE + letter - power * ring[slot]
            ring[slot] = letter
            seen += 1
            if seen >= characters:
                out[found] = mix(value)
                found += 1
    return found


@numba.njit(cache=True, nogil=True)
def match(
    data: Any, offsets: Any, table: Any, lower: Any, worth: Any, characters: int, keys: Any, bitmap: Any, directory: Any,
    last: Any, first: int, found: Any, counts: Any,
) -> int:  # fmt: skip
    """Fill `found` with the places in `keys` of the n-grams of each text, without repetition, and `counts` with their number.

    `last[key]` is the number of the last document that held the key; that of the first text is `first`. `directory[top]`
    is the place of the first key whose upper bits are at least `top`: most n-grams are looked for in one cache line.
    """
    longest = 0
    for text in range(offsets.shape[0] - 1):
        longest = max(longest, offsets[text + 1] - offsets[text])
    grams = np.empty(longest + 1, np.uint64)
    shift = np.uint64(64 - 3 - round(np.log2(bitmap.shape[0])))
    top = np.uint64(64 - round(np.log2(directory.shape[0] - 1)))
    used = 0
    for text in range(offsets.shape[0] - 1):
        number = letter_grams(data, offsets[text], offsets[text + 1], table, lower, worth, characters, grams)
        before = used
        for i in range(number):
            gram = grams[i]
            slot = gram >> shift
            if not (bitmap[slot >> np.uint64(3)] >> (slot & np.uint64(7))) & np.uint64(1):
                continue
            key, end = directory[gram >> top], directory[(gram >> top) + np.uint64(1)]
            while key < end and keys[key] < gram:
                key += 1
            if key == end or keys[key] != gram or last[key] == first + text:
                continue
            last[key] = first + text
            found[used] = key
            used += 1
        counts[text] = used - before
    return used


@numba.njit(cache=True, nogil=True)
def judge(
    found: Any, counts: Any, common: Any, starts: Any, owners: Any, sizes: Any, rare_sizes: Any, threshold: float,
    coverage: Any, documents: Any, best: Any, share: Any,
) -> None:  # fmt: skip
    """The item that each document holds (`best`, -1 for none) and the share of the item's n-grams that it has (`share`).

    `coverage` and `documents` collect the largest share of each item, and the number of documents that hold it.
    """
    every = np.zeros(sizes.shape[0], np.int64)
    rare = np.zeros(sizes.shape[0], np.int64)
    touched = np.empty(sizes.shape[0], np.int64)
    position = 0
    for document in range(counts.shape[0]):
        number = 0
        for place in range(position, position + counts[document]):
            key = found[place]
            for entry in range(starts[key], starts[key + 1]):
                item = owners[entry]
                if every[item] == 0:
                    touched[number] = item
                    number += 1
                every[item] += 1
                rare[item] += not common[key]
        position += counts[document]
        for i in range(number):
            item = touched[i]
            part = np.float32(every[item] / sizes[item])
            verbatim = sizes[item] >= VERBATIM_NGRAMS and part >= VERBATIM
            enough = rare[item] >= max(threshold * rare_sizes[item], min(EVIDENCE, rare_sizes[item])) and rare[item] > 0
            every[item] = rare[item] = 0
            coverage[item] = max(coverage[item], part)
            if verbatim or enough:
                documents[item] += 1
                # the largest share, and of equals the first item: the same whatever the order of the n-grams
                if part > share[document] or (part == share[document] and item < best[document]):
                    best[document], share[document] = item, part
