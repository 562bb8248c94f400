"""The parts of a document that language identification reads, put in the form that the model was trained on.

Windows for the label, sampled lines for the share of lines that are in it. All of it is done on the UTF-8 bytes of an Arrow
column, compiled by numba: with Python strings this would cost as much as the classifier itself.
"""

from __future__ import annotations

import functools
import itertools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import pyarrow as pa
import regex

from tasks.core.characters import TABLE_SIZE, buffers, code_point, lower_case

WINDOW = 170
"""Characters in a window: about 28 words, as long as the longest text that the packaged model was trained on."""
LINES = 6
"""Lines of a document that are looked at one by one."""
LINE_WORDS = 4
"""Words that such a line has at least: shorter ones are names, numbers and menus."""
FEWEST = 3
"""Such lines that a document has at least: a headline full of names and one paragraph say nothing about a mixture."""
LINE = 90
"""Characters of it that are read."""

SCRIPTS = (
    "Latn Ethi Arab Cyrl Deva Beng Hani Hang Hira Kana Thai Grek Hebr Armn Geor Taml Telu Knda Mlym Gujr Guru Orya Sinh Mymr"
    " Khmr Laoo Tibt Thaa Tfng Nkoo Vaii Adlm Syrc Cher Cans Mong Bopo Yiii Java Bali Sund Cakm Lana Gran Tavt Copt Bamu Mend"
    " Olck Mtei Bugi Batk Rohg Osge Goth"
).split()
"""ISO 15924 codes that are told apart, the frequent ones first; letters of any other script count as Zzzz."""

JOINED_SCRIPTS = {"Hans": "Hani", "Hant": "Hani", "Jpan": "Hani Hira Kana", "Kore": "Hang Hani"}
"""Codes of writing systems that Unicode knows only by their parts."""
IDEOGRAPHS_END = 0x32400
"""From `TABLE_SIZE` to here there are ideographs; beyond it no letter of a living script."""


@dataclass(frozen=True)
class Pieces:
    """Normalised pieces of a batch of documents, one after the other in `data` (uint8); piece i ends at `ends[i]` (int64) and
    begins where the one before ends. `document` (int32) is the row it is from, `line` (bool) tells a line from a window.
    `script` (int32, one for each document) is the place in `SCRIPTS` of most letters of the windows; -1 if there are none.
    """

    data: np.ndarray
    ends: np.ndarray
    document: np.ndarray
    line: np.ndarray
    script: np.ndarray

    def texts(self) -> list[str]:
        """The pieces as strings."""
        starts = [0, *self.ends.tolist()]
        data = self.data.tobytes()
        return [data[start:end].decode() for start, end in itertools.pairwise(starts)]


def pieces(texts: pa.Array, lines: bool = True) -> Pieces:
    """Windows, and lines unless told otherwise, of each text (NFC), normalised; those without a letter are left out."""
    data, offsets = buffers(texts)
    return _normalised(data, _spans(data, offsets, _letters(), lines), len(texts))


def windows(text: str) -> list[str]:
    """Start, middle and end of `text`, at most WINDOW characters each, cut at spaces; one window if that is all of it."""
    encoded = text.encode("utf-8", "replace")
    spans = _spans(np.frombuffer(encoded, np.uint8), np.array([0, len(encoded)]), _letters(), False)
    return [encoded[start:end].decode() for _, start, end, _ in spans.tolist()]


def normalise(text: str) -> str:
    """Text as the model was trained on it: NFC, lower case, and a space for anything but letters, marks and apostrophes."""
    return normalise_all([text])[0]


def normalise_all(texts: Sequence[str]) -> list[str]:
    """Each text as `normalise` gives it."""
    column = as_column(texts)
    data, offsets = buffers(column)
    numbers = np.arange(len(texts))
    spans = np.column_stack([numbers, offsets[:-1], offsets[1:], np.zeros_like(numbers)])
    found = _normalised(data, spans, len(texts))
    filled = dict(zip(found.document.tolist(), found.texts(), strict=True))
    return [filled.get(number, "") for number in range(len(texts))]


def script_of(text: str) -> str:
    """ISO 15924 code of most letters of `text`; Zzzz if it has none. Of equally frequent ones, the first in `SCRIPTS`."""
    data, offsets = buffers(as_column([text]))
    (place,) = _normalised(data, np.array([[0, offsets[0], offsets[1], 0]]), 1).script
    return script_name(place)


def scripts_of(code: str) -> list[str]:
    """The scripts, as `script_of` names them, in which text of the writing system `code` (ISO 15924) may be."""
    return JOINED_SCRIPTS.get(code, code).split()


def script_name(place: int) -> str:
    """ISO 15924 code of a place in `SCRIPTS`."""
    return SCRIPTS[place] if 0 <= place < len(SCRIPTS) else "Zzzz"


