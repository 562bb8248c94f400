"""Our model as a stock `transformers` Qwen3ForCausalLM and back: the same numbers under other names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tasks.pretrain.model import NORM_EPSILON, ROPE_BASE, CausalLM, ModelShape

if TYPE_CHECKING:
    from transformers import Qwen3Config, Qwen3ForCausalLM

OUTER = {"embedding.weight": "model.embed_tokens.weight", "norm.weight": "model.norm.weight"}
INNER = {
    "attention_norm": ["input_layernorm"],
    "query_key_value": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    "query_norm": ["self_attn.q_norm"],
    "key_norm": ["self_attn.k_norm"],
    "attention_out": ["self_attn.o_proj"],
    "feed_forward_norm": ["post_attention_layernorm"],
    "gate_up": ["mlp.gate_proj", "mlp.up_proj"],
    "down": ["mlp.down_proj"],
}
"""Each weight of a block, and the weights of the stock class that it holds, one above the other."""


def save_transformers(model: CausalLM, folder: Path, bos: int, eos: int, pad: int | None) -> None:
    """Write `config.json`, `model.safetensors` (fp32) and `generation_config.json` into `folder`."""
    to_transformers(model, bos, eos, pad).save_pretrained(folder)


def to_transformers(model: CausalLM, bos: int | None, eos: int | None, pad: int | None) -> Qwen3ForCausalLM:
    """The same model as Qwen3ForCausalLM in fp32; its logits are equal up to the order of floating-point sums."""
    from transformers import Qwen3ForCausalLM

    stock = Qwen3ForCausalLM(_config(model.shape, bos, eos, pad))
    ours = {name: weight.detach().float() for name, weight in model.state_dict().items()}
    state = {theirs: ours[name] for name, theirs in OUTER.items()}
    for layer in range(model.shape.layers):
        for name, theirs in INNER.items():
            parts = ours[f"blocks.{layer}.{name}.weight"].chunk(len(theirs))
            state |= {f"model.layers.{layer}.{their}.weight": part for their, part in zip(theirs, parts, strict=True)}
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    stock.load_state_dict(state)
    stock.generation_config.update(bos_token_id=bos, eos_token_id=eos, pad_token_id=pad)
    return stock.eval()


def from_transformers(stock: Qwen3ForCausalLM) -> CausalLM:
    """A Qwen3ForCausalLM as our model. Raises ValueError if it uses what our model does not have."""
    config = stock.config
    shape = ModelShape(
        config.vocab_size,
        config.num_hidden_layers,
        config.hidden_size,
        config.num_attention_heads,
        config.intermediate_size,
        config.max_position_embeddings,
    )
    expected = _config(shape, None, None, None)
    for name in ("num_key_value_heads", "head_dim", "tie_word_embeddings", "rope_parameters", "rms_norm_eps",
                 "hidden_act", "attention_bias", "layer_types"):  # fmt: skip
        if (theirs := getattr(config, name)) != (ours := getattr(expected, name)):
            raise ValueError(f"{name} is {theirs!r}; only {ours!r} can be trained here")
    theirs_state: dict[str, Tensor] = stock.state_dict()
    state = {name: theirs_state[theirs] for name, theirs in OUTER.items()}
    for layer in range(shape.layers):
        for name, parts in INNER.items():
            rows = [theirs_state[f"model.layers.{layer}.{part}.weight"] for part in parts]
            state[f"blocks.{layer}.{name}.weight"] = torch.cat(rows)
    model = CausalLM(shape)
    model.load_state_dict(state)
    return model


def _config(shape: ModelShape, bos: int | None, eos: int | None, pad: int | None) -> Qwen3Config:
    from transformers import Qwen3Config

    return Qwen3Config(
        vocab_size=shape.vocab_size,
        hidden_size=shape.width,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        head_dim=shape.head_width,
        max_position_embeddings=shape.context,
        max_window_layers=shape.layers,
        rms_norm_eps=NORM_EPSILON,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_BASE},
        tie_word_embeddings=True,
        bos_token_id=bos,
        eos_token_id=eos,
        pad_token_id=pad,
        dtype="float32",
    )
