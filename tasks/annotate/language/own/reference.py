"""How often the words of each packaged language are used: what a language of one's own is told from.

The counts lie beside the packaged model as `lid_frequencies.txt.zst`: a line for each label, and in it the words that stood
so often in its training text after each number. Words drawn from them stand for its text: the classifier reads bags of words.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import zstandard

from tasks.annotate.language.pieces import normalise_all
from tasks.core.errors import StageError
from tasks.core.files import write_atomically

MOST = 8000
"""Words of a label."""


def frequencies_beside(model: Path) -> Path:
    """Where the word counts of a model are kept."""
    return model.with_name(f"{model.stem}_frequencies.txt.zst")


def write_frequencies(path: Path, text: Mapping[str, Sequence[str]]) -> None:
    """Count the words of each label's lines, and write the most frequent; the same text gives the same bytes."""
    lines = []
    for label in sorted(text):
        counts = Counter(word for line in normalise_all(text[label]) for word in line.split())
        ranked = sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:MOST]
        groups = groupby(ranked, key=lambda one: one[1])
        lines.append(" ".join([label, *(part for count, words in groups for part in (str(count), *(w for w, _ in words)))]))
    write_atomically(path, zstandard.ZstdCompressor(level=19).compress("\n".join(lines).encode()))


@functools.lru_cache(maxsize=1)
def frequencies(path: Path) -> dict[str, tuple[list[str], np.ndarray]]:
    """Words of each label and their counts. Raises StageError if the file is damaged."""
    try:
        lines = zstandard.decompress(path.read_bytes(), 1 << 28).decode().split("\n")
        return dict(map(_counts, lines))
    except (OSError, zstandard.ZstdError, ValueError, IndexError) as error:
        raise StageError(f"{path}: these are not the word counts of a model ({error}); install the package again") from error


def _counts(line: str) -> tuple[str, tuple[list[str], np.ndarray]]:
    label, *parts = line.split(" ")
    words, counts, count = [], [], 0
    for part in parts:
        if part.isascii() and part.isdigit():  # no word is a number: words are letters
            count = int(part)
        else:
            words.append(part)
            counts.append(count)
    return label, (words, np.array(counts, np.float64))


def drawn(path: Path, label: str, number: int, chance: np.random.Generator, lengths: tuple[int, int]) -> list[list[str]]:
    """So many windows of a label: words drawn by how often they are used, from the fewest to the most of `lengths`."""
    words, counts = frequencies(path)[label]
    ends = np.cumsum(chance.integers(lengths[0], lengths[1] + 1, number)).tolist()
    places = chance.choice(len(words), ends[-1], p=counts / counts.sum()).tolist()
    return [[words[place] for place in places[start:end]] for start, end in zip([0, *ends], ends, strict=False)]
