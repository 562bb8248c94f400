"""Documents in Parquet files, batch by batch and in bounds: to be run in a worker, as Arrow trusts what a file says of itself.

A few bytes can stand for 20 million rows, one value of a dictionary for all rows of a file; a page may be 2 GB of zeros.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as pt

from tasks.crawl.formats.unpacked import most_bytes

COLUMNS = ("text", "url", "title", "source", "license", "fetched_at", "published_at")
"""What is read of a file; columns of another kind than text and time hold nothing."""

BATCH_BYTES = 32 << 20
BATCH_ROWS = 65_536
SENT_BYTES = 4 << 20
"""Text of one batch as Arrow reads it, its most rows, and the text that is handed on at once."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}

Row = tuple[int, dict[str, Any]]
Batch = tuple[list[Row], Counter[str]]
"""Rows with text, by their number in the file; and how many had none (`no_text`), or how many and what was lost."""


class NotParquetError(Exception):
    """The file has no index at its end, without which nothing can be found, or no column `text` that holds text."""


def groups(path: Path) -> list[int]:
    """Rows of each row group. Raises NotParquetError."""
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            if "text" not in schema.names:
                raise NotParquetError(f"the Parquet file has no column `text`; its columns are {schema.names}")
            if not _holds_text(schema.field("text").type):
                raise NotParquetError(f"the column `text` of the Parquet file holds {schema.field('text').type}, not text")
            return [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    except (pa.ArrowException, OSError, ValueError) as error:
        raise NotParquetError(f"{type(error).__name__}") from error


def rows(path: Path, group: int, first: int, longest: int, taken: int) -> Iterator[Batch]:
    """The rows of a row group that begins at row `first` of the file; texts above `longest` bytes count as `too_large`.

    `taken` bytes were read of the file before. Whatever of the group cannot be read is counted as `damaged_parts`, once, and
    `lost_rows`; `unpacked_too_far` says that the file gave more than `most_bytes`, and reading ended there.
    """
    number, most = first, most_bytes(path) - taken
    with pq.ParquetFile(path, page_checksum_verification=True, read_dictionary=["text"]) as file:
        about = file.metadata.row_group(group)
        columns = [name for name in COLUMNS if name in file.schema_arrow.names]
        size = max(1, about.total_byte_size // max(1, about.num_rows))
        try:
            for batch in file.iter_batches(min(BATCH_ROWS, max(16, BATCH_BYTES // size)), [group], columns):
                for found, counts, given in _read(batch, number, longest, most):
                    most -= given
                    yield found, counts
                    if most <= 0:
                        yield [], Counter(unpacked_too_far=1)
                        return
                number += len(batch)
        except (pa.ArrowException, OSError, ValueError):
            yield [], Counter(damaged_parts=1)
        if lost := first + about.num_rows - number:
            yield [], Counter(lost_rows=lost)


def _read(batch: pa.RecordBatch, first: int, longest: int, most: int) -> Iterator[tuple[list[Row], Counter[str], int]]:
    """Parts of a batch of about `SENT_BYTES`, until `most` bytes are given; and the bytes of each, a row being one at least."""
    indices, texts = _texts(batch.column("text"))
    kept = np.array([0 < len(text) <= longest and not text.isspace() for text in texts] + [False])[indices]
    large = int(np.array([len(text) > longest for text in texts] + [False])[indices].sum())
    counts = Counter(no_text=len(batch) - int(kept.sum()) - large, too_large=large)
    others = {name: batch.column(name) for name in batch.schema.names if name != "text"}
    found: list[Row] = []
    given = len(batch)
    sent = 0
    for row in np.flatnonzero(kept).tolist():
        text = texts[indices[row]]
        found.append((first + row, {"text": text.decode("utf-8", "replace")} | {n: _value(c, row) for n, c in others.items()}))
        sent += len(text)
        if sent >= SENT_BYTES:
            yield found, counts, given + sent
            most -= given + sent
            found, counts, given, sent = [], Counter(), 0, 0
            if most <= 0:
                return
    yield found, counts, given + sent


def _texts(column: pa.Array) -> tuple[np.ndarray, list[bytes]]:
    """For each row the place of its text in the list, -1 without one; bytes, as UTF-8 is checked by nobody before."""
    if not pt.is_dictionary(column.type):
        column = column.dictionary_encode()
    values = column.dictionary
    plain = values.cast(pa.large_binary()) if not pt.is_large_string(values.type) else values.view(pa.large_binary())
    places = column.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    return places, [value or b"" for value in plain.to_pylist()]


def _value(column: pa.Array, row: int) -> str | datetime | None:
    """The value of a column in a row, if it is text or a time that Python can hold: of a date the day in UTC."""
    value, kind = column[row], column.type
    if not value.is_valid:
        return None
    if pt.is_timestamp(kind):
        return _moment(value.value, _PER_SECOND[kind.unit])
    if pt.is_date32(kind):
        return _moment(value.value, 1 / 86_400)
    if pt.is_date64(kind):
        return _moment(value.value, 1000)
    if not _holds_text(kind):
        return None
    text = value.as_py() if pt.is_binary(kind) else pc.cast(value, pa.large_binary()).as_py()
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else None


def _moment(count: int, per_second: float) -> datetime | None:
    try:
        if per_second < 1:
            return _EPOCH + timedelta(days=count)
        return _EPOCH + timedelta(microseconds=count * 10**6 // int(per_second))
    except OverflowError:
        return None


def _holds_text(kind: pa.DataType) -> bool:
    if pt.is_dictionary(kind):
        kind = kind.value_type
    checks = (pt.is_string, pt.is_large_string, pt.is_binary, pt.is_large_binary, pt.is_string_view, pt.is_binary_view)
    return any(check(kind) for check in (*checks, pt.is_fixed_size_binary))
