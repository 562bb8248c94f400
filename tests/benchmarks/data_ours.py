"""One measured run of ours, as a process of its own: `python data_ours.py [--workers N] stage|jsonl|refresh|flow INPUT OUT`.

`stage` runs the stage `duplicates` on document shards; `jsonl` does what the peers do, JSON lines to JSON lines; `refresh`
runs the stage on the first of the comma-separated folders of shards but the last, then on all; `flow` runs the DAG from the
JSON lines to the selected corpus. `stage` and `jsonl` write `OUT/removed.txt`, `refresh` `OUT/refresh.json`, `flow`
`OUT/stages.json`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from lang_configs.schema import Duplicates
from tasks.annotate.duplicates import DUPLICATES, duplicates
from tasks.core.documents import SCHEMA, SHARD_BYTES, document_id, write_table
from tasks.core.engines import make_engine
from tasks.core.files import sha256
from tasks.core.manifest import MANIFEST
from tasks.core.stage import Output, Step, Work, execute

BLOCK_BYTES = 32 << 20
"""Of JSON that is parsed at once, a long line at least."""


def stage(shards: Path, out: Path, workers: int) -> None:
    """The stage as the pipeline runs it: annotations, sha256 of each file, manifest, published by a rename."""
    annotations = _annotate(shards, out, workers)
    (out / "removed.txt").write_text(_query(f"SELECT id, duplicate_of FROM '{annotations}/*.parquet'", shards))


def jsonl(lines: Path, out: Path, workers: int) -> None:
    """Read the JSON lines, annotate them, and write those kept as JSON lines."""
    import duckdb

    (out / "shards").mkdir(parents=True)
    read = pyarrow.json.read_json(lines, pyarrow.json.ReadOptions(block_size=BLOCK_BYTES)).combine_chunks()
    texts, urls = read.column("text"), read.column("url")
    ids = [document_id("benchmark", url, text) for url, text in zip(urls.to_pylist(), texts.to_pylist(), strict=True)]
    known = {
        "id": pa.array(ids, pa.binary(16)),
        "text": texts,
        "url": urls,
        "source": pa.array(["benchmark"] * len(ids)),
        "bytes": pc.binary_length(texts),
    }
    table = pa.table({field.name: known.get(field.name, pa.nulls(len(ids), field.type)) for field in SCHEMA}).cast(SCHEMA)
    size = -(-len(ids) // (workers * -(-lines.stat().st_size // (workers * SHARD_BYTES))))
    for number, start in enumerate(range(0, len(ids), size)):
        write_table(table.slice(start, size), out / "shards" / f"part-{number:05d}.parquet")
    annotations = _annotate(out / "shards", out, workers)
    with duckdb.connect() as database:
        database.execute(
            f"COPY (SELECT d.url, d.text FROM '{out}/shards/*.parquet' d JOIN '{annotations}/*.parquet' a USING (id)"
            f" WHERE a.duplicate_of IS NULL) TO '{out}/kept.jsonl' (FORMAT json)"
        )
    (out / "removed.txt").write_text(_query(f"SELECT id, duplicate_of FROM '{annotations}/*.parquet'", out / "shards"))


def refresh(folders: list[Path], out: Path) -> None:
    """Deduplicate all shards but those of the last folder, then a second time with them; and all at once, to compare."""
    last = len(list(folders[-1].glob("*.parquet")))
    paths = [path for folder in folders for path in sorted(folder.glob("*.parquet"))]
    cached = Work(cache=out / "cache")
    seconds, metrics = {}, {}
    for name, chosen, work in (("first", paths[:-last], cached), ("refresh", paths, cached), ("at once", paths, Work())):
        clean, target = _published(chosen, out / name / "clean"), out / name / "duplicates"
        target.mkdir()
        started = time.perf_counter()
        metrics[name] = duplicates({"clean": clean}, Duplicates(), target, work)
        seconds[name] = time.perf_counter() - started
    equal = all(
        path.read_bytes() == (out / "refresh" / "duplicates" / path.name).read_bytes() for path in target.glob("*.parquet")
    )
    size = sum(path.stat().st_size for path in cached.cache.rglob("*") if path.is_file()) if cached.cache else 0
    documents = {name: found["documents"] for name, found in metrics.items()}
    record = {"seconds": seconds, "documents": documents, "equal": equal, "index_bytes": size}
    (out / "refresh.json").write_text(json.dumps(record))


def _published(paths: list[Path], folder: Path) -> Path:
    """The shards as the stage before leaves them: in one folder, with a manifest."""
    folder.mkdir(parents=True)
    entries = []
    for number, path in enumerate(paths):
        place = folder / f"{number:05d}.parquet"
        place.symlink_to(path)
        entries.append({"path": place.name, "bytes": path.stat().st_size, "sha256": sha256(path)})
    (folder / MANIFEST).write_text(json.dumps({"files": entries}))
    return folder


def flow(lines: Path, out: Path, workers: int, evaluation: Path) -> None:
    """`lugha build swahili --documents INPUT` up to the corpus."""
    from flows.dag import build_corpus
    from flows.run.build import Build
    from flows.run.request import Request

    settings = ["runtime.engine=processes", f"runtime.workers={workers}"]
    request = Request(
        "swahili", documents=[str(lines)], evaluation=str(evaluation), snapshot="benchmark", overrides=settings, workspace=out
    )
    build = Build(request, lambda label: contextlib.nullcontext(lambda done, total, unit: None))
    build_corpus(build.config, build.given, build)
    stages: dict[str, Any] = {label: (result.record or {})["seconds"] for label, result in build.results.items()}
    selected = build.results["select"].metrics
    (out / "stages.json").write_text(json.dumps({"seconds": stages, "decisions": selected["decisions"]}))


def _annotate(shards: Path, out: Path, workers: int) -> Path:
    config, documents = Duplicates(), Output("clean", shards.parent.name, shards)
    step = Step(DUPLICATES.stage, config, {"clean": documents})
    return execute(step, out, "benchmark", Work(make_engine("processes", workers))).folder


def _query(annotations: str, shards: Path) -> str:
    """Numbers of the documents that are duplicates: the last part of their address."""
    import duckdb

    with duckdb.connect() as database:
        rows = database.sql(
            f"SELECT split_part(d.url, '/', 4) FROM '{shards}/*.parquet' d JOIN ({annotations}) a USING (id)"
            " WHERE a.duplicate_of IS NOT NULL"
        ).fetchall()
    return "\n".join(row[0] for row in rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["stage", "jsonl", "refresh", "flow"])
    parser.add_argument("input")
    parser.add_argument("out", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--evaluation", type=Path)
    given = parser.parse_args()
    if given.what == "flow":
        flow(Path(given.input), given.out, given.workers, given.evaluation)
    elif given.what == "refresh":
        refresh([Path(folder) for folder in given.input.split(",")], given.out)
    else:
        {"stage": stage, "jsonl": jsonl}[given.what](Path(given.input), given.out, given.workers)
