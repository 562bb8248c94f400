"""nanochat's model, `NanoChatForCausalLM` (github.com/karpathy/nanochat): norms without gains, squared ReLU, capped logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor, nn

from tasks.pretrain.models import llama
from tasks.pretrain.models.base import CausalLM, ModelShape
from tasks.pretrain.models.family import Family, SpecialTokens
from tasks.pretrain.models.layers import Attention, FeedForward, RMSNorm, Rotation, rotary

if TYPE_CHECKING:
    from transformers import NanoChatConfig


class NanoChat(CausalLM):
    """Rotary positions that turn backwards, a norm on queries and keys after them, and one right after the embedding."""

    cap = 15.0
    cos: Tensor
    sin: Tensor

    def __init__(self, shape: ModelShape) -> None:
        super().__init__(shape, Block, RMSNorm(shape.width, shape.epsilon, gain=False))
        cos, sin = rotary(shape.context, shape.head_width, shape.rope_base)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", -sin, persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Final hidden states `[batch, length, width]` of token ids `[batch, length]`."""
        x = self.dropout(self.norm(self.embedding(ids)))
        rotation, mask = (self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]), self.document_mask(ids)
        for block in self.blocks:
            x = self.run_block(block, x, rotation, mask)
        return self.norm(x)


class Block(nn.Module):
    """Attention, then feed-forward, each on a normed copy and added to the stream."""

    def __init__(self, shape: ModelShape, layer: int) -> None:
        super().__init__()
        self.norm = RMSNorm(shape.width, shape.epsilon, gain=False)
        self.attention = Attention(
            shape.width, shape.heads, shape.key_value_heads, shape.head_width, causal=True,
            norm=RMSNorm, epsilon=shape.epsilon, gain=False, norm_last=True,
        )  # fmt: skip
        self.feed_forward = FeedForward(shape.width, shape.feed_forward, "relu2")

    def forward(self, x: Tensor, rotation: Rotation, mask: Tensor | None, dropout: Callable[[Tensor], Tensor]) -> Tensor:
        x = x + dropout(self.attention(self.norm(x), rotation, mask))
        return x + dropout(self.feed_forward(self.norm(x)))


def _config(shape: ModelShape, tokens: SpecialTokens) -> NanoChatConfig:
    from transformers import NanoChatConfig

    return NanoChatConfig(**llama.config_fields(shape, tokens))


FAMILY = Family(
    name="nanochat",
    model=NanoChat,
    architecture="NanoChatForCausalLM",
    title="nanochat",
    description="rotary positions, norms without gains, squared ReLU, query-key norm",
    layers="model.layers",
    weights=llama.WEIGHTS | {"feed_forward.up": ["mlp.fc1"], "feed_forward.down": ["mlp.fc2"]},
    config=_config,
    shape=lambda config: llama.shape_of_config("nanochat", config),
    epsilon=1e-6,
    grouped_queries=True,
)
