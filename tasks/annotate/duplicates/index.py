"""The documents that earlier runs have seen, on disk: a refresh signs and compares the new ones only.

A DuckDB file holds the band keys and what was decided, files beside it the shingles, for the exact comparison. The index is
a cache: it is valid for one config and for shards that come first, in their order, among those of a run; otherwise it starts
anew. A document's fate depends on earlier documents only, so what was decided stays decided.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa

from lang_configs.schema import Duplicates
from tasks.core.database import interruptible
from tasks.core.documents import column

VERSION = 3
"""Raise when the files, the keys or the decisions change their meaning."""
MEMORY_LIMIT = "100MB"

TABLES = """
CREATE TABLE shards (position INTEGER, digest VARCHAR, documents UINTEGER);
CREATE TABLE documents (
    number UINTEGER, whole UBIGINT, words INTEGER, shingles INTEGER, kept UINTEGER, kind UTINYINT, jaccard FLOAT,
    related UINTEGER, candidates INTEGER, pairs INTEGER
);
CREATE TABLE bands (key UBIGINT, document UINTEGER);
"""


@dataclass
class Known:
    """What is known of each document, in their order: arrays of one length."""

    whole: np.ndarray
    """Hash of all words, uint64."""
    words: np.ndarray
    """int32"""
    shingles: np.ndarray
    """Number of shingles, int32."""
    kept: np.ndarray
    """Number of the document kept in its place, or its own, uint32."""
    kind: np.ndarray
    """0: kept itself, 1: exact duplicate, 2: near duplicate; uint8."""
    jaccard: np.ndarray
    """Similarity to the document kept, float32."""
    related: np.ndarray
    """First document of its group of related documents, uint32."""
    candidates: np.ndarray
    """Earlier documents that it was compared with, int32."""
    pairs: np.ndarray
    """Those of them that it is at least as similar to as the threshold, int32."""

    def __len__(self) -> int:
        return len(self.whole)

    def and_then(self, other: Known) -> Known:
        """These documents and then those."""
        return Known(*(np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(Known)))


class BandIndex:
    """Opens the index of this config in `folder`, or a new one; only one process at a time may do so."""

    def __init__(self, folder: Path, config: Duplicates) -> None:
        name = hashlib.blake2b(f"{VERSION} {config.model_dump_json()}".encode(), digest_size=8).hexdigest()
        self.folder = folder / name
        for other in folder.iterdir():  # of another config: a language has one index
            if other.is_dir() and other != self.folder:
                shutil.rmtree(other)
        try:
            self._open()
        except Exception as error:  # a damaged cache is no reason to stop; DuckDB has many kinds of errors for it
            if not _damaged(error):
                raise
            self.clear()

    def _open(self) -> None:
        import duckdb

        self.folder.mkdir(exist_ok=True)
        self._database = duckdb.connect(str(self.folder / "bands.duckdb"), config={"memory_limit": MEMORY_LIMIT})
        if not self._database.execute("SELECT count(*) FROM duckdb_tables()").fetchall()[0][0]:
            self._database.execute(f"BEGIN; {TABLES} COMMIT")
        self.digests = [row[0] for row in self._database.execute("SELECT digest FROM shards ORDER BY position").fetchall()]
        sizes = self._database.execute("SELECT documents FROM shards ORDER BY position").fetchall()
        self.starts = np.cumsum([0, *(row[0] for row in sizes)])

    def __enter__(self) -> BandIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def clear(self) -> None:
        """Forget everything."""
        if hasattr(self, "_database"):
            self._database.close()
        shutil.rmtree(self.folder)
        self._open()

    def known(self) -> Known:
        """What was decided about the documents of the index."""
        names = ", ".join(f.name for f in fields(Known))
        found = self._database.execute(f"SELECT {names} FROM documents ORDER BY number").fetchnumpy()
        return Known(*(np.asarray(found[f.name]) for f in fields(Known)))

    def members(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Key and document number of everyone in the buckets `keys` (uint64), by bucket and number."""
        wanted = pa.table([column(keys)], ["key"])
        self._database.register("wanted", wanted)
        with interruptible(self._database):
            found = self._database.execute("SELECT key, document FROM bands SEMI JOIN wanted USING (key)").fetchnumpy()
        self._database.unregister("wanted")
        order = np.lexsort((found["document"], found["key"]))
        return found["key"][order], found["document"][order].astype(np.int64)

    def shingle_file(self, shard: int) -> Path:
        """Shingles (uint32) of the documents of the shard at this position, one after the other."""
        return self.folder / f"{shard:06d}.shingles"

    def extend(
        self,
        digests: Sequence[str],
        sizes: Sequence[int],
        files: Sequence[Path],
        known: Known,
        keys: Iterator[tuple[np.ndarray, np.ndarray]],
    ) -> None:
        """Take new shards in: their digests, numbers of documents and files of shingles, what is now known of all documents,
        and the band keys of the new documents as pairs (keys, documents). All of it becomes visible at once.
        """
        first, old = len(self.digests), int(self.starts[-1])
        for position, file in enumerate(files, first):
            _link(file, self.shingle_file(position))
        new = pa.table(
            [
                column(np.arange(old, len(known), dtype=np.uint32)),
                *(column(getattr(known, f.name)[old:]) for f in fields(Known)),
            ],
            ["number", *(f.name for f in fields(Known))],
        )
        rows = [list(row) for row in zip(range(first, first + len(files)), digests, sizes, strict=True)]
        with interruptible(self._database):
            self._database.execute("BEGIN")
            self._database.executemany("INSERT INTO shards VALUES (?, ?, ?)", rows)
            self._database.register("fresh", new)
            self._database.execute("INSERT INTO documents SELECT * FROM fresh")
            self._database.register("fresh", _reader(keys))
            self._database.execute("INSERT INTO bands SELECT * FROM fresh")
            self._database.register("fresh", self._moved(known, old))
            self._database.execute(
                "UPDATE documents SET related = fresh.related FROM fresh WHERE documents.number = fresh.number"
            )
            self._database.unregister("fresh")
            self._database.execute("COMMIT")

    def _moved(self, known: Known, old: int) -> pa.Table:
        """Old documents whose group was joined with an earlier one through a new document."""
        before = self._database.execute(f"SELECT related FROM documents WHERE number < {old} ORDER BY number").fetchnumpy()
        changed = np.flatnonzero(before["related"] != known.related[:old]).astype(np.uint32)
        return pa.table([column(changed), column(known.related[changed])], ["number", "related"])


def _reader(keys: Iterator[tuple[np.ndarray, np.ndarray]]) -> pa.RecordBatchReader:
    schema = pa.schema([("key", pa.uint64()), ("document", pa.uint32())])
    rows = (
        pa.RecordBatch.from_arrays([column(key), column(document.astype(np.uint32))], schema=schema) for key, document in keys
    )
    return pa.RecordBatchReader.from_batches(schema, rows)


def _link(file: Path, place: Path) -> None:
    """Have the file at `place`, too: it stays where it is until the stage is published."""
    place.unlink(missing_ok=True)
    try:
        os.link(file, place)
    except OSError:  # a file system without hard links
        shutil.copyfile(file, place)


def _damaged(error: Exception) -> bool:
    import duckdb

    return isinstance(error, duckdb.Error) and "lock" not in str(error).lower()
