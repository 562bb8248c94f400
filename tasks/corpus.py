"""The corpus: the text of the documents that were kept, in shards for training, validation and test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from lang_configs.schema import Corpus
from tasks.core import artifacts
from tasks.core.artifacts import SPLITS, Decisions, Documents
from tasks.core.database import connect
from tasks.core.documents import SCHEMA, batches, save_array, write_table
from tasks.core.parquet import exact, scan
from tasks.core.stage import Metrics, Stage, Work

PARAGRAPH = 100
"""Characters of a line from which on it is a paragraph that may be dropped: shorter ones are verses, turns and headings."""


def corpus(inputs: Mapping[str, Path], config: Corpus, out: Path, work: Work) -> Metrics:
    """Write shards of each split: the documents of `inputs["clean"]` that `inputs["select"]` keeps, in their order, with the
    column `weight` added. A shard of documents without any such document gives no file.

    Repeated paragraphs are dropped here, where that is wanted: in `clean` it would hide near-duplicates from `duplicates`.
    A document of nothing but repeated paragraphs keeps its first one.
    """
    paths = Documents(inputs["clean"]).shards()
    decisions = str(Decisions(inputs["select"]).table)
    names = {f"{number:05d}": str(path) for number, path in enumerate(paths)}
    if config.drop_repeated_paragraphs:
        (out / ".paragraphs").mkdir(exist_ok=True)
        work.units(_hash_paragraphs, {f"paragraphs-{n}": (n, path, decisions) for n, path in names.items()}, out)
        _find_repeated(out / ".paragraphs", list(names))
    items = {n: (n, path, decisions, config.drop_repeated_paragraphs) for n, path in names.items()}
    parts = work.units(_filter, items, out)
    found = {
        f"{split}_{count}": sum(part[split][count] for part in parts.values())
        for split in SPLITS
        for count in ("documents", "bytes")
    }
    repeated = sum(part["repeated_paragraphs"] for part in parts.values())
    return found | {"repeated_paragraphs": repeated, "dates": _dates(artifacts.Corpus(out))}


def _dates(written: artifacts.Corpus) -> list[Metrics]:
    """When the documents of each source were fetched and published, as ISO 8601.

    Between `published_first` and `published_last` lie 98 % of the stated dates, which pages often state wrongly.
    """
    files = [exact(path) for split in SPLITS for path in written.shards(split)]
    with connect() as database:
        rows: pa.Table = database.sql(
            "SELECT source, count(*) AS documents, min(fetched_at) AS fetched_first, max(fetched_at) AS fetched_last,"
            " count(published_at) AS published, quantile_disc(published_at, 0.01) AS published_first,"
            f" quantile_disc(published_at, 0.99) AS published_last FROM {scan()} GROUP BY source ORDER BY source",
            params={"files": files},
        ).to_arrow_table()
    return [
        {name: value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value for name, value in row.items()}
        for row in rows.to_pylist()
    ]


def _kept(path: Path, decisions: str) -> Iterator[pa.Table]:
    """The documents of a shard that are kept, with the columns `weight` and `split`."""
    kept = pq.read_table(decisions, columns=["id", "split", "weight"], filters=[("decision", "=", "keep")])
    ids = kept.column("id").combine_chunks()
    for batch in batches(path):
        place = pc.index_in(batch.column("id"), value_set=ids)
        rows = place.is_valid()
        chosen = pa.Table.from_batches([batch]).filter(rows)
        if chosen.num_rows:
            attributes = kept.take(place.filter(rows))
            chosen = _published(chosen).append_column("weight", attributes.column("weight").cast(pa.float32()))
            yield chosen.append_column("split", attributes.column("split"))


def _published(documents: pa.Table) -> pa.Table:
    """The corpus is handed out: an address that only names a file of this machine is none."""
    addresses = documents.column("url")
    of_files = pc.fill_null(pc.starts_with(addresses, "file:"), False)
    kept = pc.if_else(of_files, pa.scalar(None, addresses.type), addresses)
    return documents.set_column(documents.schema.get_field_index("url"), documents.schema.field("url"), kept)


def _hash_paragraphs(unit: tuple[str, str, str], out: Path) -> Metrics:
    number, path, decisions = unit
    hashes = [_paragraph_hash(line) for table in _kept(Path(path), decisions) for line in _paragraphs(table)]
    save_array(out / ".paragraphs" / f"{number}.npy", np.array(hashes, np.uint64))
    return {}


def _paragraphs(table: pa.Table) -> Iterator[str]:
    for text in table.column("text").to_pylist():
        yield from (line for line in text.split("\n") if len(line) >= PARAGRAPH)


def _paragraph_hash(line: str) -> int:
    return xxhash.xxh3_64_intdigest(" ".join(line.lower().split()).encode())


def _find_repeated(folder: Path, shards: list[str]) -> None:
    """Write for each shard which of its paragraphs, by their place, stood before."""
    hashes = [np.load(folder / f"{shard}.npy") for shard in shards]
    together = np.concatenate([np.zeros(0, np.uint64), *hashes])
    repeated = np.ones(len(together), np.bool_)
    repeated[np.unique(together, return_index=True)[1]] = False
    ends = np.cumsum([0, *(len(part) for part in hashes)])
    for shard, start, end in zip(shards, ends[:-1], ends[1:], strict=True):
        save_array(folder / f"{shard}.repeated", repeated[start:end])


def _without_repeated(table: pa.Table, repeated: Iterator[bool]) -> tuple[pa.Table, int]:
    texts, dropped = [], 0
    for text in table.column("text").to_pylist():
        lines = [(line, len(line) >= PARAGRAPH and next(repeated)) for line in text.split("\n")]
        kept = [line for line, stood_before in lines if not stood_before]
        if not any(line.strip() for line in kept):
            kept = [lines[0][0]]
        dropped += len(lines) - len(kept)
        texts.append("\n".join(kept).strip("\n"))
    sizes = [len(text.encode()) for text in texts]
    for name, values in (("text", texts), ("bytes", sizes)):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, SCHEMA.field(name), pa.array(values, SCHEMA.field(name).type))
    return table, dropped


def _filter(unit: tuple[str, str, str, bool], out: Path) -> Metrics:
    number, path, decisions, without_repeated = unit
    repeated = iter(np.load(out / ".paragraphs" / f"{number}.repeated").tolist() if without_repeated else [])
    pieces: dict[str, list[pa.Table]] = {split: [] for split in SPLITS}
    dropped = 0
    for chosen in _kept(Path(path), decisions):
        if without_repeated:
            chosen, of_batch = _without_repeated(chosen, repeated)
            dropped += of_batch
        for split, found in pieces.items():
            found.append(chosen.filter(pc.equal(chosen.column("split"), split)).drop_columns(["split"]))
    counts: Metrics = {"repeated_paragraphs": dropped}
    for split, found in pieces.items():
        table = pa.concat_tables(found) if found else None
        counts[split] = {"documents": 0, "bytes": 0}
        if table is not None and table.num_rows:
            write_table(table, artifacts.Corpus(out).shard(split, number))
            counts[split] = {"documents": table.num_rows, "bytes": int(pc.sum(table.column("bytes")).as_py())}
    return counts


CORPUS = Stage(
    "corpus",
    corpus,
    version=4,
    inputs={"clean": Documents, "select": Decisions},
    artifact=artifacts.Corpus,
    headline=lambda metrics: f"{metrics['train_bytes']:,} bytes to train on",
)
