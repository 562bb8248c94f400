"""A task from outside of the package: does the model find a sentence likelier than the same words in another order?"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lang_configs.evaluation import EvaluationSet
from tasks.core.stage import Progress
from tasks.evaluate import floors
from tasks.evaluate.examples import Examples, check_sizes, read_examples
from tasks.evaluate.metrics import Metric
from tasks.evaluate.tasks import MODEL, Predictions, Settings
from tasks.evaluation_sets import EvaluationData, Item

METRICS: tuple[Metric, ...] = (Metric("errors", "share of pairs in the wrong order", lower_is_better=True),)


def examples(entry: EvaluationSet, data: EvaluationData, corpus: Path | None) -> Examples:
    found = read_examples(entry, data, corpus, ["test"])
    check_sizes(found, ["test"])
    return found


def predict(examples: Examples, model: Any, tokenizer: Any, config: Settings, progress: Progress) -> Predictions:
    def judge(candidate: Any) -> list[bool]:
        return [loss(candidate, tokenizer, item.text) < loss(candidate, tokenizer, shuffled(item)) for item in examples.test]

    untrained = [judge(floors.random_initialised(model, seed)) for seed in range(1, config.seeds + 1)]
    return Predictions({MODEL: [judge(model)], floors.RANDOM_INIT: untrained}, {"pairs": len(examples.test)})


def statistics(items: Sequence[Item], predicted: Sequence[bool]) -> np.ndarray:
    return np.array([[not right, 1] for right in predicted], float)


def compute(sums: np.ndarray) -> dict[str, np.ndarray]:
    return {"errors": sums[..., 0] / sums[..., 1]}


def shuffled(item: Item) -> str:
    words = item.text.split()
    return " ".join(random.Random(item.place).sample(words, len(words)))


def loss(model: Any, tokenizer: Any, text: str) -> float:
    import torch

    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        return float(model(ids, labels=ids).loss)
