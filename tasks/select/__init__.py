"""The decision about each document: one SQL statement (`select.sql`) over the documents and their annotations."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from lang_configs.schema import Quality, Select
from tasks.annotate.annotator import Judged
from tasks.annotate.language.confusion import UNMEASURED_SCORE
from tasks.core.artifacts import SPLITS, Annotations, Decisions, Documents
from tasks.core.database import connect
from tasks.core.documents import write_table
from tasks.core.errors import StageError
from tasks.core.parquet import exact, scan
from tasks.core.stage import ANY, Metrics, Stage, Work
from tasks.select.forgotten import BlockList
from tasks.select.rules import faults, in_words
from tasks.select.thresholds import Threshold, resolve

LEAST_SHARE = 0.01
"""Of the documents, to be kept: less is no language's text but a mistake in the config, and the model would be none."""
LEAST_HELD_OUT_BYTES = 20_000
"""A held-out set smaller than this says little; a small corpus gives up to `MOST_OF_LITTLE` of its text for each of the two."""
MOST_OF_LITTLE = 0.1


class SelectConfig(BaseModel):
    """The language, what was annotated and the rules on it, the thresholds on quality, the split, the block list, and the
    sources that the user vouches for (empty where that is all of them).

    The block list counts as input from outside: the stage's `outside` is its digest.
    """

    model_config = ConfigDict(frozen=True)
    label: str
    annotations: tuple[Judged, ...]
    quality: Quality
    rule: Select
    trusted: tuple[str, ...] = Field((), exclude_if=lambda sources: not sources)
    forgotten: BlockList = Field(BlockList(), exclude=True)

    def values(self, thresholds: list[Threshold]) -> dict[str, Any]:
        """What the rules and the query name with a $."""
        stated = self.rule.model_dump(exclude={"sources", "source_bytes", "rehydration"})
        if stated["min_language_score"] is None:
            stated["min_language_score"] = UNMEASURED_SCORE
        stated |= {"label": self.label, "least_bytes": LEAST_HELD_OUT_BYTES, "most_of_little": MOST_OF_LITTLE}
        measured = {threshold.name: threshold.value for threshold in thresholds}
        return stated | measured | {name: value for judged in self.annotations for name, value in judged.values.items()}


def select(inputs: Mapping[str, Path], config: SelectConfig, out: Path, work: Work) -> Metrics:
    """Write `decisions.parquet`: one row per document of `inputs["clean"]`, in their order.

    `decision` is `keep` or the reason that drops it, `split` train, validation or test, `weight` how often it is used in
    training; the signals it was judged by stand beside it. The metrics hold the thresholds and how they were found, and every
    decision that there can be in order and in words. The other inputs are the annotations. Raises StageError when no document
    is left.
    """
    if not Documents(inputs["clean"]).shards():
        raise StageError("select: there are no documents; look at the counts of the crawl with `lugha stats`")
    work.progress(0, 1, "queries")
    table, thresholds = decide(inputs, config)
    write_table(table, Decisions(out).table)
    metrics = _summary(table) | {
        "thresholds": [threshold._asdict() for threshold in thresholds],
        "rules": in_words(config.annotations, config.values(thresholds)),
    }
    if metrics["kept"] < LEAST_SHARE * metrics["documents"]:
        raise StageError(_nearly_nothing(metrics, table, config.label))
    if lacking := [split for split in SPLITS if not metrics["splits"].get(split)]:
        raise StageError(
            f"select: {metrics['kept']} documents were kept, too few for a train, a validation and a test set"
            f" ({', '.join(lacking)} empty); add text"
        )
    work.progress(1, 1, "queries")
    return metrics


