"""A tiny masked model through the stage `evaluate`, and what it puts into gaps."""

import json
from pathlib import Path

import pytest

from lang_configs.evaluation import Evaluate, EvaluationSet
from tasks.core.errors import StageError
from tasks.core.stage import Work
from tasks.evaluate import EvaluateConfig, TaskConfig, evaluate, task
from tasks.evaluate.filling import fill, gaps
from tasks.evaluate.generation import Sampling, stream
from tasks.evaluate.metrics import HELD_OUT
from tasks.evaluate.model import load_tokenizer
from tasks.evaluation_sets import EvaluationData
from tests.evaluate.tiny_world import World, make_masked_model

TOPICS = EvaluationSet(name="topics", task="classification", format="sections", source="starter")
CONFIG = EvaluateConfig(**Evaluate(bootstrap=100, samples=3).model_dump(), masking=0.25)


@pytest.fixture(scope="module")
def masked(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("masked")
    model = make_masked_model("modernbert", len(world.tokenizer))
    model.save_pretrained(str(folder / "model"))
    return World({**world.inputs, "pretrain": folder}, model, world.tokenizer)


def test_what_is_measured_bears_its_own_names(masked: World, tmp_path: Path) -> None:
    metrics = evaluate(masked.inputs, CONFIG, tmp_path, Work())
    assert metrics["objective"] == "masked"
    assert {metric.objective for metric in HELD_OUT if metrics[metric.name] is not None} == {"masked"}
    assert {metric.objective for metric in HELD_OUT if metrics[metric.name] is None} == {"causal"}
    assert metrics["samples"] == []
    assert len(metrics["filled"]) == 3
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert {key: written[key] for key in metrics} == metrics
    assert written["details"]["masked_loss"]["share"] == 0.25
    assert json.loads((tmp_path / "samples.json").read_text()) == metrics["filled"]


def test_a_task_is_scored_beside_its_floors(masked: World, tmp_path: Path) -> None:
    metrics = task(masked.inputs, TaskConfig(data=EvaluationData(sets=[TOPICS]), seeds=2, bootstrap=100), tmp_path, Work())
    assert {score["system"] for score in metrics["scores"]} == {"model", "tfidf", "majority", "random-init"}


def test_a_gap_is_one_token_wide_and_hides_one_word(masked: World) -> None:
    tokenizer = load_tokenizer(masked.inputs["tokenizer"] / "hf", finds_special_tokens=True)
    texts = ["Fupi mno.\nJana watu wengi katika mji wa kale alisema mchezaji hata hivyo, leo sana.", "Neno moja tu."]
    [(text, word)] = gaps(texts, tokenizer)
    before, after = text.split("<mask>")
    assert f"{before}{word}{after}" == texts[0].split("\n")[1]
    ids, hidden = tokenizer(text)["input_ids"], tokenizer(f"{before}{word}{after}")["input_ids"]
    assert [a for a, b in zip(ids, hidden, strict=True) if a != b] == [tokenizer.mask_token_id]


def test_guesses_are_those_of_the_pipeline(masked: World) -> None:
    from transformers import pipeline

    tokenizer = load_tokenizer(masked.inputs["tokenizer"] / "hf", finds_special_tokens=True)
    texts = ["timu ya <mask> leo.", "<mask> wa shamba"]
    expected = pipeline("fill-mask", model=masked.model, tokenizer=tokenizer, top_k=5)(texts)
    for found, answers in zip(fill(masked.model, tokenizer, texts), expected, strict=True):
        assert [guess["probability"] for guess in found] == pytest.approx([answer["score"] for answer in answers], rel=1e-4)


def test_prompts_of_the_config_are_filled_if_they_have_a_gap(masked: World, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"prompts": ["timu ya", "timu ya <mask>."]})
    [filled] = evaluate(masked.inputs, config, tmp_path, Work())["filled"]
    assert (filled["text"], filled["word"], len(filled["guesses"])) == ("timu ya <mask>.", None, 5)


def test_a_masked_model_is_not_asked_to_write(masked: World) -> None:
    with pytest.raises(StageError, match="a masked model, which fills gaps and continues no text"):
        stream(masked.inputs["pretrain"] / "model", masked.inputs["tokenizer"] / "hf", "timu", Sampling(), print)


def test_a_tokenizer_without_a_mask_is_refused(masked: World, tmp_path: Path) -> None:
    config = json.loads((masked.inputs["tokenizer"] / "hf" / "tokenizer_config.json").read_text())
    del config["mask_token"]
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "hf" / "tokenizer.json").write_bytes((masked.inputs["tokenizer"] / "hf" / "tokenizer.json").read_bytes())
    with pytest.raises(StageError, match="no mask token"):
        evaluate({**masked.inputs, "tokenizer": tmp_path}, CONFIG, tmp_path, Work())
