"""What was measured on several models, as a person compares them."""

from __future__ import annotations

from collections.abc import Sequence

from flows.cli.tables import table
from flows.cli.terminal import say
from flows.run.evaluation import Measured
from tasks.core.stage import Metrics

Key = tuple[str, str]
"""Set and metric."""


def print_evaluation(measured: Sequence[Measured]) -> None:
    """For each set and metric a line for each model, with its score and by how much the first one is better or worse, and one
    for the best floor of the first.
    """
    first, *others = measured
    found = [{_key(score): score for score in one.scores if score["system"] == "model"} for one in measured]
    rows: list[tuple[str, ...]] = []
    for key in dict.fromkeys(key for scores in found for key in scores):
        for one, scores in zip(measured, found, strict=True):
            if key in scores:
                difference = "" if one is first else _difference(first.differences[one.name], key)
                rows.append((*key, one.short, _shown(scores[key]), difference))
        rows += _floor(first, key)
    table(["set", "metric", "model", "score", *([f"{first.short} less it"] if others else [])], _merged(rows, bool(others)))
    for name, reason in first.skipped.items():
        say(f"not run: {name} ({reason})")
    say("in brackets: 95 % intervals, by a bootstrap over documents, paired where two models are compared")


def _key(score: Metrics) -> Key:
    return score["task"], score["metric"]


def _difference(rows: Sequence[Metrics], key: Key) -> str:
    return next((_shown({**row, "value": row["difference"]}, "+") for row in rows if _key(row) == key), "")


def _floor(one: Measured, key: Key) -> list[tuple[str, ...]]:
    scores = {score["system"]: score for score in one.scores if _key(score) == key}
    name = scores.get("model", {}).get("floor")
    return [(*key, f"({name})", _shown(scores[name]), "")] if name else []


def _merged(rows: Sequence[tuple[str, ...]], compared: bool) -> list[tuple[str, ...]]:
    """The rows with set and metric where they change, and without the last column where nothing is compared."""
    shown, before = [], ("", "")
    for task, metric, *rest in rows:
        key = (task, metric)
        head = ("" if task == before[0] else task, "" if key == before else metric.replace("_", " "))
        shown.append((*head, *(rest if compared else rest[:-1])))
        before = key
    return shown


def _shown(score: Metrics, sign: str = "") -> str:
    def number(value: float) -> str:
        return f"{value:{sign},.0f}" if abs(value) >= 100 else f"{value:{sign}.3f}"

    low, high = score.get("low"), score.get("high")
    interval = "" if low is None or high is None else f" [{number(low)}..{number(high)}]"
    return f"{number(score['value'])}{interval}"
