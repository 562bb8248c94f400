"""Boilerplate: lines that stand at the head or the foot of many documents of one site, counted over all raw shards.

A line is a line of the raw text without the white space around it. It is boilerplate of a site when it is long enough, when
`DOCUMENTS` documents of the site and a share of all of them hold it, and when it nearly always stands at an edge: a refrain,
a heading or "Ndiyo." in the middle of texts does not. Documents whose two longest lines are the same are copies of one page
and count once: otherwise the text of a page that is stored ten times would be boilerplate. (Line counts over a site:
CCNet, arXiv 1911.00359, and RefinedWeb, arXiv 2306.01116, which look at no place and no share.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from tasks.core.characters import buffers, mix
from tasks.core.database import connect
from tasks.core.documents import batches, write_table
from tasks.core.parquet import exact, scan
from tasks.core.stage import Metrics

DOCUMENTS = 10
"""Least documents of a site that hold a line of boilerplate."""
EDGE_LINES = 5
"""Lines that are the head of a document, and as many its foot."""
EDGE_SHARE = 0.8
"""Least share of a line's occurrences that are at an edge."""
CHARACTERS = 10
"""Least length: shorter lines are words and numbers (Amina. Ndiyo. ---), whose repetition says nothing."""


def count_lines(unit: tuple[str, str], out: Path) -> Metrics:
    """Write which lines the documents of a raw shard hold: `(shard, name)` gives `name-lines` and `name-documents.parquet`."""
    path, name = unit
    lines, documents = [], []
    for batch in batches(Path(path), ["text", "url", "source"]):
        sites = _site_hashes(_sites(batch))
        document, line, edge, signature = _lines(*buffers(batch.column("text")))
        lines.append(pa.table({"site": sites[document], "line": line, "signature": signature[document], "edge": edge}))
        documents.append(pa.table({"site": sites, "signature": signature}))
    for kind, tables in (("lines", lines), ("documents", documents)):
        if tables:
            write_table(pa.concat_tables(tables), out / f"{name}-{kind}.parquet")
    return {}


def repeated_lines(folder: Path, share: float) -> np.ndarray:
    """Sorted keys (uint64) of the lines in the counts below `folder` that are boilerplate: in `share` of a site's documents.

    Exact however the documents are sharded; what DuckDB cannot hold in memory it spills to disk.
    """
    if not any(folder.glob("*-lines.parquet")):
        return np.zeros(0, np.uint64)
    with connect(config={"temp_directory": str(folder / "spill")}) as database:
        rows = database.execute(
            f"""
            WITH lines AS (FROM {scan(files="lines")}),
            sites AS (
                SELECT site, count(DISTINCT signature) AS documents FROM {scan(files="documents")} GROUP BY site
            ),
            often AS (
                SELECT site, line FROM lines GROUP BY site, line
                HAVING count(*) >= $least AND count(*) FILTER (edge) >= $edge_share * count(*)
            )
            SELECT site, line
            FROM lines SEMI JOIN often USING (site, line) JOIN sites USING (site)
            GROUP BY site, line, documents
            HAVING count(DISTINCT signature) >= greatest($least, $share * documents)
            """,
            {
                "lines": [exact(path) for path in sorted(folder.glob("*-lines.parquet"))],
                "documents": [exact(path) for path in sorted(folder.glob("*-documents.parquet"))],
                "least": DOCUMENTS,
                "edge_share": EDGE_SHARE,
                "share": share,
            },
        ).fetchnumpy()
    return np.unique(_keys(rows["site"].astype(np.uint64), rows["line"].astype(np.uint64)))


def without_boilerplate(batch: pa.RecordBatch, keys: np.ndarray) -> tuple[dict[int, str], Counter[tuple[str, str]], int]:
    """New texts by row, the lines removed by (site, line), and how many documents hold nothing else and stay as they are.

    Only lines at the edges are removed, so a line that is also part of a text stays there.
    """
    if not len(keys):
        return {}, Counter(), 0
    sites = _sites(batch)
    data, offsets = buffers(batch.column("text"))
    document, start, end, left = _cuts(data, offsets, _site_hashes(sites), keys)
    names = sites.to_pylist() if len(document) else []
    removed: Counter[tuple[str, str]] = Counter()
    texts: dict[int, str] = {}
    untouched: set[int] = set()
    whole = data.tobytes() if len(document) else b""
    position = 0
    for row in dict.fromkeys(document.tolist()):
        cuts = []
        while position < len(document) and document[position] == row:
            cuts.append((int(start[position]), int(end[position])))
            position += 1
        if not left[row]:
            untouched.add(row)
            continue
        kept, before = [], int(offsets[row])
        for first, last in cuts:
            kept.append(whole[before:first])
            before = last
            removed[names[row], whole[first:last].strip().decode()] += 1
        texts[row] = b"".join([*kept, whole[before : int(offsets[row + 1])]]).decode()
    return texts, removed, len(untouched)


def read_keys(path: str) -> np.ndarray:
    """What `write_keys` wrote."""
    return pq.read_table(path).column("key").to_numpy()


def write_keys(keys: np.ndarray, path: Path) -> None:
    """Store the keys of boilerplate lines for the units."""
    write_table(pa.table({"key": keys}), path)


