"""The merges of a SentencePiece BPE model, applied to words by numba.

SentencePiece begins with a word's characters and puts together, again and again, the two neighbours that make the best piece,
the left ones first where it can make the same piece twice; what has no piece is spelled in bytes (Sennrich et al. 2016,
arXiv:1508.07909; sentencepiece's bpe_model.cc). The best pair is found by a heap, so a word takes n log n steps.
Without Python objects in between, the encoder is four times as fast as with the library for new words (docs/benchmarks.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numba
import numpy as np

from tasks.core.characters import code_point, mix
from tasks.tokenizer.export import SPACE, is_bpe, learned

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor

BLANK = 0x20
UTF8_SPACE = (0xE2, 0x96, 0x81)
"""`SPACE` in UTF-8."""


class Merges(NamedTuple):
    """The model's tables, pieces being called by their ids; of two learned pieces the one with the lower id is better."""

    characters: np.ndarray
    """int32[code points]: the piece of each character, -1 where it has none."""
    pairs: np.ndarray
    """uint64[2^k]: left piece << 32 | right piece, by open addressing; all ones where there is nothing."""
    merged: np.ndarray
    """int32[2^k]: what the pair makes."""
    first_byte: int
    """The piece of byte 0; the others follow."""


def merges(processor: SentencePieceProcessor) -> Merges | None:
    """Tables of the model, or None if it is none of those whose words can be encoded one by one: if it is no BPE model, or has
    learned pieces with a line break, or with a space but at the start, or with a character that is no piece.
    """
    pieces = {processor.id_to_piece(i): i for i in learned(processor)}
    characters = {character for piece in pieces for character in piece}
    crossing = any(SPACE in piece[1:] or "\n" in piece for piece in pieces)
    if not is_bpe(processor) or crossing or not characters <= pieces.keys():
        return None
    table = np.full(1 + max(map(ord, characters), default=0), -1, np.int32)
    for character in characters:
        table[ord(character)] = pieces[character]
    cuts = [
        (pieces[left] << 32 | pieces[right], made)
        for piece, made in pieces.items()
        for cut in range(1, len(piece))
        if (left := piece[:cut]) in pieces and (right := piece[cut:]) in pieces
    ]
    size = 1 << (4 * len(cuts)).bit_length()
    pairs, merged = np.full(size, EMPTY, np.uint64), np.empty(size, np.int32)
    if cuts:
        _fill(np.array([pair for pair, _ in cuts], np.uint64), np.array([made for _, made in cuts], np.int32), pairs, merged)
    return Merges(table, pairs, merged, processor.piece_to_id("<0x00>"))


EMPTY = np.uint64(2**64 - 1)


@numba.njit(cache=True, nogil=True)
def _fill(found: Any, made: Any, pairs: Any, merged: Any) -> None:
    last = np.uint64(len(pairs) - 1)
    for i in range(len(found)):
        slot = mix(found[i]) & last
        while pairs[slot] != EMPTY:
            slot = (slot + np.uint64(1)) & last
        pairs[slot], merged[slot] = found[i], made[i]


@numba.njit(cache=True, nogil=True)
def _merge(left: Any, right: Any, pairs: Any, merged: Any) -> Any:
    """The piece that two symbols make, or -1; a symbol below 0 has no piece."""
    if left < 0 or right < 0:
        return np.int32(-1)
    pair = np.uint64(left) << np.uint64(32) | np.uint64(right)
    last = np.uint64(len(pairs) - 1)
    slot = mix(pair) & last
    while pairs[slot] != EMPTY:
        if pairs[slot] == pair:
            return merged[slot]
        slot = (slot + np.uint64(1)) & last
    return np.int32(-1)


