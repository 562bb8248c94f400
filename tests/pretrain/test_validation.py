"""Held-out loss while a run goes on, and the best weights of a run that went on for too long."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tasks.pretrain import CHECKPOINTS, checkpoint
from tasks.pretrain.data import TokenFiles, validation_windows
from tasks.pretrain.publish import publish
from tests.pretrain.runs import TINY, run_here

OVERFITTING = {"steps": 600, "learning_rate": 0.1, "checkpoint_steps": None}


def looks(rows: list[dict[str, float | None]]) -> list[tuple[float | None, float]]:
    return [(row["step"], row["validation_loss"]) for row in rows if row["validation_loss"] is not None]


def test_the_held_out_loss_is_that_of_the_published_model_at_each_tenth(
    make_tokens: Callable[..., Path], tmp_path: Path
) -> None:
    tokens = make_tokens(documents=100)
    run = run_here(tokens, tmp_path, {"steps": 50, "average": 0.5, "isolate_documents": False})
    metrics = publish(run)
    found = looks(run.state.rows)
    assert [step for step, _ in found] == list(range(5, 51, 5))
    assert found[-1][1] < found[0][1]
    assert (metrics["published_step"], metrics["validation_loss"]) == (50, found[-1][1])
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    windows = validation_windows(TokenFiles.read(tokens), 32)
    assert windows is not None
    with torch.no_grad():
        logits = model(windows[:, :-1]).logits
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
    assert found[-1][1] == pytest.approx(expected.item(), rel=1e-4)


def test_a_run_that_overfits_publishes_its_best_weights(
    make_tokens: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = run_here(make_tokens(documents=1, held_out=8), tmp_path, OVERFITTING)
    with caplog.at_level(logging.WARNING):
        metrics = publish(run)
    found = looks(run.state.rows)
    best_step, best_loss = min(found, key=lambda look: look[1])
    assert best_step < 600 and best_loss < found[-1][1] - 0.1
    assert (metrics["published_step"], metrics["validation_loss"]) == (best_step, best_loss)
    assert f"after step {best_step}, whose model is taken" in caplog.text
    best = checkpoint.load_best(tmp_path / CHECKPOINTS)
    assert best is not None
    published = load_file(tmp_path / "model" / "model.safetensors")
    assert torch.equal(published["model.embed_tokens.weight"], best[0]["embedding.weight"])
    assert not torch.equal(published["model.embed_tokens.weight"], run.optimizer.weights["embedding.weight"])


@pytest.mark.slow
def test_damaged_best_weights_are_not_published(
    make_tokens: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = run_here(make_tokens(documents=1, held_out=8), tmp_path, OVERFITTING)
    (folder,) = (tmp_path / CHECKPOINTS).glob("best-*")
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-5] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    with caplog.at_level(logging.WARNING):
        assert publish(run)["published_step"] == 600
    assert f"{folder.name} is damaged" in caplog.text


@pytest.mark.parametrize("held_out", [0, 1])
def test_a_run_with_little_or_no_held_out_text_goes_without(
    make_tokens: Callable[..., Path], tmp_path: Path, held_out: int
) -> None:
    run = run_here(make_tokens(held_out=held_out), tmp_path, {"steps": 10, "model": TINY["model"] | {"context": 512}})
    assert looks(run.state.rows) == []
    assert publish(run)["published_step"] == 10
