"""Causal models of the Llama family: `LlamaForCausalLM`, and `Qwen3ForCausalLM`, which also norms queries and keys.

Rotary positions (arXiv 2104.09864), RMSNorm before each part (arXiv 1910.07467), SwiGLU (arXiv 2002.05202), grouped queries
(arXiv 2305.13245), a norm on queries and keys (arXiv 2302.05442), no biases.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from tasks.pretrain.models.base import CausalLM, ModelShape
from tasks.pretrain.models.layers import Attention, GatedFeedForward, RMSNorm, Rotation, rotary


class Decoder(CausalLM):
    """A Llama or, with the norm on queries and keys, a Qwen3."""

    cos: Tensor
    sin: Tensor

    def __init__(self, shape: ModelShape) -> None:
        super().__init__(shape, Block, RMSNorm(shape.width, shape.epsilon))
        cos, sin = rotary(shape.context, shape.head_width, shape.rope_base)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Final hidden states `[batch, length, width]` of token ids `[batch, length]`."""
        x = self.drop(self.embedding(ids))
        rotation, mask = (self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]), self.documents(ids)
        for block in self.blocks:
            x = self.through(block, x, rotation, mask)
        return self.norm(x)


class Block(nn.Module):
    """Attention, then feed-forward, each on a normed copy and added to the stream."""

    def __init__(self, shape: ModelShape, layer: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(shape.width, shape.epsilon)
        self.attention = Attention(
            shape.width, shape.heads, shape.key_value_heads, shape.head_width, causal=True,
            norm=RMSNorm if shape.family == "qwen3" else None, epsilon=shape.epsilon,
        )  # fmt: skip
        self.feed_forward_norm = RMSNorm(shape.width, shape.epsilon)
        self.feed_forward = GatedFeedForward(shape.width, shape.feed_forward, "silu")

    def forward(self, x: Tensor, rotation: Rotation, mask: Tensor | None, drop: Callable[[Tensor], Tensor]) -> Tensor:
        x = x + drop(self.attention(self.attention_norm(x), rotation, mask))
        return x + drop(self.feed_forward(self.feed_forward_norm(x)))
