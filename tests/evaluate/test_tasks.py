"""The tasks of the evaluation: those of the package, and one that a user adds."""

import json
import random
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import lang_configs
from lang_configs import evaluation
from tasks.core.stage import Work
from tasks.evaluate import TaskConfig, task, tasks
from tasks.evaluate.metrics import HELD_OUT, held_out_scores
from tasks.evaluation_sets import EvaluationData
from tests.evaluate import word_order
from tests.evaluate.tiny_world import FARMING, SPORT, World, paragraph

YAML = """
name: Test
code: tst
script: Latn
evaluation:
  - {name: order, task: word_order, format: jsonl, files: {test: order.jsonl}}
evaluate: {seeds: 2, bootstrap: 100, samples: 1, sample_tokens: 3}
"""


@pytest.fixture
def clean_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "TASKS", list(evaluation.TASKS))
    monkeypatch.setattr(tasks, "TASKS", evaluation.TASKS)
    monkeypatch.setattr(tasks, "_registered", {})


@pytest.mark.parametrize("kind", [name for name in evaluation.TASKS if name != "none"])
def test_every_name_of_the_package_is_a_task(kind: str) -> None:
    found = tasks.task(kind)
    assert found.__name__ == f"tasks.evaluate.tasks.{kind}"
    assert all(tasks.metric(metric.name) is metric for metric in found.METRICS)
    for part in ("examples", "predict", "statistics", "compute"):
        assert callable(getattr(found, part))


def test_a_task_from_outside_is_scored_beside_its_floor(world: World, tmp_path: Path, clean_registry: None) -> None:
    draw = random.Random(11)
    texts = [paragraph(draw.choice([SPORT, FARMING]), draw) for _ in range(24)]
    (tmp_path / "order.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    (tmp_path / "test.yaml").write_text(YAML)
    with pytest.raises(lang_configs.ConfigError, match="'word_order' is not possible; choose from classification, tag"):
        lang_configs.load(str(tmp_path / "test.yaml"))
    tasks.register("word_order", word_order)
    config = lang_configs.load(str(tmp_path / "test.yaml"))
    data = EvaluationData(sets=config.evaluation, folder=tmp_path)
    (tmp_path / "out").mkdir()
    metrics = task(world.inputs, TaskConfig(**config.evaluate.model_dump(), data=data), tmp_path / "out", Work())
    model, floor = metrics["scores"]
    assert (model["task"], model["metric"], model["system"], model["n"]) == ("order", "errors", "model", 24)
    assert (floor["system"], floor["seeds"]) == ("random-init", 2)
    assert 0 <= model["low"] <= model["value"] <= model["high"] <= 1
    assert model["floor"] == "random-init"
    # lower is better, so a model above its floor has a positive difference
    assert model["difference"] == pytest.approx(floor["value"] - model["value"], abs=2e-6)
    assert model["difference_low"] <= model["difference"] <= model["difference_high"]
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text())["details"]["pairs"] == 24
    rows = pq.read_table(tmp_path / "out" / "predictions.parquet").to_pylist()
    assert Counter((row["system"], row["run"]) for row in rows) == {
        ("model", 0): 24,
        ("random-init", 0): 24,
        ("random-init", 1): 24,
    }
    assert tasks.metric("errors").lower_is_better


def test_a_name_is_given_once_and_looks_like_a_module(clean_registry: None) -> None:
    for name, message in (("classification", "already"), ("Word order", "cannot be the name"), ("none", "already")):
        with pytest.raises(ValueError, match=message):
            tasks.register(name, word_order)
    with pytest.raises(KeyError, match="no task 'word_order'"):
        tasks.task("word_order")


def test_metrics_of_held_out_text_are_scores_with_their_documents() -> None:
    metrics = {
        **dict.fromkeys(metric.name for metric in HELD_OUT),
        "pseudo_perplexity": 20.0, "pseudo_perplexity_low": 19.0, "pseudo_perplexity_high": 21.0, "pseudo_documents": 7,
        "masked_loss": 3.0, "test_documents": 9,
    }  # fmt: skip
    found = held_out_scores(metrics)
    assert [(row["metric"], row["value"], row["low"], row["high"], row["n"]) for row in found] == [
        ("pseudo_perplexity", 20.0, 19.0, 21.0, 7),
        ("masked_loss", 3.0, None, None, 9),
    ]
    assert {(row["task"], row["system"]) for row in found} == {("held-out text", "model")}
