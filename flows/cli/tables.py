"""Rows for people, as wide as the terminal and never with a word cut; and the same for programs, as one JSON document."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from textwrap import TextWrapper
from typing import Any

from flows.cli.terminal import say
from tasks.core.shown import shown_json, shown_line

GAP = 2
"""Blanks between two columns."""
NARROWEST, LONGEST = 12, 40
"""Characters that a column of sentences keeps at least; and of a word in it, such as an address, that is never broken."""


def print_json(value: Any) -> None:
    """Print one JSON document; what JSON has no word for is written as text, and nan or inf as null."""
    say(shown_json(_plain(value)))


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table, numbers to the right; where it is too narrow for one, a block of lines for each row."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    columns = [shown_line(column) for column in columns]
    cells = [[cell(value) for value in row] for row in rows]
    console = Console(soft_wrap=False, highlight=False, markup=False)
    if console.width < 1:  # of COLUMNS=0
        console.width = 80
    widths = fit([[column, *(row[number] for row in cells)] for number, column in enumerate(columns)], console.width)
    if widths is None:
        _print_blocks(columns, cells, console.width)
        return
    grid = Table(box=None, header_style="bold", pad_edge=False, padding=(0, GAP, 0, 0))
    for number, (column, width) in enumerate(zip(columns, widths, strict=True)):
        numeric = bool(cells) and all(_is_number(row[number]) for row in cells if row[number])
        grid.add_column(Text(column), justify="right" if numeric else "left", width=width, overflow="fold")
    for row in cells:
        grid.add_row(*(Text(text) for text in row))
    console.print(grid)


def fit(columns: Sequence[Sequence[str]], width: int) -> list[int] | None:
    """How many characters wide each column (its head, then its cells) is printed, None if the words do not fit `width`.

    Heads are broken first, then the widest column that holds sentences is made narrower, step by step, down to its longest
    word.
    """
    from rich.cells import cell_len

    def longest(texts: Iterable[str]) -> int:
        return max(map(cell_len, texts), default=0)

    room = width - GAP * (len(columns) - 1)
    least, wide = [], []
    for head, *cells in columns:
        words = longest(word for text in cells for word in text.split())
        whole = longest(line for text in cells for line in text.splitlines())
        sentences = any(" " in text.strip() for text in cells)
        few = min(max(words, NARROWEST), whole, LONGEST) if sentences else whole
        least.append(max(few, longest(head.split())))
        wide.append(max(least[-1], min(whole, room)))
    if sum(least) > room:
        return None
    while sum(wide) > room:
        widest = max((place for place in range(len(wide)) if wide[place] > least[place]), key=wide.__getitem__)
        wide[widest] -= 1
    for place, (head, *_) in enumerate(columns):  # heads in one line where there is room
        if (more := cell_len(head) - wide[place]) > 0 and sum(wide) + more <= room:
            wide[place] += more
    return wide


def _print_blocks(columns: Sequence[str], rows: Iterable[Sequence[str]], width: int) -> None:
    lines = TextWrapper(width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    for number, row in enumerate(rows):
        if number:
            say()
        for column, text in zip(columns, row, strict=True):
            if text:
                say(lines.fill(f"{column}: {text}"))


def _is_number(text: str) -> bool:
    return text.replace(",", "").replace(".", "").lstrip("-").isdigit()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int)):
        return value
    return value.hex() if isinstance(value, bytes) else str(value)


def cell(value: Any) -> str:
    """A value as people read it, in one line."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else shown_line(str(value))
