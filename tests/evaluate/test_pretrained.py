"""Models from elsewhere are measured as ours are, with their own tokenizers."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lang_configs.evaluation import Evaluate, EvaluationSet
from tasks.core.errors import StageError
from tasks.core.stage import Work
from tasks.evaluate import EvaluateConfig, TaskConfig, evaluate, task
from tasks.evaluate.compare import paired_task, paired_text
from tasks.evaluate.held_out import read_texts
from tasks.evaluate.model import boundaries, context_length, load_model, load_tokenizer, masked_logits
from tasks.evaluate.pretrained import find_model, pretrained
from tasks.evaluation_sets import EvaluationData
from tests.evaluate.stock_models import CONTEXT, save
from tests.evaluate.tiny_world import World, document, make_model

KINDS = ("gpt2", "bert", "roberta", "distilbert")
CONFIG = EvaluateConfig(**Evaluate(bootstrap=100, samples=1, sample_tokens=4).model_dump())
TOPICS = EvaluationSet(name="topics", task="classification", format="sections", source="starter")


@pytest.fixture(scope="module", params=KINDS)
def stock(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw = random.Random(3)
    texts = [document(section, number, draw)["text"] for section in ("michezo", "kilimo") for number in range(20)]
    return save(request.param, tmp_path_factory.mktemp("stock") / request.param, texts)


@pytest.fixture(scope="module")
def adopted(stock: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adopted")
    (stock / "README.md").write_text("a card")
    (stock / "pytorch_model.bin").write_bytes(b"a pickle")
    metrics = pretrained({}, find_model(str(stock)), folder, Work())
    assert metrics["objective"] == ("causal" if stock.name == "gpt2" else "masked")
    assert metrics["parameters"] == load_model(stock).num_parameters()
    assert not {"README.md", "pytorch_model.bin"} & {path.name for path in (folder / "model").iterdir()}
    return folder


def test_held_out_text_and_tasks_are_measured(world: World, adopted: Path, tmp_path: Path) -> None:
    inputs = {"pretrain": adopted, "corpus": world.inputs["corpus"]}
    metrics = evaluate(inputs, CONFIG, tmp_path, Work())
    bits = metrics["bits_per_byte"] if metrics["objective"] == "causal" else metrics["pseudo_bits_per_byte"]
    assert bits == pytest.approx(by_hand(adopted / "model", list(read_texts(world.inputs["corpus"]))), rel=0.05)
    (tmp_path / "task").mkdir()
    config = TaskConfig(data=EvaluationData(sets=[TOPICS]), seeds=2, bootstrap=100)
    assert len(task(inputs, config, tmp_path / "task", Work())["scores"]) == 3 * 4


def by_hand(folder: Path, texts: list[str]) -> float:
    """An untrained model finds each piece about as likely as any other."""
    tokenizer = load_tokenizer(folder)
    pieces = sum(len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]) for text in texts)
    return pieces * math.log2(load_model(folder).config.vocab_size) / sum(len(text.encode()) for text in texts)


def test_the_context_is_what_the_model_can_read(stock: Path) -> None:
    model = load_model(stock)
    assert context_length(model) == CONTEXT
    begin, end = boundaries(load_tokenizer(stock))
    assert model(torch.full((1, CONTEXT), 7)).logits.shape[1] == CONTEXT
    assert 0 <= begin < model.config.vocab_size and 0 <= end < model.config.vocab_size


def test_logits_of_chosen_places_are_those_of_the_whole_model(stock: Path) -> None:
    model: Any = load_model(stock)
    if stock.name == "gpt2":
        return
    draw = np.random.default_rng(3)
    ids, lengths = torch.from_numpy(draw.integers(5, model.config.vocab_size, (2, 20))), [20, 9]
    rows, columns = torch.tensor([0, 0, 1]), torch.tensor([3, 19, 8])
    with torch.inference_mode():
        found = masked_logits(model, ids, lengths, rows, columns)
        alone = [model(ids[row : row + 1, : lengths[row]]).logits[0, column] for row, column in zip(rows, columns, strict=True)]
    assert torch.allclose(found, torch.stack(alone), atol=1e-5)


def test_two_models_are_compared_on_the_same_items(world: World, adopted: Path, tmp_path: Path) -> None:
    def measured(name: str, inputs: dict[str, Path]) -> tuple[Path, Path, Any, Any]:
        folders = tmp_path / name, tmp_path / f"{name}-topics"
        for folder in folders:
            folder.mkdir()
        config = TaskConfig(data=EvaluationData(sets=[TOPICS]), seeds=2, bootstrap=100)
        return *folders, evaluate(inputs, CONFIG, folders[0], Work()), task(inputs, config, folders[1], Work())

    ours, our_topics, our_text, our_scores = measured("ours", world.inputs)
    theirs, their_topics, their_text, their_scores = measured("theirs", {"pretrain": adopted, "corpus": world.inputs["corpus"]})
    assert paired_text(ours, ours, 100) == [
        {"task": "held-out text", "metric": "bits_per_byte", "difference": 0.0, "low": 0.0, "high": 0.0, "n": 13}
    ]
    found = paired_text(ours, theirs, 200)
    if their_text["objective"] == "masked":
        assert found == []
    else:
        [row] = found
        assert row["difference"] == pytest.approx(our_text["bits_per_byte"] - their_text["bits_per_byte"], abs=1e-5)
        assert row["low"] <= row["difference"] <= row["high"]
        single = our_text["bits_per_byte_high"] - our_text["bits_per_byte_low"]
        assert row["high"] - row["low"] < 3 * single
    rows = {row["metric"]: row for row in paired_task("topics", "classification", our_topics, their_topics, 100)}
    for metric in ("accuracy", "macro_f1", "weighted_f1"):
        one, other = (
            next(score["value"] for score in scores["scores"] if (score["metric"], score["system"]) == (metric, "model"))
            for scores in (our_scores, their_scores)
        )
        assert rows[metric]["difference"] == pytest.approx(one - other, abs=1e-5)
    assert paired_task("topics", "classification", our_topics, ours, 100) == []  # no predictions there


def test_what_is_no_model_is_said_in_one_sentence(world: World, stock: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in (str(tmp_path / "empty"), str(tmp_path / "nowhere"), "no model"):
        with pytest.raises(StageError, match=r"no model is there: give a language that was built, a folder with config\.json"):
            find_model(name)
    assert find_model(str(world.inputs["pretrain"])).name == world.inputs["pretrain"].name  # a release has it in `model`
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        (bare / name).write_bytes((stock / name).read_bytes())
    with pytest.raises(StageError, match="no tokenizer beside the model"):
        pretrained({}, find_model(str(bare)), tmp_path, Work())
    other = save("gpt2", tmp_path / "other", ["habari ya leo, mama na baba"])
    make_model(8).save_pretrained(str(other))
    with pytest.raises(StageError, match=r"the tokenizer has \d+ pieces, the model 8 embeddings"):
        pretrained({}, find_model(str(other)), tmp_path, Work())
    (bare / "model.safetensors").unlink()
    (bare / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(StageError, match="no language model that transformers can read"):
        pretrained({}, find_model(str(bare)), tmp_path, Work())
