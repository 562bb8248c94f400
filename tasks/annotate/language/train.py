"""Trains language identification models: yours (`lugha train-lid`), and the packaged one.

The packaged one is rebuilt by `python -m tasks.annotate.language.train --lid DIR --raw DIR --out DIR`: `lid` has fastText lines
(`__label__swh_Latn text`) in train.txt, dev.txt and test.txt, and label_aliases.tsv; `raw` holds the documents that these lines
were drawn from, as JSON lines (.jsonl.zst) that state the licence of each document. A line is used only if it stands in a
document whose licence lets a model be shared.
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import json
import random
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zstandard

from tasks.annotate.language import identify
from tasks.annotate.language.card import confusion_table, write_card
from tasks.annotate.language.confusion import beside, write
from tasks.annotate.language.model import classifier
from tasks.annotate.language.pieces import normalise_all
from tasks.annotate.language.words import derive_lists, lists_beside, without_diacritics, write_lists
from tasks.core.errors import StageError
from tasks.core.files import replacing
from tasks.core.stage import Metrics

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
MOST_WORDS = 120_000
"""Words of training text per label; beyond its own lines a label is filled up from documents that hold no test line."""
WINDOW_WORDS = (3, 30)
SHORT_WORDS = (1, 4)
SHORT_EVERY = 8
"""Besides, one short window for so many words of a label's text."""
SHORT_FROM = 10_000
"""Words of text from which on a label gets short windows: a few words of a language that we know from one text, perhaps a legal
one, say little, and short lines of a larger language would be taken for it.
"""
FACTORS = {"swb_Latn": 4, "zdj_Latn": 4}
"""Times the windows of a label: Comorian is the nearest relative of Swahili, and there is one text of each of its languages."""
FEWEST_WINDOWS = 300
WINDOWS_FACTOR = 8
WINDOWS_POWER = 0.75
"""Training windows of a label: the number that its text would fill to this power, times the factor. That is between giving
each word the same weight (power 1), which loses small languages, and each language (power 0), which loses short text in large.
"""
BARE = 0.25
"""Share of windows in Latin script that lose their diacritics, as much of the web does."""
SEED = 7

TRAINING: dict[str, Any] = {
    "dim": 32,
    "minn": 2,
    "maxn": 5,
    "bucket": 400_000,
    "minCount": 20,
    "epoch": 6,
    "lr": 1.0,
    "loss": "softmax",
}
QUANTISATION = {"cutoff": 105_000, "retrain": True, "epoch": 3, "lr": 0.5, "qnorm": True, "dsub": 4}
WORDS_PER_COUNT = 150_000
"""A word is in the vocabulary if it occurs once for so many words of all windows, up to `minCount` times."""
MOST_BYTES = 2_000_000


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


def main() -> None:
    """Command line of the packaged model."""
    parser = argparse.ArgumentParser(prog="python -m tasks.annotate.language.train")
    parser.add_argument("--lid", type=Path, required=True, help="folder with train.txt, dev.txt, test.txt, label_aliases.tsv")
    parser.add_argument("--raw", type=Path, required=True, help="folder with the documents, as .jsonl.zst, in any depth")
    parser.add_argument("--out", type=Path, required=True, help="where lid.ftz and what belongs to it are written")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    collection, model = collect(given.lid, given.raw), given.out / "lid.ftz"
    collection.windows = train(collection.train, model)
    if model.stat().st_size > MOST_BYTES:
        raise SystemExit(f"{model}: {model.stat().st_size:,} bytes, more than {MOST_BYTES:,}; lower the cutoff")
    write_lists(lists_beside(model), derive_lists(collection.train))
    write_card(collection, given.raw, given.out)


def train_own(source: Path, model: Path, dev: Path | None = None, test: Path | None = None) -> Metrics:
    """Train `model` (.ftz) on fastText lines (`__label__swh_Latn text`), and measure what it confuses.

    `source` is a file, or a folder with train.txt, dev.txt, test.txt and label_aliases.tsv, of which only the first must be
    there. Measured on the test lines, else on the development lines, else on every tenth line of each label with 40 or more,
    which is then kept out of training; written beside the model as `_confusion.json` and `_confusion.md`, and its word lists as
    `_words.txt.zst`. Raises StageError
    for lines that cannot be used.
    """
    if model.suffix != ".ftz":
        raise StageError(f"{model}: the name of a quantised fastText model ends in .ftz; correct --out")
    aliases: dict[str, str] = {}
    if source.is_dir():
        aliases = _aliases(source) if (source / "label_aliases.tsv").is_file() else {}
        dev, test = (given or _if_there(source / f"{name}.txt") for name, given in (("dev", dev), ("test", test)))
        source = source / "train.txt"
    text = _checked(source, aliases)
    if alone := sorted(label for label, lines in text.items() if len(lines) == 1):
        raise StageError(
            f"{source}: the label {alone[0]} has a single line; add lines in this language, or leave the label out"
        )
    if len(text) < 2:
        raise StageError(f"{source}: all lines have the label {next(iter(text))}; add lines in its neighbour languages")
    if held_out_file := test or dev:
        held_out = _checked(held_out_file, aliases)
    else:
        held_out = {label: lines[::10] for label, lines in text.items() if len(lines) >= 2 * FEWEST_LINES}
        text = {
            label: [line for number, line in enumerate(lines) if number % 10] if label in held_out else lines
            for label, lines in text.items()
        }
    model.parent.mkdir(parents=True, exist_ok=True)
    windows = train(text, model)
    write_lists(lists_beside(model), derive_lists(text))
    classifier.cache_clear()
    measured = write(beside(model), model, answers(held_out, model))
    table = beside(model).with_suffix(".md")
    table.write_text(confusion_table(model.name, measured), "utf-8")
    return {
        "labels": len(text),
        "windows": windows,
        "bytes": model.stat().st_size,
        "held_out_lines": measured["lines"],
        "labels_measured": len(measured["labels"]),
        "files": [str(path) for path in (model, beside(model), lists_beside(model), table)],
    }


