"""The quality signals of a text, in one pass over its bytes and one over the hashes of its words.

Words are runs of letters, marks and digits; an apostrophe between letters (ng'ombe) and a comma or dot between digits (2,500)
are part of the word. They are compared in lower case, as hashes of 64 bits.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from tasks.core.characters import DIGIT, LETTER, SPACE, STOP, SYMBOL, TABLE_SIZE, code_point, mix

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
SHORT_LINE = 30
"""Characters of a line that FineWeb counts as short."""
HEADS = 128
"""Classes of the words that are not frequent, by their first two characters; class 0 holds words without a letter."""

_PRIME = np.uint64(0x100000001B3)
_NGRAM = np.uint64(0x9E3779B97F4A7C15)
_FIRST_LINE, _FIRST_GRAM, _USAGE = SIGNALS.index("lines"), SIGNALS.index("top_2_grams"), SIGNALS.index("function_words")


@numba.njit(cache=True, nogil=True)
def measure(
    data: Any, offsets: Any, kinds: Any, lower: Any, keys: Any, classes: Any, frequent: int, order: Any, out: Any
) -> None:
    """Fill `out` (float32[texts, SIGNALS]) from UTF-8 bytes and offsets.

    `keys` and `classes` are a hash table of the language's frequent words (`usage.Usage`), `frequent` how many of them count as
    function words, `order` (float32[classes, classes]) the pointwise mutual information of adjacent classes; without any
    (`order` of size 0) the last two signals are NaN.
    """
    longest = 0
    for document in range(offsets.shape[0] - 1):
        longest = max(longest, offsets[document + 1] - offsets[document])
    words, heads = np.empty(longest // 2 + 2, np.uint64), np.empty(longest // 2 + 2, np.int16)
    ends, begins = np.zeros(longest // 2 + 2, np.int64), np.empty(longest // 2 + 2, np.int64)
    lines, line_sizes = np.empty(longest + 2, np.uint64), np.empty(longest + 2, np.int64)
    paragraphs, paragraph_sizes = np.empty(longest + 2, np.uint64), np.empty(longest + 2, np.int64)
    slots, stamps, counts, firsts = _slots(1 << 12)
    stamp = 0
    for document in range(offsets.shape[0] - 1):
        row = out[document]
        start, end = offsets[document], offsets[document + 1]
        count, line_count, paragraph_count, characters, newlines = scan(
            data, start, end, kinds, lower, words, heads, ends, begins, lines, line_sizes, paragraphs, paragraph_sizes, row
        )
        needed = slots.shape[0]
        while needed < 2 * max(count, line_count):
            needed *= 2
        if needed > slots.shape[0]:
            slots, stamps, counts, firsts = _slots(needed)
            stamp = 0
        stamp = _lines(row, lines[:line_count], line_sizes, characters - newlines, 0, slots, stamps, stamp)
        stamp = _lines(row, paragraphs[:paragraph_count], paragraph_sizes, characters - newlines, 2, slots, stamps, stamp)
        if order.size:
            _usage(row, words[:count], heads, keys, classes, frequent, order)
        else:
            row[_USAGE], row[_USAGE + 1] = np.nan, np.nan
        if count:
            stamp = _repetition(row, words[:count], ends, characters, slots, stamps, counts, firsts, stamp)


@numba.njit(cache=True, nogil=True)
def scan(
    data: Any,
    position: int,
    end: int,
    kinds: Any,
    lower: Any,
    words: Any,
    heads: Any,
    ends: Any,
    begins: Any,
    lines: Any,
    line_sizes: Any,
    paragraphs: Any,
    paragraph_sizes: Any,
    row: Any,
) -> tuple[int, int, int, int, int]:
    """Read one text: its words, lines and paragraphs as hashes, and those signals that need no more than counting.

    Of word i `heads` has the class by its first characters and `ends[i + 1]` the characters of words 0 to i, `begins`
    where it stands in `data`. Returns the numbers of words, of lines and of paragraphs that are not empty, of characters, and
    of line breaks.
    """
    count = line_count = paragraph_count = characters = newlines = 0
    visible = letters = digits = symbols = alpha = capitals = singles = punctuation = hashes = ellipses = 0
    stop_lines = bullets = ellipsis_lines = short = 0
    word, head = np.uint64(0), np.uint64(0)
    size = word_characters = 0
    in_word = has_letter = capital = set_off = False
    line, paragraph = np.uint64(0), np.uint64(0)
    line_length = line_size = paragraph_size = 0
    bullet = line_stop = ellipsis_end = False
    dots, previous, previous_kind = 0, np.uint32(0), SPACE
    while position <= end:
        if position < end:
            code, length = code_point(data, position)
            characters += 1
        else:
            code, length = np.uint32(10), 1
        kind = kinds[code] if code < TABLE_SIZE else LETTER
        position += length
        if in_word and position < end and _joins(code, previous_kind):
            following, _ = code_point(data, position)
            following_kind = kinds[following] if following < TABLE_SIZE else LETTER
            if following_kind == previous_kind:
                kind = previous_kind
        if kind == LETTER or kind == DIGIT:
            small = lower[code] if code < TABLE_SIZE else code
            if not in_word:
                in_word, has_letter, capital, set_off = True, False, small != code, previous_kind == SPACE
                begins[count] = position - length
            word = (word ^ np.uint64(small)) * _PRIME
            size += 1
            if size <= 2:
                head = word
            has_letter |= kind == LETTER
        elif in_word:
            words[count] = mix(word)
            heads[count] = 1 + mix(head) % np.uint64(HEADS - 1) if has_letter else 0
            word_characters += size
            count += 1
            ends[count] = word_characters
            alpha += has_letter
            capitals += has_letter and capital
            singles += size == 1 and has_letter and not capital and set_off and kind == SPACE
            word, head, size, in_word = np.uint64(0), np.uint64(0), 0, False
        if code == 10:
            newlines += position <= end
            if line_size:
                lines[line_count], line_sizes[line_count] = mix(line), line_size
                line_count += 1
                stop_lines += line_stop
                bullets += bullet
                ellipsis_lines += ellipsis_end
                short += line_size <= SHORT_LINE
                paragraph_size += line_size
            if paragraph_size and (line_size == 0 or position > end):
                paragraphs[paragraph_count], paragraph_sizes[paragraph_count] = mix(paragraph), paragraph_size
                paragraph_count += 1
                paragraph, paragraph_size = np.uint64(0), 0
            line, line_length, line_size, dots = np.uint64(0), 0, 0, 0
            bullet = line_stop = ellipsis_end = False
        elif kind == SPACE:
            line_length += line_size > 0
            dots = 0
        else:
            visible += 1
            letters += kind == LETTER
            digits += kind == DIGIT
            symbols += kind == SYMBOL
            if kind != LETTER and kind != DIGIT:
                punctuation += code != previous
                hashes += code == 0x23
            if line_size == 0:
                bullet = code in (0x2A, 0x2D, 0x2022, 0x25CF, 0x25AA, 0xB7, 0x2013)
            line_length += 1
            line_size = line_length
            line = (line ^ np.uint64(code)) * _PRIME
            paragraph = (paragraph ^ np.uint64(code)) * _PRIME
            dots = dots + 1 if code == 0x2E else 0
            ellipses += code == 0x2026 or (dots > 0 and dots % 3 == 0)
            ellipsis_end = code == 0x2026 or dots >= 3
            line_stop = kind == STOP
        previous, previous_kind = code, kind
    row[:] = 0.0
    row[0] = count
    if count:
        row[1] = word_characters / count
        row[5], row[6], row[7] = alpha / count, capitals / max(1, alpha), singles / count
        row[8], row[9], row[10] = punctuation / count, hashes / count, ellipses / count
        row[_FIRST_LINE + 1] = newlines / count
    if visible:
        row[2], row[3], row[4] = letters / visible, digits / visible, symbols / visible
    row[_FIRST_LINE] = line_count
    if line_count:
        row[_FIRST_LINE + 2], row[_FIRST_LINE + 3] = stop_lines / line_count, bullets / line_count
        row[_FIRST_LINE + 4], row[_FIRST_LINE + 5] = ellipsis_lines / line_count, short / line_count
    return count, line_count, paragraph_count, characters, newlines


@numba.njit(cache=True, nogil=True, inline="always")
def _joins(code: Any, previous: int) -> bool:
    """Whether a character may stand inside of a word: an apostrophe after a letter, a comma or dot after a digit."""
    if previous == LETTER:
        return code == 0x27 or code == 0x2019 or code == 0x2BC or code == 0x2BB
    return previous == DIGIT and (code == 0x2C or code == 0x2E)


@numba.njit(cache=True, nogil=True)
def _lines(row: Any, lines: Any, sizes: Any, characters: int, shift: int, slots: Any, stamps: Any, stamp: int) -> int:
    """Shares of the lines (or paragraphs), and of their characters, that stood before in the document."""
    stamp += 1
    mask = np.uint64(slots.shape[0] - 1)
    repeated = size = 0
    for i in range(lines.shape[0]):
        slot = _find(lines[i], mask, slots, stamps, stamp)
        if stamps[slot] == stamp:
            repeated += 1
            size += sizes[i]
        else:
            slots[slot], stamps[slot] = lines[i], stamp
    if repeated:
        row[_FIRST_LINE + 6 + shift] = repeated / lines.shape[0]
        row[_FIRST_LINE + 7 + shift] = size / characters
    return stamp


@numba.njit(cache=True, nogil=True)
def _usage(row: Any, words: Any, heads: Any, keys: Any, classes: Any, frequent: int, order: Any) -> None:
    """Share of function words, and mean pointwise mutual information (nats) of the classes of adjacent words."""
    known = order.shape[0] - HEADS
    functional, previous, total = 0, -1, 0.0
    for i in range(words.shape[0]):
        kind = word_class(words[i], heads[i], keys, classes, known)
        functional += kind < frequent
        if previous >= 0:
            total += order[previous, kind]
        previous = kind
    if words.shape[0]:
        row[_USAGE] = functional / words.shape[0]
    if words.shape[0] > 1:
        row[_USAGE + 1] = total / (words.shape[0] - 1)


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
def _repetition(
    row: Any, words: Any, ends: Any, characters: int, slots: Any, stamps: Any, counts: Any, firsts: Any, stamp: int
) -> int:
    """Repeated words and n-grams as GopherRepetitionFilter counts them; `words` is overwritten."""
    count = words.shape[0]
    size = slots.shape[0]
    while size >= 4 * count and size > 16:  # a small table stays in the cache
        size //= 2
    mask = np.uint64(size - 1)
    window = min(count, WORD_WINDOW)
    stamp += 1
    most, _, distinct = _most(words[:window], mask, slots, stamps, counts, firsts, stamp)
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
            most, first, _ = _most(grams, mask, slots, stamps, counts, firsts, stamp)
            row[_FIRST_GRAM + n - 2] = most * (ends[first + n] - ends[first] + n - 1) / characters
            if most == 1 and n == 4:
                break
        else:
            repeated = _duplicated(grams, n, ends, mask, slots, stamps, stamp)
            if repeated == 0:  # then no longer n-gram is repeated either
                break
            row[_FIRST_GRAM + n - 2] = repeated / characters
    return stamp


@numba.njit(cache=True, nogil=True)
def _most(values: Any, mask: Any, slots: Any, stamps: Any, counts: Any, firsts: Any, stamp: int) -> tuple[int, int, int]:
    """How often the most frequent value occurs, where the first of those first stands, and the number of distinct values."""
    most, first, distinct = 0, 0, 0
    for i in range(values.shape[0]):
        slot = _find(values[i], mask, slots, stamps, stamp)
        if stamps[slot] == stamp:
            counts[slot] += 1
        else:
            slots[slot], stamps[slot], counts[slot], firsts[slot] = values[i], stamp, 1, i
            distinct += 1
        if counts[slot] > most or (counts[slot] == most and firsts[slot] < first):
            most, first = counts[slot], firsts[slot]
    return most, first, distinct


@numba.njit(cache=True, nogil=True)
def _duplicated(grams: Any, n: int, ends: Any, mask: Any, slots: Any, stamps: Any, stamp: int) -> int:
    """Characters, without blanks, of n-grams that stood before; those that overlap are counted once."""
    total = i = 0
    while i < grams.shape[0]:
        slot = _find(grams[i], mask, slots, stamps, stamp)
        if stamps[slot] == stamp:
            total += ends[i + n] - ends[i]
            i += n
        else:
            slots[slot], stamps[slot] = grams[i], stamp
            i += 1
    return total


@numba.njit(cache=True, nogil=True)
def _slots(size: int) -> Any:
    return np.empty(size, np.uint64), np.zeros(size, np.int64), np.empty(size, np.int64), np.empty(size, np.int64)


@numba.njit(cache=True, nogil=True, inline="always")
def _find(value: Any, mask: Any, slots: Any, stamps: Any, stamp: int) -> Any:
    """The slot of a value, or the free one where it belongs: slots with another stamp are free."""
    slot = value & mask
    while stamps[slot] == stamp and slots[slot] != value:
        slot = (slot + np.uint64(1)) & mask
    return slot
