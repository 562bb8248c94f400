"""Fine-tuning by the stock classes: what is learned, how its rate is chosen, and which runs are said to have collapsed."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lang_configs.evaluation import EvaluationSet
from tasks.core.stage import Work
from tasks.evaluate import TaskConfig, finetuning, task
from tasks.evaluate.finetuning import IGNORED, Encoded, Problem, logits, tune, with_head
from tasks.evaluation_sets import EvaluationData
from tests.evaluate.test_tagging import conll
from tests.evaluate.tiny_world import World, make_masked_model

TOPICS = EvaluationSet(name="topics", task="classification", format="sections", source="starter")


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few steps are enough for the little there is to learn."""
    monkeypatch.setattr(finetuning, "FEWEST_STEPS", 40)
    monkeypatch.setattr(finetuning, "MOST_STEPS", 60)
    monkeypatch.setattr(finetuning, "RATES", (1e-6, 5e-3))


def quiet(*_: object) -> None:
    pass


def model_of(world: World, kind: str) -> Any:
    return world.model if kind == "qwen3" else make_masked_model(kind, len(world.tokenizer))


def halves(number: int, seed: int) -> list[Encoded]:
    """Of which half of the vocabulary are the tokens?"""
    draw = random.Random(seed)
    labels = [draw.randrange(2) for _ in range(number)]
    return [
        Encoded([1, *(draw.randrange(10, 60) + 50 * label for _ in range(draw.randrange(3, 9)))], label) for label in labels
    ]


def problem(least: float = 0.5) -> Problem:
    dev = halves(60, 2)

    def quality(found: Any) -> float:
        return float(np.mean([row.argmax() == one.label for row, one in zip(found, dev, strict=True)]))

    return Problem("SequenceClassification", 2, halves(200, 1), dev, halves(40, 3), quality, least)


@pytest.mark.parametrize("kind", ["qwen3", "bert", "modernbert"])
def test_the_layers_are_those_of_the_model_and_the_head_is_new(world: World, kind: str) -> None:
    model = model_of(world, kind)
    one, two, other = (with_head(model, world.tokenizer, "TokenClassification", 5, seed) for seed in (1, 1, 2))
    ids = torch.tensor([[1, 9, 8, 7]])
    with torch.inference_mode():
        states = [part.eval().base_model(ids).last_hidden_state for part in (model, one, other)]
    assert torch.allclose(states[0], states[1]) and torch.allclose(states[0], states[2])
    sizes = [one.eval()(ids).logits.shape, with_head(model, world.tokenizer, "SequenceClassification", 3, 1)(ids).logits.shape]
    assert sizes == [(1, 4, 5), (1, 3)]
    assert torch.equal(one.eval()(ids).logits, two.eval()(ids).logits)
    assert not torch.equal(one(ids).logits, other.eval()(ids).logits)


def test_logits_do_not_depend_on_the_batch(world: World) -> None:
    for kind in ("qwen3", "bert"):
        model = with_head(model_of(world, kind), world.tokenizer, "SequenceClassification", 2, 1)
        examples = halves(12, 5)
        together = logits(model, examples)
        assert all(np.allclose(row, logits(model, [one])[0], atol=1e-5) for row, one in zip(together, examples, strict=True))


def test_the_rate_is_the_best_on_dev_and_each_seed_is_a_run(world: World) -> None:
    one, two = (tune(lambda seed: world.model, world.tokenizer, problem(), 2, quiet) for _ in range(2))
    assert one.rate == max(one.tried, key=lambda rate: one.tried[rate]) == 5e-3
    assert one.tried[5e-3] > 0.8 > one.tried[1e-6]
    assert len(one.runs) == 2 and one.collapsed == []
    assert all(np.array_equal(a, b) for x, y in zip(one.runs, two.runs, strict=True) for a, b in zip(x, y, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(*one.runs, strict=True))


def test_a_run_that_is_no_better_than_the_majority_is_named_and_counts(world: World) -> None:
    found = tune(lambda seed: world.model, world.tokenizer, problem(least=1.0), 2, quiet)
    assert found.collapsed == [1, 2] and len(found.runs) == 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["qwen3", "bert"])
def test_full_evaluation_of_topics_and_names(world: World, kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    model_of(world, kind).save_pretrained(str(folder / "model"))
    draw = random.Random(4)
    for split, number in (("train", 80), ("test", 30)):
        conll(tmp_path, split, number, draw)
    names = EvaluationSet(name="names", task="tagging", format="conll", files={"train": "train.txt", "test": "test.txt"})
    for entry, metric in ((TOPICS, "accuracy"), (names, "span_f1")):
        out = tmp_path / entry.name
        out.mkdir()
        config = TaskConfig(data=EvaluationData(sets=[entry], folder=tmp_path), mode="full", seeds=2, bootstrap=100)
        metrics = task({**world.inputs, "pretrain": folder}, config, out, Work())
        scores = {score["system"]: score for score in metrics["scores"] if score["metric"] == metric}
        assert scores["model"]["seeds"] == scores["random-init"]["seeds"] == 2
        assert scores["model"]["value"] > 0.8
        details = json.loads((out / "evaluation.json").read_text())["details"]
        assert details["fine-tuning"]["rate"] == 5e-3 and details["fine-tuning"]["collapsed"] == []


def test_tokens_without_a_label_are_not_learned(world: World) -> None:
    examples = [Encoded([1, 9, 8], [IGNORED, 0, 1]), Encoded([1, 7], [IGNORED, 1])]
    batch = finetuning._Collator(0)(examples)
    assert batch["labels"].tolist() == [[IGNORED, 0, 1], [IGNORED, 1, IGNORED]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
