"""Two models on the same documents and items: by how much one is better, with the interval of the paired difference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from tasks.core.artifacts import Scores
from tasks.core.stage import Metrics
from tasks.evaluate import bootstrap, causal, masked
from tasks.evaluate.metrics import HELD_OUT_TASK
from tasks.evaluate.tasks import MODEL, task
from tasks.evaluation_sets import Item

_HELD_OUT: Mapping[str, tuple[tuple[str, ...], Callable[[np.ndarray], np.ndarray]]] = {
    "bits_per_byte": (causal.STATISTICS, causal.ratio),
    "pseudo_bits_per_byte": (masked.STATISTICS, masked.bits),
}


def paired_text(ours: Path, theirs: Path, resamples: int) -> list[Metrics]:
    """By how much two models differ on held-out text: folders of the stage `evaluate` of both, ours less theirs.

    A row is `task`, `metric`, `difference`, `low` and `high` (95 % by a paired bootstrap over documents), and `n`. Empty where
    the two read other documents, or are of different objectives: a causal and a masked model have no metric in common.
    """
    one, other = pq.read_table(Scores(ours).documents), pq.read_table(Scores(theirs).documents)
    for metric, (names, value) in _HELD_OUT.items():
        if set(names) <= set(one.column_names) & set(other.column_names) and one["bytes"].equals(other["bytes"]):
            sums = [np.stack([table[name].to_numpy() for name in names], 1) for table in (one, other)]
            [point] = value(sums[0].sum(0, keepdims=True)) - value(sums[1].sum(0, keepdims=True))
            resampled = [value(bootstrap.resample(part, resamples)) for part in sums]
            return [_row(HELD_OUT_TASK, metric, float(point), resampled[0] - resampled[1], len(sums[0]))]
    return []


def paired_task(name: str, kind: str, ours: Path, theirs: Path, resamples: int) -> list[Metrics]:
    """The same of a set with this name and kind of task, on its items: folders of the stage `task`.

    Where systems have several runs, the interval is over these too. Empty where one has no predictions.
    """
    folders = Scores(ours).predictions, Scores(theirs).predictions
    if not all(path.is_file() for path in folders):
        return []
    (items, one), (others, other) = map(_runs, folders)
    if [item.place for item in items] != [item.place for item in others]:
        return []
    declared, documents = task(kind), [item.document or item.place for item in items]
    points, resampled = [], []
    for runs in (one, other):
        counts = [bootstrap.by_document(declared.statistics(items, run), documents) for run in runs]
        points.append([declared.compute(count.sum(0)) for count in counts])
        resampled.append([declared.compute(bootstrap.resample(count, resamples)) for count in counts])
    found = []
    for metric in declared.METRICS:
        means = [np.mean([point[metric.name] for point in side]) for side in points]
        values = [bootstrap.average_runs(np.stack([run[metric.name] for run in side])) for side in resampled]
        found.append(_row(name, metric.name, float(means[0] - means[1]), values[0] - values[1], len(items)))
    return found


def _runs(path: Path) -> tuple[list[Item], list[Sequence[Any]]]:
    """The items of a task, and what the model predicted for them in each of its runs."""
    table = pq.read_table(path, filters=[("system", "=", MODEL)])
    rows = table.to_pylist()
    runs: dict[int, list[Any]] = {}
    for row in rows:
        runs.setdefault(row["run"], []).append(row["predicted"])
    items = [_item(row) for row in rows if row["run"] == 0]
    return items, list(runs.values())


def _item(row: Mapping[str, Any]) -> Item:
    tagged = isinstance(row["label"], list)
    labels = {"labels": tuple(row["label"])} if tagged else {"label": row["label"]}
    return Item(row["place"], "", document=row["document"], **labels)


def _row(task: str, metric: str, difference: float, resampled: np.ndarray, n: int) -> Metrics:
    low, high = bootstrap.interval(resampled)
    return {"task": task, "metric": metric, "difference": difference, "low": low, "high": high, "n": n}
