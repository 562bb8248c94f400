"""What an annotator is to the decision: its stage, the columns that are decided on, and the rules on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from tasks.core.stage import Stage

Threshold = float | str
"""A number, a text, or `$name` of a value that the config states or that is measured."""
Bound = Literal["at least", "at most", "equal to", "other than", "above", "nothing"]


class Unless(BaseModel):
    """Where a rule is not asked: the signal is `below` a threshold, or `at least` it."""

    model_config = ConfigDict(frozen=True)
    signal: str
    bound: Literal["below", "at least"]
    threshold: Threshold


class Rule(BaseModel):
    """One reason to drop a document: a signal outside of its bound. A signal that was not measured (null) drops nothing.

    `decision` is the name of the reason, `signal` a column of the decisions, `words` what a card says of it, with the values
    of thresholds in braces.
    """

    model_config = ConfigDict(frozen=True)
    decision: str
    signal: str
    bound: Bound
    threshold: Threshold = 0.0
    unless: tuple[Unless, ...] = ()
    words: str

    def sql(self) -> str:
        """The condition under which the rule drops a document."""
        value = _literal(self.threshold)
        fails = {
            "at least": f'"{self.signal}" < {value}',
            "at most": f'"{self.signal}" > {value}',
            "equal to": f'"{self.signal}" <> {value}',
            "other than": f'"{self.signal}" = {value}',
            "above": f'"{self.signal}" <= {value}',
            "nothing": f'"{self.signal}" IS NOT NULL',
        }[self.bound]
        asked = [f'"{one.signal}" {">=" if one.bound == "below" else "<"} {_literal(one.threshold)}' for one in self.unless]
        return " AND ".join([fails, *asked])

    def holds(self, value: Any, values: Mapping[str, Any]) -> bool:
        """Whether a value of the signal is within the bound: the same as the SQL, for one document."""
        if value is None:
            return True
        threshold = resolved(self.threshold, values)
        return bool(
            {
                "at least": lambda: value >= threshold,
                "at most": lambda: value <= threshold,
                "equal to": lambda: value == threshold,
                "other than": lambda: value != threshold,
                "above": lambda: value > threshold,
                "nothing": lambda: False,
            }[self.bound]()
        )

    def not_asked(self, row: Mapping[str, Any], values: Mapping[str, Any]) -> str:
        """Why the rule is not asked of a document, in words; empty where it is."""
        for one in self.unless:
            threshold, value = resolved(one.threshold, values), row[one.signal]
            if one.bound == "at least" and value >= threshold:
                return f"not asked from {one.signal} {threshold:g} on"
            if one.bound == "below" and value < threshold:
                return f"not asked of fewer than {threshold:g} {one.signal}"
        return ""


def resolved(threshold: Threshold, values: Mapping[str, Any]) -> Any:
    """The value of a threshold; `values` has those that are named."""
    return values[threshold[1:]] if isinstance(threshold, str) and threshold.startswith("$") else threshold


def _literal(threshold: Threshold) -> str:
    if isinstance(threshold, str) and not threshold.startswith("$"):
        return "'" + threshold.replace("'", "''") + "'"
    return str(threshold)


class Judged(BaseModel):
    """What the decision takes from one annotator: `columns` (name in the decisions -> name in the annotation; None: all, under
    their names), the rules in the order in which they are asked, and the values of thresholds that they name.
    """

    model_config = ConfigDict(frozen=True)
    name: str
    columns: dict[str, str] | None = None
    rules: tuple[Rule, ...] = ()
    values: dict[str, float] = {}


@dataclass(frozen=True)
class Annotator:
    """A stage that writes columns beside the documents, and what a decision makes of them; see `Judged` for the fields."""

    stage: Stage
    columns: Mapping[str, str] | None = None
    rules: tuple[Rule, ...] = ()

    def judged(self, values: Mapping[str, float] = {}) -> Judged:
        """The part of `select`'s config that is this annotator's."""
        columns = None if self.columns is None else dict(self.columns)
        return Judged(name=self.stage.name, columns=columns, rules=self.rules, values=dict(values))
