"""Words of high affinity: they occur in a language and hardly in any other, so a look-alike without them is none of its texts.

The idea and the share of 0.85 are FineWeb-2's (Penedo et al. 2025). The lists lie beside the model as `<model>_words.txt.zst`:
a line for each label, its words sorted and separated by spaces.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numba
import numpy as np
import zstandard

from tasks.annotate.language.model import word_hash
from tasks.annotate.language.pieces import Pieces, normalise_all
from tasks.core.errors import StageError
from tasks.core.files import write_atomically

LEAST_WORDS = 10_000
"""Words of text that a label needs for a list. With the 5,000 of Yoruba, select would drop 1.4 % of its news articles."""
LEAST_COUNT = 4
SHARE = 0.85
"""Of a word's frequencies in all labels, how much is in its own at least."""
MOST = 2000
"""Words in a list, the frequent ones first."""


def lists_beside(model: Path) -> Path:
    """Where the word lists of a model are kept."""
    return model.with_name(f"{model.stem}_words.txt.zst")


def derive_lists(text: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The list of each label with enough text, from its lines; in Latin script also words without their diacritics."""
    counts = {label: _counts(label, lines) for label, lines in text.items()}
    totals = {label: counted.total() for label, counted in counts.items()}
    everywhere: Counter[str] = Counter()
    for label, counted in sorted(counts.items()):
        for word, count in counted.items():
            everywhere[word] += count / totals[label]  # type: ignore[assignment]
    lists = {}
    for label in sorted(counts):
        own = [
            (count, word)
            for word, count in counts[label].items()
            if count >= LEAST_COUNT and len(word) > 1 and count / totals[label] >= SHARE * everywhere[word]
        ]
        if sum(line.count(" ") + 1 for line in text[label]) >= LEAST_WORDS and own:
            lists[label] = sorted(word for _, word in sorted(own, key=lambda one: (-one[0], one[1]))[:MOST])
    return lists


def list_sizes(model: Path) -> dict[str, int]:
    """Words in the list of each label that has one."""
    path = lists_beside(model)
    places, _, starts = _read(path, path.stat().st_mtime_ns)
    return {label: int(starts[place + 1] - starts[place]) for label, place in places.items()}


def write_lists(path: Path, lists: Mapping[str, Sequence[str]]) -> None:
    """Write the lists; the same lists give the same bytes."""
    text = "".join(f"{label} {' '.join(words)}\n" for label, words in sorted(lists.items()))
    write_atomically(path, zstandard.ZstdCompressor(level=19).compress(text.encode()))


def affinity(parts: Pieces, labels: Sequence[str], model: Path) -> np.ndarray:
    """Share of the words of each document's windows that are in the list of its label; NaN without a list or words."""
    path = lists_beside(model)
    if not path.is_file() or not len(parts.ends):
        return np.full(len(labels), np.nan, np.float32)
    places, keys, starts = _read(path, path.stat().st_mtime_ns)
    of_document = np.array([places.get(label, -1) for label in labels], np.int32)
    hits, words = np.zeros(len(labels), np.int64), np.zeros(len(labels), np.int64)
    _count(parts.data, parts.ends, parts.document, parts.line, of_document, keys, starts, hits, words)
    return np.where(words > 0, hits / np.maximum(words, 1), np.nan).astype(np.float32)


def without_diacritics(text: str, only_tones: bool = False) -> str:
    """Without the marks of tone (grave, acute, circumflex, macron, caron), or without any mark on a letter."""
    marks = "[\u0300\u0301\u0302\u0304\u030c]" if only_tones else "[\u0300-\u036f]"
    return unicodedata.normalize("NFC", re.sub(marks, "", unicodedata.normalize("NFD", text)))


def _counts(label: str, lines: Sequence[str]) -> Counter[str]:
    counted = Counter(word for line in normalise_all(lines) for word in line.split())
    if label.endswith("_Latn"):
        for word, count in list(counted.items()):
            if (bare := without_diacritics(word)) != word:
                counted[bare] += count
    return counted


@functools.lru_cache(maxsize=2)
def _read(path: Path, changed: int) -> tuple[dict[str, int], np.ndarray, np.ndarray]:
    """Place of each label; sorted 64-bit hashes of the words of all labels one after the other, and where each begins."""
    try:
        lines = zstandard.decompress(path.read_bytes(), 1 << 26).decode().splitlines()
    except (zstandard.ZstdError, UnicodeDecodeError) as error:
        raise StageError(f"{path}: these are not the word lists of a model ({error}); run train-lid again") from error
    places: dict[str, int] = {}
    keys: list[np.ndarray] = []
    for line in lines:
        label, *words = line.split(" ")
        encoded = [word.encode() for word in words]
        data = np.frombuffer(b"".join(encoded) or b"\0", np.uint8)
        places[label] = len(keys)
        keys.append(np.sort(_hashes(data, np.cumsum([len(word) for word in encoded], dtype=np.int64))))
    starts = np.concatenate([[0], np.cumsum([len(part) for part in keys])]).astype(np.int64)
    return places, (np.concatenate(keys) if keys else np.zeros(0, np.uint64)), starts


@numba.njit(cache=True, nogil=True)
def _hashes(data: Any, ends: Any) -> Any:
    out, start = np.empty(len(ends), np.uint64), 0
    for number in range(len(ends)):
        out[number] = word_hash(data, start, ends[number])
        start = ends[number]
    return out


@numba.njit(cache=True, nogil=True)
def _count(
    data: Any, ends: Any, documents: Any, lines: Any, places: Any, keys: Any, starts: Any, hits: Any, words: Any
) -> None:
    """Add up the words of each document's windows, and those in its list."""
    end = 0
    for number in range(len(ends)):
        at, end = end, ends[number]
        document = documents[number]
        place = places[document]
        if lines[number] or place < 0:
            continue
        own = keys[starts[place] : starts[place + 1]]
        while at < end:
            stop = at
            while stop < end and data[stop] != 0x20:
                stop += 1
            if stop > at:
                key = word_hash(data, at, stop)
                found = np.searchsorted(own, key)
                words[document] += 1
                hits[document] += found < len(own) and own[found] == key
            at = stop + 1
