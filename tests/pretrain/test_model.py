"""The model is a stock transformers class, and its parts do what the formulas say."""

import math
from pathlib import Path

import pytest
import torch

from lang_configs.schema import Model
from tasks.pretrain import model as model_module
from tasks.pretrain.export import from_transformers, save_transformers, to_transformers
from tasks.pretrain.model import CausalLM, ModelShape, attend

SHAPES = [
    ModelShape(vocab_size=300, layers=2, width=64, heads=2, feed_forward=192, context=48),
    ModelShape(vocab_size=97, layers=3, width=48, heads=1, feed_forward=64, context=300),
]


def random_model(shape: ModelShape) -> CausalLM:
    """A model none of whose weights is zero or one, as after training."""
    torch.manual_seed(0)
    model = CausalLM(shape)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, mean=0.5 if parameter.ndim == 1 else 0.0, std=0.2)
    return model


def ids(shape: ModelShape, length: int) -> torch.Tensor:
    return torch.randint(shape.vocab_size, (3, length), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("shape", SHAPES)
def test_exported_model_gives_the_same_logits(shape: ModelShape) -> None:
    model = random_model(shape)
    tokens = ids(shape, shape.context)
    with torch.no_grad():
        stock = to_transformers(model, 1, 2, 0)(tokens).logits
        torch.testing.assert_close(model.logits(tokens), stock, atol=1e-5, rtol=1e-5)
    assert stock.std() > 0.1


def test_a_saved_model_loads_as_stock_class_without_remote_code(tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    shape = SHAPES[0]
    model = random_model(shape)
    save_transformers(model, tmp_path, bos=1, eos=2, pad=None)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors", "generation_config.json"}
    config = AutoConfig.from_pretrained(tmp_path)
    assert (config.architectures, config.vocab_size, config.max_position_embeddings) == (["Qwen3ForCausalLM"], 300, 48)
    assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (1, 2, None)
    stock = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert stock.dtype == torch.float32
    with torch.no_grad():
        torch.testing.assert_close(stock(ids(shape, 20)).logits, model.logits(ids(shape, 20)), atol=1e-5, rtol=1e-5)
    assert stock.generation_config.eos_token_id == 2


def test_import_reverses_export() -> None:
    model = random_model(SHAPES[0])
    back = from_transformers(to_transformers(model, 1, 2, 0))
    assert back.shape == model.shape
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, back.state_dict()[name]), name


def test_import_refuses_what_the_model_does_not_have() -> None:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    grouped = Qwen3Config(vocab_size=64, hidden_size=64, intermediate_size=64, num_hidden_layers=1,
                          num_attention_heads=4, num_key_value_heads=2, head_dim=16, tie_word_embeddings=True)  # fmt: skip
    with pytest.raises(ValueError, match="num_key_value_heads is 2"):
        from_transformers(Qwen3ForCausalLM(grouped))


def test_both_ways_of_attention_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = torch.randn(3, 2, 4, 33, 16, generator=torch.Generator().manual_seed(2))
    plain = attend(*parts)
    monkeypatch.setattr(model_module, "MATMUL_CONTEXT", 0)
    torch.testing.assert_close(plain, attend(*parts), atol=1e-5, rtol=1e-5)


def test_no_token_sees_the_future() -> None:
    model = random_model(SHAPES[0])
    tokens = ids(SHAPES[0], 30)
    changed = tokens.clone()
    changed[:, 20:] = (changed[:, 20:] + 1) % 300
    with torch.no_grad():
        before, after = model.logits(tokens), model.logits(changed)
    assert torch.allclose(before[:, :20], after[:, :20], atol=1e-6)
    assert not torch.allclose(before[:, 20:], after[:, 20:], atol=1e-2)


def test_an_untrained_model_is_as_good_as_a_uniform_guess() -> None:
    shape = SHAPES[0]
    model = CausalLM(shape)
    assert model.loss(ids(shape, 40)).item() == pytest.approx(math.log(300), abs=0.1)


def test_the_default_feed_forward_is_a_multiple_of_64() -> None:
    assert ModelShape.of(Model(width=256, heads=2), 8192).feed_forward == 704
    assert ModelShape.of(Model(width=384, heads=3), 8192).feed_forward == 1024
    assert ModelShape.of(Model(feed_forward=100), 8192).feed_forward == 100
