"""The tasks that a model is evaluated on: one module for each kind, named as `task` in a language's file names it.

To add one to the package: a module here with what `Task` asks for, and its name in `lang_configs.evaluation.TASKS`. From
outside the package: `register`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from lang_configs.evaluation import TASKS, EvaluationSet, Mode, register_task
from tasks.core.stage import Metrics, Progress
from tasks.evaluate.examples import Examples
from tasks.evaluate.metrics import Metric
from tasks.evaluation_sets import EvaluationData, Item

MODEL = "model"
"""The system whose score is reported; all others are its floors."""


@dataclass(frozen=True)
class Predictions:
    """What each system predicts for the test items, by its name: `model`, and the floors that it is measured against.

    A system has one run, or several that differ by their seed; a run is one prediction for each test item. `details` say how
    the predictions came about.
    """

    systems: Mapping[str, Sequence[Sequence[Any]]]
    details: Metrics


class Settings(Protocol):
    """What a task may know of the section `evaluate`: whether the model is trained for it or stays as it is, how many seeds
    a score is the mean of, and resamples of an interval.
    """

    @property
    def mode(self) -> Mode: ...

    @property
    def seeds(self) -> int: ...

    @property
    def bootstrap(self) -> int: ...


class Task(Protocol):
    """A kind of task: examples in, predictions out, and how they are scored. A module with these names is one."""

    METRICS: tuple[Metric, ...]

    def examples(self, entry: EvaluationSet, data: EvaluationData, corpus: Path | None) -> Examples:
        """The items of a set, which may be made of the run's corpus; raises `examples.Unavailable` when it cannot be used here,
        StageError for a wrong config.
        """
        ...

    def predict(self, examples: Examples, model: Any, tokenizer: Any, config: Settings, progress: Progress) -> Predictions:
        """What the model and its floors predict for the test items; whatever is chosen is chosen on train and dev items."""
        ...

    def statistics(self, items: Sequence[Item], predicted: Sequence[Any]) -> np.ndarray:
        """What the metrics are computed from, for each item: counts `[items, k]` that can be added up over items."""
        ...

    def compute(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """The value of each of `METRICS`, by name, from sums of statistics: `[..., k]` -> `[...]`."""
        ...


_registered: dict[str, Task] = {}


def task(kind: str) -> Task:
    """The task of this name; raises KeyError when there is none."""
    if kind in _registered:
        return _registered[kind]
    if kind not in TASKS or kind == "none":
        raise KeyError(f"there is no task {kind!r}; register it with tasks.evaluate.tasks.register")
    return cast(Task, import_module(f"{__name__}.{kind}"))


def register(kind: str, new: Task) -> None:
    """Add a task from outside the package (a module, or any object with the same attributes), for this process.

    Evaluation sets can name it from then on. Raises ValueError when there is a task of that name, or when it cannot be one.
    """
    register_task(kind)
    _registered[kind] = new


def metric(name: str) -> Metric | None:
    """The declaration of a metric of any task; None for one that no task declares."""
    declared = (entry for kind in TASKS if kind != "none" for entry in task(kind).METRICS)
    return next((entry for entry in declared if entry.name == name), None)
