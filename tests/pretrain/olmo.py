"""A family of models declared outside of the package: OLMo, `OlmoForCausalLM` (arXiv 2402.00838), a Llama whose norms learn
nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from tasks.pretrain.models import CausalLM, Family, ModelShape, SpecialTokens
from tasks.pretrain.models.family import layer_sizes, rope, sizes, stated_shape
from tasks.pretrain.models.layers import Attention, GatedFeedForward, Rotation, rotary

if TYPE_CHECKING:
    from transformers import OlmoConfig

EPSILON = 1e-5


def norm(width: int) -> nn.Module:
    return nn.LayerNorm(width, EPSILON, elementwise_affine=False)


class Olmo(CausalLM):
    cos: Tensor
    sin: Tensor

    def __init__(self, shape: ModelShape) -> None:
        super().__init__(shape, Block, norm(shape.width))
        cos, sin = rotary(shape.context, shape.head_width, shape.rope_base)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.dropout(self.embedding(ids))
        rotation, mask = (self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]), self.document_mask(ids)
        for block in self.blocks:
            x = self.run_block(block, x, rotation, mask)
        return self.norm(x)


class Block(nn.Module):
    def __init__(self, shape: ModelShape, layer: int) -> None:
        super().__init__()
        self.attention_norm, self.feed_forward_norm = norm(shape.width), norm(shape.width)
        self.attention = Attention(shape.width, shape.heads, shape.key_value_heads, shape.head_width, causal=True)
        self.feed_forward = GatedFeedForward(shape.width, shape.feed_forward, "silu")

    def forward(self, x: Tensor, rotation: Rotation, mask: Tensor | None, dropout: Callable[[Tensor], Tensor]) -> Tensor:
        x = x + dropout(self.attention(self.attention_norm(x), rotation, mask))
        return x + dropout(self.feed_forward(self.feed_forward_norm(x)))


def _config(shape: ModelShape, tokens: SpecialTokens) -> OlmoConfig:
    from transformers import OlmoConfig

    fields: dict[str, Any] = {**sizes(shape, tokens), **layer_sizes(shape), "num_key_value_heads": shape.key_value_heads}
    return OlmoConfig(**fields, rope_parameters=rope(shape.rope_base))


def _shape(config: Any) -> ModelShape:
    return stated_shape("olmo", config, epsilon=EPSILON, rope_base=config.rope_parameters["rope_theta"])


FAMILY = Family(
    name="olmo",
    model=Olmo,
    architecture="OlmoForCausalLM",
    title="OLMo",
    description="rotary positions, norms without gains, SwiGLU",
    layers="model.layers",
    weights={
        "embedding.weight": ["model.embed_tokens.weight"],
        "output.weight": ["lm_head.weight"],
        "attention.query_key_value": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
        "attention.out": ["self_attn.o_proj"],
        "feed_forward.gate_up": ["mlp.gate_proj", "mlp.up_proj"],
        "feed_forward.down": ["mlp.down_proj"],
    },
    config=_config,
    shape=_shape,
    epsilon=EPSILON,
    gated=True,
    grouped_queries=True,
)
