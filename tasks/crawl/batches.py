"""Documents of a long, ordered reading (dump, dataset, index), kept batch by batch so that a killed crawl goes on.

A batch is one Parquet file in the state folder: its documents, and in its metadata the counts of its outcomes and the
cursor at which the next one starts. One rename publishes all three, so that they cannot disagree after a kill.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.core.documents import Document, to_table, write_table
from tasks.core.errors import StageError

Cursor = dict[str, Any]
Produce = Callable[[Cursor], Iterator[Document | str]]

BATCH_CHARACTERS = 16 << 20
"""Most text of a batch, whatever its number of outcomes: bounds the memory."""

_METADATA = b"lugha"
_COLUMNS = ("text", "source", "url", "title", "license", "fetched_at", "published_at")


def resumable(folder: Path, produce: Produce, report: Counter[str], outcomes: int = 2000) -> Iterator[Document]:
    """Yield the documents kept in `folder`, then those of `produce` from the last cursor on, each kept before it is yielded.

    `produce(cursor)` yields a document, or the reason why there is none; before each it brings `cursor` (JSON, `{}` at the
    start) up to date: where to go on after it. At most `outcomes` of its results are lost by a kill. `report` counts
    `documents` and the reasons of all batches, kept or new. What `produce` raises is raised once all before it is kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cursor: Cursor = {}
    files = sorted(folder.glob("*.parquet"))
    for path in files:
        cursor, ended = yield from _read(path, report)
        if ended:
            return
    number = len(files)
    for number, (rows, reasons, end) in enumerate(_batched(produce(cursor), outcomes), len(files)):
        ended = isinstance(end, StopIteration)
        if rows or reasons or ended:
            counts = reasons + Counter(documents=len(rows))
            record = json.dumps({"cursor": cursor, "report": counts, "ended": ended})
            path = folder / f"{number:06d}.parquet"
            write_table(to_table(rows).replace_schema_metadata({_METADATA: record.encode()}), path)
            yield from _read(path, report)
        if end is not None and not ended:
            raise end


def _read(path: Path, report: Counter[str]) -> Generator[Document, None, tuple[Cursor, bool]]:
    """The documents of a batch; returns its cursor and whether it is the last.

    New batches are read back as well: a document is then the same, to the bit, before and after a kill.
    """
    try:
        table = pq.read_table(path)
        record = json.loads(table.schema.metadata[_METADATA])
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise StageError(f"{path}: this state of a crawl is damaged ({error}); delete its folder to begin again") from error
    report.update(record["report"])
    for row in table.select(_COLUMNS).to_pylist():
        yield Document(**row)
    return record["cursor"], record["ended"]


def _batched(
    results: Iterator[Document | str], outcomes: int
) -> Iterator[tuple[list[Document], Counter[str], BaseException | None]]:
    """Groups of results; the last one comes with what ended the reading: StopIteration, or an error."""
    end: BaseException | None = None
    while end is None:
        rows: list[Document] = []
        reasons: Counter[str] = Counter()
        characters = 0
        try:
            while len(rows) + reasons.total() < outcomes and characters < BATCH_CHARACTERS:
                result = next(results)
                if isinstance(result, str):
                    reasons[result] += 1
                else:
                    rows.append(result)
                    characters += len(result.text)
        except BaseException as raised:  # also Ctrl-C: what was read is kept before it goes on its way
            end = raised
        yield rows, reasons, end
