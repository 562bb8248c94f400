"""BERT, `BertForMaskedLM`: norms after each part, learned positions, biases everywhere (arXiv 1810.04805)."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tasks.pretrain.models.base import MaskedLM, ModelShape, take
from tasks.pretrain.models.layers import Attention, FeedForward


class Bert(MaskedLM):
    """The family to compare with; all text is of the first of its two segment types."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__(shape, Block, nn.LayerNorm(shape.width, shape.epsilon))
        self.positions = nn.Embedding(shape.context, shape.width)
        self.segments = nn.Parameter(torch.zeros(2, shape.width))
        self.head = Head(shape)
        self.output_bias = nn.Parameter(torch.zeros(shape.vocab_size))

    def forward(self, ids: Tensor, places: Tensor | None = None) -> Tensor:
        """Final hidden states `[batch, length, width]` of `ids` `[batch, length]`, or those at `places` `[batch, masked]`."""
        x = self.embedding(ids) + self.positions.weight[: ids.shape[1]] + self.segments[0]
        x, mask = self.drop(self.norm(x)), self.documents(ids)
        full = len(self.blocks) - (0 if places is None else self.training_only.narrow_layers)
        for block in self.blocks[:full]:
            x = self.through(block, x, mask)
        if places is None:
            return x
        narrow = take(x, places)
        for block in self.blocks[full:]:
            narrow = cast(Block, block).narrow(narrow, x, self.drop)
        return narrow


class Block(nn.Module):
    """Attention, then feed-forward, each added to the stream, which is normed after it."""

    def __init__(self, shape: ModelShape, layer: int) -> None:
        super().__init__()
        self.attention = Attention(shape.width, shape.heads, shape.heads, shape.head_width, causal=False, bias=True)
        self.attention_norm = nn.LayerNorm(shape.width, shape.epsilon)
        self.feed_forward = FeedForward(shape.width, shape.feed_forward, "gelu", bias=True)
        self.feed_forward_norm = nn.LayerNorm(shape.width, shape.epsilon)

    def forward(self, x: Tensor, mask: Tensor | None, drop: Callable[[Tensor], Tensor]) -> Tensor:
        return self._feed(x, self.attention(x, None, mask), drop)

    def narrow(self, x: Tensor, context: Tensor, drop: Callable[[Tensor], Tensor]) -> Tensor:
        """The same at masked positions only, which look at a `context` that no longer changes."""
        return self._feed(x, self.attention.look_back(x, context, None, None), drop)

    def _feed(self, x: Tensor, mixed: Tensor, drop: Callable[[Tensor], Tensor]) -> Tensor:
        x = self.attention_norm(x + drop(mixed))
        return self.feed_forward_norm(x + drop(self.feed_forward(x)))


class Head(nn.Module):
    """What stands between the last hidden states and the output matrix."""

    def __init__(self, shape: ModelShape, bias: bool = True) -> None:
        super().__init__()
        self.dense = nn.Linear(shape.width, shape.width, bias)
        self.norm = nn.LayerNorm(shape.width, shape.epsilon, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(F.gelu(self.dense(x)))
