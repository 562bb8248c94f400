"""Every family is a stock transformers class, and its parts do what the formulas say."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch

from lang_configs import load
from lang_configs.training import Model, Pretrain
from tasks.core.errors import StageError
from tasks.pretrain.data import mask
from tasks.pretrain.models import (
    CausalLM,
    LanguageModel,
    MaskedLM,
    ModelShape,
    SpecialTokens,
    Training,
    build,
    from_transformers,
    layers,
    new,
    save_transformers,
    shape_of,
    to_transformers,
)

FAMILIES = ["qwen3", "llama", "nanochat", "gpt2", "bert", "modernbert"]
CAUSAL, MASKED = FAMILIES[:4], FAMILIES[4:]
SEPARATOR = 1


def shape(family: str, context: int = 48) -> ModelShape:
    model = Model.model_validate(
        {"family": family, "layers": 3, "width": 64, "heads": 4, "feed_forward": 96, "context": context}
    )
    return shape_of(model, 300)


GROUPED = [dataclasses.replace(shape(family), key_value_heads=2) for family in ("qwen3", "llama", "nanochat")]
TIED = [dataclasses.replace(shape(family), tied=True) for family in FAMILIES]
WIDE_HEADS = dataclasses.replace(shape("qwen3"), head_width=32, rope_base=1e6)
LOCAL = dataclasses.replace(
    shape("modernbert"), local_attention=4, global_every=2, rope_base=160_000.0, local_rope_base=10_000.0
)
LONG = [shape("qwen3", 300), shape("modernbert", 300)]  # beyond MATMUL_CONTEXT
SHAPES = [*(shape(family) for family in FAMILIES), *GROUPED, *TIED, WIDE_HEADS, LOCAL, *LONG]


def random_model(shape: ModelShape) -> LanguageModel:
    """A model none of whose weights is zero or one, as after training."""
    torch.manual_seed(0)
    model = build(shape).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, mean=0.5 if parameter.ndim == 1 else 0.0, std=0.2)
    return model


def ids(shape: ModelShape, length: int) -> torch.Tensor:
    return torch.randint(4, shape.vocab_size, (3, length), generator=torch.Generator().manual_seed(1))


def label(shape: ModelShape) -> str:
    changes = {f.name: getattr(shape, f.name) for f in dataclasses.fields(shape) if f.default is not dataclasses.MISSING}
    return f"{shape.family}-{shape.context}-{shape.key_value_heads}-{'-'.join(map(str, changes.values()))}"


@pytest.mark.parametrize("shape", SHAPES, ids=label)
def test_exported_model_gives_the_same_logits_and_comes_back(shape: ModelShape) -> None:
    model = random_model(shape)
    tokens = ids(shape, shape.context)
    stock = to_transformers(model, SpecialTokens(1, 2, 0, 3))
    with torch.no_grad():
        expected = stock(tokens).logits
        torch.testing.assert_close(model.logits(tokens), expected, atol=1e-5, rtol=1e-5)
    assert expected.std() > 0.1
    back = from_transformers(stock)
    assert back.shape == model.shape
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, back.state_dict()[name]), name


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_model_loads_as_stock_class_without_remote_code(family: str, tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM

    model = random_model(shape(family))
    save_transformers(model, tmp_path, SpecialTokens(bos=1, eos=2, mask=3))
    files = {"config.json", "model.safetensors"} | ({"generation_config.json"} if family in CAUSAL else set())
    assert {path.name for path in tmp_path.iterdir()} == files
    config = AutoConfig.from_pretrained(tmp_path)
    assert (config.vocab_size, config.max_position_embeddings) == (300, 48)
    assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (1, 2, None)
    stock = (AutoModelForCausalLM if family in CAUSAL else AutoModelForMaskedLM).from_pretrained(tmp_path)
    assert stock.dtype == torch.float32
    tokens = ids(model.shape, 20)
    with torch.no_grad():
        torch.testing.assert_close(stock(tokens).logits, model.logits(tokens), atol=1e-5, rtol=1e-5)
    if family in CAUSAL:
        assert stock.generation_config.eos_token_id == 2
        assert stock.generation_config.max_length == 48


@pytest.mark.parametrize(
    ("shape", "fields"),
    [
        (dataclasses.replace(shape("llama"), rope_base=2e5), {"rope_theta": 2e5}),
        (dataclasses.replace(shape("qwen3"), rope_base=2e5), {"rope_theta": 2e5}),
        (LOCAL, {"global_rope_theta": 160_000.0, "local_rope_theta": 10_000.0, "global_attn_every_n_layers": 2}),
        (shape("modernbert"), {"global_rope_theta": 10_000.0, "global_attn_every_n_layers": 1}),
    ],
)
def test_a_config_has_the_names_of_transformers_4_and_is_read_by_5(
    shape: ModelShape, fields: dict[str, object], tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    save_transformers(random_model(shape), tmp_path, SpecialTokens(bos=1, eos=2, mask=3))
    written = json.loads((tmp_path / "config.json").read_text())
    assert {name: written[name] for name in fields} == fields
    kind = AutoModelForMaskedLM if shape.family == "modernbert" else AutoModelForCausalLM
    assert from_transformers(kind.from_pretrained(tmp_path)).shape == shape


def test_import_refuses_what_the_model_does_not_have() -> None:
    from transformers import BertConfig, BertForMaskedLM, GPTNeoConfig, GPTNeoForCausalLM, LlamaConfig, LlamaForCausalLM

    sizes = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    scaled = LlamaConfig(**sizes, rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0})
    with pytest.raises(StageError, match=r"rope_parameters is .*linear"):
        from_transformers(LlamaForCausalLM(scaled))
    with pytest.raises(StageError, match=r"hidden_act is 'relu'"):
        from_transformers(BertForMaskedLM(BertConfig(**sizes, hidden_act="relu")))
    neo = GPTNeoConfig(vocab_size=64, hidden_size=32, num_layers=1, num_heads=2, attention_types=[[["global"], 1]])
    with pytest.raises(StageError, match="a GPTNeoForCausalLM cannot be trained here; known are Qwen3ForCausalLM"):
        from_transformers(GPTNeoForCausalLM(neo))


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_both_ways_of_attention_agree(causal: bool, masked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = torch.randn(3, 2, 4, 33, 16, generator=torch.Generator().manual_seed(2))
    allowed = None
    if masked:
        place = torch.arange(33)
        allowed = ((place[:, None] < 20) == (place[None, :] < 20))[None, None].expand(2, 1, -1, -1)
    plain = layers.attend(parts[0], parts[1], parts[2], causal, allowed)
    monkeypatch.setattr(layers, "MATMUL_CONTEXT", 0)
    fused = layers.attend(parts[0], parts[1], parts[2], causal, allowed)
    torch.testing.assert_close(plain, fused, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("preset", "millions"), [("starter", 5), ("small", 20), ("medium", 50), ("base", 125), ("large", 160)])
def test_the_presets_have_the_sizes_of_their_names(preset: str, millions: int) -> None:
    config = load("swahili", preset)
    assert isinstance(config.tokenizer.vocab_size, int)
    with torch.device("meta"):
        model = build(shape_of(config.pretrain.model, config.tokenizer.vocab_size))
    assert sum(weight.numel() for weight in model.parameters()) == pytest.approx(millions * 1e6, rel=0.03)


@pytest.mark.parametrize("family", CAUSAL)
def test_no_token_sees_the_future(family: str) -> None:
    model = random_model(shape(family))
    tokens = ids(model.shape, 30)
    changed = tokens.clone()
    changed[:, 20:] = (changed[:, 20:] + 1) % 300
    with torch.no_grad():
        before, after = model.logits(tokens), model.logits(changed)
    assert torch.allclose(before[:, :20], after[:, :20], atol=1e-5)
    assert not torch.allclose(before[:, 20:], after[:, 20:], atol=1e-2)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["unit", "normal"])
def test_an_untrained_model_is_as_good_as_a_uniform_guess(family: str, kind: str) -> None:
    torch.manual_seed(0)
    model = new(Pretrain.model_validate({"model": vars_of(family), "initialisation": kind}), 300, SEPARATOR)
    assert loss(model).item() == pytest.approx(math.log(300), abs=0.1)


@pytest.mark.parametrize("family", FAMILIES)
def test_isolated_documents_know_nothing_of_each_other(family: str) -> None:
    model = random_model(shape(family))
    model.training_only = Training(separator=SEPARATOR)
    tokens = ids(model.shape, 30)
    tokens[:, [0, 12]] = SEPARATOR
    changed = tokens.clone()
    changed[:, 3:12] = (changed[:, 3:12] + 1) % 250 + 4
    with torch.no_grad():
        before, after = model.logits(tokens), model.logits(changed)
    assert torch.allclose(before[:, 12:], after[:, 12:], atol=1e-5)
    assert not torch.allclose(before[:, 3:12], after[:, 3:12], atol=1e-2)
    if isinstance(model, CausalLM):  # the second document's first token cannot be known from the first document
        windows = torch.cat([tokens, tokens[:, :1]], dim=1)
        labels = windows[:, 1:].masked_fill(windows[:, 1:] == SEPARATOR, -100)
        logits = model.logits(windows[:, :-1])
        expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
        torch.testing.assert_close(model.loss(windows), expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_checkpointing_and_chunks_change_no_gradient(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model(shape(family)).train()
    plain = gradients(model)
    model.training_only = Training(checkpointing=True)
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, plain[name], atol=1e-6, rtol=1e-5, msg=name)
    monkeypatch.setattr(layers, "MOST_LOGITS", 1000)
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, plain[name], atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("family", FAMILIES)
def test_dropout_is_for_training_only_and_a_function_of_the_seed(family: str) -> None:
    model = random_model(shape(family))
    model.training_only = Training(dropout=0.2)

    def seeded(seed: int) -> float:
        torch.manual_seed(seed)
        return loss(model).item()

    assert seeded(1) == seeded(2)
    model.train()
    assert seeded(1) == seeded(1) != seeded(2)


@pytest.mark.parametrize("family", MASKED)
def test_the_masked_loss_is_that_of_the_stock_class(family: str) -> None:
    model = random_model(shape(family))
    windows = ids(model.shape, 33)
    masked, positions, labels = mask(windows, 0.25, 3, [0])
    sparse = torch.full_like(masked, -100).scatter_(1, positions, labels)
    with torch.no_grad():
        stock = to_transformers(model)(masked, labels=sparse).loss
        assert isinstance(model, MaskedLM)
        torch.testing.assert_close(model.loss(masked, positions, labels), stock, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", CAUSAL)
def test_masked_next_tokens_are_predicted_from_both_sides(family: str) -> None:
    model = random_model(shape(family))
    assert isinstance(model, CausalLM)
    windows = ids(model.shape, 33)
    masked, positions, labels = mask(windows, 0.25, 3, [0])
    with torch.no_grad():
        one_way = model.logits(masked)
        model.set_bidirectional(True)
        scores = model.logits(masked).gather(1, (positions - 1)[:, :, None].expand(-1, -1, 300))
        expected = torch.nn.functional.cross_entropy(scores.flatten(0, 1), labels.flatten())
        torch.testing.assert_close(model.loss(masked, positions, labels), expected)
        changed = masked.clone()
        changed[:, -1] = (changed[:, -1] + 1) % 250 + 4
        assert not torch.allclose(model.logits(masked)[:, 0], model.logits(changed)[:, 0], atol=1e-3)
        model.set_bidirectional(False)
        assert torch.equal(model.logits(masked), one_way)


@pytest.mark.parametrize("family", MASKED)
def test_one_narrow_layer_computes_the_same_at_masked_positions(family: str) -> None:
    # With one narrow layer the context it looks at is what a whole layer would see; with two it is older.
    model = random_model(shape(family))
    windows = ids(model.shape, 33)
    masked, positions, labels = mask(windows, 0.25, 3, [0])
    assert isinstance(model, MaskedLM)
    with torch.no_grad():
        whole = model.loss(masked, positions, labels)
        model.training_only = Training(narrow_layers=1)
        torch.testing.assert_close(model.loss(masked, positions, labels), whole, atol=1e-5, rtol=1e-5)
        model.training_only = Training(narrow_layers=2)
        assert not torch.allclose(model.loss(masked, positions, labels), whole, atol=1e-3)


def test_the_default_feed_forward_is_a_multiple_of_64() -> None:
    assert shape_of(Model(width=256, heads=2), 8192).feed_forward == 704
    assert shape_of(Model(width=384, heads=3), 8192).feed_forward == 1024
    assert shape_of(Model(feed_forward=100), 8192).feed_forward == 100
    assert shape_of(Model(family="gpt2", width=256, heads=2), 8192).feed_forward == 1024


def vars_of(family: str) -> dict[str, object]:
    return {"family": family, "layers": 3, "width": 64, "heads": 4, "feed_forward": 96, "context": 48}


def loss(model: LanguageModel) -> torch.Tensor:
    windows = ids(model.shape, 41)
    if isinstance(model, MaskedLM):
        return model.loss(*mask(windows, 0.25, 3, [0]))
    assert isinstance(model, CausalLM)
    return model.loss(windows)


def gradients(model: LanguageModel) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss(model).backward()  # type: ignore[no-untyped-call]
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