@numba.njit(cache=True, nogil=True)
def encode_words(text: Any, begins: Any, lengths: Any, tables: Any, ids: Any, places: Any) -> int:
    """Write the ids of the words `text[begin:begin + length]` (UTF-8) into `ids`, and where those of each begin and how many
    they are into `places`; returns how many ids there are. `ids` needs three times the bytes of the words.
    """
    characters, pairs, merged, first_byte = tables
    longest = 0
    for length in lengths:
        longest = max(longest, length)
    symbols, pair = np.empty(longest + 1, np.int64), np.empty(longest + 1, np.int32)
    before, after = np.empty(longest + 1, np.int64), np.empty(longest + 1, np.int64)
    heap = np.empty(3 * longest + 1, np.int64)
    written = 0
    for word in range(len(begins)):
        count = _characters(text, begins[word], begins[word] + lengths[word], characters, symbols)
        waiting = 0
        for i in range(count):
            before[i], after[i] = i - 1, i + 1
            pair[i] = _merge(symbols[i], symbols[i + 1], pairs, merged) if i + 1 < count else np.int32(-1)
            if pair[i] >= 0:
                waiting = _push(heap, waiting, np.int64(pair[i]) << 32 | i)
        while waiting > 0:
            best = heap[0]
            waiting = _pop(heap, waiting)
            at = best & 0xFFFFFFFF
            if pair[at] != best >> 32:  # one of the two was merged otherwise
                continue
            gone, left = after[at], before[at]
            right = after[gone]
            symbols[at], after[at] = best >> 32, right
            pair[at], pair[gone] = -1, -1
            if right < count:
                before[right] = at
                pair[at] = _merge(symbols[at], symbols[right], pairs, merged)
                if pair[at] >= 0:
                    waiting = _push(heap, waiting, np.int64(pair[at]) << 32 | at)
            if left >= 0:
                pair[left] = _merge(symbols[left], symbols[at], pairs, merged)
                if pair[left] >= 0:
                    waiting = _push(heap, waiting, np.int64(pair[left]) << 32 | left)
        places[word, 0] = written
        here = np.int64(0)
        while here < count:
            if symbols[here] >= 0:
                ids[written] = symbols[here]
                written += 1
            else:
                written = _spell(text, -1 - symbols[here], first_byte, ids, written)
            here = after[here]
        places[word, 1] = written - places[word, 0]
    return written


@numba.njit(cache=True, nogil=True)
def _characters(text: Any, position: Any, stop: Any, characters: Any, symbols: Any) -> Any:
    """Write the piece of each character into `symbols`, or -1 - its position; a blank is `SPACE`. Returns their number."""
    count = 0
    while position < stop:
        code, size = code_point(text, position)
        if code == BLANK:
            code = np.uint32(0x2581)
        piece = characters[code] if code < len(characters) else np.int32(-1)
        symbols[count] = piece if piece >= 0 else -1 - position
        position += size
        count += 1
    return count


@numba.njit(cache=True, nogil=True)
def _spell(text: Any, position: Any, first_byte: Any, ids: Any, written: Any) -> Any:
    """Write the bytes of a character as ids; returns where the next id goes."""
    if text[position] == BLANK:
        for byte in UTF8_SPACE:
            ids[written] = first_byte + byte
            written += 1
        return written
    _, size = code_point(text, position)
    for i in range(size):
        ids[written + i] = first_byte + np.int32(text[position + i])
    return written + size


@numba.njit(cache=True, nogil=True)
def _push(heap: Any, size: Any, value: Any) -> Any:
    """Put a value into a binary heap with the least on top; returns the new size."""
    place = size
    while place > 0 and heap[(place - 1) >> 1] > value:
        heap[place] = heap[(place - 1) >> 1]
        place = (place - 1) >> 1
    heap[place] = value
    return size + 1


@numba.njit(cache=True, nogil=True)
def _pop(heap: Any, size: Any) -> Any:
    """Take the least value off the heap; returns the new size."""
    size -= 1
    value, place = heap[size], 0
    while 2 * place + 1 < size:
        child = 2 * place + 1
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= value:
            break
        heap[place] = heap[child]
        place = child
    heap[place] = value
    return size
