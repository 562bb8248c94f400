"""Trains a language identification model on labelled lines: a user's own (`lugha train-lid`).

The packaged one is trained by the same function on text that `tools/lid` collects.
"""

from __future__ import annotations

import csv
import io
import random
import re
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.annotate.language import identify
from tasks.annotate.language.confusion import beside, confusion_table, write
from tasks.annotate.language.model import classifier
from tasks.annotate.language.pieces import normalise_all
from tasks.annotate.language.words import derive_lists, lists_beside, without_diacritics, write_lists
from tasks.core.errors import StageError
from tasks.core.files import replacing
from tasks.core.stage import Metrics

HELD_OUT_EVERY = 10
"""One in so many lines of a label is held out where no held-out lines are given,"""
HELD_OUT_FROM = 40
"""and the label has this many lines."""

WINDOW_WORDS = (3, 30)
SHORT_WORDS = (1, 4)
SHORT_EVERY = 8
"""Besides, one short window for so many words of a label's text."""
SHORT_FROM = 10_000
"""Words of text from which on a label gets short windows: a few words of a language that we know from one text, perhaps a legal
one, say little, and short lines of a larger language would be taken for it.
"""
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


def train_own(source: Path, model: Path, dev: Path | None = None, test: Path | None = None) -> Metrics:
    """Train `model` (.ftz) on fastText lines (`__label__swh_Latn text`), and measure what it confuses.

    `source` is a file, or a folder with train.txt, dev.txt, test.txt and label_aliases.tsv, of which only the first must be
    there. Measured on the test lines, else on the development lines, else on every tenth line of each label with 40 or more,
    which is then kept out of training; written beside the model as `_confusion.json` and `_confusion.md`, and its word lists as
    `_words.txt.zst`. Raises StageError for lines that cannot be used, and where fastText is not installed.
    """
    _fasttext()  # before minutes of reading
    if model.suffix != ".ftz":
        raise StageError(f"{model}: the name of a quantised fastText model ends in .ftz; correct --out")
    aliases: dict[str, str] = {}
    if source.is_dir():
        aliases = read_aliases(source) if (source / "label_aliases.tsv").is_file() else {}
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
        held_out = {label: lines[::HELD_OUT_EVERY] for label, lines in text.items() if len(lines) >= HELD_OUT_FROM}
        text = {
            label: [line for number, line in enumerate(lines) if number % HELD_OUT_EVERY] if label in held_out else lines
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


def train(text: Mapping[str, list[str]], path: Path, factors: Mapping[str, int] | None = None) -> int:
    """Train a classifier on the lines of each label, prune and quantise it, and write it to `path`; returns how many windows it
    was trained on, of which a label has `factors` times as many as its text would give it.

    (Joulin et al. 2017, arXiv:1607.01759, and 2016, arXiv:1612.03651.)

    The same text gives the same file on the same build of fastText (one thread, fixed seed). fastText 0.9.3 does not
    initialise all of its matrices. An allocation above 32 MB is fresh memory, hence zero: a good start too. Small ones (few
    buckets, few labels) can begin with garbage, and training stops at "Encountered NaN": then it begins again, more slowly.
    """
    fasttext = _fasttext()
    try:
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:  # before the training, not after
        raise StageError(f"{path}: cannot be written there ({error.strerror}); choose another place") from error
    windows = training_windows(text, factors or {})
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


def training_windows(text: Mapping[str, list[str]], factors: Mapping[str, int]) -> list[str]:
    """Random runs of words of each label, as fastText lines in random order; `factors` multiplies their number for a label."""
    chance = random.Random(SEED)
    fewest, most = WINDOW_WORDS
    windows = []
    for label in sorted(text):
        lines = normalise_all(text[label])
        chance.shuffle(lines)
        words = " ".join(lines).split()
        factor = factors.get(label, 1)
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


def read_aliases(folder: Path) -> dict[str, str]:
    """The label that replaces each macrolanguage or variant, from `label_aliases.tsv`; raises StageError for another table."""
    path = folder / "label_aliases.tsv"
    rows = csv.DictReader(io.StringIO(_read(path)), delimiter="\t")
    if not {"macro_or_variant", "individual"} <= set(rows.fieldnames or ()):
        raise StageError(f"{path}: its first line must be macro_or_variant, a tab, and individual; correct it or leave it out")
    return {row["macro_or_variant"]: row["individual"] for row in rows if row["individual"]}


def _fasttext() -> Any:
    try:
        import fasttext
    except ImportError as error:
        raise StageError(
            "training a language identification model needs fastText, which a C++ compiler builds while it is installed"
            f" (apt-get install g++ python3-dev): pip install 'lugha[train-lid]' ({error})"
        ) from error
    return fasttext


def _if_there(path: Path) -> Path | None:
    return path if path.is_file() else None


def _checked(path: Path, aliases: dict[str, str]) -> dict[str, list[str]]:
    """The lines of each label; raises StageError for what is no labelled line."""
    found: dict[str, list[str]] = defaultdict(list)
    for number, line in enumerate(_read(path).split("\n"), 1):
        match = re.fullmatch(r"__label__(\S+)\s+(\S.*?)\s*", line)
        if match:
            found[aliases.get(match[1], match[1])].append(match[2])
        elif line.strip():
            raise StageError(f"{path}: line {number} has no label or no text; each line must be like `__label__swh_Latn text`")
    if not found:
        raise StageError(f"{path}: the file is empty; give lines like `__label__swh_Latn text`")
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise StageError(
            f"{path}: cannot be read ({error}); give a UTF-8 file of lines like `__label__swh_Latn text`"
        ) from error