def answers(lines: dict[str, list[str]], model: Path) -> dict[str, list[tuple[str, float]]]:
    """Label and score that the model gives to each held-out line, by the label that it has."""
    return {label: [entry[:2] for entry in identify(texts, model)] for label, texts in sorted(lines.items())}


def collect(lid: Path, raw: Path) -> Collection:
    """Read the lines and the documents, and keep the training text whose licence permits a model."""
    aliases = _aliases(lid)
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


def train(text: dict[str, list[str]], path: Path) -> int:
    """Train on the lines of each label, prune and quantise; returns the number of windows.

    The same text gives the same file on the same build of fastText (one thread, fixed seed). fastText 0.9.3 does not
    initialise all of its matrices. An allocation above 32 MB is fresh memory, hence zero: a good start too. Small ones (few
    buckets, few labels) can begin with garbage, and training stops at "Encountered NaN": then it begins again, more slowly.
    """
    import fasttext

    windows = training_windows(text)
    words = sum(line.count(" ") for line in windows)
    settings = TRAINING | {"minCount": max(1, min(TRAINING["minCount"], words // WORDS_PER_COUNT))}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "windows.txt")
        file.write_text("".join(windows), "utf-8")
        for slower in (1, 2, 4):
            try:
                settings["lr"] = TRAINING["lr"] / slower
                model = fasttext.train_supervised(str(file), **settings, seed=SEED, thread=1, verbose=0)
                model.quantize(str(file), **QUANTISATION, thread=1)
                break
            except RuntimeError as error:
                if "NaN" not in str(error):
                    raise
        else:
            raise StageError(f"{path}: fastText found no model for this text; add text, or take out labels with few lines")
    with replacing(path) as temporary:
        model.save_model(str(temporary))
    return len(windows)


def training_windows(text: dict[str, list[str]]) -> list[str]:
    """Random runs of words of each label, as fastText lines in random order."""
    chance = random.Random(SEED)
    fewest, most = WINDOW_WORDS
    windows = []
    for label in sorted(text):
        lines = normalise_all(text[label])
        chance.shuffle(lines)
        words = " ".join(lines).split()
        factor = FACTORS.get(label, 1)
        filled = len(words) / ((fewest + most) / 2)
        ordinary = factor * max(FEWEST_WINDOWS, int(WINDOWS_FACTOR * filled**WINDOWS_POWER))
        short = factor * (len(words) // SHORT_EVERY) if len(words) >= SHORT_FROM else 0
        for number in range(ordinary + short):
            length = chance.randint(*(WINDOW_WORDS if number < ordinary else SHORT_WORDS))
            start = chance.randrange(max(1, len(words) - length))
            window = " ".join(words[start : start + length])
            bare = label.endswith("_Latn") and (draw := chance.random()) < BARE
            windows.append(f"__label__{label} {without_diacritics(window, draw < BARE / 2) if bare else window}\n")
    chance.shuffle(windows)
    return windows


def documents(raw: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each document below `raw`, with the name of its file."""
    for path in sorted(raw.rglob("*.jsonl.zst")):
        with open(path, "rb") as packed, zstandard.ZstdDecompressor().stream_reader(packed) as stream:
            for line in io.TextIOWrapper(stream, "utf-8"):
                yield path.name, json.loads(line)


def _aliases(lid: Path) -> dict[str, str]:
    with open(lid / "label_aliases.tsv", encoding="utf-8", newline="") as handle:
        return {row["macro_or_variant"]: row["individual"] for row in csv.DictReader(handle, delimiter="\t")}


def _if_there(path: Path) -> Path | None:
    return path if path.is_file() else None


def _checked(path: Path, aliases: dict[str, str]) -> dict[str, list[str]]:
    """The lines of each label; raises StageError for what is no labelled line."""
    try:
        lines = path.read_text("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise StageError(
            f"{path}: cannot be read ({error}); give a UTF-8 file of lines like `__label__swh_Latn text`"
        ) from error
    found: dict[str, list[str]] = defaultdict(list)
    for number, line in enumerate(lines, 1):
        match = re.fullmatch(r"__label__(\S+)\s+(\S.*?)\s*", line)
        if match:
            found[aliases.get(match[1], match[1])].append(match[2])
        elif line.strip():
            raise StageError(f"{path}: line {number} has no label or no text; each line must be like `__label__swh_Latn text`")
    if not found:
        raise StageError(f"{path}: the file is empty; give lines like `__label__swh_Latn text`")
    return found


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


if __name__ == "__main__":
    main()