def decide(inputs: Mapping[str, Path], config: SelectConfig) -> tuple[pa.Table, list[Threshold]]:
    """The decisions as a table, in the order of the documents, and the thresholds on quality that they were made with."""
    names = [path.name for path in Documents(inputs["clean"]).shards()]
    with connect() as database:
        _load_documents(database, inputs["clean"], names)
        for judged in config.annotations:
            files = [exact(Annotations(inputs[judged.name]).shard(name)) for name in names]
            database.execute(f'CREATE TEMP TABLE "{judged.name}" AS SELECT * FROM {scan()}', {"files": files})
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
        thresholds = resolve(database, config.quality, config.label, config.trusted)
        statement = _statement(config)
        named = set(re.findall(r"\$(\w+)", statement))
        values = {name: value for name, value in config.values(thresholds).items() if name in named}
        return database.sql(statement, params=values).to_arrow_table(), thresholds


def _load_documents(database: Any, folder: Path, names: list[str]) -> None:
    files = [exact(Documents(folder).shard(name)) for name in names]
    database.execute(
        "CREATE TEMP TABLE documents AS SELECT id, source, license, url, title, bytes, file_row_number AS row, filename"
        " FROM " + scan("file_row_number = true", "filename = true"),
        {"files": files},
    )
    database.execute("ALTER TABLE documents ADD COLUMN position BIGINT")
    database.execute(
        "UPDATE documents SET position = numbered.n FROM (SELECT id, row_number() OVER (ORDER BY filename, row) AS n"
        " FROM documents) numbered WHERE documents.id = numbered.id"
    )


def _statement(config: SelectConfig) -> str:
    """`select.sql` with the columns and rules of the annotations."""
    columns = []
    for judged in config.annotations:
        if judged.columns is None:
            columns.append(f'"{judged.name}".* EXCLUDE (id)')
        else:
            columns += [f'"{judged.name}"."{column}" AS "{name}"' for name, column in judged.columns.items()]
    parts = {
        "columns": ",\n           ".join(columns),
        "joins": "\n    ".join(f'JOIN "{judged.name}" USING (id)' for judged in config.annotations),
        "faults": faults(config.annotations),
    }
    statement = (Path(__file__).parent / "select.sql").read_text(encoding="utf-8")
    code = "\n".join(line for line in statement.splitlines() if not line.startswith("--"))
    for name, part in parts.items():
        code = code.replace(f"{{{name}}}", part)
    return code


def _blocked(database: Any, forgotten: BlockList) -> pa.Table:
    """The ids of the documents that the block list names."""
    found: list[bytes] = []
    if forgotten.entries:
        for batch in database.sql("SELECT id, url FROM documents").to_arrow_reader(1 << 16):
            rows = zip(batch.column("id").to_pylist(), batch.column("url").to_pylist(), strict=True)
            found += [identity for identity, url in rows if forgotten.find(identity, url)]
    return pa.table({"id": pa.array(found, pa.binary())})


def _summary(table: pa.Table) -> Metrics:
    with connect() as database:
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


def _nearly_nothing(metrics: Metrics, table: pa.Table, label: str) -> str:
    """Why a corpus would hold nearly nothing, and what to do about the main reason."""
    reasons = [row for row in metrics["decisions"] if row["decision"] != "keep"]
    worst = ", ".join(f"{row['decision']} {row['documents']:,}" for row in reasons[:3])
    counts = table.column("language").value_counts().to_pylist()
    labels = sorted(((entry["counts"], str(entry["values"])) for entry in counts), reverse=True)[:3]
    found = ", ".join(f"{other} {number:,}" for number, other in labels)
    cure = "correct what the sections select, quality and contamination ask, or the sources"
    if reasons[0]["decision"].startswith("language"):
        cure = (
            f"if one of these is what the identifier calls {label}, name it as language.label; if it mistakes {label} for them,"
            " write `trusted: true` below a source that is for the most part in it; else correct code, script or the sources"
        )
    kept = (
        f"all {metrics['documents']:,}" if not metrics["kept"] else f"all but {metrics['kept']:,} of {metrics['documents']:,}"
    )
    return f"select: {kept} documents were dropped ({worst}; labels found: {found}); {cure}"


SELECT = Stage(
    "select",
    select,
    version=8,
    inputs={"clean": Documents, ANY: Annotations},
    artifact=Decisions,
    outside=lambda config: config.forgotten.digest(),
    headline=lambda metrics: f"{metrics['kept']:,} documents kept",
    tables={"decisions": "decisions.parquet"},
)
