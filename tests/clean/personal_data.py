"""Precision and recall of masking on a list of sentences from many countries: `python -m tests.clean.personal_data`.

All of it is made up for this: e-mail addresses of examples, numbers in the formats of their countries, and what only looks like
them (books, years, prices, verses, coordinates, versions).
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tasks.clean import clean_text
from tasks.clean.personal import TYPES, Masks

LIST = Path(__file__).with_suffix(".tsv")
_MARKED = re.compile("⟦([a-z]+):([^⟧]+)⟧")


@dataclass(frozen=True)
class Line:
    """A text, the same with what is to be masked as tags, and the calling codes of the countries where it is read."""

    text: str
    due: str
    countries: tuple[int, ...]


def lines() -> list[Line]:
    rows = (row.split("\t") for row in LIST.read_text("utf-8").splitlines() if not row.startswith("#"))
    return [
        Line(_MARKED.sub(r"\2", marked), _MARKED.sub(r"[\1]", marked), tuple(map(int, filter(None, codes.split(",")))))
        for codes, marked in rows
    ]


def measured() -> tuple[dict[str, tuple[float, float]], list[tuple[str, str]]]:
    """Precision and recall by type, and the wrong lines: what is due and what came.

    A tag counts as right where the words on both sides of it came out as they are due: it hides the address and nothing else.
    """
    right, due, made = Counter[str](), Counter[str](), Counter[str]()
    wrong = []
    for line in lines():
        came, _ = clean_text(line.text, Masks(countries=line.countries))
        wanted, found = _tags(line.due), _tags(came)
        due.update(name for name, _, _ in wanted.elements())
        made.update(name for name, _, _ in found.elements())
        right.update(name for name, _, _ in (wanted & found).elements())
        if came != line.due:
            wrong.append((line.due, came))
    return {name: (right[name] / max(made[name], 1), right[name] / max(due[name], 1)) for name in TYPES}, wrong


def _tags(text: str) -> Counter[tuple[str, str, str]]:
    """The tags of a text, each with the word before and after it."""
    parts = re.split(rf"\[({'|'.join(TYPES)})\]", text)
    return Counter((parts[at], parts[at - 1][-8:], parts[at + 1][:8]) for at in range(1, len(parts), 2))


if __name__ == "__main__":
    figures, faults = measured()
    for name, (precision, recall) in figures.items():
        sys.stdout.write(f"{name:6} precision {precision:.3f}  recall {recall:.3f}\n")
    sys.stdout.write("".join(f"due  {due}\ncame {came}\n" for due, came in faults))
