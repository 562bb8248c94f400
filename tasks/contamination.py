"""Evaluation items inside documents: containment of letters-only character n-grams.

An item is found in a document when at least `threshold` of its distinct n-grams (20 letters, lower-cased, everything that
is not a letter left out) occur there. Tokenisation, case and punctuation make no difference, and items too short for the
usual 13 words are found: those are 90 % of XCOPA. Only the n-grams of the items are kept in memory; the corpus streams by.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from lang_configs.schema import Contamination
from tasks.characters import LETTER, TABLE_SIZE, buffers, classes, code_point, lower_case, mix
from tasks.documents import batches, shards, write_table
from tasks.evaluation_sets import EvaluationData, Item
from tasks.stage import Metrics, StageError, Work

BASE = np.uint64(0x9E3779B97F4A7C15)
PROTECTED = ("dev", "test")
"""Splits kept out of the corpus; text of a training split may be trained on."""


class ContaminationConfig(BaseModel):
    """The rule, and the sets that it protects."""

    model_config = ConfigDict(frozen=True)
    rule: Contamination
    data: EvaluationData


def contamination(inputs: Mapping[str, Path], config: ContaminationConfig, out: Path, work: Work) -> Metrics:
    """Annotate each document of `inputs["clean"]` with `item` (the item most of which it holds, as set/split/number, or
    null) and `coverage` (share of that item's n-grams); one file per shard.

    Also writes `items/items.parquet`: every protected item with its n-grams, its largest coverage in any document and the
    number of documents above the threshold. Sets whose files are not at hand are named in the metrics.
    """
    items = _protected(config.data)
    index = out / ".index"
    index.mkdir(exist_ok=True)
    sizes = _build_index([item.text for item in items], config.rule.characters, index)
    settings = config.rule.model_dump()
    places = [item.place for item in items]
    paths = shards(inputs["clean"])
    work.units(_annotate, {path.stem: (str(path), settings, str(index), places) for path in paths}, out)
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
        for item in data.items(entry.name, split)
    ]
    if len({item.place for item in items}) != len(items):
        raise StageError("evaluation: two sets have the same name; give each a name of its own")
    return items


def _summary(name: str, table: pa.Table) -> dict[str, Any]:
    rows = [row for row in table.select(["set", "ngrams", "documents"]).to_pylist() if row["set"] == name]
    found = sum(row["documents"] > 0 for row in rows)
    return {"set": name, "items": len(rows), "too_short": sum(row["ngrams"] == 0 for row in rows), "found_in_corpus": found}


def _grams(text: str, characters: int) -> np.ndarray:
    data, offsets = buffers(pa.array([text], pa.string()))
    out = np.empty(len(data) + 1, np.uint64)
    found = _letter_grams(data, offsets[0], offsets[1], classes(), lower_case(), characters, out)
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
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    return sizes


def _annotate(unit: tuple[str, dict[str, Any], str, list[str]], out: Path) -> Metrics:
    path, rule, folder, places = Path(unit[0]), Contamination.model_validate(unit[1]), Path(unit[2]), unit[3]
    keys, starts, owners, sizes = (np.load(folder / f"{name}.npy") for name in ("keys", "starts", "owners", "sizes"))
    bitmap = _prefilter(keys)
    coverage, documents = np.zeros(len(places), np.float32), np.zeros(len(places), np.int64)
    tables = []
    for batch in batches(path, ["id", "text"]):
        data, offsets = buffers(batch.column("text"))
        best, share = np.full(len(batch), -1, np.int64), np.zeros(len(batch), np.float32)
        longest = int(np.diff(offsets).max(initial=0)) + 1
        if len(keys):
            _match(
                data, offsets, classes(), lower_case(), rule.characters, rule.threshold, keys, starts, owners, sizes,
                bitmap, coverage, documents, best, share, longest,
            )  # fmt: skip
        named = [places[number] if number >= 0 else None for number in best.tolist()]
        columns = {"id": batch.column("id"), "item": pa.array(named, pa.string()), "coverage": pa.array(share)}
        tables.append(pa.table(columns))
    write_table(pa.concat_tables(tables), out / path.name)
    write_table(pa.table({"coverage": coverage, "documents": documents}), folder / f"{path.stem}.coverage")
    return {}


def _prefilter(keys: np.ndarray) -> np.ndarray:
    """A bitmap by the upper bits of the keys, about 32 bits a key: spares most n-grams of the corpus the binary search."""
    bits = min(max(int(len(keys) * 32).bit_length(), 16), 32)
    slots = keys >> np.uint64(64 - bits)
    bitmap = np.zeros(1 << (bits - 3), np.uint8)
    np.bitwise_or.at(bitmap, (slots >> np.uint64(3)).astype(np.int64), np.uint8(1) << (slots & np.uint64(7)).astype(np.uint8))
    return bitmap


@numba.njit(cache=True, nogil=True)
def _letter_grams(data: Any, start: int, end: int, table: Any, lower: Any, characters: int, out: Any) -> int:
    """Hashes of all runs of `characters` letters of a text; returns how many (a rolling polynomial hash)."""
    ring = np.zeros(characters, np.uint64)
    power = np.uint64(1)
    for _ in range(characters):
        power *= BASE
    value = np.uint64(0)
    seen = found = 0
    position = start
    while position < end:
        code, length = code_point(data, position)
        position += length
        if code < TABLE_SIZE:
            if table[code] != LETTER:
                continue
            letter = np.uint64(lower[code])
        else:
            letter = np.uint64(code)
        slot = seen % characters
        value = value * BASE + letter - power * ring[slot]
        ring[slot] = letter
        seen += 1
        if seen >= characters:
            out[found] = mix(value)
            found += 1
    return found


@numba.njit(cache=True, nogil=True)
def _match(
    data: Any, offsets: Any, table: Any, lower: Any, characters: int, threshold: float, keys: Any, starts: Any, owners: Any,
    sizes: Any, bitmap: Any, coverage: Any, documents: Any, best: Any, share: Any, longest: int,
) -> None:  # fmt: skip
    grams = np.empty(longest, np.uint64)
    last_document = np.full(keys.shape[0], -1, np.int64)
    counts = np.zeros(sizes.shape[0], np.int64)
    touched = np.empty(sizes.shape[0], np.int64)
    shift = np.uint64(64 - 3 - round(np.log2(bitmap.shape[0])))
    for document in range(offsets.shape[0] - 1):
        found = _letter_grams(data, offsets[document], offsets[document + 1], table, lower, characters, grams)
        touched_count = 0
        for i in range(found):
            gram = grams[i]
            slot = gram >> shift
            if not (bitmap[slot >> np.uint64(3)] >> (slot & np.uint64(7))) & np.uint64(1):
                continue
            key = np.searchsorted(keys, gram)
            if key == keys.shape[0] or keys[key] != gram or last_document[key] == document:
                continue
            last_document[key] = document
            for entry in range(starts[key], starts[key + 1]):
                item = owners[entry]
                if counts[item] == 0:
                    touched[touched_count] = item
                    touched_count += 1
                counts[item] += 1
        for i in range(touched_count):
            item = touched[i]
            part = np.float32(counts[item] / sizes[item])
            counts[item] = 0
            coverage[item] = max(coverage[item], part)
            if part >= threshold:
                documents[item] += 1
                # the largest share, and of equals the first item: the same whatever the order of the n-grams
                if part > share[document] or (part == share[document] and item < best[document]):
                    best[document], share[document] = item, part
