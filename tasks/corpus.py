"""The corpus: the text of the documents that were kept, as train and validation shards."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel

from tasks.documents import batches, shards, write_table
from tasks.stage import Metrics, Work


class CorpusConfig(BaseModel):
    """Nothing to configure: select has decided."""


def corpus(inputs: Mapping[str, Path], config: CorpusConfig, out: Path, work: Work) -> Metrics:
    """Write `train-*.parquet` and `validation-*.parquet`: the documents of `inputs["clean"]` that `inputs["select"]` keeps,
    in their order, with the column `weight` added. A shard of documents without any such document gives no file.
    """
    paths = shards(inputs["clean"])
    decisions = str(inputs["select"] / "decisions.parquet")
    items = {f"{number:05d}": (f"{number:05d}", str(path), decisions) for number, path in enumerate(paths)}
    parts = work.units(_filter, items, out)
    return {
        f"{split}_{count}": sum(part[split][count] for part in parts.values())
        for split in ("train", "validation")
        for count in ("documents", "bytes")
    }


def _filter(unit: tuple[str, str, str], out: Path) -> Metrics:
    number, path, decisions = unit[0], Path(unit[1]), Path(unit[2])
    kept = pq.read_table(decisions, columns=["id", "split", "weight"], filters=[("decision", "=", "keep")])
    ids = kept.column("id").combine_chunks()
    pieces: dict[str, list[pa.Table]] = {"train": [], "validation": []}
    for batch in batches(path):
        place = pc.index_in(batch.column("id"), value_set=ids)
        rows = place.is_valid()
        chosen = pa.Table.from_batches([batch]).filter(rows)
        if not chosen.num_rows:
            continue
        attributes = kept.take(place.filter(rows))
        chosen = chosen.append_column("weight", attributes.column("weight").cast(pa.float32()))
        for split, found in pieces.items():
            found.append(chosen.filter(pc.equal(attributes.column("split"), split)))
    counts = {}
    for split, found in pieces.items():
        table = pa.concat_tables(found) if found else None
        counts[split] = {"documents": 0, "bytes": 0}
        if table is not None and table.num_rows:
            write_table(table, out / f"{split}-{number}.parquet")
            counts[split] = {"documents": table.num_rows, "bytes": int(pc.sum(table.column("bytes")).as_py())}
    return counts
