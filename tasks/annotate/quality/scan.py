"""One pass over the bytes of a text: its words, lines and paragraphs as hashes, and counts of what need only be counted.

Words are runs of letters, marks and digits, cut where `tasks.core.characters.parts` says; an apostrophe between letters
(ng'ombe) and a comma or dot between digits (2,500) are part of the word, and so are zero-width joiners. They are compared in
lower case and without joiners, as hashes of 64 bits (FNV-1a over code points, mixed).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

from tasks.core.characters import (
    DIGIT,
    FIRST_JOINER,
    LAST_JOINER,
    LETTER,
    OTHER,
    SPACE,
    STOP,
    TABLE_SIZE,
    code_point,
    mix,
    parts,
)

SHORT_LINE = 30
"""Characters of a line that FineWeb counts as short."""
HEADS = 128
"""Classes of the words that are not frequent, by their first two characters, and by their last two; class 0 holds words without
a letter."""

(
    WORDS, WORD_CHARACTERS, ALPHA_WORDS, CAPITAL_WORDS, SINGLE_LETTERS, PUNCTUATION_RUNS, HASHES, ELLIPSES,
    LINES, LINE_BREAKS, STOP_LINES, BULLET_LINES, ELLIPSIS_LINES, SHORT_LINES, PARAGRAPHS, COUNTERS,
) = range(OTHER + 1, OTHER + 17)  # fmt: skip
"""Places in the array of counts; before them stands the number of characters of each class, by its number."""

_PRIME = np.uint64(0x100000001B3)
_LINE_BREAK = np.uint32(10)


class Words(NamedTuple):
    """Arrays with room for all words of a text (a word and what ends it have two bytes)."""

    hashes: np.ndarray
    """uint64"""
    heads: np.ndarray
    """Class by the first two characters: int16, below `HEADS`."""
    tails: np.ndarray
    """The same by the last two."""
    joined: np.ndarray
    """Whether a hyphen joins it to the word before: bool."""
    begins: np.ndarray
    """Where each stands in the data: int64."""
    ends: np.ndarray
    """int64, one more than words: `ends[i + 1]` are the characters of words 0 to i."""


class Lines(NamedTuple):
    """Arrays with room for all lines, or paragraphs, of a text that are not empty."""

    hashes: np.ndarray
    """uint64"""
    sizes: np.ndarray
    """Characters: int64."""


class _Word(NamedTuple):
    """The word that is being read; its size is 0 between words."""

    hash: Any
    head: Any
    tail: Any
    """Its last two characters, 32 bits each: uint64."""
    joined: bool
    size: int
    letter: bool
    capital: bool
    set_off: bool
    last: Any
    """Its last letter or digit: int64."""


class _Line(NamedTuple):
    """The line that is being read: `length` with, `size` without the white space that it may turn out to end in."""

    hash: Any
    length: int
    size: int
    bullet: bool
    stop: bool
    ellipsis: bool
    dots: int


class _Paragraph(NamedTuple):
    hash: Any
    size: int


@numba.njit(cache=True, nogil=True)
def scan(
    data: Any, position: int, end: int, kinds: Any, lower: Any, letters: Any, words: Words, lines: Lines, paragraphs: Lines,
    counted: Any,
) -> None:  # fmt: skip
    """Read the text from `position` to `end` (UTF-8), and fill `words`, `lines`, `paragraphs` and `counted` (int64[COUNTERS]).

    `kinds`, `lower` and `letters` are the tables `classes`, `lower_case` and `unspaced` of `tasks.core.characters`.
    """
    counted[:] = 0
    word, line, paragraph = _no_word(), _no_line(), _no_paragraph()
    previous, previous_kind = _LINE_BREAK, SPACE  # a text begins as a line does
    while position <= end:
        # a line break after the end ends the last word, line and paragraph
        code, length = code_point(data, position) if position < end else (_LINE_BREAK, 1)
        kind = _kind(code, kinds)
        position += length
        joined = False
        if word.size and FIRST_JOINER <= code <= LAST_JOINER:
            joined, kind = True, previous_kind
        elif word.size and position < end and _joins(code, previous_kind):
            following, _ = code_point(data, position)
            if _kind(following, kinds) == previous_kind:
                joined, kind = True, previous_kind
        counted[kind] += 1
        if kind == LETTER or kind == DIGIT:
            small = lower[code] if code < TABLE_SIZE else code
            if word.size and not joined and parts(word.last, code, letters):
                _end_word(word, False, words, counted)
                word = _no_word()
            if word.size == 0:
                words.begins[counted[WORDS]] = position - length
                word = _Word(
                    np.uint64(0), np.uint64(0), np.uint64(0), _is_hyphen(previous), 0, False, small != code,
                    _is_blank(previous, previous_kind), np.int64(0),
                )  # fmt: skip
            word = _with_letter(word, small, kind, code, joined)
        elif word.size:
            _end_word(word, _is_blank(code, kind), words, counted)
            word = _no_word()
        if code == _LINE_BREAK:
            counted[LINE_BREAKS] += position <= end
            paragraph = _end_line(line, paragraph, position > end, lines, paragraphs, counted)
            line = _no_line()
        elif kind == SPACE:
            line = _Line(line.hash, line.length + (line.size > 0), line.size, line.bullet, line.stop, line.ellipsis, 0)
        else:
            if kind != LETTER and kind != DIGIT:
                counted[PUNCTUATION_RUNS] += code != previous
                counted[HASHES] += code == 0x23
            line = _with_character(line, code, kind, counted)
            paragraph = _Paragraph((paragraph.hash ^ np.uint64(code)) * _PRIME, paragraph.size)
        previous, previous_kind = code, kind
    counted[SPACE] -= 1  # the line break after the end


@numba.njit(cache=True, nogil=True)
def room_for_words(longest: int) -> Words:
    """Arrays for the words of a text of at most `longest` bytes."""
    size = longest // 2 + 2
    heads, tails, joined = np.empty(size, np.int16), np.empty(size, np.int16), np.empty(size, np.bool_)
    return Words(np.empty(size, np.uint64), heads, tails, joined, np.empty(size, np.int64), np.zeros(size, np.int64))


@numba.njit(cache=True, nogil=True)
def room_for_lines(longest: int) -> Lines:
    """Arrays for the lines of a text of at most `longest` bytes."""
    return Lines(np.empty(longest + 2, np.uint64), np.empty(longest + 2, np.int64))


@numba.njit(cache=True, nogil=True, inline="always")
def _kind(code: Any, kinds: Any) -> int:
    return kinds[code] if code < TABLE_SIZE else LETTER


@numba.njit(cache=True, nogil=True, inline="always")
def _is_blank(code: Any, kind: int) -> bool:
    """White space, and not what sets off the syllables of Tibetan, many of which are one letter."""
    return kind == SPACE and code != 0x0F0B and code != 0x0F0C


@numba.njit(cache=True, nogil=True, inline="always")
def _is_hyphen(code: Any) -> bool:
    return code == 0x2D or code == 0x2010 or code == 0x2011


@numba.njit(cache=True, nogil=True, inline="always")
def _joins(code: Any, previous: int) -> bool:
    """Whether a character may stand inside of a word: an apostrophe after a letter, a comma or dot after a digit."""
    if previous == LETTER:
        return code == 0x27 or code == 0x2019 or code == 0x2BC or code == 0x2BB
    return previous == DIGIT and (code == 0x2C or code == 0x2E)


@numba.njit(cache=True, nogil=True)
def _no_word() -> _Word:
    return _Word(np.uint64(0), np.uint64(0), np.uint64(0), False, 0, False, False, False, np.int64(0))


@numba.njit(cache=True, nogil=True)
def _with_letter(word: _Word, small: Any, kind: int, code: Any, joined: bool) -> _Word:
    if FIRST_JOINER <= code <= LAST_JOINER:
        return _Word(
            word.hash, word.head, word.tail, word.joined, word.size + 1, word.letter, word.capital, word.set_off, word.last
        )
    value = (word.hash ^ np.uint64(small)) * _PRIME
    head = value if word.size < 2 else word.head
    tail = (word.tail << np.uint64(32)) | np.uint64(small)
    last = word.last if joined else np.int64(code)
    return _Word(value, head, tail, word.joined, word.size + 1, word.letter or kind == LETTER, word.capital, word.set_off, last)


@numba.njit(cache=True, nogil=True)
def _end_word(word: _Word, blank: bool, words: Words, counted: Any) -> None:
    """Store and count a word that a `blank` or something else ends."""
    place = counted[WORDS]
    words.hashes[place] = mix(word.hash)
    words.heads[place] = 1 + np.int64(mix(word.head) % np.uint64(HEADS - 1)) if word.letter else 0
    words.tails[place] = 1 + np.int64(mix(word.tail * _PRIME) % np.uint64(HEADS - 1)) if word.letter else 0
    words.joined[place] = word.joined
    counted[WORD_CHARACTERS] += word.size
    words.ends[place + 1] = counted[WORD_CHARACTERS]
    counted[WORDS] = place + 1
    counted[ALPHA_WORDS] += word.letter
    counted[CAPITAL_WORDS] += word.letter and word.capital
    counted[SINGLE_LETTERS] += word.size == 1 and word.letter and not word.capital and word.set_off and blank


@numba.njit(cache=True, nogil=True)
def _no_line() -> _Line:
    return _Line(np.uint64(0), 0, 0, False, False, False, 0)


@numba.njit(cache=True, nogil=True)
def _with_character(line: _Line, code: Any, kind: int, counted: Any) -> _Line:
    """The line with one more character that is no white space."""
    bullet, length = line.bullet, line.length + 1
    if line.size == 0:
        bullet = code in (0x2A, 0x2D, 0x2022, 0x25CF, 0x25AA, 0xB7, 0x2013)
    dots = line.dots + 1 if code == 0x2E else 0
    counted[ELLIPSES] += code == 0x2026 or (dots > 0 and dots % 3 == 0)
    ellipsis = code == 0x2026 or dots >= 3
    return _Line((line.hash ^ np.uint64(code)) * _PRIME, length, length, bullet, kind == STOP, ellipsis, dots)


@numba.njit(cache=True, nogil=True)
def _no_paragraph() -> _Paragraph:
    return _Paragraph(np.uint64(0), 0)


@numba.njit(cache=True, nogil=True)
def _end_line(line: _Line, paragraph: _Paragraph, last: bool, lines: Lines, paragraphs: Lines, counted: Any) -> _Paragraph:
    """Store and count a line, and the paragraph if it ends here; returns the paragraph that goes on or begins."""
    size = paragraph.size + line.size
    if line.size:
        place = counted[LINES]
        lines.hashes[place], lines.sizes[place] = mix(line.hash), line.size
        counted[LINES] = place + 1
        counted[STOP_LINES] += line.stop
        counted[BULLET_LINES] += line.bullet
        counted[ELLIPSIS_LINES] += line.ellipsis
        counted[SHORT_LINES] += line.size <= SHORT_LINE
    if size and (line.size == 0 or last):
        place = counted[PARAGRAPHS]
        paragraphs.hashes[place], paragraphs.sizes[place] = mix(paragraph.hash), size
        counted[PARAGRAPHS] = place + 1
        return _no_paragraph()
    return _Paragraph(paragraph.hash, size)
