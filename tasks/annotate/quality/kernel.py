"""The quality signals of a text, from the counts of one pass over its bytes (`scan`) and one over the hashes of its words."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

from tasks.annotate.quality.scan import (
    ALPHA_WORDS,
    BULLET_LINES,
    CAPITAL_WORDS,
    COUNTERS,
    ELLIPSES,
    ELLIPSIS_LINES,
    HASHES,
    HEADS,
    LINE_BREAKS,
    LINES,
    PARAGRAPHS,
    PUNCTUATION_RUNS,
    SHORT_LINES,
    SINGLE_LETTERS,
    STOP_LINES,
    WORD_CHARACTERS,
    WORDS,
    Lines,
    Words,
    room_for_lines,
    room_for_words,
    scan,
)
from tasks.core.characters import DIGIT, LETTER, OTHER, SPACE, SYMBOL, mix

SIGNALS = (
    "words",
    "mean_word_length",
    "letters",
    "digits",
    "symbols",
    "alpha_words",
    "capital_words",
    "single_letter_words",
    "punctuation",
    "hash_words",
    "ellipsis_words",
    "unique_words",
    "top_word",
    "lines",
    "newlines",
    "stop_lines",
    "bullet_lines",
    "ellipsis_lines",
    "short_lines",
    "duplicate_lines",
    "duplicate_line_characters",
    "duplicate_paragraphs",
    "duplicate_paragraph_characters",
    "top_2_grams",
    "top_3_grams",
    "top_4_grams",
    "duplicate_5_grams",
    "duplicate_6_grams",
    "duplicate_7_grams",
    "duplicate_8_grams",
    "duplicate_9_grams",
    "duplicate_10_grams",
    "function_words",
    "word_order",
)
WORD_WINDOW = 1000
"""Words looked at for `unique_words` and `top_word`: type/token ratios of texts of different length cannot be compared."""
_NGRAM = np.uint64(0x9E3779B97F4A7C15)
_FIRST_LINE, _FIRST_GRAM, _USAGE = SIGNALS.index("lines"), SIGNALS.index("top_2_grams"), SIGNALS.index("function_words")


FOLDS = 8
"""Parts of the text that a language's usage is learned from; each is judged by what the others say."""


DISTANCES = (3, 5, 7, 9)
"""So many words apart, words tell of each other that they are on one matter, and hardly anything of their order. What they
tell is taken off, so that words in no order have 0, whatever they are about and however the language was learned."""


class Slots(NamedTuple):
    """A hash table of 64-bit values by open addressing: a slot is free unless its stamp is the present one."""

    values: np.ndarray
    stamps: np.ndarray
    counts: np.ndarray
    firsts: np.ndarray


@numba.njit(cache=True, nogil=True)
def measure(
    data: Any, offsets: Any, kinds: Any, lower: Any, letters: Any, keys: Any, classes: Any, frequent: int, order: Any, out: Any
) -> None:
    """Fill `out` (float32[texts, SIGNALS]) from UTF-8 bytes and offsets.

    `keys` and `classes` are a hash table of the language's frequent words (`usage.Usage`), `frequent` how many of them count as
    function words, `order` (float32[2, FOLDS, classes, classes]) the pointwise mutual information of adjacent classes;
    without any (`order` of size 0) the last two signals are NaN.
    """
    longest = 0
    for document in range(offsets.shape[0] - 1):
        longest = max(longest, offsets[document + 1] - offsets[document])
    words, lines, paragraphs = room_for_words(longest), room_for_lines(longest), room_for_lines(longest)
    counted = np.zeros(COUNTERS, np.int64)
    slots, stamp = _slots(1 << 12), 0
    for document in range(offsets.shape[0] - 1):
        row = out[document]
        scan(data, offsets[document], offsets[document + 1], kinds, lower, letters, words, lines, paragraphs, counted)
        count, line_count = counted[WORDS], counted[LINES]
        needed = slots.values.shape[0]
        while needed < 2 * max(count, line_count):
            needed *= 2
        if needed > slots.values.shape[0]:
            slots, stamp = _slots(needed), 0
        _ratios(row, counted)
        characters = counted[1 : OTHER + 1].sum()
        without_breaks = characters - counted[LINE_BREAKS]
        stamp = _lines(row, lines, line_count, without_breaks, 0, slots, stamp)
        stamp = _lines(row, paragraphs, counted[PARAGRAPHS], without_breaks, 2, slots, stamp)
        if order.size:
            _usage(row, words, count, keys, classes, frequent, order)
        else:
            row[_USAGE], row[_USAGE + 1] = np.nan, np.nan
        if count:
            stamp = _repetition(row, words.hashes[:count], words.ends, characters, slots, stamp)


