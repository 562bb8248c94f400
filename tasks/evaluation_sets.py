"""Evaluation sets: labelled items of public tasks, read from local files in the formats in which they are published."""

from __future__ import annotations

import codecs
import csv
import io
import json
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
            Item(f"{name}/{split}/{number}", unicodedata.normalize("NFC", text), label, labels)
            for number, (text, label, labels) in enumerate(rows)
        ]


Row = tuple[str, str | None, tuple[str, ...]]
"""Text, label and labels of an item."""


def _tsv(path: Path, chosen: EvaluationSet) -> Iterator[Row]:
    head, *rows = _quoted(text) or _unquoted(text) if (text := _read(path)) else [[]]
    for values in rows:
        row = dict(zip(head, [*values, *[""] * len(head)], strict=False))
        yield "\n".join(row[column] for column in chosen.text), row.get(chosen.label), ()


def _read(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 as spreadsheets save it: with a mark."""
    with path.open("rb") as file:
        wide = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    return path.read_text(encoding="utf-16" if wide else "utf-8-sig")


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
