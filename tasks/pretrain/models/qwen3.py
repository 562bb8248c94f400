"""Qwen3, `Qwen3ForCausalLM`: a Llama with a norm on queries and keys (arXiv 2302.05442)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.pretrain.models.base import ModelShape
from tasks.pretrain.models.family import Family, SpecialTokens
from tasks.pretrain.models.llama import WEIGHTS, Llama, config_fields, earlier_fields, shape_of_config

if TYPE_CHECKING:
    from transformers import Qwen3Config


class Qwen3(Llama):
    """The default: the norm on queries and keys bears Muon's learning rate."""

    query_key_norm = True


def _config(shape: ModelShape, tokens: SpecialTokens) -> Qwen3Config:
    from transformers import Qwen3Config

    return Qwen3Config(**config_fields(shape, tokens), head_dim=shape.head_width, max_window_layers=shape.layers)


FAMILY = Family(
    name="qwen3",
    model=Qwen3,
    architecture="Qwen3ForCausalLM",
    title="Llama-like",
    description="rotary positions, RMSNorm, SwiGLU, query-key norm",
    layers="model.layers",
    weights=WEIGHTS,
    config=_config,
    shape=lambda config: shape_of_config("qwen3", config),
    epsilon=1e-6,
    gated=True,
    grouped_queries=True,
    earlier_fields=earlier_fields,
)