@numba.njit(cache=True, nogil=True)
def _ratios(row: Any, counted: Any) -> None:
    """The signals that are ratios of counts; all others become 0."""
    count, lines = counted[WORDS], counted[LINES]
    row[:] = 0.0
    row[0] = count
    if count:
        row[1] = counted[WORD_CHARACTERS] / count
        row[5] = counted[ALPHA_WORDS] / count
        row[6] = counted[CAPITAL_WORDS] / max(1, counted[ALPHA_WORDS])
        row[7] = counted[SINGLE_LETTERS] / count
        row[8], row[9] = counted[PUNCTUATION_RUNS] / count, counted[HASHES] / count
        row[10] = counted[ELLIPSES] / count
        row[_FIRST_LINE + 1] = counted[LINE_BREAKS] / count
    visible = counted[1 : OTHER + 1].sum() - counted[SPACE]
    if visible:
        row[2], row[3], row[4] = counted[LETTER] / visible, counted[DIGIT] / visible, counted[SYMBOL] / visible
    row[_FIRST_LINE] = lines
    if lines:
        row[_FIRST_LINE + 2], row[_FIRST_LINE + 3] = counted[STOP_LINES] / lines, counted[BULLET_LINES] / lines
        row[_FIRST_LINE + 4], row[_FIRST_LINE + 5] = counted[ELLIPSIS_LINES] / lines, counted[SHORT_LINES] / lines


@numba.njit(cache=True, nogil=True)
def _lines(row: Any, lines: Lines, number: int, characters: int, shift: int, slots: Slots, stamp: int) -> int:
    """Shares of the lines (or paragraphs), and of their characters, that stood before in the document."""
    stamp += 1
    mask = np.uint64(slots.values.shape[0] - 1)
    repeated = size = 0
    for i in range(number):
        slot = _find(lines.hashes[i], mask, slots, stamp)
        if slots.stamps[slot] == stamp:
            repeated += 1
            size += lines.sizes[i]
        else:
            slots.values[slot], slots.stamps[slot] = lines.hashes[i], stamp
    if repeated:
        row[_FIRST_LINE + 6 + shift] = repeated / number
        row[_FIRST_LINE + 7 + shift] = size / characters
    return stamp


@numba.njit(cache=True, nogil=True)
def _usage(row: Any, words: Words, count: int, keys: Any, classes: Any, frequent: int, order: Any) -> None:
    """Share of function words, and by how much adjacent words tell more of each other than words DISTANCES apart do.

    Of what the classes by first characters tell and those by last ones together: mean pointwise mutual information (nats).
    """
    known, fold = order.shape[2] - HEADS, fold_of(words.hashes[:count])
    functional = pairs = distant = 0
    near = far = 0.0
    for side in range(2):
        kinds, information = words.heads if side == 0 else words.tails, order[side, fold]
        for i in range(count):
            kinds[i] = word_class(words.hashes[i], kinds[i], keys, classes, known)
            functional += side == 0 and kinds[i] < frequent
            if i and not words.joined[i]:
                near += information[kinds[i - 1], kinds[i]]
                pairs += 1
            for distance in DISTANCES:
                if i >= distance:
                    far += information[kinds[i - distance], kinds[i]]
                    distant += 1
    if count:
        row[_USAGE] = functional / count
    if distant and pairs:  # of both sides, each pair counted twice
        row[_USAGE + 1] = 2 * near / pairs - 2 * far / distant


