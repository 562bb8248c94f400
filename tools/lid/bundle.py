"""Reads the bundle: labelled lines, the documents that they are from, and which of them a model may be trained on."""

from __future__ import annotations

import io
import itertools
import json
import random
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zstandard

from tasks.annotate.language.train import SEED, read_aliases

UDHR = "UDHR"
"""Texts that state no licence and are used all the same: see the card."""
PERMITTED = re.compile(r"(CC0|CC[- ]BY|MIT|Apache)(?!.*\bN[CD]\b)")
"""Start of a licence under which a model may be passed on; NC and ND are refused, and so is what is unknown or unstated."""
UNCLEAN = re.compile(r"machine|Markdown, some pages English|Swahili course")
"""Sources in the right language only in part, or written by a machine."""
MISLABELLED = ("asp-myx-0121",)
"""Start of the ids of documents that are for the most part in another language than their source says (here: Swahili)."""
NOT_READ = ("CONTAMINATED", "recrawl")
"""Raw files that hold evaluation data, or older versions of documents that may be in the test lines."""

FEWEST_LINES = 20
"""Lines of a label; one with fewer is left out of the model."""
MOST_WORDS = 120_000
"""Words of training text per label; beyond its own lines a label is filled up from documents that hold no test line."""
FACTORS = {"swb_Latn": 4, "zdj_Latn": 4}
"""Times the windows of a label: Comorian is the nearest relative of Swahili, and there is one text of each of its languages."""


@dataclass
class Collection:
    """Training text and where it is from. Labels are those of `lid`, macrolanguage codes replaced."""

    train: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    dev: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    test: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    lines_kept: int = 0
    lines_dropped: int = 0
    sources: dict[tuple[str, str], tuple[int, set[str]]] = field(default_factory=dict)
    """(source, licence) -> how many documents, and the labels, that training text may come from."""
    udhr_only: set[str] = field(default_factory=set)
    """Labels with no other text."""
    refused: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Licence -> documents left out because of it."""
    windows: int = 0


def collect(lid: Path, raw: Path) -> Collection:
    """Read the lines and the documents, and keep the training text whose licence permits a model."""
    aliases = read_aliases(lid)
    found = Collection()
    lines = {split: _lines(lid / f"{split}.txt", aliases) for split in ("train", "dev", "test")}
    found.dev, found.test = lines["dev"], lines["test"]
    texts: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, document in documents(raw):
        if any(word in name for word in NOT_READ):
            continue
        source, licence = _credit(document)
        if not (licence == UDHR or PERMITTED.match(licence)):
            found.refused[document["license"]] += 1
        elif not (UNCLEAN.search(document["source"]) or str(document.get("id")).startswith(MISLABELLED)):
            label = aliases.get(document["lang_hint"], document["lang_hint"])
            if label not in lines["train"]:
                continue
            texts[label][source].append(" ".join(document["text"].split()))
            count, labels = found.sources.get((source, licence), (0, set()))
            found.sources[source, licence] = count + 1, labels | {label}
    for label in sorted(lines["train"]):
        everything = "\0".join(text for of_source in texts[label].values() for text in of_source)
        found.train[label] = [line for line in lines["train"][label] if line in everything]
        found.lines_kept += len(found.train[label])
        found.lines_dropped += len(lines["train"][label]) - len(found.train[label])
        if all(UDHR in source for source in texts[label]):
            found.udhr_only.add(label)
        held_out = found.dev[label] + found.test[label]
        found.train[label] += _more_text(texts[label], held_out, MOST_WORDS - _words(found.train[label]))
    found.train = {label: text for label, text in found.train.items() if len(text) >= FEWEST_LINES}
    return found


def documents(raw: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each document below `raw`, with the name of its file."""
    for path in sorted(raw.rglob("*.jsonl.zst")):
        with open(path, "rb") as packed, zstandard.ZstdDecompressor().stream_reader(packed) as stream:
            for line in io.TextIOWrapper(stream, "utf-8"):
                yield path.name, json.loads(line)


def _lines(path: Path, aliases: dict[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for line in path.read_text("utf-8").split("\n"):
        label, _, text = line.removeprefix("__label__").partition(" ")
        if text:
            found[aliases.get(label, label)].append(text)
    return found


def _credit(document: dict[str, Any]) -> tuple[str, str]:
    """Source and licence of a document, short enough for a table."""
    licence = document["license"] or "unknown"
    source = re.sub(r" en-\w+| [\w-]+-NT\b| \([^)]*\)| \w+ course.*| sentences$", "", document["source"])
    if UDHR in licence:
        return source, UDHR
    for family in ("CC-BY-SA-4.0", "CC-BY-SA"):
        if family in licence and PERMITTED.match(licence):
            return source, family
    return source, licence.split(" (")[0].split(" text")[0].replace("CC BY", "CC-BY")


def _more_text(texts: dict[str, list[str]], held_out: list[str], words: int) -> list[str]:
    """Documents of all sources in turn, cut into lines of 40 words, until there are enough words; none with a held-out line."""
    chance = random.Random(SEED)
    turns = [chance.sample(texts[source], len(texts[source])) for source in sorted(texts) if UDHR not in source]
    lines: list[str] = []
    for document in itertools.chain.from_iterable(itertools.zip_longest(*turns)):
        if words <= 0:
            break
        if document is None or any(line in document for line in held_out):
            continue
        split = document.split()
        lines += [" ".join(split[at : at + 40]) for at in range(0, len(split), 40)]
        words -= len(split)
    return lines


def _words(lines: list[str]) -> int:
    return sum(len(line.split()) for line in lines)
