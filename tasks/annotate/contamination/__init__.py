"""Evaluation items inside documents: containment of letters-only character n-grams.

An item is found in a document when at least `threshold` of its distinct n-grams (20 letters, lower-cased, everything that
is not a letter left out) occur there. Tokenisation, case and punctuation make no difference, and items too short for the
usual 13 words are found: those are 90 % of XCOPA. An n-gram that many documents have is a phrase of the language ("the
president of the united republic") and speaks for no item, unless the document has nearly all of an item. Only the
n-grams of the items are kept in memory; the corpus streams by.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from lang_configs.schema import Contamination
from tasks.annotate.annotator import Annotator, Rule
from tasks.annotate.contamination.kernel import judge, letter_grams, match
from tasks.core.artifacts import Annotations, Documents
from tasks.core.characters import buffers, classes, lower_case, worth
from tasks.core.documents import batches, save_array, write_table
from tasks.core.errors import StageError
from tasks.core.files import replacing
from tasks.core.stage import Metrics, Stage, Work
from tasks.evaluation_sets import EvaluationData, Item

PROTECTED = ("dev", "test")
"""Splits kept out of the corpus; text of a training split may be trained on."""
FEWEST_COMMON = 10
"""An n-gram in no more documents than this is never common, however small the corpus."""


class ContaminationConfig(BaseModel):
    """The rule, and the sets that it protects."""

    model_config = ConfigDict(frozen=True)
    rule: Contamination
    data: EvaluationData


def contamination(inputs: Mapping[str, Path], config: ContaminationConfig, out: Path, work: Work) -> Metrics:
    """Annotate each document of `inputs["clean"]` with `item` (the item most of which it holds, as set/split/number, or
    null) and `coverage` (share of that item's n-grams); one file per shard.

    Also writes `items/items.parquet`: every protected item with the number of its n-grams, of those that are common in the
    corpus, its largest coverage in any document and the number of documents that hold it. The metrics name sets whose files
    are not at hand, and count the items of `read_both_ways`: files that quotation marks make ambiguous.
    """
    items = _protected(config.data)
    index = out / ".index"
    index.mkdir(exist_ok=True)
    sizes = _build_index([item.text for item in items], config.rule.characters, index)
    paths = Documents(inputs["clean"]).shards()
    settings = config.rule.model_dump()
    parts = work.units(_match, {f"match-{path.stem}": (str(path), settings, str(index)) for path in paths}, out)
    total = sum(part["documents"] for part in parts.values())
    _count_documents(index, [path.stem for path in paths], max(FEWEST_COMMON, config.rule.common * total))
    places = [item.place for item in items]
    work.units(_judge, {f"judge-{path.stem}": (str(path), settings, str(index), places) for path in paths}, out)
    coverage, documents = np.zeros(len(items), np.float32), np.zeros(len(items), np.int64)
    for path in paths:
        found = pq.read_table(index / f"{path.stem}.coverage")
        coverage = np.maximum(coverage, found.column("coverage").to_numpy())
        documents += found.column("documents").to_numpy()
    table = pa.table(
        {
            "item": pa.array(places, pa.string()),
            "set": pa.array([place.split("/")[0] for place in places], pa.string()),
            "ngrams": pa.array(sizes.astype(np.int32)),
            "common": pa.array(sizes.astype(np.int32) - np.load(index / "rare_sizes.npy").astype(np.int32)),
            "coverage": pa.array(coverage),
            "documents": pa.array(documents),
        }
    )
    (out / "items").mkdir(exist_ok=True)
    write_table(table, out / "items" / "items.parquet")
    return {
        "sets": [_summary(name, table) for name in dict.fromkeys(table.column("set").to_pylist())],
        "sets_not_at_hand": config.data.missing,
        "items": len(items),
        "read_both_ways": _read_both_ways(config.data),
        "items_too_short": int((sizes == 0).sum()),
    }


def containment(text: str, items: list[str], characters: int) -> np.ndarray:
    """Share of each item's n-grams that occur in `text`: float64[items]; 0 for items shorter than one n-gram."""
    present = _grams(text, characters)
    shares = [np.isin(grams, present).mean() if len(grams := _grams(item, characters)) else 0.0 for item in items]
    return np.array(shares)


def _protected(data: EvaluationData) -> list[Item]:
    items = [
        item
        for entry in data.sets
        if entry.format != "sections"
        for split in PROTECTED
        for item in data.protected(entry.name, split)
    ]
    if len({item.place for item in items}) != len(items):
        raise StageError("evaluation: two sets have the same name; give each a name of its own")
    return items


def _read_both_ways(data: EvaluationData) -> dict[str, int]:
    """Items that are looked for beside those of the first reading, by set/split."""
    sets = [entry.name for entry in data.sets if entry.format != "sections"]
    found = {f"{name}/{split}": len(data.other_reading(name, split)) for name in sets for split in PROTECTED}
    return {place: number for place, number in found.items() if number}


def _summary(name: str, table: pa.Table) -> dict[str, Any]:
    rows = [row for row in table.select(["set", "ngrams", "documents"]).to_pylist() if row["set"] == name]
    found = sum(row["documents"] > 0 for row in rows)
    return {"set": name, "items": len(rows), "too_short": sum(row["ngrams"] == 0 for row in rows), "found_in_corpus": found}


def _grams(text: str, characters: int) -> np.ndarray:
    data, offsets = buffers(pa.array([text], pa.string()))
    out = np.empty(len(data) + 1, np.uint64)
    found = letter_grams(data, offsets[0], offsets[1], classes(), lower_case(), worth(), characters, out)
    return np.unique(out[:found])


def _build_index(texts: list[str], characters: int, folder: Path) -> np.ndarray:
    """Write the sorted n-grams and the items that hold each (a CSR table); returns the number of n-grams per item."""
    grams = [_grams(text, characters) for text in texts]
    sizes = np.array([len(g) for g in grams], np.int64)
    owners = np.repeat(np.arange(len(texts)), sizes)
    flat = np.concatenate(grams) if grams else np.zeros(0, np.uint64)
    order = np.argsort(flat, kind="stable")
    keys, starts = np.unique(flat[order], return_index=True)
    arrays = {"keys": keys, "starts": np.append(starts, len(flat)), "owners": owners[order], "sizes": sizes}
    arrays |= {"bitmap": _prefilter(keys), "directory": _directory(keys)}
    for name, array in arrays.items():
        save_array(folder / f"{name}.npy", array)
    return sizes


def _match(unit: tuple[str, dict[str, Any], str], out: Path) -> Metrics:
    """Write which n-grams of the index each document has."""
    path, rule, folder = Path(unit[0]), Contamination.model_validate(unit[1]), Path(unit[2])
    keys, bitmap, directory = (np.load(folder / f"{name}.npy") for name in ("keys", "bitmap", "directory"))
    last = np.full(len(keys), -1, np.int64)
    counts = [np.zeros(0, np.int32)]
    rows = 0
    with replacing(folder / f"{path.stem}.found") as temporary, open(temporary, "wb") as file:
        for batch in batches(path, ["text"]):
            data, offsets = buffers(batch.column("text"))
            found, of_batch = np.empty(int(offsets[-1] - offsets[0]) + 1, np.uint32), np.zeros(len(batch), np.int32)
            if len(keys):
                used = match(
                    data,
                    offsets,
                    classes(),
                    lower_case(),
                    worth(),
                    rule.characters,
                    keys,
                    bitmap,
                    directory,
                    last,
                    rows,
                    found,
                    of_batch,
                )
                found[:used].tofile(file)
            counts.append(of_batch)
            rows += len(batch)
    save_array(folder / f"{path.stem}.counts", np.concatenate(counts))
    return {"documents": rows}


def _count_documents(folder: Path, shards: list[str], most: float) -> None:
    """Write which n-grams stand in more than `most` documents, and how many n-grams that leaves to each item."""
    keys, starts, owners, sizes = (np.load(folder / f"{name}.npy") for name in ("keys", "starts", "owners", "sizes"))
    documents = np.zeros(len(keys), np.int64)
    for shard in shards:
        documents += np.bincount(np.fromfile(folder / f"{shard}.found", np.uint32), minlength=len(keys))
    common = documents > most
    rare = np.bincount(owners[np.repeat(~common, np.diff(starts))], minlength=len(sizes))
    for name, array in (("common", common), ("rare_sizes", rare)):
        save_array(folder / f"{name}.npy", array)


def _judge(unit: tuple[str, dict[str, Any], str, list[str]], out: Path) -> Metrics:
    path, rule, folder, places = Path(unit[0]), Contamination.model_validate(unit[1]), Path(unit[2]), unit[3]
    names = ("common", "starts", "owners", "sizes", "rare_sizes")
    common, starts, owners, sizes, rare = (np.load(folder / f"{name}.npy") for name in names)
    counts = np.load(folder / f"{path.stem}.counts")
    coverage, documents = np.zeros(len(places), np.float32), np.zeros(len(places), np.int64)
    best, share = np.full(len(counts), -1, np.int64), np.zeros(len(counts), np.float32)
    found = np.fromfile(folder / f"{path.stem}.found", np.uint32)
    judge(found, counts, common, starts, owners, sizes, rare, rule.threshold, coverage, documents, best, share)
    held = [places[number] if number >= 0 else None for number in best.tolist()]
    ids = pq.read_table(path, columns=["id"]).column("id")
    write_table(pa.table({"id": ids, "item": pa.array(held, pa.string()), "coverage": pa.array(share)}), out / path.name)
    write_table(pa.table({"coverage": coverage, "documents": documents}), folder / f"{path.stem}.coverage")
    return {}


def _prefilter(keys: np.ndarray) -> np.ndarray:
    """A bitmap by the upper bits of the keys, about 32 bits a key: spares most n-grams of the corpus the binary search."""
    bits = min(max(int(len(keys) * 32).bit_length(), 16), 32)
    slots = keys >> np.uint64(64 - bits)
    bitmap = np.zeros(1 << (bits - 3), np.uint8)
    np.bitwise_or.at(bitmap, (slots >> np.uint64(3)).astype(np.int64), np.uint8(1) << (slots & np.uint64(7)).astype(np.uint8))
    return bitmap


def _directory(keys: np.ndarray) -> np.ndarray:
    """Where the keys begin whose upper bits are 0, 1, 2, ...: int64, about one entry a key."""
    bits = max(len(keys).bit_length(), 4)
    return np.append(np.searchsorted(keys, np.arange(1 << bits, dtype=np.uint64) << np.uint64(64 - bits)), len(keys))


CONTAMINATION = Annotator(
    Stage(
        "contamination",
        contamination,
        version=6,
        inputs={"clean": Documents},
        artifact=Annotations,
        outside=lambda config: config.data.digest(),
        headline=lambda metrics: f"{metrics['items']:,} evaluation items looked for",
    ),
    columns={"item": "item", "coverage": "coverage"},
    rules=(Rule(decision="contamination", signal="item", bound="nothing", words="holds an item of an evaluation set"),),
)
