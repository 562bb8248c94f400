"""Quality signals of each document: numbers only, no decision. `select` compares them with the language's thresholds.

The signals are those of Gopher (Rae et al. 2021, arXiv 2112.11446, A1.1), C4 and FineWeb as far as they make sense for a
language with little text, computed on characters and words of any script in one pass over the bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pyarrow as pa
from pydantic import BaseModel

from tasks.characters import DIGIT, LETTER, SPACE, STOP, SYMBOL, TABLE_SIZE, buffers, classes, code_point, mix
from tasks.documents import batches, shards, write_table
from tasks.stage import Metrics, Work

SIGNALS = (
    "words",
    "mean_word_length",
    "letters",
    "digits",
    "symbols",
    "unique_words",
    "top_word",
    "lines",
    "stop_lines",
    "bullet_lines",
    "repeated_lines",
)
"""Columns beside `id`, all float32:
`words`: runs of letters, marks and digits; `mean_word_length`: in characters;
`letters`, `digits`, `symbols`: shares of the characters that are not white space;
`unique_words`: distinct words / words among the first 1,000 words; `top_word`: share of the most frequent of those;
`lines`: lines that are not empty; `stop_lines`: share that ends in sentence punctuation;
`bullet_lines`: share that begins with a bullet; `repeated_lines`: share of characters in lines seen before in the document.
"""
WORD_WINDOW = 1000
"""Words looked at for repetition: type/token ratios of texts of different length cannot be compared."""


class QualitySignals(BaseModel):
    """The signals have no parameters: thresholds belong to select."""


def quality(inputs: Mapping[str, Path], config: QualitySignals, out: Path, work: Work) -> Metrics:
    """Annotate each document of `inputs["clean"]` with the columns `SIGNALS`; one file per shard."""
    found = work.units(_annotate, {shard.stem: str(shard) for shard in shards(inputs["clean"])}, out)
    return {"documents": sum(unit["documents"] for unit in found.values())}


def _annotate(shard: str, out: Path) -> Metrics:
    path = Path(shard)
    tables = []
    for batch in batches(path, ["id", "text"]):
        signals = measure(batch.column("text"))
        columns = {"id": batch.column("id")} | {name: pa.array(signals[:, i]) for i, name in enumerate(SIGNALS)}
        tables.append(pa.table(columns))
    table = pa.concat_tables(tables)
    write_table(table, out / path.name)
    return {"documents": table.num_rows}


def measure(texts: pa.Array) -> np.ndarray:
    """Signals of each text: float32[texts, len(SIGNALS)]."""
    data, offsets = buffers(texts)
    out = np.zeros((len(offsets) - 1, len(SIGNALS)), np.float32)
    longest = int(np.diff(offsets).max(initial=0))
    _measure(data, offsets, classes(), out, longest)
    return out


@numba.njit(cache=True, nogil=True)
def _measure(data: Any, offsets: Any, table: Any, out: Any, longest: int) -> None:
    words = np.empty(WORD_WINDOW, np.uint64)
    lines = np.empty(longest + 2, np.uint64)
    sizes = np.empty(longest + 2, np.int64)
    for document in range(offsets.shape[0] - 1):
        position, end = offsets[document], offsets[document + 1]
        count = visible = letters = digits = symbols = word_characters = line_count = stop_lines = bullets = 0
        word = line = np.uint64(0)
        in_word = False
        line_size, first, last = 0, 0, 0
        while position <= end:
            if position < end:
                code, length = code_point(data, position)
            else:
                code, length = 10, 1
            position += length
            kind = table[code] if code < TABLE_SIZE else LETTER
            if kind == LETTER or kind == DIGIT:
                word = (word ^ np.uint64(code)) * np.uint64(0x100000001B3)
                word_characters += 1
                in_word = True
            elif in_word:
                if count < WORD_WINDOW:
                    words[count] = mix(word)
                count += 1
                word, in_word = np.uint64(0), False
            if code == 10:
                if line_size:
                    lines[line_count], sizes[line_count] = mix(line), line_size
                    line_count += 1
                    stop_lines += last == STOP
                    bullets += first == 1
                line, line_size, first = np.uint64(0), 0, 0
            elif kind != SPACE:
                visible += 1
                letters += kind == LETTER
                digits += kind == DIGIT
                symbols += kind == SYMBOL
                if line_size == 0:
                    first = 1 if code in (0x2A, 0x2D, 0x2022, 0x25CF, 0x25AA, 0xB7, 0x2013) else 2
                line = (line ^ np.uint64(code)) * np.uint64(0x100000001B3)
                line_size += 1
                # closing quotes and brackets after a stop do not hide it
                if not (code == 0x22 or code == 0x27 or code == 0x29 or code == 0x201D or code == 0x2019 or code == 0xBB):
                    last = kind
        row = out[document]
        row[0] = count
        row[1] = word_characters / count if count else 0.0
        if visible:
            row[2], row[3], row[4] = letters / visible, digits / visible, symbols / visible
        if count:
            distinct, most = _runs(words[: min(count, WORD_WINDOW)])
            row[5], row[6] = distinct / min(count, WORD_WINDOW), most / min(count, WORD_WINDOW)
        row[7] = line_count
        if line_count:
            row[8], row[9] = stop_lines / line_count, bullets / line_count
            row[10] = _repeated(lines[:line_count], sizes[:line_count]) / visible


@numba.njit(cache=True, nogil=True)
def _runs(values: Any) -> tuple[int, int]:
    """Number of distinct values, and how often the most frequent one occurs."""
    ordered = np.sort(values)
    distinct, run, most = 1, 1, 1
    for i in range(1, ordered.shape[0]):
        if ordered[i] == ordered[i - 1]:
            run += 1
        else:
            distinct += 1
            run = 1
        most = max(most, run)
    return distinct, most


@numba.njit(cache=True, nogil=True)
def _repeated(lines: Any, sizes: Any) -> int:
    """Characters in lines whose hash occurred before."""
    order = np.argsort(lines, kind="mergesort")
    total = 0
    for i in range(1, order.shape[0]):
        if lines[order[i]] == lines[order[i - 1]]:
            total += sizes[order[i]]
    return total
