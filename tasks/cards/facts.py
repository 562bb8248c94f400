"""The facts of the cards: the numbers that a card may print, each with the SQL that gives it from the ledger."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

QUERIES = Path(__file__).parent / "facts.sql"
_HEADER = re.compile(r"^-- (row|rows) (\w+)\n", re.MULTILINE)


def gather(database: Any) -> dict[str, dict[str, Any]]:
    """Name -> `{"sql": ..., "value": ...}` of every fact, from a ledger of one run (`tasks.ledger.in_memory`).

    A value is an object (columns of the one row, all None if there is no row) or a list of objects; a number that is
    not finite becomes None, which JSON can hold and a card shows as a dash.
    """
    database.execute("SET threads = 1")  # floats add up in one order
    facts = {}
    for kind, name, statement in queries():
        result = database.execute(statement)
        columns = [entry[0] for entry in result.description]
        rows = [dict(zip(columns, map(_finite, row), strict=True)) for row in result.fetchall()]
        single = rows[0] if rows else dict.fromkeys(columns)
        facts[name] = {"sql": statement, "value": rows if kind == "rows" else single}
    return facts


def queries() -> Iterator[tuple[str, str, str]]:
    """Kind (row or rows), name and statement of each block of facts.sql, in its order."""
    parts = _HEADER.split(QUERIES.read_text(encoding="utf-8"))[1:]
    for kind, name, body in zip(parts[0::3], parts[1::3], parts[2::3], strict=True):
        yield kind, name, body.strip().removesuffix(";")


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
