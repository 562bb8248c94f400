"""UTF-8 text as numba sees it: the buffers of an Arrow column, character classes, and a decoder.

Quality, duplicates and contamination each read every byte of the corpus once; without Python strings they do so at
100 MB/s and more on one core, whatever the script.
"""

from __future__ import annotations

import functools
import unicodedata
from typing import Any

import numba
import numpy as np
import pyarrow as pa

LETTER, DIGIT, SPACE, STOP, PUNCTUATION, SYMBOL, OTHER = range(1, 8)
TABLE_SIZE = 0x20000
"""Code points from here on are ideographs, emoji variants and private use: they count as letters."""

STOPS = ".!?…‼‽⁇⁈⁉。．！？։؝؞؟۔܀܁܂߹।॥၊။።፧፨᙮។៕᠃᠉"
"""Characters that end a sentence (Unicode: Sentence_Terminal)."""
TSHEGS = "\u0f0b\u0f0c"
"""What sets off syllables in Tibetan and Dzongkha, within words and between them."""
MARKUP = "#{}<>|=\\^~_*/@[]"
"""Symbols of markup, code and tables, whatever their Unicode category."""


@functools.cache
def classes() -> np.ndarray:
    """uint8[TABLE_SIZE]: the class of each code point (letters include marks, digits include all numbers)."""
    table = np.full(TABLE_SIZE, OTHER, np.uint8)
    by_category = {"L": LETTER, "M": LETTER, "N": DIGIT, "Z": SPACE, "P": PUNCTUATION, "S": SYMBOL}
    for code in range(TABLE_SIZE):
        table[code] = by_category.get(unicodedata.category(chr(code))[0], OTHER)
    for character in f"\t\n\r\v\f\u1361{TSHEGS}":  # U+1361 is the Ethiopic word space
        table[ord(character)] = SPACE
    for character in STOPS:
        table[ord(character)] = STOP
    for character in MARKUP:
        table[ord(character)] = SYMBOL
    for character in "'’ʼ":  # inside words: ng'ombe
        table[ord(character)] = PUNCTUATION
    return table


_SOUTHEAST = (
    *((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x1950, 0x19DF), (0x1A20, 0x1AAF), (0x1B00, 0x1B7F)),
    *((0xA980, 0xA9FF), (0xAA60, 0xAADF)),
)
"""Blocks of Thai, Lao, Burmese, Khmer, Tai, Balinese and Javanese."""
_EAST = (
    *((0x3005, 0x30FF), (0x3100, 0x312F), (0x31A0, 0x31BF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF)),
    *((0xA000, 0xA4CF), (0xF900, 0xFAFF), (0x1B000, 0x1B16F)),
)
"""Blocks of Han, Kana and Yi: a character is a word or a syllable."""
SOUTHEAST_SCRIPTS = frozenset("Bali Java Khmr Lana Laoo Mymr Talu Tavt Thai".split())
UNSPACED_SCRIPTS = SOUTHEAST_SCRIPTS | frozenset("Hani Hans Hant Hira Jpan Kana Yiii".split())
"""Codes (ISO 15924) of the scripts of these blocks, which set off no words by spaces."""
FIRST_UNSPACED = 0x0E00
WORD_LETTERS = 3
"""Letters, with their marks, that are taken for a word in these scripts, on average. (Thai and Khmer words have 3 to 5, Chinese
ones 1 to 2: a dictionary would be needed for each language, and most have none.)"""
FIRST_JOINER, LAST_JOINER = 0x200B, 0x200D
"""The zero-width space, non-joiner and joiner: spelling needs them, and two texts that differ in them alone are the same."""


@functools.cache
def unspaced() -> np.ndarray:
    """uint8[TABLE_SIZE]: 1 for a letter of a script that sets off no words by spaces, 2 for its marks, else 0."""
    table = np.zeros(TABLE_SIZE, np.uint8)
    for first, last in (*_SOUTHEAST, *_EAST):
        for code in range(first, last + 1):
            table[code] = {"L": 1, "M": 2}.get(unicodedata.category(chr(code))[0], 0)
    return table


@functools.cache
def southeast() -> str:
    """The letters and marks of the scripts that set off words by U+200B where they set them off at all."""
    return "".join(chr(code) for first, last in _SOUTHEAST for code in range(first, last + 1) if unspaced()[code])


