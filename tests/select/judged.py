"""Documents with annotations that say what a test wants, and the decisions about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from flows.dag import ANNOTATORS
from lang_configs.schema import Quality, Select
from tasks.annotate.quality import SIGNALS
from tasks.core.documents import write_table
from tasks.select import SelectConfig, select
from tasks.select.forgotten import BlockList
from tests.pipeline import rows, run, texts

GOOD = dict.fromkeys(SIGNALS, 0.0) | {
    "words": 100, "mean_word_length": 5, "letters": 0.95, "alpha_words": 1.0, "unique_words": 0.7, "top_word": 0.05, "lines": 5,
    "stop_lines": 1.0, "function_words": 0.4, "word_order": 0.5,
}  # fmt: skip


def world(folder: Path, notes: list[dict[str, Any]], shard_bytes: int = 1 << 20, length: int = 400) -> dict[str, Path]:
    """Documents and their annotations; each note says how a document differs from a good one, by number where it names one."""
    clean = texts(
        folder / "clean", *(f"hati {number} ".ljust(length, "x") for number in range(len(notes))), shard_bytes=shard_bytes
    )
    ids = [row["id"] for row in rows(clean)]
    tables: dict[str, list[dict[str, Any]]] = {name: [] for name in ("language", "quality", "duplicates", "contamination")}
    for number, note in enumerate(notes):
        key = {"id": ids[number]}
        tables["language"].append(key | {"label": note.get("label", "swh_Latn"), "score": note.get("score", 0.99)})
        tables["language"][-1] |= {"line_share": note.get("line_share", 1.0), "affinity": note.get("affinity", 0.3)}
        tables["quality"].append(key | {name: note.get(name, GOOD[name]) for name in SIGNALS})
        of = note.get("of")
        copies = sum(other.get("of") == number for other in notes) + 1
        tables["duplicates"].append(
            key
            | {"duplicate_of": None if of is None else ids[of], "kind": note.get("kind", "near") if of is not None else None}
            | {"jaccard": None if of is None else 0.9, "copies": 0 if of is not None else copies}
            | {"related": ids[note.get("related", number if of is None else of)]}
        )
        tables["contamination"].append(key | {"item": note.get("item"), "coverage": 1.0 if note.get("item") else 0.0})
    start = 0
    for shard in sorted(clean.glob("*.parquet")):
        size = len(pa.parquet.read_table(shard, columns=["id"]))
        for name, items in tables.items():
            (folder / name).mkdir(exist_ok=True)
            write_table(pa.Table.from_pylist(items[start : start + size], _schema(name)), folder / name / shard.name)
        start += size
    return {name: folder / name for name in ("clean", *tables)}


def world_of(clean: Path, folder: Path, label: str = "swh_Latn") -> dict[str, Path]:
    """Documents, all in one language and none a copy or a test item: `folder` gets these annotations."""
    for shard in sorted(clean.glob("*.parquet")):
        ids = pa.parquet.read_table(shard, columns=["id"]).column("id").to_pylist()
        notes = {
            "language": {"label": label, "score": 0.99, "line_share": 1.0, "affinity": 0.3},
            "duplicates": {"duplicate_of": None, "kind": None, "jaccard": None, "copies": 1},
            "contamination": {"item": None, "coverage": 0.0},
        }
        for name, note in notes.items():
            (folder / name).mkdir(exist_ok=True)
            table = [{"id": key, **note, **({"related": key} if name == "duplicates" else {})} for key in ids]
            write_table(pa.Table.from_pylist(table, _schema(name)), folder / name / shard.name)
    return {"clean": clean, **{name: folder / name for name in notes}}


def _schema(name: str) -> pa.Schema:
    identity = pa.field("id", pa.binary(16))
    columns = {
        "language": [("label", pa.string()), ("score", pa.float32()), ("line_share", pa.float32()), ("affinity", pa.float32())],
        "quality": [(signal, pa.float32()) for signal in SIGNALS],
        "duplicates": [
            ("duplicate_of", pa.binary(16)), ("kind", pa.string()), ("jaccard", pa.float32()), ("copies", pa.int32()),
            ("related", pa.binary(16)),
        ],
        "contamination": [("item", pa.string()), ("coverage", pa.float32())],
    }  # fmt: skip
    return pa.schema([identity, *(pa.field(*column) for column in columns[name])])


def decisions(folder: Path, notes: list[dict[str, Any]], rule: Select | None = None, **quality: float) -> list[dict[str, Any]]:
    # two hundred good documents around the ones in question, so that both sides of the split are filled
    inputs = world(folder, [*notes, *({} for _ in range(200))])
    run(select, folder / "out", config(rule, **quality), inputs)
    return rows(folder / "out")


def config(rule: Select | None = None, forgotten: BlockList | None = None, **quality: float) -> SelectConfig:
    """The config of `select` with the annotators of the DAG."""
    return SelectConfig(
        label="swh_Latn",
        annotations=tuple(annotator.judged() for annotator, _ in ANNOTATORS),
        quality=Quality(**quality),  # type: ignore[arg-type]
        rule=rule or Select(),
        forgotten=forgotten or BlockList(),
    )
