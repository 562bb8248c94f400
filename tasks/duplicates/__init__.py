"""Exact and near duplicates: MinHash bands find candidates, the exact Jaccard similarity decides, and nothing is dropped here.

Documents are taken in the order of the shards. A document is a duplicate if an earlier document *that is no duplicate
itself* has the same words, or a Jaccard similarity of at least `threshold`: so every removal has its evidence
(kept id, similarity), and a chain of similar documents never removes one that is unlike the one kept. (Banding: Leskovec,
Rajaraman, Ullman, *Mining of Massive Datasets*, 3.4; verification: without it 11-37 % of what lies below a threshold goes too.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lang_configs.schema import Duplicates
from tasks.documents import batches, shards, write_table
from tasks.duplicates.kernel import shingle_sets, signatures, similarities
from tasks.stage import Metrics, Work

ROUNDS = 30
"""Leaders tried per bucket; a bucket with more unlike documents than this holds boilerplate, not duplicates."""


def duplicates(inputs: Mapping[str, Path], config: Duplicates, out: Path, work: Work) -> Metrics:
    """Annotate each document of `inputs["clean"]`; one file per shard with the columns

    `duplicate_of` (id of the document kept in its place, or null), `kind` ("exact" or "near"), `jaccard` (of the two),
    `copies` (of a kept document: how many documents it stands for, itself included), and `related` (id of the first
    document of its group of related documents, which stays on one side of a train/validation split).
    """
    paths = shards(inputs["clean"])
    signed = out / ".signatures"
    signed.mkdir(exist_ok=True)
    work.units(_sign, {path.stem: (str(path), config.model_dump()) for path in paths}, out)
    tables = [pq.read_table(signed / path.name) for path in paths]
    table = pa.concat_tables(tables) if tables else pa.table({name: [] for name in ("id", "whole", "words", "bands")})
    whole = table.column("whole").to_numpy()
    words = table.column("words").to_numpy()
    bands = _band_keys(table, config.bands)

    exact = _first_with_same(whole, words)
    candidates = _Candidates(paths, config)
    candidates.load(_sharing_a_bucket(bands, exact, words))
    near = [_bands_to_pairs(bands[band], exact, words, candidates) for band in range(config.bands)]
    left, right, jaccard = _distinct(near)
    decided = _greedy(exact, left, right, jaccard, config.threshold)
    related = _components(exact, left, right, jaccard, config.related)
    _write(tables, paths, table.column("id"), decided, related, out)
    kinds = decided[2]
    return {
        "documents": table.num_rows,
        "exact": int((kinds == 1).sum()),
        "near": int((kinds == 2).sum()),
        "candidate_pairs": candidates.checked,
        "pairs_at_threshold": int((jaccard >= config.threshold).sum()),
        "largest_cluster": int(np.bincount(decided[0]).max(initial=0)),
    }


def _sign(unit: tuple[str, dict[str, int]], out: Path) -> Metrics:
    path, settings = Path(unit[0]), Duplicates.model_validate(unit[1])
    tables = []
    for batch in batches(path, ["id", "text"]):
        signature, whole, words = signatures(
            batch.column("text"), settings.shingle_words, settings.bands * settings.rows, settings.seed
        )
        bands = _hash_bands(signature, settings.bands, settings.rows)
        columns = [
            batch.column("id"),
            pa.array(whole),
            pa.array(words),
            pa.FixedSizeListArray.from_arrays(bands.ravel(), settings.bands),
        ]
        tables.append(pa.table(columns, ["id", "whole", "words", "bands"]))
    write_table(pa.concat_tables(tables), out / ".signatures" / path.name)
    return {}


def _hash_bands(signature: np.ndarray, bands: int, rows: int) -> np.ndarray:
    """uint64[documents, bands]: one key for each band of `rows` signature values."""
    keys = np.zeros((len(signature), bands), np.uint64)
    values = signature.reshape(len(signature), bands, rows).astype(np.uint64)
    for row in range(rows):
        keys = (keys ^ values[:, :, row]) * np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(29)
    return keys


def _band_keys(table: pa.Table, bands: int) -> np.ndarray:
    flat = table.column("bands").combine_chunks()
    if table.num_rows == 0:
        return np.zeros((bands, 0), np.uint64)
    if isinstance(flat, pa.ChunkedArray):
        flat = pa.concat_arrays(flat.chunks)
    return np.ascontiguousarray(flat.flatten().to_numpy().reshape(-1, bands).T)


def _first_with_same(whole: np.ndarray, words: np.ndarray) -> np.ndarray:
    """For each document the first one with the same sequence of words (itself if there is none; empty texts are alone)."""
    first = np.arange(len(whole))
    order = np.argsort(whole, kind="stable")
    starts = np.flatnonzero(np.concatenate([[True], whole[order][1:] != whole[order][:-1]])) if len(whole) else np.zeros(0, int)
    leaders = np.repeat(order[starts], np.diff(np.append(starts, len(whole))))
    first[order] = leaders
    return np.where(words > 0, first, np.arange(len(whole)))


class _Candidates:
    """Exact similarities of candidate pairs; shingle sets of the documents concerned are made once and kept."""

    def __init__(self, paths: list[Path], config: Duplicates) -> None:
        self._paths, self._config = paths, config
        self._known: dict[int, float] = {}
        self._starts = np.cumsum([0, *(pq.read_metadata(path).num_rows for path in paths)])
        self._sets: dict[int, np.ndarray] = {}

    @property
    def checked(self) -> int:
        """Pairs compared."""
        return len(self._known)

    def similarities(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Exact Jaccard similarity of each pair of document numbers."""
        keys = left.astype(np.int64) << 32 | right.astype(np.int64)
        fresh = np.array([key for key in np.unique(keys).tolist() if key not in self._known], np.int64)
        if len(fresh):
            first, second = fresh >> 32, fresh & 0xFFFFFFFF
            needed = np.unique(np.concatenate([first, second]))
            sets = [self._sets[number] for number in needed.tolist()]
            starts = np.concatenate([[0], np.cumsum([len(s) for s in sets])]).astype(np.int64)
            found = similarities(np.concatenate(sets), starts, np.searchsorted(needed, first), np.searchsorted(needed, second))
            self._known.update(zip(fresh.tolist(), found.tolist(), strict=True))
        return np.array([self._known[key] for key in keys.tolist()])

    def load(self, numbers: np.ndarray) -> None:
        """Make the shingle sets of all documents that will be compared (sorted numbers), in one pass over the shards."""
        for path, start, end in zip(self._paths, self._starts[:-1], self._starts[1:], strict=True):
            here = numbers[(numbers >= start) & (numbers < end)] - start
            if not len(here):
                continue
            position = 0
            for batch in batches(path, ["text"]):
                rows = here[(here >= position) & (here < position + len(batch))]
                if len(rows):
                    texts = batch.column("text").take(pa.array(rows - position))
                    sets, bounds = shingle_sets(texts, self._config.shingle_words)
                    for row, low, high in zip(rows.tolist(), bounds[:-1], bounds[1:], strict=True):
                        self._sets[int(start) + row] = sets[low:high].copy()
                position += len(batch)


