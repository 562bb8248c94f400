"""BERT, `BertForMaskedLM`: norms after each part, learned positions, biases everywhere (arXiv 1810.04805)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tasks.pretrain.models.base import MaskedLM, ModelShape, gather_positions
from tasks.pretrain.models.family import Family, SpecialTokens, layer_sizes, sizes, stated_shape
from tasks.pretrain.models.layers import Attention, FeedForward

if TYPE_CHECKING:
    from transformers import BertConfig


class Bert(MaskedLM):
    """The family to compare with; all text is of the first of its two segment types."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__(shape, Block, nn.LayerNorm(shape.width, shape.epsilon))
        self.positions = nn.Embedding(shape.context, shape.width)
        self.segments = nn.Parameter(torch.zeros(2, shape.width))
        self.head = Head(shape)
        self.output_bias = nn.Parameter(torch.zeros(shape.vocab_size))

    def forward(self, ids: Tensor, positions: Tensor | None = None) -> Tensor:
        """Final hidden states `[batch, length, width]` of `ids` `[batch, length]`, or those at `positions`."""
        x = self.embedding(ids) + self.positions.weight[: ids.shape[1]] + self.segments[0]
        x, mask = self.dropout(self.norm(x)), self.document_mask(ids)
        full = len(self.blocks) - (0 if positions is None else self.training_only.narrow_layers)
        for block in self.blocks[:full]:
            x = self.run_block(block, x, mask)
        if positions is None:
            return x
        narrow = gather_positions(x, positions)
        for block in self.blocks[full:]:
            narrow = cast(Block, block).narrow(narrow, x, self.dropout)
        return narrow


class Block(nn.Module):
    """Attention, then feed-forward, each added to the stream, which is normed after it."""

    def __init__(self, shape: ModelShape, layer: int) -> None:
        super().__init__()
        self.attention = Attention(shape.width, shape.heads, shape.heads, shape.head_width, causal=False, bias=True)
        self.attention_norm = nn.LayerNorm(shape.width, shape.epsilon)
        self.feed_forward = FeedForward(shape.width, shape.feed_forward, "gelu", bias=True)
        self.feed_forward_norm = nn.LayerNorm(shape.width, shape.epsilon)

    def forward(self, x: Tensor, mask: Tensor | None, dropout: Callable[[Tensor], Tensor]) -> Tensor:
        return self._feed(x, self.attention(x, None, mask), dropout)

    def narrow(self, x: Tensor, context: Tensor, dropout: Callable[[Tensor], Tensor]) -> Tensor:
        """The same at masked positions only, which look at a `context` that no longer changes."""
        return self._feed(x, self.attention.attend_from(x, context, None, None), dropout)

    def _feed(self, x: Tensor, mixed: Tensor, dropout: Callable[[Tensor], Tensor]) -> Tensor:
        x = self.attention_norm(x + dropout(mixed))
        return self.feed_forward_norm(x + dropout(self.feed_forward(x)))


class Head(nn.Module):
    """What stands between the last hidden states and the output matrix."""

    def __init__(self, shape: ModelShape, bias: bool = True) -> None:
        super().__init__()
        self.dense = nn.Linear(shape.width, shape.width, bias)
        self.norm = nn.LayerNorm(shape.width, shape.epsilon, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(F.gelu(self.dense(x)))


def _config(shape: ModelShape, tokens: SpecialTokens) -> BertConfig:
    from transformers import BertConfig

    return BertConfig(
        **sizes(shape, tokens), **layer_sizes(shape), layer_norm_eps=shape.epsilon,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip


FAMILY = Family(
    name="bert",
    model=Bert,
    architecture="BertForMaskedLM",
    title="BERT",
    description="learned positions, norms after each part, GELU, biases",
    layers="bert.encoder.layer",
    weights={
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
    optional=["cls.predictions.decoder.bias"],
    config=_config,
    shape=lambda config: stated_shape("bert", config, epsilon=config.layer_norm_eps),
    epsilon=1e-12,
    always_tied=True,  # the bias along with the matrix
)
