"""Exact and near duplicates: MinHash bands find candidates, the exact Jaccard similarity decides, and nothing is dropped here.

Documents are taken in the order of the shards. A document is a duplicate if an earlier document *that is no duplicate
itself* has the same words, or a Jaccard similarity of at least `threshold`: so every removal has its evidence
(kept id, similarity), and a chain of similar documents never removes one that is unlike the one kept. (Banding: Leskovec,
Rajaraman, Ullman, *Mining of Massive Datasets*, 3.4; verification: without it 11-37 % of what lies below a threshold goes too.)
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa

from lang_configs.schema import Duplicates
from tasks.annotate.annotator import Annotator
from tasks.annotate.duplicates.index import BandIndex, Known
from tasks.annotate.duplicates.kernel import components, minhash, similarities
from tasks.core.artifacts import Annotations, Documents
from tasks.core.documents import SCHEMA, batches, column, save_array, strings, write_table
from tasks.core.files import replacing
from tasks.core.locks import exclusive
from tasks.core.manifest import checksums
from tasks.core.stage import Metrics, Stage, Work

LEADERS = 30
"""Documents are compared with the first so many of a bucket: a bucket with more holds boilerplate, or the same text often."""
PAIRS_AT_ONCE = 5_000
"""Pairs whose shingles are in memory at the same time."""
PROBES_AT_ONCE = 500_000
"""Band keys that are looked up in the index at the same time."""
EXACT, NEAR = 1, 2

_TEXT = np.dtype([("whole", np.uint64), ("words", np.int32), ("shingles", np.int32)])


def duplicates(inputs: Mapping[str, Path], config: Duplicates, out: Path, work: Work) -> Metrics:
    """Annotate each document of `inputs["clean"]`; one file per shard with the columns

    `duplicate_of` (id of the document kept in its place, or null), `kind` ("exact" or "near"), `jaccard` (of the two),
    `copies` (of a kept document: how many documents it stands for, itself included), and `related` (id of the first
    document of its group of related documents, which stays on one side of a train/validation split).

    Documents that an earlier run has seen are taken from the index that it left; the result is the same without it.
    """
    paths = Documents(inputs["clean"]).shards()
    digests = checksums(inputs["clean"])
    signatures = out / ".signatures"
    signatures.mkdir(exist_ok=True)
    with _index(work, config) as index:
        stated = [digests[path.name] for path in paths]
        if stated[: len(index.digests)] != index.digests:
            index.clear()
        fresh = paths[len(index.digests) :]
        work.units(_hash_shard, {path.stem: (str(path), config.model_dump()) for path in fresh}, out)
        new = _NewDocuments(signatures, fresh, int(index.starts[-1]))
        known, alone = _decide(index, new, config)
        if fresh:
            index.extend(stated[-len(fresh) :], new.sizes, new.files(), known, _buckets(new, alone, config.bands))
    _write(paths, known, out)
    return {
        "documents": len(known),
        "exact": int((known.kind == EXACT).sum()),
        "near": int((known.kind == NEAR).sum()),
        "candidate_pairs": int(known.candidates.sum()),
        "pairs_at_threshold": int(known.pairs.sum()),
        "largest_cluster": int(np.bincount(known.kept).max(initial=0)),
    }


@contextmanager
def _index(work: Work, config: Duplicates) -> Iterator[BandIndex]:
    """The index that runs of this stage share, or one for this run alone."""
    if work.cache is None:
        with tempfile.TemporaryDirectory() as folder, BandIndex(Path(folder), config) as index:
            yield index
        return
    work.cache.mkdir(exist_ok=True)
    with exclusive(work.cache / ".lock", work.cache), BandIndex(work.cache, config) as index:
        yield index


def _hash_shard(unit: tuple[str, dict[str, int]], out: Path) -> Metrics:
    path, settings = Path(unit[0]), Duplicates.model_validate(unit[1])
    texts, keys = [np.zeros(0, _TEXT)], [np.zeros((0, settings.bands), np.uint64)]
    with replacing(out / ".signatures" / f"{path.stem}.shingles") as temporary, open(temporary, "wb") as file:
        for batch in batches(path, ["text"]):
            hashed = minhash(batch.column("text"), settings.shingle_words, settings.bands * settings.rows, settings.seed)
            hashed.shingles.tofile(file)
            of_batch = np.empty(len(batch), _TEXT)
            of_batch["whole"], of_batch["words"], of_batch["shingles"] = hashed.whole, hashed.words, hashed.counts
            texts.append(of_batch)
            keys.append(_band_keys(hashed.signatures, settings.bands, settings.rows))
    save_array(out / ".signatures" / f"{path.stem}.texts", np.concatenate(texts))
    save_array(out / ".signatures" / f"{path.stem}.keys", np.ascontiguousarray(np.concatenate(keys).T))
    return {}


def _band_keys(signatures: np.ndarray, bands: int, rows: int) -> np.ndarray:
    """uint64[documents, bands]: the bucket of each band of `rows` signature values; bands do not share buckets."""
    keys = np.tile(np.arange(1, bands + 1, dtype=np.uint64), (len(signatures), 1))
    values = signatures.reshape(len(signatures), bands, rows).astype(np.uint64)
    for row in range(rows):
        keys = (keys ^ values[:, :, row]) * np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(29)
    return keys


class _NewDocuments:
    """The new documents, as `_hash_shard` left them on disk; numbers count on from those of the index."""

    def __init__(self, folder: Path, paths: Sequence[Path], first: int) -> None:
        self._folder, self._paths, self.first = folder, paths, first
        texts = [self._load(path, "texts") for path in paths]
        self.sizes = [len(part) for part in texts]
        self.texts = np.concatenate([np.zeros(0, _TEXT), *texts])

    def keys(self, bands: slice) -> np.ndarray:
        """uint64[bands, documents]"""
        return np.concatenate([self._load(path, "keys")[bands] for path in self._paths], axis=1)

    def shingles(self, shard: int) -> Path:
        return self._folder / f"{self._paths[shard].stem}.shingles"

    def files(self) -> list[Path]:
        return [self.shingles(shard) for shard in range(len(self._paths))]

    def _load(self, path: Path, name: str) -> np.ndarray:
        array: np.ndarray = np.load(self._folder / f"{path.stem}.{name}", mmap_mode="r")
        return array


def _decide(index: BandIndex, new: _NewDocuments, config: Duplicates) -> tuple[Known, np.ndarray]:
    """What is known of all documents, and which of the new ones can be found in the bands."""
    size = len(new.texts)
    own = np.arange(new.first, new.first + size)
    fresh = Known(
        new.texts["whole"], new.texts["words"], new.texts["shingles"], own.astype(np.uint32), np.zeros(size, np.uint8),
        np.ones(size, np.float32), own.astype(np.uint32), np.zeros(size, np.int32), np.zeros(size, np.int32),
    )  # fmt: skip
    known = index.known().and_then(fresh)
    exact = _first_with_same(known.whole, known.words)[new.first :]
    alone = (exact == own) & (fresh.words > 0)
    left, right = _candidates(index, new, alone, config.bands)
    jaccard = _similarities(index, new, known.shingles, left, right)
    enough = jaccard >= config.threshold
    np.add.at(known.candidates, right, 1)
    np.add.at(known.pairs, right[enough], 1)
    _greedy(known, exact, left[enough], right[enough], jaccard[enough])
    close = jaccard >= config.related
    known.related = components(known.related, np.concatenate([left[close], exact]), np.concatenate([right[close], own])).astype(
        np.uint32
    )
    return known, alone


def _buckets(new: _NewDocuments, alone: np.ndarray, bands: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Band keys of the new documents, and the documents' numbers, band by band."""
    documents = np.flatnonzero(alone) + new.first
    for band in range(bands):
        yield new.keys(slice(band, band + 1))[0, alone], documents


