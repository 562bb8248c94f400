"""Evaluation sets: labelled items of public tasks, read from local files in the formats in which they are published."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import xxhash
from pydantic import BaseModel, ConfigDict, Field

from lang_configs.evaluation import EvaluationSet
from tasks.core.errors import StageError


@dataclass(frozen=True, slots=True)
class Item:
    """One evaluation item: its place (`set/split/number`), its text and its label.

    `text` is in NFC, as the corpus that it is compared with. `labels` of a tagged sentence are those of its tokens, which
    white space parts in `text`. `document` is what the item is a part of, where several may be of one; by default it stands
    for itself.
    """

    place: str
    text: str
    label: str | None = None
    labels: tuple[str, ...] = ()
    document: str | None = None


class EvaluationData(BaseModel):
    """The evaluation sets of a language and the folder that holds their files on this machine (None: not at hand)."""

    model_config = ConfigDict(frozen=True)
    sets: list[EvaluationSet]
    folder: Path | None = Field(None, exclude=True)

    def paths(self, name: str) -> dict[str, Path]:
        """Split -> file of one set, without the files that are not there."""
        chosen = next(entry for entry in self.sets if entry.name == name)
        if self.folder is None:
            return {}
        return {split: self.folder / file for split, file in chosen.files.items() if (self.folder / file).is_file()}

    @cached_property
    def missing(self) -> list[str]:
        """Names of sets made of files of which at least one is not at hand."""
        return [entry.name for entry in self.sets if len(self.paths(entry.name)) < len(entry.files)]

    def digest(self) -> str:
        """Identifies the content of all files at hand."""
        digest = xxhash.xxh3_128()
        for entry in self.sets:
            for split, path in sorted(self.paths(entry.name).items()):
                digest.update(f"{entry.name}/{split}:{xxhash.xxh3_64_hexdigest(path.read_bytes())};".encode())
        return digest.hexdigest()

    def items(self, name: str, split: str) -> list[Item]:
        """The items of one split; raises StageError when the file does not have the format or columns of the config."""
        chosen = next(entry for entry in self.sets if entry.name == name)
        path = self.paths(name).get(split)
        if path is None:
            return []
        reader = {"tsv": _tsv, "jsonl": _jsonl, "conll": _conll}[chosen.format]
        try:
            rows = list(reader(path, chosen))
        except UnicodeDecodeError as error:
            raise StageError(f"{path.name}: not UTF-8 ({error.reason} at byte {error.start:,}); save it as UTF-8") from error
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise StageError(
                f"{path.name}: not {chosen.format} with {chosen.text} as the config of {name} says: {error!r}"
            ) from error
        return [
            Item(f"{name}/{split}/{number}", _storable(text), label, labels)
            for number, (text, label, labels) in enumerate(rows)
        ]

    def protected(self, name: str, split: str) -> list[Item]:
        """The items of a split in both readings of its file: no document may hold one of them. Raises StageError."""
        return [*self.items(name, split), *self.other_reading(name, split)]

    def other_reading(self, name: str, split: str) -> list[Item]:
        """What else the file of a split may hold: its lines, where quotation marks make items of several of them and the lines
        by themselves are rows as well. Their places go on from those of `items`.
        """
        chosen = next(entry for entry in self.sets if entry.name == name)
        path = self.paths(name).get(split)
        if path is None or chosen.format != "tsv":
            return []
        rows = _unquoted(text := _read(path))
        quoted = _quoted(text)
        if quoted is None or len(quoted) == len(rows) or any(len(row) != len(rows[0]) for row in rows):
            return []
        head = [column.strip('"') for column in rows[0]]
        texts = ["\n".join(dict(zip(head, row, strict=True))[column] for column in chosen.text) for row in rows[1:]]
        return [Item(f"{name}/{split}/{number}", _storable(text)) for number, text in enumerate(texts, len(quoted) - 1)]


_WIDE = {0: "utf-16-be", 1: "utf-16-le"}
_MARKS = re.compile("^\ufeff+", re.MULTILINE)

Row = tuple[str, str | None, tuple[str, ...]]
"""Text, label and labels of an item."""


def _tsv(path: Path, chosen: EvaluationSet) -> Iterator[Row]:
    head, *rows = _quoted(text) or _unquoted(text) if (text := _read(path)) else [[]]
    for values in rows:
        row = dict(zip(head, [*values, *[""] * len(head)], strict=False))
        yield "\n".join(row[column] for column in chosen.text), row.get(chosen.label), ()


def _storable(text: str) -> str:
    """In NFC; the half of a surrogate pair, which JSON can hold and UTF-8 cannot, becomes a question mark."""
    return unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode())


def _read(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 as spreadsheets save it: with a mark, or told by the zero of its first letter.

    Marks at the beginning of other lines are those of files that were joined.
    """
    with path.open("rb") as file:
        first = file.read(2)
    wide = "utf-16" if first in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else _WIDE.get(first.find(b"\0"), "utf-8")
    return _MARKS.sub("", path.read_text(encoding=wide))


def _quoted(text: str) -> list[list[str]] | None:
    """The rows of a file whose quotation marks hold fields together; None where they are characters of a text, as in a tweet.

    They are if one opens and never closes, or if what they held together were whole lines: another row would be lost.
    """
    csv.field_size_limit(1 << 24)
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter="\t", strict=True) if row]
    except csv.Error:
        return None
    lines_inside = any("\n" in field and "\t" in field for row in rows for field in row)
    return None if lines_inside or any(len(row) != len(rows[0]) for row in rows) else rows


def _unquoted(text: str) -> list[list[str]]:
    return [line.rstrip("\r").split("\t") for line in text.split("\n") if line.strip()]


def _jsonl(path: Path, chosen: EvaluationSet) -> Iterator[Row]:
    for line in filter(str.strip, _read(path).split("\n")):
        row = json.loads(line)
        yield "\n".join(str(row[column]) for column in chosen.text), row.get(chosen.label), ()


def _conll(path: Path, _: EvaluationSet) -> Iterator[Row]:
    """Sentences of lines `token ... label`, parted by blank lines: the first column and the last."""
    tokens: list[str] = []
    labels: list[str] = []
    for number, line in enumerate([*_read(path).split("\n"), ""], 1):
        if columns := line.split():
            if len(columns) < 2:
                raise ValueError(f"line {number} has no label")
            tokens.append(columns[0])
            labels.append(columns[-1])
        elif tokens:
            yield " ".join(tokens), None, tuple(labels)
            tokens, labels = [], []