def _sites(batch: pa.RecordBatch) -> pa.Array:
    """The site of each document: its source, and the host of its address if it has one.

    A host alone would make one site of all repositories that are read from one server.
    """
    host = pc.replace_substring_regex(pc.fill_null(batch.column("url"), ""), r"^[a-z]+://([^/?#]*).*|^.*$", r"\1")
    return pc.binary_join_element_wise(batch.column("source"), host, " ").dictionary_encode()


def _site_hashes(sites: pa.DictionaryArray) -> np.ndarray:
    """uint64 for each document."""
    names: Collection[str] = sites.dictionary.to_pylist()
    hashes = np.array([xxhash.xxh3_64_intdigest(name.encode()) for name in names], np.uint64)
    return hashes[sites.indices.to_numpy()] if len(hashes) else hashes


@numba.njit(cache=True, nogil=True)
def _keys(sites: Any, lines: Any) -> Any:
    out = np.empty(sites.shape[0], np.uint64)
    for i in range(sites.shape[0]):
        out[i] = mix(sites[i] ^ mix(lines[i]))
    return out


@numba.njit(cache=True, nogil=True)
def _split(data: Any, start: int, end: int, starts: Any, hashes: Any, lengths: Any) -> int:
    """Where each line with text begins, a hash of it without the white space around it, and its characters; their number."""
    found = 0
    position = start
    while position < end:
        line_start = position
        line = np.uint64(0xCBF29CE484222325)
        at_end = line
        characters = length = 0
        while position < end and data[position] != 10:
            byte = data[position]
            if byte > 32 or characters:
                line = (line ^ np.uint64(byte)) * np.uint64(0x100000001B3)
                characters += (byte & 0xC0) != 0x80
                if byte > 32:
                    at_end, length = line, characters
            position += 1
        position += 1
        if length:
            starts[found], hashes[found], lengths[found] = line_start, mix(at_end), length
            found += 1
    return found


@numba.njit(cache=True, nogil=True)
def _most_lines(data: Any, offsets: Any) -> int:
    most = 0
    for document in range(offsets.shape[0] - 1):
        lines = 1
        for position in range(offsets[document], offsets[document + 1]):
            lines += data[position] == 10
        most = max(most, lines)
    return most


@numba.njit(cache=True, nogil=True)
def _lines(data: Any, offsets: Any) -> Any:
    """Document, hash and place (at an edge?) of each line of documents with more than one; a signature of each document."""
    documents = offsets.shape[0] - 1
    most = _most_lines(data, offsets)
    starts, hashes, lengths = np.empty(most, np.int64), np.empty(most, np.uint64), np.empty(most, np.int64)
    line_of, line_hash = np.empty(1024, np.int32), np.empty(1024, np.uint64)
    line_edge = np.empty(1024, np.bool_)
    signature = np.zeros(documents, np.uint64)
    total = 0
    for document in range(documents):
        found = _split(data, offsets[document], offsets[document + 1], starts, hashes, lengths)
        first = second = -1
        for i in range(found):
            if first < 0 or lengths[i] > lengths[first]:
                first, second = i, first
            elif second < 0 or lengths[i] > lengths[second]:
                second = i
        for i in (first, second):
            if i >= 0:
                signature[document] ^= hashes[i]
        if found < 2:
            continue
        while total + found > line_of.shape[0]:
            line_of = np.concatenate((line_of, np.empty_like(line_of)))
            line_hash = np.concatenate((line_hash, np.empty_like(line_hash)))
            line_edge = np.concatenate((line_edge, np.empty_like(line_edge)))
        for i in range(found):
            if lengths[i] >= CHARACTERS:
                line_of[total], line_hash[total] = document, hashes[i]
                line_edge[total] = i < EDGE_LINES or i >= found - EDGE_LINES
                total += 1
    return line_of[:total], line_hash[:total], line_edge[:total], signature


@numba.njit(cache=True, nogil=True)
def _cuts(data: Any, offsets: Any, sites: Any, keys: Any) -> Any:
    """Document, start and end (bytes) of each line to cut, in order; and how many lines with text each document keeps."""
    documents = offsets.shape[0] - 1
    most = _most_lines(data, offsets)
    starts, hashes, lengths = np.empty(most, np.int64), np.empty(most, np.uint64), np.empty(most, np.int64)
    room = documents * 2 * EDGE_LINES
    cut_of, cut_start, cut_end = np.empty(room, np.int32), np.empty(room, np.int64), np.empty(room, np.int64)
    left = np.zeros(documents, np.int32)
    total = 0
    for document in range(documents):
        end = offsets[document + 1]
        found = _split(data, offsets[document], end, starts, hashes, lengths)
        left[document] = found
        for i in range(found):
            if EDGE_LINES <= i < found - EDGE_LINES or lengths[i] < CHARACTERS or found < 2:
                continue
            key = mix(sites[document] ^ mix(hashes[i]))
            place = np.searchsorted(keys, key)
            if place < keys.shape[0] and keys[place] == key:
                cut_of[total], cut_start[total] = document, starts[i]
                cut_end[total] = starts[i + 1] if i + 1 < found else end
                left[document] -= 1
                total += 1
    return cut_of[:total], cut_start[:total], cut_end[:total], left
