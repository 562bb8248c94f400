"""Our models as stock classes of `transformers` and back: the same numbers under other names.

One table for each family: what its file calls a weight, and the weights of the stock class that it holds, one above the
other. GPT-2 stores its matrices turned over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tasks.core.errors import StageError
from tasks.pretrain.models.base import Family, LanguageModel, ModelShape

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

_LLAMA = {
    "embedding.weight": ["model.embed_tokens.weight"],
    "norm.weight": ["model.norm.weight"],
    "output.weight": ["lm_head.weight"],
    "attention_norm": ["input_layernorm"],
    "attention.query_key_value": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    "attention.query_norm": ["self_attn.q_norm"],
    "attention.key_norm": ["self_attn.k_norm"],
    "attention.out": ["self_attn.o_proj"],
    "feed_forward_norm": ["post_attention_layernorm"],
    "feed_forward.gate_up": ["mlp.gate_proj", "mlp.up_proj"],
    "feed_forward.down": ["mlp.down_proj"],
}


@dataclass(frozen=True)
class Stock:
    """A class of `transformers`: its name, where its layers are, and our names to its names."""

    architecture: str
    layers: str
    names: Mapping[str, list[str]]
    turned: bool = False


STOCK: dict[Family, Stock] = {
    "qwen3": Stock("Qwen3ForCausalLM", "model.layers", _LLAMA),
    "llama": Stock("LlamaForCausalLM", "model.layers", _LLAMA),
    "nanochat": Stock(
        "NanoChatForCausalLM", "model.layers", _LLAMA | {"feed_forward.up": ["mlp.fc1"], "feed_forward.down": ["mlp.fc2"]}
    ),
    "gpt2": Stock(
        "GPT2LMHeadModel",
        "transformer.h",
        {
            "embedding.weight": ["transformer.wte.weight"],
            "positions.weight": ["transformer.wpe.weight"],
            "norm.weight": ["transformer.ln_f.weight"],
            "norm.bias": ["transformer.ln_f.bias"],
            "output.weight": ["lm_head.weight"],
            "attention_norm": ["ln_1"],
            "attention.query_key_value": ["attn.c_attn"],
            "attention.out": ["attn.c_proj"],
            "feed_forward_norm": ["ln_2"],
            "feed_forward.up": ["mlp.c_fc"],
            "feed_forward.down": ["mlp.c_proj"],
        },
        turned=True,
    ),
    "bert": Stock(
        "BertForMaskedLM",
        "bert.encoder.layer",
        {
            "embedding.weight": ["bert.embeddings.word_embeddings.weight"],
            "positions.weight": ["bert.embeddings.position_embeddings.weight"],
            "segments": ["bert.embeddings.token_type_embeddings.weight"],
            "norm.weight": ["bert.embeddings.LayerNorm.weight"],
            "norm.bias": ["bert.embeddings.LayerNorm.bias"],
            "head.dense.weight": ["cls.predictions.transform.dense.weight"],
            "head.dense.bias": ["cls.predictions.transform.dense.bias"],
            "head.norm.weight": ["cls.predictions.transform.LayerNorm.weight"],
            "head.norm.bias": ["cls.predictions.transform.LayerNorm.bias"],
            "output.weight": ["cls.predictions.decoder.weight"],
            "output_bias": ["cls.predictions.bias"],
            "attention.query_key_value": ["attention.self.query", "attention.self.key", "attention.self.value"],
            "attention.out": ["attention.output.dense"],
            "attention_norm": ["attention.output.LayerNorm"],
            "feed_forward.up": ["intermediate.dense"],
            "feed_forward.down": ["output.dense"],
            "feed_forward_norm": ["output.LayerNorm"],
        },
    ),
    "modernbert": Stock(
        "ModernBertForMaskedLM",
        "model.layers",
        {
            "embedding.weight": ["model.embeddings.tok_embeddings.weight"],
            "embedding_norm.weight": ["model.embeddings.norm.weight"],
            "norm.weight": ["model.final_norm.weight"],
            "head.dense.weight": ["head.dense.weight"],
            "head.norm.weight": ["head.norm.weight"],
            "output.weight": ["decoder.weight"],
            "output_bias": ["decoder.bias"],
            "attention_norm": ["attn_norm"],
            "attention.query_key_value": ["attn.Wqkv"],
            "attention.out": ["attn.Wo"],
            "feed_forward_norm": ["mlp_norm"],
            "feed_forward.gate_up": ["mlp.Wi"],
            "feed_forward.down": ["mlp.Wo"],
        },
    ),
}


@dataclass(frozen=True)
class Tokens:
    """Ids of the special tokens, as an export states them."""

    bos: int | None = None
    eos: int | None = None
    pad: int | None = None
    mask: int | None = None


def save_transformers(model: LanguageModel, folder: Path, tokens: Tokens) -> None:
    """Write `config.json`, `model.safetensors` (fp32) and, for causal models, `generation_config.json` into `folder`."""
    to_transformers(model, tokens).save_pretrained(folder)


def to_transformers(model: LanguageModel, tokens: Tokens | None = None) -> PreTrainedModel:
    """The same model as its stock class in fp32; the logits are equal up to the order of floating-point sums."""
    import transformers

    tokens = tokens or Tokens()
    stock_class = getattr(transformers, STOCK[model.shape.family].architecture)
    stock = stock_class(_config(model.shape, tokens))
    ours = {name: weight.detach().float() for name, weight in model.state_dict().items()}
    state: dict[str, Tensor] = {}
    for name, theirs, turned in _pairs(model):
        parts = ours[name].split(_rows(model, name, len(theirs)))
        state |= {their: part.T if turned else part for their, part in zip(theirs, parts, strict=True)}
    missing, unexpected = stock.load_state_dict(state, strict=False)
    tied = set() if model.output is not None else {STOCK[model.shape.family].names["output.weight"][0]}
    if unexpected or set(missing) - tied - {"cls.predictions.decoder.bias"}:
        raise RuntimeError(f"{stock_class.__name__} has other weights: {missing} are missing, {unexpected} are unknown")
    stock.tie_weights()
    if model.objective == "causal":
        stock.generation_config.update(bos_token_id=tokens.bos, eos_token_id=tokens.eos, pad_token_id=tokens.pad)
    return stock.eval()


def from_transformers(stock: PreTrainedModel) -> LanguageModel:
    """A stock model as ours. Raises StageError if its class is unknown or it uses what our model does not have."""
    from tasks.pretrain.models import build

    shape = _shape(stock.config, type(stock).__name__)
    model = build(shape)
    theirs = {name: weight.detach().float() for name, weight in stock.state_dict().items()}
    state: dict[str, Tensor] = {}
    for name, parts, turned in _pairs(model):
        state[name] = torch.cat([theirs[part].T if turned else theirs[part] for part in parts])
    model.load_state_dict(state)
    return model


def _pairs(model: LanguageModel) -> Iterator[tuple[str, list[str], bool]]:
    """Each of our weights, the stock weights that it holds, and whether those are turned over."""
    stock = STOCK[model.shape.family]
    for name, weight in model.state_dict().items():
        if name in stock.names:
            yield name, stock.names[name], False
        else:
            layer, _, rest = name.removeprefix("blocks.").partition(".")
            inner, _, kind = rest.rpartition(".")
            turned = stock.turned and weight.ndim == 2
            yield name, [f"{stock.layers}.{layer}.{their}.{kind}" for their in stock.names[inner]], turned


def _rows(model: LanguageModel, name: str, parts: int) -> list[int]:
    if parts == 1:
        return [len(model.state_dict()[name])]
    return list(model.get_submodule(name.rpartition(".")[0]).sizes)  # type: ignore[arg-type]


def _config(shape: ModelShape, tokens: Tokens) -> PreTrainedConfig:
    import transformers

    sizes: dict[str, Any] = {"vocab_size": shape.vocab_size, "dtype": "float32", "tie_word_embeddings": shape.tied}
    ends: dict[str, Any] = {"bos_token_id": tokens.bos, "eos_token_id": tokens.eos, "pad_token_id": tokens.pad}
    usual: dict[str, Any] = {
        "hidden_size": shape.width,
        "intermediate_size": shape.feed_forward,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "max_position_embeddings": shape.context,
    }
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": shape.rope_base}
    llama: dict[str, Any] = {
        "num_key_value_heads": shape.key_value_heads,
        "rms_norm_eps": shape.epsilon,
        "rope_parameters": rope,
    }
    local: dict[str, Any] = {"global_attn_every_n_layers": shape.global_every if shape.local_attention else 1}
    match shape.family:
        case "qwen3":
            return transformers.Qwen3Config(
                **sizes, **ends, **usual, **llama, head_dim=shape.head_width, max_window_layers=shape.layers
            )
        case "llama":
            return transformers.LlamaConfig(**sizes, **ends, **usual, **llama, head_dim=shape.head_width)
        case "nanochat":
            return transformers.NanoChatConfig(**sizes, **ends, **usual, **llama)
        case "gpt2":
            return transformers.GPT2Config(
                **sizes, **ends, n_embd=shape.width, n_layer=shape.layers, n_head=shape.heads, n_positions=shape.context,
                n_inner=shape.feed_forward, layer_norm_epsilon=shape.epsilon, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
            )  # fmt: skip
        case "bert":
            return transformers.BertConfig(
                **sizes,
                **ends,
                **usual,
                layer_norm_eps=shape.epsilon,
                hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0,
            )
        case "modernbert":
            return transformers.ModernBertConfig(
                **sizes, **ends, **usual, **local, norm_eps=shape.epsilon, cls_token_id=tokens.bos, sep_token_id=tokens.eos,
                local_attention=2 * shape.local_attention,
                rope_parameters={"full_attention": rope, "sliding_attention": rope | {"rope_theta": shape.local_rope_base}},
            )  # fmt: skip


_HARMLESS = {
    "architectures", "attention_dropout", "attention_probs_dropout_prob", "attn_pdrop", "bos_token_id", "classifier_activation",
    "classifier_bias", "classifier_dropout", "classifier_pooling", "cls_token_id", "deterministic_flash_attn", "dtype",
    "embd_pdrop", "embedding_dropout", "eos_token_id", "hidden_dropout_prob", "id2label", "initializer_cutoff_factor",
    "initializer_range", "label2id", "max_window_layers", "mlp_dropout", "_name_or_path", "pad_token_id", "pretraining_tp",
    "problem_type", "resid_pdrop", "sep_token_id", "sliding_window", "sparse_prediction", "summary_activation",
    "summary_first_dropout", "summary_proj_to_labels", "summary_type", "summary_use_proj", "transformers_version", "use_cache",
}  # fmt: skip
"""Keys of a stock config that change nothing that is computed without dropout."""


def _shape(config: PreTrainedConfig, architecture: str) -> ModelShape:
    families = {stock.architecture: family for family, stock in STOCK.items()}
    if architecture not in families:
        raise StageError(f"a {architecture} cannot be trained here; known are {', '.join(families)}")
    shape = _read(config, families[architecture])
    theirs, ours = config.to_dict(), _config(shape, Tokens()).to_dict()
    for name in sorted(theirs.keys() & ours.keys() - _HARMLESS):
        if theirs[name] != ours[name]:
            raise StageError(f"{name} is {theirs[name]!r} in this {architecture}; only {ours[name]!r} can be trained here")
    return shape


def _read(config: Any, family: Family) -> ModelShape:
    """The sizes that a stock config states, as far as we have them; `_shape` then sees what is left over."""
    width, heads = config.hidden_size, config.num_attention_heads
    sizes: dict[str, Any] = {
        "family": family,
        "vocab_size": config.vocab_size,
        "layers": config.num_hidden_layers,
        "width": width,
        "heads": heads,
        "feed_forward": getattr(config, "intermediate_size", None) or config.n_inner or 4 * width,
        "context": config.max_position_embeddings,
        "key_value_heads": getattr(config, "num_key_value_heads", None) or heads,
        "head_width": getattr(config, "head_dim", None) or width // heads,
        "tied": config.tie_word_embeddings,
    }
    names = ("rms_norm_eps", "norm_eps", "layer_norm_eps", "layer_norm_epsilon")
    sizes["epsilon"] = next(getattr(config, name) for name in names if hasattr(config, name))
    if family == "modernbert":
        full = [layer for layer, kind in enumerate(config.layer_types) if kind == "full_attention"]
        local = len(full) < config.num_hidden_layers
        sizes |= {
            "local_attention": config.local_attention // 2 if local else 0,
            "global_every": full[1] if local and len(full) > 1 else config.num_hidden_layers if local else 1,
            "rope_base": config.rope_parameters["full_attention"]["rope_theta"],
            "local_rope_base": config.rope_parameters["sliding_attention"]["rope_theta"] if local else 10_000.0,
        }
    elif hasattr(config, "rope_parameters"):
        sizes["rope_base"] = config.rope_parameters["rope_theta"]
    return ModelShape(**sizes)