def _sharing_a_bucket(bands: np.ndarray, exact: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Numbers of the documents that share a bucket with another one in any band, sorted; copies are left to their first."""
    members = np.flatnonzero((exact == np.arange(len(exact))) & (words > 0))
    shared = np.zeros(len(exact), np.bool_)
    for keys in bands[:, members]:
        order = np.argsort(keys, kind="stable")
        same = keys[order][1:] == keys[order][:-1]
        shared[members[order[1:][same]]] = True
        shared[members[order[:-1][same]]] = True
    return np.flatnonzero(shared)


def _bands_to_pairs(
    keys: np.ndarray, exact: np.ndarray, words: np.ndarray, candidates: _Candidates
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Verified pairs (earlier, later, Jaccard) of one band.

    Each document of a bucket is compared with the bucket's first one; those that turn out to be unlike it form a smaller
    bucket with a first one of its own, and so on: a bad leader hides nobody.
    """
    alone = (exact == np.arange(len(keys))) & (words > 0)
    members = np.flatnonzero(alone)
    members = members[np.argsort(keys[members], kind="stable")]
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    bucket = keys[members]
    for _ in range(ROUNDS):
        if len(members) < 2:
            break
        starts = np.flatnonzero(np.concatenate([[True], bucket[1:] != bucket[:-1]]))
        sizes = np.diff(np.append(starts, len(members)))
        leader = np.repeat(members[starts], sizes)
        follower = leader != members
        if not follower.any():
            break
        left, right = leader[follower], members[follower]
        jaccard = candidates.similarities(left, right)
        found.append((left, right, jaccard))
        rest = np.flatnonzero(follower)[jaccard < 0.999]
        members, bucket = members[rest], bucket[rest]
    return _distinct(found)


def _distinct(parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    left, right, jaccard = (np.concatenate(column) for column in zip(*parts, strict=True))
    _, kept = np.unique(left.astype(np.int64) << 32 | right.astype(np.int64), return_index=True)
    return left[kept].astype(np.int64), right[kept].astype(np.int64), jaccard[kept]


def _greedy(
    exact: np.ndarray, left: np.ndarray, right: np.ndarray, jaccard: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(document kept, Jaccard, kind) of each document; kind 0: kept itself, 1: exact, 2: near."""
    kept = np.arange(len(exact))
    similarity = np.ones(len(exact))
    kind = np.zeros(len(exact), np.int8)
    enough = jaccard >= threshold
    earlier: dict[int, list[tuple[float, int]]] = {}
    for i, j, value in zip(left[enough].tolist(), right[enough].tolist(), jaccard[enough].tolist(), strict=True):
        earlier.setdefault(j, []).append((-value, i))
    for document in sorted(earlier):
        for negative, other in sorted(earlier[document]):
            if kind[other] == 0:
                kept[document], similarity[document], kind[document] = other, -negative, 2
                break
    copies = np.flatnonzero(exact != np.arange(len(exact)))
    first = exact[copies]
    kept[copies] = kept[first]
    similarity[copies] = similarity[first]
    kind[copies] = np.where(kind[first] == 0, 1, 2)
    return kept, similarity, kind


def _components(exact: np.ndarray, left: np.ndarray, right: np.ndarray, jaccard: np.ndarray, related: float) -> np.ndarray:
    """First document of each document's connected component under `related`."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    size = len(exact)
    if not size:
        return exact
    enough = jaccard >= related
    rows = np.concatenate([left[enough], exact])
    columns = np.concatenate([right[enough], np.arange(size)])
    graph = coo_matrix((np.ones(len(rows), np.int8), (rows, columns)), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    first = np.full(component.max() + 1, size)
    np.minimum.at(first, component, np.arange(size))
    return first[component]


def _write(
    tables: list[pa.Table],
    paths: list[Path],
    ids: pa.ChunkedArray,
    decided: tuple[np.ndarray, np.ndarray, np.ndarray],
    related: np.ndarray,
    out: Path,
) -> None:
    kept, similarity, kind = decided
    copies = np.bincount(kept, minlength=len(kept)) if len(kept) else kept
    for path, (start, end) in zip(paths, _spans(tables), strict=True):
        here = slice(start, end)
        removed = kind[here] != 0
        numbers = pa.array(np.where(removed, kept[here], -1), mask=~removed)
        names = pa.array(np.array(["", "exact", "near"], object)[kind[here]], pa.string(), mask=~removed)
        columns = {
            "id": ids.slice(start, end - start).combine_chunks(),
            "duplicate_of": ids.take(numbers).combine_chunks(),
            "kind": names,
            "jaccard": pa.array(similarity[here].astype(np.float32), mask=~removed),
            "copies": pa.array(np.where(removed, 0, copies[here]).astype(np.int32)),
            "related": ids.take(pa.array(related[here])).combine_chunks(),
        }
        write_table(pa.table(columns), out / path.name)


def _spans(tables: list[pa.Table]) -> Iterator[tuple[int, int]]:
    start = 0
    for table in tables:
        yield start, start + table.num_rows
        start += table.num_rows
