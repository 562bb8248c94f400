"""Cleaning: the text that everything after it reads. Boilerplate, Unicode, white space, HTML leftovers; personal data masked.

Nothing is dropped: a document that becomes empty stays, and select names the reason. Line breaks are kept and none is made up:
a document that came as one unbroken line (some collections store books so) is counted as `unbroken` and stays one line.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lang_configs.schema import Clean
from tasks.clean.boilerplate import count_lines, read_keys, repeated_lines, without_boilerplate, write_keys
from tasks.clean.personal import TYPES, Masks
from tasks.clean.signs import ALL, signs
from tasks.clean.text import tidy
from tasks.core.artifacts import Documents
from tasks.core.documents import SCHEMA, batches, write_table
from tasks.core.stage import ANY, Metrics, Stage, Work

UNBROKEN = 5000
"""Characters of a document without a line break from which on it is counted as unbroken."""
TOP_LINES = 20
"""Boilerplate lines that the metrics name."""


LINE_CHARACTERS = 80
"""Characters of such a line that they show."""
COUNTS = (
    "documents",
    "bytes_in",
    "bytes",
    "changed",
    "empty",
    "repeated",
    "repaired",
    "markup",
    "unbroken",
    "only_boilerplate",
)


def clean(inputs: Mapping[str, Path], config: Clean, out: Path, work: Work) -> Metrics:
    """Write the documents of all raw folders in `inputs` (source name -> folder), cleaned: one shard for each raw shard.

    A document keeps the id it was crawled with; a second document with the same id is counted as `repeated` and left out.
    Metrics: documents and bytes before and after; `changed`, `empty`, `repeated`, `repaired` (encoding), `unbroken`
    documents; tags and templates removed (`markup`); `masked` personal data by type; `boilerplate` lines.
    """
    raw = {f"{name}-{shard.stem}": shard for name, folder in sorted(inputs.items()) for shard in Documents(folder).shards()}
    repeated = _repeated_rows(list(raw.values()))
    counted = out / ".lines"
    counted.mkdir(exist_ok=True)
    keys = np.zeros(0, np.uint64)
    if config.boilerplate:
        work.units(count_lines, {f"lines-{name}": (str(path), f"{counted.name}/{name}") for name, path in raw.items()}, out)
        keys = repeated_lines(counted, config.boilerplate)
    write_keys(keys, counted / "boilerplate.keys")
    unit = (str(counted / "boilerplate.keys"), config.model_dump())
    parts = work.units(
        _clean_shard, {name: (str(path), name, repeated.get(path, []), *unit) for name, path in raw.items()}, out
    )
    shutil.rmtree(counted)
    return _total(parts)


def clean_text(text: str, masks: Masks | None = None, found: int = ALL) -> tuple[str, Counter[str]]:
    """The text as every later stage sees it, and the counts `repaired`, `markup` and, by type, of masked personal data.

    `found` are the signs of the text (see `tasks.clean.signs`), if they are known; they save time and change nothing.
    """
    counts: Counter[str] = Counter()
    before = text
    text, repaired, markup = tidy(text, found)
    counts.update(repaired=repaired, markup=markup)
    if masks is not None:
        text = masks.apply(text, counts, found if text == before else int(signs(pa.array([text]))[0]))
    return text, counts


def _repeated_rows(paths: list[Path]) -> dict[Path, list[int]]:
    """Rows whose id stood in an earlier row or shard already (overlapping inputs, pages under two seeds)."""
    if not paths:
        return {}
    numbers = [pq.read_metadata(path).num_rows for path in paths]
    ids = pa.concat_tables([pq.read_table(path, columns=["id"]) for path in paths]).column("id")
    seen: set[bytes] = set()
    found: dict[Path, list[int]] = {}
    position = 0
    for path, count in zip(paths, numbers, strict=True):
        for row, value in enumerate(ids.slice(position, count).to_pylist()):
            if value in seen:
                found.setdefault(path, []).append(row)
            seen.add(value)
        position += count
    return found


def _clean_shard(unit: tuple[str, str, list[int], str, dict[str, Any]], out: Path) -> Metrics:
    path, name, left_out, keys_path, settings = unit
    config, keys = Clean.model_validate(settings), read_keys(keys_path)
    masks = Masks(config.mask, config.phone_countries)
    metrics: Counter[str] = Counter()
    masked: Counter[str] = Counter()
    lines: Counter[tuple[str, str]] = Counter()
    tables = []
    position = 0
    for batch in batches(Path(path)):
        rows = np.setdiff1d(np.arange(position, position + len(batch)), left_out) - position
        metrics["repeated"] += len(batch) - len(rows)
        position += len(batch)
        if len(rows) < len(batch):
            batch = batch.take(pa.array(rows))
        texts, removed, alone = without_boilerplate(batch, keys)
        lines.update(removed)
        metrics["only_boilerplate"] += alone
        tables.append(_clean_batch(batch, texts, masks, metrics, masked))
    write_table(pa.concat_tables(tables) if tables else SCHEMA.empty_table(), out / f"{name}.parquet")
    return {"counts": metrics, "masked": masked, "lines": [[*line, count] for line, count in lines.items()]}


def _clean_batch(
    batch: pa.RecordBatch, texts: dict[int, str], masks: Masks, metrics: Counter[str], masked: Counter[str]
) -> pa.Table:
    """The batch with clean texts, of which `texts` (by row) are without boilerplate already."""
    column = batch.column("text")
    originals = column.to_pylist()
    found = signs(column)
    found[list(texts)] = ALL
    cleaned = list(originals)
    for row in np.flatnonzero(found).tolist():
        cleaned[row], counts = clean_text(texts.get(row, originals[row]), masks, int(found[row]))
        metrics["changed"] += cleaned[row] != originals[row]
        metrics["repaired"] += counts.pop("repaired", 0)
        metrics["markup"] += counts.pop("markup", 0)
        masked.update(counts)
    result = pa.array(cleaned, pa.string())
    sizes = pc.cast(pc.binary_length(result), pa.int32())
    unbroken = pc.and_(pc.greater(pc.utf8_length(result), UNBROKEN), pc.invert(pc.match_substring(result, "\n")))
    metrics.update(
        documents=len(batch),
        empty=pc.sum(pc.equal(sizes, 0)).as_py() or 0,
        unbroken=pc.sum(unbroken).as_py() or 0,
        bytes=pc.sum(sizes).as_py() or 0,
        bytes_in=pc.sum(batch.column("bytes")).as_py() or 0,
    )
    table = pa.Table.from_batches([batch])
    for name, values in (("text", result), ("bytes", sizes)):
        table = table.set_column(SCHEMA.get_field_index(name), SCHEMA.field(name), values)
    return table


def _total(parts: Mapping[str, Metrics]) -> Metrics:
    """The metrics of the stage from those of its shards."""
    counts: Counter[str] = Counter(dict.fromkeys(COUNTS, 0))
    masked: Counter[str] = Counter(dict.fromkeys(TYPES, 0))
    lines: Counter[tuple[str, str]] = Counter()
    for part in parts.values():
        counts.update(part["counts"])
        masked.update(part["masked"])
        for site, line, count in part["lines"]:
            lines[site, line] += count
    top = sorted(lines.items(), key=lambda item: (-item[1], item[0]))[:TOP_LINES]
    boilerplate = {
        "different": len(lines),
        "lines": lines.total(),
        "bytes": sum(len(line.encode()) * count for (_, line), count in lines.items()),
        "only_boilerplate": counts.pop("only_boilerplate"),
        "top": [{"site": site, "line": line[:LINE_CHARACTERS], "removed": count} for (site, line), count in top],
    }
    return {**dict(sorted(counts.items())), "masked": dict(masked), "boilerplate": boilerplate}


CLEAN = Stage(
    "clean",
    clean,
    version=5,
    libraries=["ftfy", "phonenumberslite"],
    inputs={ANY: Documents},
    artifact=Documents,
    headline=lambda metrics: f"{metrics['documents']:,} documents",
)
