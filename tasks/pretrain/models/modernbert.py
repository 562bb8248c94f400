"""ModernBERT, `ModernBertForMaskedLM` (arXiv 2412.13663): rotary positions, GeGLU, norms first and no biases.

These are the changes that Crammed-BERT (arXiv 2212.14034) found to pay in a short training, in a class that loads everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from tasks.pretrain.models.base import MaskedLM, ModelShape, take
from tasks.pretrain.models.bert import Head
from tasks.pretrain.models.layers import Attention, GatedFeedForward, Rotation, rotary


class ModernBert(MaskedLM):
    """Layers that see everything and, where the shape has `local_attention`, layers between them that see their neighbours."""

    cos: Tensor
    sin: Tensor

    def __init__(self, shape: ModelShape) -> None:
        super().__init__(shape, Block, nn.LayerNorm(shape.width, shape.epsilon, bias=False))
        self.embedding_norm = nn.LayerNorm(shape.width, shape.epsilon, bias=False)
        self.head = Head(shape, bias=False)
        self.output_bias = nn.Parameter(torch.zeros(shape.vocab_size))
        bases = (shape.rope_base, shape.local_rope_base) if shape.local_attention else (shape.rope_base,)
        cos, sin = zip(*(rotary(shape.context, shape.head_width, base) for base in bases), strict=True)
        self.register_buffer("cos", torch.stack(cos), persistent=False)
        self.register_buffer("sin", torch.stack(sin), persistent=False)

    def forward(self, ids: Tensor, places: Tensor | None = None) -> Tensor:
        """Final hidden states `[batch, length, width]` of `ids` `[batch, length]`, or only those at `places` `[batch, masked]`.

        With `narrow_layers`, masked positions look, in the last layers, at the stream as the layers before them left it
        (NarrowBERT's ContextFirst). No other position is computed there.
        """
        x = self.drop(self.embedding_norm(self.embedding(ids)))
        documents, length = self.documents(ids), ids.shape[1]
        full = len(self.blocks) - (0 if places is None else self.training_only.narrow_layers)
        for layer, block in enumerate(self.blocks[:full]):
            x = self.through(block, x, self._rotation(layer, length), self._mask(layer, length, documents))
        if places is None:
            return self.norm(x)
        narrow = take(x, places)
        for layer, block in enumerate(self.blocks[full:], full):
            cos, sin = self._rotation(layer, length)
            at = (cos[places][:, None], sin[places][:, None])
            narrow = cast(Block, block).narrow(narrow, x, at, (cos, sin), self.drop)
        return self.norm(narrow)

    def _rotation(self, layer: int, length: int) -> Rotation:
        kind = 1 if self._is_local(layer) else 0
        return self.cos[kind, :length], self.sin[kind, :length]

    def _mask(self, layer: int, length: int, documents: Tensor | None) -> Tensor | None:
        if not self._is_local(layer):
            return documents
        place = torch.arange(length, device=self.cos.device)
        near = ((place[:, None] - place[None, :]).abs() <= self.shape.local_attention)[None, None]
        return near if documents is None else near & documents

    def _is_local(self, layer: int) -> bool:
        return bool(self.shape.local_attention) and layer % self.shape.global_every != 0


class Block(nn.Module):
    """Attention, then feed-forward, each on a normed copy and added to the stream."""

    def __init__(self, shape: ModelShape, layer: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(shape.width, shape.epsilon, bias=False) if layer else nn.Identity()
        self.attention = Attention(shape.width, shape.heads, shape.heads, shape.head_width, causal=False)
        self.feed_forward_norm = nn.LayerNorm(shape.width, shape.epsilon, bias=False)
        self.feed_forward = GatedFeedForward(shape.width, shape.feed_forward, "gelu")

    def forward(self, x: Tensor, rotation: Rotation, mask: Tensor | None, drop: Callable[[Tensor], Tensor]) -> Tensor:
        x = x + drop(self.attention(self.attention_norm(x), rotation, mask))
        return x + drop(self.feed_forward(self.feed_forward_norm(x)))

    def narrow(self, x: Tensor, context: Tensor, at: Rotation, rotation: Rotation, drop: Callable[[Tensor], Tensor]) -> Tensor:
        """The same at masked positions only, which look at a `context` that no longer changes."""
        mixed = self.attention.look_back(self.attention_norm(x), self.attention_norm(context), at, rotation)
        x = x + drop(mixed)
        return x + drop(self.feed_forward(self.feed_forward_norm(x)))
