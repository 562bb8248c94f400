"""The table of decisions, in the order in which they are made: the SQL, the explanation of a document, the words of the cards
and the order of the ledger all come from it. The rules on annotations stand with their annotators; those here are select's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tasks.annotate.annotator import Judged, Rule

FIRST = (
    Rule(decision="forgotten", signal="forgotten", bound="nothing", words="taken out on request"),
    Rule(decision="source", signal="source_weight", bound="above", threshold=0, words="its source has weight 0"),
)
"""Asked before those of the annotators."""

LAST = {
    "exact_duplicate": "same words as an earlier document",
    "near_duplicate": "nearly the same words as an earlier document",
    "source_limit": "its source has a limit, which other documents fill",
    "keep": "kept",
}
"""Decided of the documents that no rule drops, by what became of others (`select.sql`)."""


def rules(annotations: Iterable[Judged]) -> list[Rule]:
    """All rules in the order in which they are asked; the first that a document breaks names its decision."""
    return [*FIRST, *(rule for judged in annotations for rule in judged.rules)]


def faults(annotations: Iterable[Judged]) -> str:
    """The SQL expression that gives the first fault of a document, or null."""
    branches = "\n".join(f"               WHEN {rule.sql()} THEN '{rule.decision}'" for rule in rules(annotations))
    return f"CASE\n{branches}\n           END"


def in_words(annotations: Iterable[Judged], values: Mapping[str, Any]) -> list[dict[str, str]]:
    """Every decision that there can be, in order, with its words: what the ledger and the cards show."""
    shown = {name: f"{value:g}" if isinstance(value, float | int) else str(value) for name, value in values.items()}
    found = [{"decision": rule.decision, "words": rule.words.format_map(shown)} for rule in rules(annotations)]
    return found + [{"decision": decision, "words": words} for decision, words in LAST.items()]
