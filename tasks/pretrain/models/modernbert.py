"""ModernBERT, `ModernBertForMaskedLM` (arXiv 2412.13663): rotary positions, GeGLU, norms first and no biases.

These are the changes that Crammed-BERT (arXiv 2212.14034) found to pay in a short training, in a class that loads everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from tasks.pretrain.models.base import MaskedLM, ModelShape, gather_positions
from tasks.pretrain.models.bert import Head
from tasks.pretrain.models.family import Family, SpecialTokens, layer_sizes, rope, sizes, stated_shape
from tasks.pretrain.models.layers import Attention, GatedFeedForward, Rotation, rotary

if TYPE_CHECKING:
    from transformers import ModernBertConfig


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

    def forward(self, ids: Tensor, positions: Tensor | None = None) -> Tensor:
        """Final hidden states `[batch, length, width]` of `ids` `[batch, length]`, or those `[batch, masked]` at `positions`.

        With `narrow_layers`, masked positions look, in the last layers, at the stream as the layers before them left it
        (NarrowBERT's ContextFirst). No other position is computed there.
        """
        x = self.dropout(self.embedding_norm(self.embedding(ids)))
        documents, length = self.document_mask(ids), ids.shape[1]
        full = len(self.blocks) - (0 if positions is None else self.training_only.narrow_layers)
        for layer, block in enumerate(self.blocks[:full]):
            x = self.run_block(block, x, self._rotation(layer, length), self._mask(layer, length, documents))
        if positions is None:
            return self.norm(x)
        narrow = gather_positions(x, positions)
        for layer, block in enumerate(self.blocks[full:], full):
            cos, sin = self._rotation(layer, length)
            at = (cos[positions][:, None], sin[positions][:, None])
            narrow = cast(Block, block).narrow(narrow, x, at, (cos, sin), self.dropout)
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

    def forward(self, x: Tensor, rotation: Rotation, mask: Tensor | None, dropout: Callable[[Tensor], Tensor]) -> Tensor:
        x = x + dropout(self.attention(self.attention_norm(x), rotation, mask))
        return x + dropout(self.feed_forward(self.feed_forward_norm(x)))

    def narrow(
        self, x: Tensor, context: Tensor, at: Rotation, rotation: Rotation, dropout: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """The same at masked positions only, which look at a `context` that no longer changes."""
        mixed = self.attention.attend_from(self.attention_norm(x), self.attention_norm(context), at, rotation)
        x = x + dropout(mixed)
        return x + dropout(self.feed_forward(self.feed_forward_norm(x)))


def _config(shape: ModelShape, tokens: SpecialTokens) -> ModernBertConfig:
    from transformers import ModernBertConfig

    local: dict[str, Any] = {"global_attn_every_n_layers": shape.global_every if shape.local_attention else 1}
    return ModernBertConfig(
        **sizes(shape, tokens), **layer_sizes(shape), norm_eps=shape.epsilon, cls_token_id=tokens.bos, sep_token_id=tokens.eos,
        **local, local_attention=2 * shape.local_attention,
        rope_parameters={"full_attention": rope(shape.rope_base), "sliding_attention": rope(shape.local_rope_base)},
    )  # fmt: skip


def _earlier_fields(shape: ModelShape) -> dict[str, Any]:
    return {
        "global_rope_theta": shape.rope_base,
        "local_rope_theta": shape.local_rope_base,
        "global_attn_every_n_layers": shape.global_every if shape.local_attention else 1,
    }


def _shape(config: Any) -> ModelShape:
    layers, positions = config.num_hidden_layers, config.rope_parameters
    full = [layer for layer, kind in enumerate(config.layer_types) if kind == "full_attention"]
    local = len(full) < layers
    return stated_shape(
        "modernbert",
        config,
        epsilon=config.norm_eps,
        local_attention=config.local_attention // 2 if local else 0,
        global_every=full[1] if local and len(full) > 1 else layers if local else 1,
        rope_base=positions["full_attention"]["rope_theta"],
        local_rope_base=positions["sliding_attention"]["rope_theta"] if local else 10_000.0,
    )


FAMILY = Family(
    name="modernbert",
    model=ModernBert,
    architecture="ModernBertForMaskedLM",
    title="ModernBERT",
    description="rotary positions, norms before each part, GeGLU",
    layers="model.layers",
    weights={
        "embedding.weight": ["model.embeddings.tok_embeddings.weight"],
        "embedding_norm.weight": ["model.embeddings.norm.weight"],
        "norm.weight": ["model.final_norm.weight"],
        "head.dense.weight": ["head.dense.weight"],
        "head.norm.weight": ["head.norm.weight"],
        "output.weight": ["decoder.weight"],
        "output_bias": ["decoder.bias"],
        "attention_norm": ["attn_norm"],
        "attention.query_key_value": ["attn.Wqkv"],
        "attention.out": ["attn.Wo"],
        "feed_forward_norm": ["mlp_norm"],
        "feed_forward.gate_up": ["mlp.Wi"],
        "feed_forward.down": ["mlp.Wo"],
    },
    config=_config,
    shape=_shape,
    epsilon=1e-5,
    gated=True,
    earlier_fields=_earlier_fields,
)
