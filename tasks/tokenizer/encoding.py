"""Texts to the ids of a SentencePiece BPE model, each distinct word encoded once.

No learned piece holds a space but at its start, or a line break, so no merge crosses the end of a word: the ids of a text are
those of its words, one after the other. Words are found by a hash table over the bytes of an Arrow column, compiled by numba;
the merges of `merges.py` are done for those that are not in it yet. The ids of a text in NFC are exactly SentencePiece's.
(Words are remembered by GPT-2's encoder.py and by tokenizers' BPE too, behind a regular expression.)
"""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pyarrow as pa

from tasks.clean.signs import COMPOSE, signs
from tasks.core.characters import buffers, mix
from tasks.tokenizer.export import load
from tasks.tokenizer.merges import BLANK, encode_words, merges

LINE_BREAK = 0x0A
BOS, EOS, NEWLINE = range(3)
"""Entries of the table that are no words."""

DOCUMENT, POSITION, BLANK_BEFORE, ENTRIES, USED, FULL = range(6)
"""Places in the cursor: document, byte (-1: not begun), whether a space stands before it; entries of the table, bytes of the
words in it, whether the next word has no room there."""

UNITS = 1 << 16
"""Words found in one go."""


class Encoder:
    """Encodes texts with the model in `model_file`: the tokens of each stand between BOS and EOS, as a model reads them.

    Caches at most `entries` words of `bytes_per_entry` on average, and empties the cache where there are more. At its fullest
    it takes about 60 bytes for an entry beside the word; a word longer than the whole cache makes room for itself.

    A unigram model is left to SentencePiece: it adds up float32 scores along a whole text, and their last digit chooses between
    segmentations that are as likely; word by word, 3 of 1,963 news articles got other ids.
    """

    def __init__(self, model_file: Path, entries: int = 1 << 20, bytes_per_entry: int = 16) -> None:
        self._processor = load(model_file)
        marks = (self._processor.bos_id(), self._processor.eos_id(), self._processor.piece_to_id("\n"))
        self._marks = np.array(marks, np.int32)
        self._merges = merges(self._processor)
        if self._merges:
            self._cursor = np.zeros(FULL + 1, np.int64)
            self._units = np.empty(UNITS, np.int32)
            self._slots = np.empty(1 << (2 * entries - 1).bit_length(), np.int32)
            self._keys = np.empty((entries, 3), np.int64)
            self._text = np.empty(entries * bytes_per_entry, np.uint8)
            self._places = np.empty((entries, 2), np.int64)
            self._clear()

    def encode(self, texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """Ids (int32) of a column of strings without nulls, and offsets (int64, one more than texts): text i is
        `ids[offsets[i]:offsets[i + 1]]`, from BOS to EOS. Text is read in NFC.
        """
        texts = _composed(texts)
        parts = self._words(texts) if self._merges else self._whole(texts)
        ids = np.concatenate([np.zeros(0, np.int32), *parts])
        # Control pieces such as "</s>" are never found in the text itself, so every BOS begins a text.
        return ids, np.append(np.flatnonzero(ids == self._marks[BOS]), len(ids))

    def _whole(self, texts: pa.Array) -> list[np.ndarray]:
        encoded = self._processor.encode(texts.to_pylist(), return_type="numpy", num_threads=1)
        return [part for ids in encoded for part in (self._marks[[BOS]], ids, self._marks[[EOS]])]

    def _words(self, texts: pa.Array) -> list[np.ndarray]:
        data, starts = buffers(texts)
        parts, cursor = [], self._cursor
        cursor[DOCUMENT], cursor[POSITION] = 0, -1
        while cursor[DOCUMENT] < len(texts):
            known, used = cursor[[ENTRIES, USED]].tolist()
            found = find_words(data, starts, cursor, self._slots, self._keys, self._text, self._units)
            self._encode_new(known, used)
            units = self._units[:found]
            out = np.empty(self._places[units, 1].sum(), np.int32)
            copy_ids(units, self._places, self._ids, out)
            parts.append(out)
            if cursor[FULL]:
                if used == cursor[USED] == 0:
                    self._text = np.empty(2 * len(self._text), np.uint8)
                self._clear()
        return parts

    def _clear(self) -> None:
        self._slots.fill(-1)
        self._cursor[[ENTRIES, USED, FULL]] = NEWLINE + 1, 0, 0
        self._ids = self._marks
        self._places[: NEWLINE + 1] = [[BOS, 1], [EOS, 1], [NEWLINE, 1]]

    def _encode_new(self, known: int, used: int) -> None:
        """Encode the words stored after the first `known` entries, which take up `used` bytes."""
        new = slice(known, self._cursor[ENTRIES])
        ids = np.empty(3 * (self._cursor[USED] - used), np.int32)
        places = self._places[new]
        written = encode_words(self._text, self._keys[new, 1], self._keys[new, 2], self._merges, ids, places)
        places[:, 0] += len(self._ids)
        self._ids = np.concatenate([self._ids, ids[:written]])


def _composed(texts: pa.Array) -> pa.Array:
    """The texts in NFC: themselves where they are, as those of a corpus always are."""
    doubtful = texts.take(np.flatnonzero(signs(texts) & COMPOSE)).to_pylist()
    if all(unicodedata.is_normalized("NFC", text) for text in doubtful):
        return texts
    return pa.array([unicodedata.normalize("NFC", text) for text in texts.to_pylist()], texts.type)


@numba.njit(cache=True, nogil=True)
def find_words(data: Any, starts: Any, cursor: Any, slots: Any, keys: Any, text: Any, units: Any) -> int:
    """Write the table's entry for each word of the documents, from the cursor on, into `units`; returns how many there are.

    A word is what stands between blanks and line breaks, with the blank before it: the first of a document has one too, the
    prefix of SentencePiece, and of a run of blanks each is a word. Words that are new are stored in `text`, and in `keys` as
    hash, begin and length. Stops at the end of the documents, where `units` are used up, or, with
    `cursor[FULL]` set, where the next word has no room.
    """
    count, last = 0, np.int64(len(slots) - 1)
    document, position, blank = cursor[DOCUMENT], cursor[POSITION], cursor[BLANK_BEFORE]
    while document < len(starts) - 1 and count + 3 <= len(units):
        stop = starts[document + 1]
        begun: bool = position >= 0
        if not begun:
            position = starts[document]
            blank = np.int64(position < stop)
        end, value = position, np.uint64(0xCBF29CE484222325) + np.uint64(blank)
        while end < stop and data[end] != BLANK and data[end] != LINE_BREAK:
            value = (value ^ np.uint64(data[end])) * np.uint64(0x100000001B3)  # FNV-1a
            end += 1
        length = end - position
        entry = -1
        if blank + length > 0:
            key = np.int64(mix(value))
            slot = key & last
            while slots[slot] >= 0 and not _same(keys, slots[slot], text, data, key, position, length, blank):
                slot = (slot + 1) & last
            entry = slots[slot]
            if entry < 0:
                entry, used = cursor[ENTRIES], cursor[USED]
                if entry == len(keys) or used + blank + length > len(text):
                    position = position if begun else -1
                    cursor[FULL] = 1
                    break
                slots[slot] = entry
                keys[entry, 0], keys[entry, 1], keys[entry, 2] = key, used, blank + length
                text[used] = BLANK
                for i in range(length):
                    text[used + blank + i] = data[position + i]
                cursor[ENTRIES], cursor[USED] = entry + 1, used + blank + length
        if not begun:
            units[count] = BOS
            count += 1
        if entry >= 0:
            units[count] = entry
            count += 1
        if end == stop:
            units[count] = EOS
            count += 1
            document, position = document + 1, -1
        else:
            if data[end] == LINE_BREAK:
                units[count] = NEWLINE
                count += 1
            blank = np.int64(data[end] == BLANK)
            position = end + 1
    cursor[DOCUMENT], cursor[POSITION], cursor[BLANK_BEFORE] = document, position, blank
    return count


@numba.njit(cache=True, nogil=True, inline="always")
def _same(keys: Any, entry: int, text: Any, data: Any, key: Any, position: int, length: int, blank: Any) -> bool:
    if keys[entry, 0] != key or keys[entry, 2] != blank + length:
        return False
    start = keys[entry, 1]
    if blank != (text[start] == BLANK):  # no word begins with a blank of its own
        return False
    start += blank
    for i in range(length):  # noqa: SIM110
        if text[start + i] != data[position + i]:
            return False
    return True


@numba.njit(cache=True, nogil=True)
def copy_ids(units: Any, places: Any, ids: Any, out: Any) -> None:
    """Write the ids of each unit one after the other; `places` has the begin and the number of ids of each entry in `ids`."""
    written = 0
    for unit in units:
        begin = places[unit, 0]
        for i in range(places[unit, 1]):
            out[written + i] = ids[begin + i]
        written += places[unit, 1]
