"""Sampled softmax: what is scored, that it is right in expectation, and that a step of it is whole."""

from statistics import fmean

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lang_configs.training import Model, Pretrain
from tasks.pretrain import models
from tasks.pretrain.models import layers
from tasks.pretrain.sampled import sample


@given(st.integers(1, 60), st.integers(61, 120), st.integers(120, 500), st.integers(0, 1000))
def test_what_occurs_is_scored_and_the_rest_counts_for_all_that_is_not(
    count: int, size: int, vocab_size: int, key: int
) -> None:
    labels = torch.from_numpy(np.random.default_rng(key).integers(vocab_size, size=(1, count)))
    found = sample(labels, vocab_size, size, (key,))
    assert len(found.pieces) == len(set(found.pieces.tolist())) == size
    assert torch.equal(found.pieces[found.positions[labels]], labels)
    assert torch.equal(found.log_weights[found.positions[labels]], torch.zeros(labels.shape))
    assert found.log_weights.exp().sum().item() == pytest.approx(vocab_size, rel=1e-5)
    again = sample(labels, vocab_size, size, (key,))
    assert all(torch.equal(one, other) for one, other in zip(found, again, strict=True))


def test_without_room_for_others_what_occurs_is_all_that_counts() -> None:
    found = sample(torch.arange(10)[None], 100, 10, (1,))
    assert found.pieces.tolist() == list(range(10))
    assert torch.equal(found.log_weights, torch.zeros(10))


def test_more_pieces_than_are_to_be_scored_are_refused() -> None:
    with pytest.raises(ValueError, match="10 pieces occur, more than the 9"):
        sample(torch.arange(10)[None], 100, 9, (1,))


def test_a_sampled_loss_is_the_same_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    model = models.new(Pretrain(model=Model(layers=1, width=32, heads=2, context=16)), 200, 1)
    assert isinstance(model, models.CausalLM)
    windows = torch.randint(0, 200, (3, 17))
    drawn = sample(windows[:, 1:], 200, 100, (1,))
    whole = gradients(model, windows, sample=drawn)
    monkeypatch.setattr(layers, "MOST_LOGITS", 1000)
    chunked = gradients(model, windows, sample=drawn)
    assert chunked[0] == pytest.approx(whole[0], rel=1e-5)
    torch.testing.assert_close(chunked[1], whole[1], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("family", ["qwen3", "nanochat"])
def test_a_sampled_loss_has_the_gradient_of_the_whole_one_on_average_and_exactly_with_all_pieces(family: str) -> None:
    shape = Model.model_validate({"family": family, "layers": 1, "width": 32, "heads": 2, "context": 16})
    torch.manual_seed(1)
    model = models.new(Pretrain(model=shape), 200, 1)
    assert isinstance(model, models.CausalLM)
    with torch.no_grad():  # far from the start, where all pieces are alike
        model.output_weight.mul_(5)
    windows = torch.randint(0, 200, (3, 17))
    whole = gradients(model, windows)
    every = gradients(model, windows, sample=sample(windows[:, 1:], 200, 200, (1,)))
    assert every[0] == pytest.approx(whole[0], rel=1e-5)
    torch.testing.assert_close(every[1], whole[1])
    drawn = [gradients(model, windows, sample=sample(windows[:, 1:], 200, 100, (1, draw))) for draw in range(300)]
    losses = [loss for loss, _ in drawn]
    assert min(losses) < whole[0] < max(losses)
    assert 0.99 * whole[0] < fmean(losses) < whole[0]  # below it, as the logarithm of a mean is above the mean of logarithms
    mean = torch.stack([gradient for _, gradient in drawn]).mean(0)
    assert torch.cosine_similarity(mean.flatten(), whole[1].flatten(), dim=0) > 0.99


def gradients(model: models.CausalLM, windows: torch.Tensor, **options: object) -> tuple[float, torch.Tensor]:
    """The loss and its gradient to the output matrix."""
    loss = model.loss(windows, **options)  # type: ignore[arg-type]
    (gradient,) = torch.autograd.grad(loss, [model.output_weight])
    return loss.item(), gradient