@numba.njit(cache=True, nogil=True)
def fold_of(words: Any) -> Any:
    """The fold of a text by the least hash of three words in a row (Broder 1997): texts that are nearly the same share it."""
    least = np.uint64(0xFFFFFFFFFFFFFFFF)
    for i in range(words.shape[0] - 2):
        least = min(least, mix(mix(words[i] * _NGRAM + words[i + 1]) * _NGRAM + words[i + 2]))
    return np.int64(least % np.uint64(FOLDS))


@numba.njit(cache=True, nogil=True, inline="always")
def word_class(word: Any, head: int, keys: Any, classes: Any, known: int) -> int:
    """Rank of a frequent word (below `known`), else `known` + its class by first characters; `keys` has a power of two."""
    mask = np.uint64(keys.shape[0] - 1)
    slot = word & mask
    while classes[slot] >= 0:
        if keys[slot] == word:
            return int(classes[slot])
        slot = (slot + np.uint64(1)) & mask
    return known + int(head)


@numba.njit(cache=True, nogil=True)
def _repetition(row: Any, words: Any, ends: Any, characters: int, slots: Slots, stamp: int) -> int:
    """Repeated words and n-grams as GopherRepetitionFilter counts them; `words` is overwritten."""
    count = words.shape[0]
    size = slots.values.shape[0]
    while size >= 4 * count and size > 16:  # a small table stays in the cache
        size //= 2
    mask = np.uint64(size - 1)
    window = min(count, WORD_WINDOW)
    stamp += 1
    most, _, distinct = _most(words[:window], mask, slots, stamp)
    row[11], row[12] = distinct / window, most / window
    grams = words.copy()
    for n in range(2, 11):
        grams = grams[: count - n + 1]
        if grams.shape[0] == 0:
            break
        for i in range(grams.shape[0]):
            grams[i] = mix(grams[i] * _NGRAM + words[i + n - 1])
        stamp += 1
        if n <= 4:
            most, first, _ = _most(grams, mask, slots, stamp)
            row[_FIRST_GRAM + n - 2] = most * (ends[first + n] - ends[first] + n - 1) / characters
            if most == 1 and n == 4:
                break
        else:
            repeated = _duplicated(grams, n, ends, mask, slots, stamp)
            if repeated == 0:  # then no longer n-gram is repeated either
                break
            row[_FIRST_GRAM + n - 2] = repeated / characters
    return stamp


@numba.njit(cache=True, nogil=True)
def _most(values: Any, mask: Any, slots: Slots, stamp: int) -> tuple[int, int, int]:
    """How often the most frequent value occurs, where the first of those first stands, and the number of distinct values."""
    most, first, distinct = 0, 0, 0
    for i in range(values.shape[0]):
        slot = _find(values[i], mask, slots, stamp)
        if slots.stamps[slot] == stamp:
            slots.counts[slot] += 1
        else:
            slots.values[slot], slots.stamps[slot], slots.counts[slot], slots.firsts[slot] = values[i], stamp, 1, i
            distinct += 1
        count = slots.counts[slot]
        if count > most or (count == most and slots.firsts[slot] < first):
            most, first = count, slots.firsts[slot]
    return most, first, distinct


@numba.njit(cache=True, nogil=True)
def _duplicated(grams: Any, n: int, ends: Any, mask: Any, slots: Slots, stamp: int) -> int:
    """Characters, without blanks, of n-grams that stood before; those that overlap are counted once."""
    total = i = 0
    while i < grams.shape[0]:
        slot = _find(grams[i], mask, slots, stamp)
        if slots.stamps[slot] == stamp:
            total += ends[i + n] - ends[i]
            i += n
        else:
            slots.values[slot], slots.stamps[slot] = grams[i], stamp
            i += 1
    return total


@numba.njit(cache=True, nogil=True)
def _slots(size: int) -> Slots:
    return Slots(np.empty(size, np.uint64), np.zeros(size, np.int64), np.empty(size, np.int64), np.empty(size, np.int64))


@numba.njit(cache=True, nogil=True, inline="always")
def _find(value: Any, mask: Any, slots: Slots, stamp: int) -> Any:
    """The slot of a value, or the free one where it belongs."""
    slot = value & mask
    while slots.stamps[slot] == stamp and slots.values[slot] != value:
        slot = (slot + np.uint64(1)) & mask
    return slot
