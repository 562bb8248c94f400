"""Muon, AdamW, Lion, LAMB, moving averages, and schedules."""

import itertools
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lang_configs.training import Pretrain
from tasks.pretrain.lamb import Lamb
from tasks.pretrain.lion import Lion
from tasks.pretrain.models import LanguageModel, new
from tasks.pretrain.optimizer import Optimizer, orthogonalise
from tasks.pretrain.schedule import Used, learning_rate_scale, progress

MODEL = {"layers": 2, "width": 32, "heads": 2, "feed_forward": 64, "context": 16}


def model_with_gradients(seed: int = 0, **changes: object) -> LanguageModel:
    torch.manual_seed(seed)
    model = new(Pretrain.model_validate({"model": MODEL | changes}), 64, 1)
    give_gradients(model, seed)
    return model


def step(optimizer: Optimizer, scale: float = 1.0) -> float:
    norm = optimizer.gradient_norm()
    optimizer.step(scale, norm)
    return norm


def give_gradients(model: LanguageModel, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


@pytest.mark.parametrize("shape", [(3, 64, 64), (2, 176, 64), (2, 64, 176)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_orthogonalised_matrices_have_singular_values_near_one(shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    # Badly conditioned on purpose: the largest singular value is a hundred times the smallest one.
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, values, right = torch.linalg.svd(matrices, full_matrices=False)
    matrices = left @ torch.diag_embed(torch.logspace(0, -2, values.shape[1]).expand_as(values)) @ right
    result = orthogonalise(matrices, dtype).float()
    values = torch.linalg.svdvals(result)
    assert values.min() > 0.7 and values.max() < 1.3
    assert torch.linalg.vecdot(result.flatten(), (left @ right).flatten()) > 0.9 * (left @ right).square().sum()


def test_muon_makes_each_part_of_a_fused_matrix_orthogonal_on_its_own() -> None:
    model = model_with_gradients(key_value_heads=1)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    step(Optimizer(model, Pretrain(learning_rate=0.1)))
    fused = (("attention.query_key_value", (32, 16, 16)), ("feed_forward.gate_up", (64, 64)), ("feed_forward.down", (32,)))
    for name, sizes in fused:
        key = f"blocks.1.{name}.weight"
        changes = (model.state_dict()[key] - before[key]).split(sizes)
        for change, gradient in zip(changes, gradients[key].split(sizes), strict=True):
            size = 0.1 * max(1.0, change.shape[0] / change.shape[1]) ** 0.5
            torch.testing.assert_close(change, -size * orthogonalise(gradient[None])[0], atol=1e-4, rtol=1e-3)


def test_adamw_is_that_of_torch() -> None:
    model, reference = model_with_gradients(), model_with_gradients()
    config = Pretrain(optimizer="adamw", learning_rate=0.01, embedding_learning_rate=0.01, weight_decay=0.1, clip=1e9)
    optimizer = Optimizer(model, config)
    blocks = [p for name, p in reference.named_parameters() if p.ndim == 2 and name.startswith("blocks")]
    stock = torch.optim.AdamW(blocks, lr=0.005, betas=(0.9, 0.95), eps=1e-10, weight_decay=0.1)
    for seed in range(3):
        give_gradients(model, seed)
        give_gradients(reference, seed)
        step(optimizer, 0.5)
        stock.step()
    for name, parameter in reference.named_parameters():
        if parameter.ndim == 2 and name.startswith("blocks"):
            torch.testing.assert_close(model.state_dict()[name], parameter, atol=1e-6, rtol=1e-5)


def test_clipping_bounds_what_the_moments_see_and_reports_the_norm_before() -> None:
    model = model_with_gradients()
    whole = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).norm().item()
    optimizer = Optimizer(model, Pretrain(clip=0.5))
    assert step(optimizer) == pytest.approx(whole, rel=1e-5)
    moment = optimizer.state()["rule.exp_avg.embedding.weight"].norm().item()
    assert 0 < moment <= 0.5
    assert all(parameter.grad is None for parameter in model.parameters())


def test_bf16_models_are_trained_through_fp32_weights() -> None:
    model = model_with_gradients()
    optimizer = Optimizer(model, Pretrain(learning_rate=1e-5, embedding_learning_rate=1e-5, norm_learning_rate=1e-5))
    start = {name: weight.clone() for name, weight in optimizer.weights.items()}
    model.to(torch.bfloat16)
    for seed in range(5):
        give_gradients(model, seed)
        step(optimizer)
    for name, parameter in model.named_parameters():
        assert parameter.dtype == torch.bfloat16
        assert torch.equal(parameter, optimizer.weights[name].bfloat16())
        assert not torch.equal(start[name], optimizer.weights[name]), name


def test_gradients_of_many_micro_batches_are_summed_exactly_in_bf16_models() -> None:
    model = model_with_gradients()
    optimizer = Optimizer(model, Pretrain())
    model.to(torch.bfloat16)
    optimizer.zero_grad()
    for _ in range(512):  # in bf16 a sum of 256ths stays at 1
        (model.embedding.weight.sum() / 256).backward()
    assert optimizer.gradient_norm() == pytest.approx(2 * model.embedding.weight.numel() ** 0.5)


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("name", ["Lion", "Lamb"])
def test_lion_and_lamb_are_those_of_a_library(name: str, decay: float) -> None:
    import pytorch_optimizer

    ours_class, settings = {"Lion": (Lion, {"betas": (0.95, 0.98)}), "Lamb": (Lamb, {"betas": (0.9, 0.95), "eps": 1e-6})}[name]
    theirs_class = getattr(pytorch_optimizer, name)
    generator = torch.Generator().manual_seed(0)
    shapes = [(7, 5), (3, 11), (13,)]
    weights = [torch.randn(shape, generator=generator) for shape in shapes] + [torch.zeros(4, 4)]
    ours, theirs = ([torch.nn.Parameter(weight.clone()) for weight in weights] for _ in range(2))
    extra = {"weight_decouple": False, "adam_debias": True} if name == "Lamb" else {"weight_decouple": True}
    pair = (
        (ours, ours_class(ours, lr=0.01, weight_decay=decay, **settings)),
        (theirs, theirs_class(theirs, lr=0.01, weight_decay=decay, **settings, **extra)),
    )
    for seed in range(5):
        for parameters, optimizer in pair:
            draw = torch.Generator().manual_seed(seed)
            for parameter in parameters:
                parameter.grad = torch.randn(parameter.shape, generator=draw)
            optimizer.step()
    for mine, other, start in zip(ours, theirs, weights, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-6, rtol=1e-5)
        assert not torch.equal(mine, start)


def test_the_moving_average_follows_the_weights() -> None:
    model = model_with_gradients()
    optimizer = Optimizer(model, Pretrain(average=0.9))
    expected = optimizer.weights["embedding.weight"].clone()
    for seed in range(3):
        give_gradients(model, seed)
        step(optimizer)
        expected.lerp_(optimizer.weights["embedding.weight"], 0.1)
    torch.testing.assert_close(optimizer.final_weights()["embedding.weight"], expected)
    assert not torch.allclose(expected, optimizer.weights["embedding.weight"], atol=1e-3)


def test_a_scaled_loss_gives_the_same_step() -> None:
    plain, scaled = model_with_gradients(), model_with_gradients()
    for parameter in scaled.parameters():
        parameter.grad = 1024 * parameter.grad  # type: ignore[operator]
    first, second = Optimizer(plain, Pretrain()), Optimizer(scaled, Pretrain())
    first.step(1.0, first.gradient_norm())
    second.step(1.0, second.gradient_norm(1024), 1024)
    for name, weight in first.weights.items():
        torch.testing.assert_close(weight, second.weights[name], msg=name)


@pytest.mark.parametrize("kind", ["muon", "adamw", "lion", "lamb"])
def test_a_loaded_optimizer_goes_on_bit_for_bit(kind: str) -> None:
    config = Pretrain.model_validate({"optimizer": kind, "average": 0.9})
    model = model_with_gradients()
    optimizer = Optimizer(model, config)
    step(optimizer)
    weights = {name: weight.clone() for name, weight in optimizer.weights.items()}
    state = {name: tensor.clone() for name, tensor in optimizer.state().items()}
    other = model_with_gradients(1)
    resumed = Optimizer(other, config)
    resumed.load(weights, state)
    for seed in (5, 6):
        for each, m in ((optimizer, model), (resumed, other)):
            give_gradients(m, seed)
            step(each, 0.7)
    for name, weight in optimizer.weights.items():
        assert torch.equal(weight, resumed.weights[name]), name
    assert all(torch.equal(tensor, resumed.state()[name]) for name, tensor in optimizer.state().items())


@given(
    st.sampled_from(["wsd", "cosine", "linear"]),
    st.floats(0, 0.5),
    st.floats(0.05, 0.5),
)
def test_schedules_rise_once_to_one_and_never_rise_again(kind: str, warm_up: float, decay: float) -> None:
    scales = [learning_rate_scale(kind, step / 200, warm_up, decay) for step in range(201)]  # type: ignore[arg-type]
    top = scales.index(max(scales))
    assert max(scales) == pytest.approx(1, abs=0.02)
    assert top / 200 == pytest.approx(warm_up, abs=0.006)
    assert all(a <= b for a, b in itertools.pairwise(scales[: top + 1]))
    assert all(a >= b for a, b in itertools.pairwise(scales[top:]))
    assert scales[-1] == pytest.approx(0.1 if kind == "cosine" else 0.0, abs=1e-9)
    if kind == "wsd":
        stable = [s for i, s in enumerate(scales) if warm_up <= i / 200 <= 1 - decay]
        assert all(s == pytest.approx(1) for s in stable)


def test_the_budget_is_the_first_of_its_limits() -> None:
    config = Pretrain(steps=100, minutes=2, tokens=1000, epochs=4, kwh=0.5)
    used = Used(steps=50, seconds=6, tokens=40, epochs=0.4, kwh=0.01)
    assert progress(config, used) == 0.5
    assert progress(config, replace(used, seconds=90)) == 0.75
    assert progress(config, replace(used, epochs=3.6)) == pytest.approx(0.9)
    assert progress(config, replace(used, tokens=800)) == pytest.approx(0.8)
    assert progress(config, replace(used, kwh=0.3)) == pytest.approx(0.6)
    assert progress(config, replace(used, steps=101)) == 1
    assert progress(config, replace(used, kwh=0.6)) == 1
    only_epochs = Pretrain(minutes=None, epochs=2)
    assert progress(only_epochs, Used(steps=10**6, seconds=1e6, tokens=10**9, epochs=1, kwh=1e3)) == 0.5
