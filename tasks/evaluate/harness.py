"""Runs a task: predictions of the model and of its floors, their scores with intervals, and how far the model is above them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.core.artifacts import Scores
from tasks.core.documents import write_table
from tasks.core.stage import Metrics, Progress
from tasks.evaluate import bootstrap
from tasks.evaluate.examples import Examples
from tasks.evaluate.metrics import Metric
from tasks.evaluate.tasks import MODEL, Predictions, Settings, Task


def run_task(
    task: Task, examples: Examples, model: Any, tokenizer: Any, config: Settings, out: Path, progress: Progress
) -> Metrics:
    """Scores and details of a task; writes what was predicted (`place`, `document`, `label`, `system`, `run`, `predicted`)."""
    predictions = task.predict(examples, model, tokenizer, config, progress)
    _write(examples, predictions, Scores(out).predictions)
    details = {
        **predictions.details,
        "left_out": examples.left_out,
        "documents": len({item.document or item.place for item in examples.test}),
        "interval": bootstrap.describe(config.bootstrap),
    }
    return {"scores": score(task, examples, predictions.systems, config.bootstrap), "details": details}


def _write(examples: Examples, predictions: Predictions, path: Path) -> None:
    truth = [list(item.labels) if item.labels else item.label for item in examples.test]
    runs = [(system, number, run) for system, rows in predictions.systems.items() for number, run in enumerate(rows)]
    table = {
        "place": [item.place for item in examples.test] * len(runs),
        "document": [item.document for item in examples.test] * len(runs),
        "label": truth * len(runs),
        "system": [system for system, _, run in runs for _ in run],
        "run": [number for _, number, run in runs for _ in run],
        "predicted": [predicted for _, _, run in runs for predicted in run],
    }
    write_table(pa.table(table), path)


def score(
    task: Task, examples: Examples, systems: Mapping[str, Sequence[Sequence[Any]]], resamples: int
) -> list[dict[str, Any]]:
    """One score for each system and metric: `task`, `metric`, `system`, `value`, `low`, `high`, `n`, `seeds`.

    `value` is that of the `n` test items, the mean over the runs of the system (`seeds` of them); `low` and `high` are its
    95 % interval, over documents and runs. The model's scores also name the best of its floors (`floor`) and by how much the
    model is better, whatever the direction of the metric: `difference`, and from `difference_low` to `difference_high` its
    interval. That one is paired: in each resample both meet the same documents.
    """
    documents = [item.document or item.place for item in examples.test]
    values: dict[str, dict[str, float]] = {}
    resampled: dict[str, dict[str, np.ndarray]] = {}
    for system, runs in systems.items():
        counts = [bootstrap.by_document(task.statistics(examples.test, run), documents) for run in runs]
        points = [task.compute(count.sum(0)) for count in counts]
        replicates = [task.compute(bootstrap.resample(count, resamples)) for count in counts]
        names = [metric.name for metric in task.METRICS]
        values[system] = {name: float(np.mean([point[name] for point in points])) for name in names}
        resampled[system] = {name: bootstrap.average_runs(np.stack([run[name] for run in replicates])) for name in names}
    scores = []
    for system, runs in systems.items():
        for metric in task.METRICS:
            if math.isnan(values[system][metric.name]):
                continue  # a metric that this set has not: spans of tags that mark none
            low, high = bootstrap.interval(resampled[system][metric.name])
            row = {"task": examples.name, "metric": metric.name, "system": system, "value": values[system][metric.name]}
            row |= {"low": low, "high": high, "n": len(examples.test), "seeds": len(runs)}
            scores.append(row | (_above_floors(metric, values, resampled) if system == MODEL else {}))
    return scores


def _above_floors(metric: Metric, values: Mapping[str, Any], resampled: Mapping[str, Any]) -> dict[str, Any]:
    """By how much the model is better than the best of its floors; nothing where it has none."""
    sign = -1 if metric.lower_is_better else 1
    above = {floor: sign * (values[MODEL][metric.name] - values[floor][metric.name]) for floor in values if floor != MODEL}
    if not above:
        return {}
    best = min(above, key=lambda floor: above[floor])
    low, high = bootstrap.interval(sign * (resampled[MODEL][metric.name] - resampled[best][metric.name]))
    return {"floor": best, "difference": above[best], "difference_low": low, "difference_high": high}
