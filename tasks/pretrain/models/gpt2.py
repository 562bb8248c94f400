"""GPT-2, `GPT2LMHeadModel`: learned positions, LayerNorm, GELU and biases everywhere (Radford et al. 2019)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from tasks.pretrain.models.base import CausalLM, ModelShape
from tasks.pretrain.models.layers import Attention, FeedForward


class GPT2(CausalLM):
    """The family to compare rotary positions with."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__(shape, Block, nn.LayerNorm(shape.width, shape.epsilon))
        self.positions = nn.Embedding(shape.context, shape.width)

    def forward(self, ids: Tensor) -> Tensor:
        """Final hidden states `[batch, length, width]` of token ids `[batch, length]`."""
        x = self.drop(self.embedding(ids) + self.positions.weight[: ids.shape[1]])
        mask = self.documents(ids)
        for block in self.blocks:
            x = self.through(block, x, mask)
        return self.norm(x)


class Block(nn.Module):
    """Attention, then feed-forward, each on a normed copy and added to the stream."""

    def __init__(self, shape: ModelShape, layer: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(shape.width, shape.epsilon)
        self.attention = Attention(shape.width, shape.heads, shape.heads, shape.head_width, causal=True, bias=True)
        self.feed_forward_norm = nn.LayerNorm(shape.width, shape.epsilon)
        self.feed_forward = FeedForward(shape.width, shape.feed_forward, "gelu_new", bias=True)

    def forward(self, x: Tensor, mask: Tensor | None, drop: Callable[[Tensor], Tensor]) -> Tensor:
        x = x + drop(self.attention(self.attention_norm(x), None, mask))
        return x + drop(self.feed_forward(self.feed_forward_norm(x)))
