"""Which documents need which rule: one pass over the bytes of a batch, compiled by numba.

Most documents of a crawl need few rules or none, and a regular expression over all text is what cleaning would spend its
time on. A sign may be given without need (the rule then finds nothing to do), never left out where its rule would act.
"""

from __future__ import annotations

import functools
import unicodedata
from typing import Any

import numba
import numpy as np
import pyarrow as pa

from tasks.core.characters import TABLE_SIZE, buffers, code_point
from tasks.core.mojibake import CONTINUATIONS

LAYOUT, SUSPECT, ENTITY, MARKUP, SCRIPT, COMPOSE, AT, NUMBER, ADDRESS, CODE = (1 << bit for bit in range(10))
"""White space or invisible characters; text decoded wrongly; &; < or a template; letters of presentation; marks; @ or [at];
a run of seven digits (of any script); digits as in an IP address; ten capitals and digits as in a receipt.
"""
ALL = (1 << 10) - 1
_LEAD, _CONTINUATION, _DIGIT, _IN_NUMBER = (1 << bit for bit in range(10, 14))  # in the table only
_NUMBER_DIGITS = 7
_CODE_LENGTH = 10

ODD_SPACES = "\t\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000\u2581"
"""Tabs, no-break spaces and their like; and U+2581, which SentencePiece would read as a space."""
LINE_ENDS = "\r\v\f\u0085\u2028\u2029"
INVISIBLE = (
    "\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff"
    "\ufff9-\ufffd\ud800-\udfff"
)
"""Controls, soft hyphens, direction marks, replacement characters; not the joiners that scripts need."""
ZERO_WIDTH_SPACE = "\u200b"
"""Khmer, Thai, Lao and Burmese may set off words by it; anywhere else it is a hint for the layout."""
PRESENTATION = "\ufb00-\ufb06\ufb50-\ufdcf\ufe70-\ufefc"
"""Ligatures and positional forms that PDF files leave behind (ﬁ, ﺑ); not the honorifics from U+FDF0 on, which are words."""
SCRIPT_MARKS = "\u0640\u1361"
"""Tatweel (kashida), and the Ethiopic word space."""


def signs(texts: pa.Array) -> np.ndarray:
    """The signs (a sum of the constants above) of each text, uint32[texts]."""
    data, offsets = buffers(texts)
    out = np.zeros(len(offsets) - 1, np.uint32)
    _signs(data, offsets, _table(), out)
    return out


@functools.cache
def _table() -> np.ndarray:
    """int64[TABLE_SIZE]: the signs that a character gives by itself."""
    table = np.zeros(TABLE_SIZE, np.int64)
    for characters, sign in (
        (ODD_SPACES + LINE_ENDS + INVISIBLE + ZERO_WIDTH_SPACE, LAYOUT),
        ("\x80-\x9f", SUSPECT),
        ("&", ENTITY),
        (PRESENTATION + SCRIPT_MARKS, SCRIPT),
        ("\u00c2-\u00f4", _LEAD),
        (CONTINUATIONS, _CONTINUATION),
    ):
        for code in _codes(characters):
            table[code] |= sign
    for code in _composing():
        table[code] |= COMPOSE
    for code in range(TABLE_SIZE):
        if unicodedata.category(chr(code)) == "Nd":
            table[code] |= _DIGIT
        elif unicodedata.category(chr(code)) == "Pd" or chr(code) in " +()＋（）−":
            table[code] |= _IN_NUMBER
    return table


def _codes(characters: str) -> list[int]:
    """The code points of the inside of a character class (`a-c` is a range)."""
    found: list[int] = []
    position = 0
    while position < len(characters):
        first = last = ord(characters[position])
        if characters[position + 1 : position + 2] == "-" and position + 2 < len(characters):
            last = ord(characters[position + 2])
            position += 2
        found += range(first, last + 1)
        position += 1
    return found


