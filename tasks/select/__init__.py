"""The decision about each document: one SQL statement (`select.sql`) over the documents and their annotations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from lang_configs.schema import Quality, Select
from tasks.annotate.language.confusion import UNMEASURED_SCORE
from tasks.core.documents import shards, write_table
from tasks.core.errors import StageError
from tasks.core.stage import Metrics, Work
from tasks.select.forgotten import BlockList
from tasks.select.thresholds import AFFINITY_WORDS, RATIO_WORDS, Threshold, resolve

LEAST_VALIDATION_BYTES = 20_000
"""A validation set smaller than this says little; a small corpus gives up to 15 % of its text for it."""


class SelectConfig(BaseModel):
    """The language, the thresholds on its quality signals, the rules of the decision and the split, and the block list.

    The block list counts as input from outside: give its digest to `describe` as `external`.
    """

    model_config = ConfigDict(frozen=True)
    label: str
    quality: Quality
    rule: Select
    forgotten: BlockList = Field(BlockList(), exclude=True)


def select(inputs: Mapping[str, Path], config: SelectConfig, out: Path, work: Work) -> Metrics:
    """Write `decisions.parquet`: one row per document of `inputs["clean"]`, in their order.

    `decision` is `keep` or the reason that drops it, `split` train or validation, `weight` how often it is used in training;
    the signals it was judged by stand beside it. The metrics hold the thresholds and how they were found. The other inputs
    are the annotations `language`, `quality`, `duplicates` and `contamination`. Raises StageError when no document is left.
    """
    if not shards(inputs["clean"]):
        raise StageError("select: there are no documents; look at the counts of the crawl with `lugha stats`")
    work.progress(0, 1, "queries")
    table, thresholds = decide(inputs, config)
    write_table(table, out / "decisions.parquet")
    metrics = _summary(table) | {"thresholds": [threshold._asdict() for threshold in thresholds]}
    if not metrics["kept"]:
        worst = ", ".join(f"{row['decision']} {row['documents']}" for row in metrics["decisions"][:3])
        raise StageError(
            f"select: all {metrics['documents']} documents were dropped ({worst}); check language, script and thresholds"
        )
    if not metrics["splits"].get("validation") or not metrics["splits"].get("train"):
        raise StageError(f"select: {metrics['kept']} documents kept are too few for a train and a validation set; add text")
    work.progress(1, 1, "queries")
    return metrics


def decide(inputs: Mapping[str, Path], config: SelectConfig) -> tuple[pa.Table, list[Threshold]]:
    """The decisions as a table, in the order of the documents, and the thresholds on quality that they were made with."""
    import duckdb

    names = [path.name for path in shards(inputs["clean"])]
    with duckdb.connect() as database:
        for name in ("clean", "language", "quality", "duplicates", "contamination"):
            files = [str(inputs[name] / shard) for shard in names]
            view = "documents" if name == "clean" else name
            columns = "id, source, license, url, title, bytes, file_row_number AS row, filename" if name == "clean" else "*"
            options = ", file_row_number = true, filename = true" if name == "clean" else ""
            database.execute(f"CREATE TEMP TABLE {view} AS SELECT {columns} FROM read_parquet({files!r}{options})")
        database.execute("ALTER TABLE documents ADD COLUMN position BIGINT")
        database.execute(
            "UPDATE documents SET position = numbered.n FROM (SELECT id, row_number() OVER (ORDER BY filename, row) AS n"
            " FROM documents) numbered WHERE documents.id = numbered.id"
        )
        for table, columns, entries in (
            ("source_weights", "source VARCHAR, weight DOUBLE", config.rule.sources),
            ("source_bytes", "source VARCHAR, bytes BIGINT", config.rule.source_bytes),
            ("rehydration", "copies BIGINT, weight DOUBLE", config.rule.rehydration),
        ):
            database.execute(f"CREATE TEMP TABLE {table} ({columns})")
            for key, value in sorted(entries.items()):
                database.execute(f"INSERT INTO {table} VALUES (?, ?)", [key, value])
        database.register("blocked", _blocked(database, config.forgotten))
        database.execute("CREATE TEMP TABLE forgotten AS SELECT id FROM blocked")
        statement = (Path(__file__).parent / "select.sql").read_text(encoding="utf-8")
        thresholds = resolve(database, config.quality, config.label)
        return database.sql(statement, params=_parameters(config, thresholds)).to_arrow_table(), thresholds


def _blocked(database: Any, forgotten: BlockList) -> pa.Table:
    """The ids of the documents that the block list names."""
    found: list[bytes] = []
    if forgotten.entries:
        for batch in database.sql("SELECT id, url FROM documents").to_arrow_reader(1 << 16):
            rows = zip(batch.column("id").to_pylist(), batch.column("url").to_pylist(), strict=True)
            found += [identity for identity, url in rows if forgotten.find(identity, url)]
    return pa.table({"id": pa.array(found, pa.binary())})


def _parameters(config: SelectConfig, thresholds: list[Threshold]) -> dict[str, Any]:
    score = config.rule.min_language_score
    return {
        **{threshold.name: threshold.value for threshold in thresholds},
        "affinity_words": AFFINITY_WORDS,
        "ratio_words": RATIO_WORDS,
        "label": config.label,
        "min_language_score": UNMEASURED_SCORE if score is None else score,
        "min_affinity": config.rule.min_affinity,
        "sure_language_score": config.rule.sure_language_score,
        "min_line_share": config.rule.min_line_share,
        "validation": config.rule.validation,
        "validation_bytes": config.rule.validation_bytes,
        "least_bytes": LEAST_VALIDATION_BYTES,
        "seed": config.rule.seed,
    }


def _summary(table: pa.Table) -> Metrics:
    import duckdb

    with duckdb.connect() as database:
        database.register("decisions", table)
        rows = database.execute(
            "SELECT decision, count(*), sum(bytes)::BIGINT FROM decisions GROUP BY decision ORDER BY count(*) DESC, decision"
        ).fetchall()
        splits = database.execute(
            "SELECT split, count(*), sum(bytes)::BIGINT FROM decisions WHERE split IS NOT NULL GROUP BY split ORDER BY split"
        ).fetchall()
    return {
        "documents": table.num_rows,
        "kept": sum(row[1] for row in rows if row[0] == "keep"),
        "decisions": [{"decision": row[0], "documents": row[1], "bytes": row[2]} for row in rows],
        "splits": {row[0]: {"documents": row[1], "bytes": row[2]} for row in splits},
    }
