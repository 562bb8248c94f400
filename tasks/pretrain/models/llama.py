"""Llama, `LlamaForCausalLM`: rotary positions (arXiv 2104.09864), RMSNorm before each part (arXiv 1910.07467), SwiGLU (arXiv
2002.05202), grouped queries (arXiv 2305.13245), no biases.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from tasks.pretrain.models.base import CausalLM, ModelShape
from tasks.pretrain.models.family import Family, SpecialTokens, layer_sizes, rope, sizes, stated_shape
from tasks.pretrain.models.layers import Attention, GatedFeedForward, RMSNorm, Rotation, rotary

if TYPE_CHECKING:
    from transformers import LlamaConfig


class Llama(CausalLM):
    """The decoder that most open models are; a subclass may norm queries and keys."""

    query_key_norm = False
    cos: Tensor
    sin: Tensor

    def __init__(self, shape: ModelShape) -> None:
        super().__init__(shape, self._block, RMSNorm(shape.width, shape.epsilon))
        cos, sin = rotary(shape.context, shape.head_width, shape.rope_base)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Final hidden states `[batch, length, width]` of token ids `[batch, length]`."""
        x = self.dropout(self.embedding(ids))
        rotation, mask = (self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]), self.document_mask(ids)
        for block in self.blocks:
            x = self.run_block(block, x, rotation, mask)
        return self.norm(x)

    def _block(self, shape: ModelShape, layer: int) -> Block:
        return Block(shape, self.query_key_norm)


class Block(nn.Module):
    """Attention, then feed-forward, each on a normed copy and added to the stream."""

    def __init__(self, shape: ModelShape, query_key_norm: bool) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(shape.width, shape.epsilon)
        self.attention = Attention(
            shape.width, shape.heads, shape.key_value_heads, shape.head_width, causal=True,
            norm=RMSNorm if query_key_norm else None, epsilon=shape.epsilon,
        )  # fmt: skip
        self.feed_forward_norm = RMSNorm(shape.width, shape.epsilon)
        self.feed_forward = GatedFeedForward(shape.width, shape.feed_forward, "silu")

    def forward(self, x: Tensor, rotation: Rotation, mask: Tensor | None, dropout: Callable[[Tensor], Tensor]) -> Tensor:
        x = x + dropout(self.attention(self.attention_norm(x), rotation, mask))
        return x + dropout(self.feed_forward(self.feed_forward_norm(x)))


WEIGHTS = {
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
"""As Llama's class and its many descendants name them."""


def config_fields(shape: ModelShape, tokens: SpecialTokens) -> dict[str, Any]:
    """The fields of the stock config that Llama's descendants share."""
    return {
        **sizes(shape, tokens),
        **layer_sizes(shape),
        "num_key_value_heads": shape.key_value_heads,
        "rms_norm_eps": shape.epsilon,
        "rope_parameters": rope(shape.rope_base),
    }


def earlier_fields(shape: ModelShape) -> dict[str, Any]:
    """The base of the rotary positions as it was named before `rope_parameters`."""
    return {"rope_theta": shape.rope_base, "rope_scaling": None}


def shape_of_config(family: str, config: Any) -> ModelShape:
    """The shape that the stock config of a descendant of Llama states."""
    return stated_shape(family, config, epsilon=config.rms_norm_eps, rope_base=config.rope_parameters["rope_theta"])


def _config(shape: ModelShape, tokens: SpecialTokens) -> LlamaConfig:
    from transformers import LlamaConfig

    return LlamaConfig(**config_fields(shape, tokens), head_dim=shape.head_width)


FAMILY = Family(
    name="llama",
    model=Llama,
    architecture="LlamaForCausalLM",
    title="Llama",
    description="rotary positions, RMSNorm, SwiGLU",
    layers="model.layers",
    weights=WEIGHTS,
    config=_config,
    shape=lambda config: shape_of_config("llama", config),
    epsilon=1e-6,
    gated=True,
    grouped_queries=True,
    earlier_fields=earlier_fields,
)