def as_column(texts: Sequence[str]) -> pa.Array:
    """Strings as an Arrow column in NFC; lone surrogates, which UTF-8 cannot hold, become question marks."""
    encoded = [unicodedata.normalize("NFC", text).encode("utf-8", "replace") for text in texts]
    return pa.array(encoded, pa.string())


def _normalised(data: np.ndarray, spans: np.ndarray, documents: int) -> Pieces:
    size = int((spans[:, 2] - spans[:, 1]).sum())
    # lower case is never more than one byte longer than a letter of two bytes
    out = np.empty(size + size // 2 + 8, np.uint8)
    ends, filled, script = _normalise(data, spans, documents, _letters(), lower_case(), _scripts(), len(SCRIPTS) + 1, out)
    chosen = spans[filled]
    return Pieces(out[: ends[-1] if len(ends) else 0], ends, chosen[:, 0].astype(np.int32), chosen[:, 3] == 1, script)


@functools.cache
def _letters() -> np.ndarray:
    """uint8[TABLE_SIZE]: 1 for what stays (letters, marks, apostrophes, joiners), 2 for apostrophes that a piece loses at its
    ends, 3 for white space, 4 for what is left out with nothing in its place.
    """
    table = np.zeros(TABLE_SIZE, np.uint8)
    for code in range(TABLE_SIZE):
        character = chr(code)
        if unicodedata.category(character)[0] in "LM":
            table[code] = 1
        elif character.isspace():
            table[code] = 3
    for character in "\u200c\u200d":
        table[ord(character)] = 1
    for character in "'’":
        table[ord(character)] = 2
    table[0x200B] = 4  # few texts in Khmer set off words, and the models were trained on those that do not
    return table


@functools.cache
def _scripts() -> np.ndarray:
    """uint8[TABLE_SIZE]: 1 + the place in `SCRIPTS` of each letter, one more for other scripts, 0 for all that is no letter."""
    table = np.zeros(TABLE_SIZE, np.uint8)
    characters = "".join(chr(code) if not 0xD800 <= code < 0xE000 else " " for code in range(TABLE_SIZE))
    for match in regex.finditer(r"(?:(?![\p{Script=Zyyy}\p{Script=Zinh}])\p{L})+", characters):
        table[match.start() : match.end()] = len(SCRIPTS) + 1
    for place, code in enumerate(SCRIPTS):
        for match in regex.finditer(rf"\p{{Script={code}}}+", characters):
            part = table[match.start() : match.end()]
            part[part > 0] = place + 1
    return table


@numba.njit(cache=True, nogil=True)
def _spans(data: Any, offsets: Any, letters: Any, lines: bool) -> Any:
    """Rows of document, first byte, byte after the last, and 1 for a line: windows, then sampled lines of each document."""
    out = np.empty((max(1, len(offsets) - 1) * (3 + (LINES if lines else 0)), 4), np.int64)
    found = 0
    starts = np.empty(1024, np.int64)
    for document in range(len(offsets) - 1):
        begin, end = offsets[document], offsets[document + 1]
        characters, ends = 0, 1
        for at in range(begin, end):
            characters += (data[at] & 0xC0) != 0x80
            ends += data[at] == 0x0A
        if characters <= 3 * WINDOW:
            out[found] = document, begin, end, 0
            found += 1
        else:
            at, passed = begin, 0
            for first in (0, (characters - WINDOW) // 2, characters - WINDOW):
                # where every character is a byte there is nothing to decode
                at = begin + first if characters == end - begin else _forward(data, at, first - passed, end)
                passed = first
                out[found, 1], out[found, 2] = _whole_words(data, begin, at, end, letters, WINDOW)
                out[found, 0], out[found, 3] = document, 0
                found += 1
        if not lines or ends < FEWEST:
            continue
        starts, eligible = _long_lines(data, begin, end, starts)
        if eligible < FEWEST:
            continue
        sampled = min(LINES, eligible)
        for turn in range(sampled):
            start = starts[(2 * turn + 1) * eligible // (2 * sampled)]
            stop = start
            while stop < end and data[stop] != 0x0A:
                stop += 1
            out[found, 1], out[found, 2] = _whole_words(data, start, start, stop, letters, LINE)
            out[found, 0], out[found, 3] = document, 1
            found += 1
    return out[:found]


@numba.njit(cache=True, nogil=True)
def _long_lines(data: Any, begin: int, end: int, starts: Any) -> tuple[Any, int]:
    """Where the lines of `LINE_WORDS` words or more begin, in `starts` (made longer if they are more), and their number.

    A word is what stands between ASCII white space and holds a letter; it is counted byte by byte, since every byte of the
    text is looked at: beyond ASCII all are taken for letters.
    """
    found, words, inside, start = 0, 0, False, begin
    for at in range(begin, end):
        byte = data[at]
        if byte <= 0x20:
            inside = False
        elif not inside and (byte >= 0x80 or 0x61 <= (byte | 0x20) <= 0x7A):
            words += 1
            inside = True
        if byte == 0x0A or at == end - 1:
            if words >= LINE_WORDS:
                if found == len(starts):
                    starts = np.concatenate((starts, np.empty(found, np.int64)))
                starts[found] = start
                found += 1
            start, words, inside = at + 1, 0, False
    return starts, found


@numba.njit(cache=True, nogil=True)
def _forward(data: Any, at: int, characters: int, end: int) -> int:
    """The byte `characters` further on, or `end`."""
    while at < end:
        if (data[at] & 0xC0) != 0x80:
            if characters == 0:
                break
            characters -= 1
        at += 1
    return at


@numba.njit(cache=True, nogil=True)
def _is_space(data: Any, at: int, letters: Any) -> bool:
    character = code_point(data, at)[0]
    return character < TABLE_SIZE and letters[character] == 3


@numba.njit(cache=True, nogil=True)
def _whole_words(data: Any, begin: int, start: int, end: int, letters: Any, characters: int) -> tuple[int, int]:
    """The run of `characters` that begins at byte `start`, without the words that its ends cut; as it is without spaces."""
    stop = _forward(data, start, characters, end)
    first, last = start, stop
    if start > begin:
        before = start - 1
        while (data[before] & 0xC0) == 0x80:
            before -= 1
        if not _is_space(data, before, letters):
            while first < stop and not _is_space(data, first, letters):
                first += code_point(data, first)[1]
    if stop < end and not _is_space(data, stop, letters):
        last = stop - 1
        while last > first and not (data[last] == 0x20 or data[last] == 0x0A):
            last -= 1
    if first < last and first < stop:
        return first, last
    return start, stop


@numba.njit(cache=True, nogil=True)
def _normalise(
    data: Any, spans: Any, documents: int, letters: Any, lower: Any, scripts: Any, kinds: int, out: Any
) -> tuple[Any, Any, Any]:
    """Write the normalised spans to `out`; the end of each that is not empty, which these are, the scripts of documents."""
    ends, filled = np.empty(len(spans), np.int64), np.empty(len(spans), np.int64)
    counts = np.zeros((documents, kinds), np.int32)
    found, to = 0, 0
    for number in range(len(spans)):
        document, at, end, line = spans[number]
        begin, pending = to, False
        while at < end:
            character, length = code_point(data, at)
            at += length
            if character < TABLE_SIZE:
                kind = letters[character]
                low = lower[character]
                script = scripts[character]
            else:
                kind, low = (1 if character < IDEOGRAPHS_END else 0), character
                script = 7 if character < IDEOGRAPHS_END else 0
            if kind == 4:
                continue
            if kind == 0 or kind == 3 or (kind == 2 and to == begin):
                pending = to > begin
                continue
            if pending:
                out[to] = 0x20
                to += 1
                pending = False
            to = _write(out, to, low)
            if script > 0 and line == 0:
                counts[document, script - 1] += 1
        while to > begin:
            if out[to - 1] == 0x20 or out[to - 1] == 0x27:
                to -= 1
            elif to - begin >= 3 and out[to - 1] == 0x99 and out[to - 2] == 0x80 and out[to - 3] == 0xE2:
                to -= 3
            else:
                break
        if to > begin:
            ends[found], filled[found] = to, number
            found += 1
    script = np.full(documents, -1, np.int32)
    for document in range(documents):
        most = 0
        for kind in range(kinds):
            if counts[document, kind] > most:
                most, script[document] = counts[document, kind], kind
    return ends[:found], filled[:found], script


@numba.njit(cache=True, nogil=True, inline="always")
def _write(out: Any, to: int, character: Any) -> int:
    """Append a code point as UTF-8; the byte after it."""
    if character < 0x80:
        out[to] = character
        return to + 1
    if character < 0x800:
        out[to] = 0xC0 | (character >> 6)
        out[to + 1] = 0x80 | (character & 0x3F)
        return to + 2
    if character < 0x10000:
        out[to] = 0xE0 | (character >> 12)
        out[to + 1] = 0x80 | ((character >> 6) & 0x3F)
        out[to + 2] = 0x80 | (character & 0x3F)
        return to + 3
    out[to] = 0xF0 | (character >> 18)
    out[to + 1] = 0x80 | ((character >> 12) & 0x3F)
    out[to + 2] = 0x80 | ((character >> 6) & 0x3F)
    out[to + 3] = 0x80 | (character & 0x3F)
    return to + 4
