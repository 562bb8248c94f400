"""Documents: one row of a Parquet shard each, written once and never changed.

Every stage after `clean` adds a column file keyed by `id`; it has the name of the document shard that it annotates.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import overload

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from lang_configs.secrets import without_folders, without_secrets
from tasks.core.files import replacing

SHARD_BYTES = 64 << 20
"""Text per shard, before compression."""
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")

SCHEMA = pa.schema(
    [
        pa.field("id", pa.binary(16), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("url", pa.string()),
        pa.field("title", pa.string()),
        pa.field("source", pa.string(), nullable=False),
        pa.field("license", pa.string()),
        pa.field("fetched_at", pa.timestamp("us", tz="UTC")),
        pa.field("published_at", pa.timestamp("us", tz="UTC")),
        pa.field("bytes", pa.int32(), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class Document:
    """One text with its provenance. `license` is an SPDX id or the source's own words; dates are UTC, None if unknown.

    What is kept of the provenance is one line each, without control characters; of an address no secret, of a path its name.
    """

    text: str
    source: str
    url: str | None = None
    title: str | None = None
    license: str | None = None
    fetched_at: datetime | None = None
    published_at: datetime | None = None

    def __post_init__(self) -> None:
        for name in ("source", "url", "title", "license"):
            if text := getattr(self, name):
                kept = kept_line(text) if name != "url" else without_folders(kept_line(text))
                object.__setattr__(self, name, kept)

    @property
    def id(self) -> bytes:
        """xxh3-128 of source, url and text: the same document has the same id in every run."""
        return document_id(self.source, self.url, self.text)


def document_id(source: str, url: str | None, text: str) -> bytes:
    """16 bytes that name a document; the fields are separated by a NUL, which none of them may hold."""
    return xxhash.xxh3_128_digest("\0".join((source, url or "", text)).encode("utf-8", "surrogatepass"))


def kept_line(text: str) -> str:
    """What is kept of an address, a title or a name that others wrote: one line that UTF-8 can hold, and no secret."""
    if not text.isprintable():
        text = " ".join(_CONTROLS.sub(" ", text).encode("utf-8", "replace").decode().split())
    return without_secrets(text)


class ShardWriter:
    """Writes documents as shards `<prefix>-00000.parquet` ... of about `SHARD_BYTES` of text, each published atomically.

    A document whose id was already written by this writer is counted in `repeated` and left out.
    """

    def __init__(self, folder: Path, prefix: str, shard_bytes: int = SHARD_BYTES) -> None:
        self.folder, self.prefix, self.shard_bytes = folder, prefix, shard_bytes
        self.shards: list[str] = []
        self.documents = self.bytes = self.repeated = 0
        self._seen: set[bytes] = set()
        self._rows: list[Document] = []
        self._pending = 0

    def add(self, document: Document) -> None:
        """Take one document; writes a shard when enough text has come together."""
        if (identity := document.id) in self._seen:
            self.repeated += 1
            return
        self._seen.add(identity)
        self._rows.append(document)
        self._pending += len(document.text)
        if self._pending >= self.shard_bytes:
            self._flush()

    def close(self) -> None:
        """Write what is left."""
        if self._rows:
            self._flush()

    def _flush(self) -> None:
        table = to_table(self._rows)
        name = f"{self.prefix}-{len(self.shards):05d}.parquet"
        write_table(table, self.folder / name)
        self.shards.append(name)
        self.documents += len(self._rows)
        self.bytes += sum(table.column("bytes").to_pylist())
        self._rows, self._pending = [], 0


def to_table(documents: Iterable[Document]) -> pa.Table:
    """Documents as an Arrow table with `SCHEMA`; lone surrogates, which UTF-8 cannot hold, become question marks."""
    rows = []
    for document in documents:
        text = _encodable(document.text)
        rows.append(
            {
                "id": document.id,
                "text": text,
                "url": _encodable(document.url),
                "title": _encodable(document.title),
                "source": document.source,
                "license": _encodable(document.license),
                "fetched_at": document.fetched_at,
                "published_at": document.published_at,
                "bytes": len(text.encode()),
            }
        )
    return pa.Table.from_pylist(rows, SCHEMA)


@overload
def _encodable(text: str) -> str: ...
@overload
def _encodable(text: str | None) -> str | None: ...
def _encodable(text: str | None) -> str | None:
    return text if text is None or text.isascii() else text.encode("utf-8", "replace").decode()


def write_table(table: pa.Table, path: Path) -> None:
    """Write a Parquet file (zstd) atomically; the same table gives the same bytes."""
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", row_group_size=8192)


def column(values: np.ndarray, valid: np.ndarray | None = None) -> pa.Array:
    """An Arrow array over numbers (null where not `valid`); `pa.array` would import pandas, 0.4 s in each process."""
    values = np.ascontiguousarray(values)
    kind = pa.from_numpy_dtype(values.dtype)
    return pa.Array.from_buffers(kind, len(values), [_bitmap(valid), pa.py_buffer(values)])


def strings(codes: np.ndarray, values: Sequence[str], valid: np.ndarray | None = None) -> pa.Array:
    """An Arrow array of strings: `values[code]` for each code (null where not `valid`)."""
    encoded = [value.encode() for value in values]
    lengths = np.array([len(value) for value in encoded])[codes]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    data = b"".join(encoded[code] for code in codes[lengths > 0].tolist())
    return pa.StringArray.from_buffers(len(codes), pa.py_buffer(offsets), pa.py_buffer(data), _bitmap(valid))


def _bitmap(valid: np.ndarray | None) -> pa.Buffer | None:
    return None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))


def save_array(path: Path, array: np.ndarray) -> None:
    """Write a .npy file atomically."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.save(file, array, allow_pickle=False)


def batches(shard: Path, columns: list[str] | None = None, rows: int = 4096) -> Iterator[pa.RecordBatch]:
    """Record batches of a shard; never more than `rows` documents in memory at once."""
    with pq.ParquetFile(shard) as file:
        yield from file.iter_batches(batch_size=rows, columns=columns)