def _composing() -> list[int]:
    """Characters that NFC may change or reorder, alone or with what stands before them."""
    found = {*range(0x1161, 0x1176), *range(0x11A8, 0x11C3)}  # vowels and finals of Hangul, composed by arithmetic
    for code in range(0x80, TABLE_SIZE):
        character = chr(code)
        parts = unicodedata.decomposition(character).split()
        if parts and not parts[0].startswith("<"):
            found.add(int(parts[-1], 16))
        if unicodedata.combining(character) or not unicodedata.is_normalized("NFC", character):
            found.add(code)
    return sorted(code for code in found if 0x80 <= code < TABLE_SIZE)


@numba.njit(cache=True, nogil=True)
def _signs(data: Any, offsets: Any, table: Any, out: Any) -> None:
    for document in range(offsets.shape[0] - 1):
        position, end = offsets[document], offsets[document + 1]
        found = before = 0
        last = 10
        digits = dots = colons = capitals = capital_digits = line_ends = 0
        while position < end:
            byte = data[position]
            if 97 <= byte <= 122:  # most of most texts
                digits = dots = capitals = capital_digits = line_ends = 0
                if byte > 102:  # f, the last hexadecimal digit
                    colons = 0
                before, last = 0, int(byte)
                position += 1
                continue
            character, length = code_point(data, position)
            code = int(character)
            position += length
            kind = table[code] if code < TABLE_SIZE else COMPOSE  # beyond it, compatibility ideographs
            found |= kind
            if kind & _CONTINUATION and before & _LEAD:
                found |= SUSPECT
            before = kind
            if kind & LAYOUT:  # removed or a space later: what stands around it may come together
                continue

            digit = kind & _DIGIT != 0
            if digit:
                digits += 1
                if digits >= _NUMBER_DIGITS:
                    found |= NUMBER
            elif code == 46:  # .
                dots += 1
            elif not kind & _IN_NUMBER:  # space + - ( ) and their like
                digits = dots = 0
            colons = colons + 1 if code == 58 else (colons if digit or 65 <= code <= 70 or 97 <= code <= 102 else 0)
            if (dots >= 3 and digits >= 3) or colons >= 2:
                found |= ADDRESS
            if digit or 65 <= code <= 90:
                capitals += 1
                capital_digits += digit
                if capitals >= _CODE_LENGTH and capital_digits:
                    found |= CODE
            else:
                capitals = capital_digits = 0

            line_ends = line_ends + 1 if code == 10 else 0
            if (code == 32 or code == 10) and (last == 32 or (code == 32 and last == 10) or line_ends > 2):
                found |= LAYOUT
            if code == 0xFF20:  # ＠
                found |= AT
            if code == 60 or code == 123 or code == 64 or code == 93 or code == 41:  # < { @ ] )
                found |= _markup_or_at(data, offsets[document], position, end, code, last)
            last = code
        if offsets[document] < end and (last == 32 or last == 10 or data[offsets[document]] == 10):
            found |= LAYOUT
        out[document] = found & ALL


@numba.njit(cache=True, nogil=True)
def _markup_or_at(data: Any, start: int, position: int, end: int, code: int, last: int) -> int:
    """The signs of a tag, a template or an address that `code`, the character before `position`, gives after `last`."""
    if code == 60:  # < before a letter, / or !
        following = data[position] if position < end else 32
        return MARKUP if following == 33 or following == 47 or 65 <= (following & 0xDF) <= 90 else 0
    if code == 123 and last == 123:
        return MARKUP
    if code == 64:
        return AT | MARKUP if last == 10 or _begins_line(data, start, position - 2) else AT
    if (code == 93 or code == 41) and _ends_in_at(data, start, position - 2):
        return AT
    return 0


@numba.njit(cache=True, nogil=True)
def _begins_line(data: Any, start: int, position: int) -> bool:
    """Only blanks stand before the byte after `position` in its line."""
    while position >= start and (data[position] == 32 or data[position] == 9):
        position -= 1
    return position < start or data[position] == 10


@numba.njit(cache=True, nogil=True)
def _ends_in_at(data: Any, start: int, position: int) -> bool:
    """The text up to `position` ends in "at" and possibly a blank."""
    if position > start and data[position] == 32:
        position -= 1
    return position > start and data[position] & 0xDF == 84 and data[position - 1] & 0xDF == 65