def _first_with_same(whole: np.ndarray, words: np.ndarray) -> np.ndarray:
    """For each document the first one with the same sequence of words (itself if there is none; empty texts are alone)."""
    order = np.argsort(whole, kind="stable")
    ordered = whole[order]
    copy = np.flatnonzero(ordered[1:] == ordered[:-1]) + 1
    first = np.arange(len(whole))
    for earlier, later in zip(order[copy - 1].tolist(), order[copy].tolist(), strict=True):  # a run in the order of its places
        first[later] = first[earlier]
    return np.where(words > 0, first, np.arange(len(whole)))


def _candidates(index: BandIndex, new: _NewDocuments, alone: np.ndarray, bands: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (earlier, later), sorted: each new document with the first LEADERS documents of each of its buckets."""
    documents = np.flatnonzero(alone) + new.first
    found = [np.zeros(0, np.int64)]
    at_once = max(1, PROBES_AT_ONCE // max(1, len(documents)))
    for band in range(0, bands if len(documents) > 0 else 0, at_once):
        keys = new.keys(slice(band, band + at_once))[:, alone]
        if new.first:
            earlier_keys, earlier = index.members(keys.ravel())
        else:
            earlier_keys, earlier = np.zeros(0, np.uint64), np.zeros(0, np.int64)
        for of_band in keys:
            here = np.isin(earlier_keys, of_band) if new.first else slice(0)
            found.append(_pairs(np.append(earlier_keys[here], of_band), np.append(earlier[here], documents), new.first))
        found = [np.unique(np.concatenate(found))]
    return found[0] >> 32, found[0] & 0xFFFFFFFF


def _pairs(keys: np.ndarray, documents: np.ndarray, first: int) -> np.ndarray:
    """Pairs of one band as left << 32 | right, where right is a document from `first` on; `documents` ascend."""
    order = np.argsort(keys, kind="stable")
    same = np.zeros(len(keys) + 1, np.bool_)  # whether a place has the key of the place before
    keys = keys[order]
    same[1:-1] = keys[1:] == keys[:-1]
    shared = np.flatnonzero(same[1:] | same[:-1])  # most buckets hold one document, and need no more memory than this
    keys, documents = keys[shared], documents[order[shared]]
    start = ~same[shared]
    bucket = np.flatnonzero(start)[np.cumsum(start) - 1]
    place = np.arange(len(keys)) - bucket
    shared = np.flatnonzero((place > 0) & (documents >= first))
    found = []
    for leader in range(LEADERS):
        shared = shared[place[shared] > leader]
        if not len(shared):
            break
        found.append(documents[bucket[shared] + leader] << 32 | documents[shared])
    return np.concatenate([np.zeros(0, np.int64), *found])


def _similarities(index: BandIndex, new: _NewDocuments, counts: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Exact Jaccard similarity of each pair of document numbers."""
    files = [index.shingle_file(shard) for shard in range(len(index.digests))] + new.files()
    firsts = np.concatenate([index.starts, new.first + np.cumsum(new.sizes, dtype=np.int64)])
    ends = np.cumsum(counts, dtype=np.int64)
    found = [np.zeros(0)]
    for start in range(0, len(left), PAIRS_AT_ONCE):
        one, two = left[start : start + PAIRS_AT_ONCE], right[start : start + PAIRS_AT_ONCE]
        needed = np.unique(np.concatenate([one, two]))
        parts = [np.zeros(0, np.uint32)]
        for shard, file in enumerate(files):
            here = needed[(needed >= firsts[shard]) & (needed < firsts[shard + 1])]
            if len(here):
                values = np.memmap(file, np.uint32, "r")
                base = ends[firsts[shard] - 1] if firsts[shard] else 0
                spans = zip((ends[here] - counts[here] - base).tolist(), (ends[here] - base).tolist(), strict=True)
                parts += [values[low:high] for low, high in spans]
        starts = np.concatenate([[0], np.cumsum(counts[needed], dtype=np.int64)])
        found.append(similarities(np.concatenate(parts), starts, np.searchsorted(needed, one), np.searchsorted(needed, two)))
    return np.concatenate(found)


def _greedy(known: Known, exact: np.ndarray, left: np.ndarray, right: np.ndarray, jaccard: np.ndarray) -> None:
    """Decide about the new documents: `exact` their first copies, then the pairs at the threshold with their similarities."""
    earlier: dict[int, list[tuple[float, int]]] = {}
    for i, j, value in zip(left.tolist(), right.tolist(), jaccard.tolist(), strict=True):
        earlier.setdefault(j, []).append((-value, i))
    for document in sorted(earlier):
        for negative, other in sorted(earlier[document]):
            if known.kind[other] == 0:
                known.kept[document], known.jaccard[document], known.kind[document] = other, -negative, NEAR
                break
    own = np.arange(len(known) - len(exact), len(known))
    copies, first = own[exact != own], exact[exact != own]
    known.kept[copies], known.jaccard[copies] = known.kept[first], known.jaccard[first]
    known.kind[copies] = np.where(known.kind[first] == NEAR, NEAR, EXACT)


def _write(paths: Sequence[Path], known: Known, out: Path) -> None:
    """One annotation file for each shard."""
    tables = [pa.Table.from_batches(batches(path, ["id"]), pa.schema([SCHEMA.field("id")])) for path in paths]
    if not tables:
        return
    ids = pa.concat_tables(tables).column("id").combine_chunks()
    copies = np.bincount(known.kept, minlength=len(known))
    start = 0
    for path, table in zip(paths, tables, strict=True):
        here = slice(start, start + table.num_rows)
        start = here.stop
        removed = known.kind[here] != 0
        columns = {
            "id": table.column("id"),
            "duplicate_of": ids.take(column(known.kept[here], removed)),
            "kind": strings(known.kind[here], ["", "exact", "near"], removed),
            "jaccard": column(known.jaccard[here], removed),
            "copies": column(np.where(removed, 0, copies[here]).astype(np.int32)),
            "related": ids.take(column(known.related[here])),
        }
        write_table(pa.table(columns), out / path.name)


DUPLICATES = Annotator(
    Stage(
        "duplicates",
        duplicates,
        version=4,
        inputs={"clean": Documents},
        artifact=Annotations,
        headline=lambda metrics: f"{metrics['near']:,} near duplicates",
    )
)
"""It has no rule of its own: whether a copy goes depends on what becomes of the original, which `select` decides."""