@functools.cache
def worth() -> np.ndarray:
    """uint8[TABLE_SIZE]: 3 for each letter of a script of words and syllables (Han, Kana, Yi), which says as much as three
    of others; 1 for every other letter.
    """
    table = np.ones(TABLE_SIZE, np.uint8)
    for first, last in _EAST:
        table[first : last + 1] = 3
    return table


@functools.cache
def lower_case() -> np.ndarray:
    """uint32[TABLE_SIZE]: the simple lower case of each code point."""
    table = np.arange(TABLE_SIZE, dtype=np.uint32)
    for code in range(TABLE_SIZE):
        lower = chr(code).lower()
        if len(lower) == 1:
            table[code] = ord(lower)
    return table


def buffers(column: pa.Array | pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Bytes (uint8) and offsets (int64, one more than texts) of a string column, without a copy of the text."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    width: Any = np.int64 if pa.types.is_large_string(column.type) else np.int32
    _, offsets, data = column.buffers()
    starts = np.frombuffer(offsets, width)[column.offset : column.offset + len(column) + 1].astype(np.int64)
    return (np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)), starts


@numba.njit(cache=True, nogil=True, inline="always")
def code_point(data: Any, position: int) -> tuple[Any, int]:
    """The code point at a position of valid UTF-8, and its length in bytes."""
    first = np.uint32(data[position])
    if first < 0x80:
        return first, 1
    if first < 0xE0:
        return ((first & 0x1F) << 6) | (data[position + 1] & 0x3F), 2
    if first < 0xF0:
        return ((first & 0x0F) << 12) | ((np.uint32(data[position + 1]) & 0x3F) << 6) | (data[position + 2] & 0x3F), 3
    return (
        ((first & 0x07) << 18)
        | ((np.uint32(data[position + 1]) & 0x3F) << 12)
        | ((np.uint32(data[position + 2]) & 0x3F) << 6)
        | (data[position + 3] & 0x3F)
    ), 4


@numba.njit(cache=True, nogil=True, inline="always")
def parts(before: Any, code: Any, letters: Any) -> bool:
    """Whether a word ends between two letters, marks or digits that follow each other; `letters` is the table `unspaced`.

    In a script that sets off no words by spaces it does after one letter in `WORD_LETTERS`, by a hash of what stands on both
    sides: the same text is cut in the same places wherever it stands, and a changed letter moves no cut but those beside it
    (content-defined chunking, as in rsync and LBFS: Muthitacharoen et al. 2001). So does it where such a script meets another.
    Elsewhere it never does.
    """
    if before < FIRST_UNSPACED and code < FIRST_UNSPACED:
        return False
    second = letters[code] if code < TABLE_SIZE else 1
    if second == 2:
        return False
    first = letters[before] if before < TABLE_SIZE else 1
    if first == 0 or second == 0:
        return bool(first != second)
    return bool(mix(np.uint64(before) << np.uint64(32) | np.uint64(code)) % np.uint64(WORD_LETTERS) == 0)


def count_words(texts: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Words of each text: int64[texts]. They are what white space sets off, or a tsheg, and in scripts without it `parts`."""
    split = [len(text.replace(TSHEGS[0], " ").replace(TSHEGS[1], " ").split()) for text in texts.to_pylist()]
    data, offsets = buffers(texts)
    return np.array(split, np.int64) + _ends_inside(data, offsets, unspaced(), classes())


@numba.njit(cache=True, nogil=True)
def _ends_inside(data: Any, offsets: Any, letters: Any, kinds: Any) -> Any:
    """How many words of each text end between two letters."""
    found = np.zeros(offsets.shape[0] - 1, np.int64)
    for text in range(offsets.shape[0] - 1):
        position, before, inside = offsets[text], np.int64(0), False
        while position < offsets[text + 1]:
            code, length = code_point(data, position)
            position += length
            if inside and FIRST_JOINER <= code <= LAST_JOINER:
                continue
            kind = kinds[code] if code < TABLE_SIZE else LETTER
            letter = kind == LETTER or kind == DIGIT
            found[text] += inside and letter and parts(before, code, letters)
            before, inside = np.int64(code), letter
    return found


@numba.njit(cache=True, nogil=True, inline="always")
def mix(value: Any) -> Any:
    """Finalizer of MurmurHash3 (64 bits): spreads every input bit over the whole word."""
    value ^= value >> np.uint64(33)
    value *= np.uint64(0xFF51AFD7ED558CCD)
    value ^= value >> np.uint64(33)
    value *= np.uint64(0xC4CEB9FE1A85EC53)
    return value ^ (value >> np.uint64(33))
