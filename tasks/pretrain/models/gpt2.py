"""GPT-2, `GPT2LMHeadModel`: learned positions, LayerNorm, GELU and biases everywhere (Radford et al. 2019)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from tasks.pretrain.models.base import CausalLM, ModelShape
from tasks.pretrain.models.family import Family, SpecialTokens, sizes, stated_shape
from tasks.pretrain.models.layers import Attention, FeedForward

if TYPE_CHECKING:
    from transformers import GPT2Config


class GPT2(CausalLM):
    """The family to compare rotary positions with."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__(shape, Block, nn.LayerNorm(shape.width, shape.epsilon))
        self.positions = nn.Embedding(shape.context, shape.width)

    def forward(self, ids: Tensor) -> Tensor:
        """Final hidden states `[batch, length, width]` of token ids `[batch, length]`."""
        x = self.dropout(self.embedding(ids) + self.positions.weight[: ids.shape[1]])
        mask = self.document_mask(ids)
        for block in self.blocks:
            x = self.run_block(block, x, mask)
        return self.norm(x)


class Block(nn.Module):
    """Attention, then feed-forward, each on a normed copy and added to the stream."""

    def __init__(self, shape: ModelShape, layer: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(shape.width, shape.epsilon)
        self.attention = Attention(shape.width, shape.heads, shape.heads, shape.head_width, causal=True, bias=True)
        self.feed_forward_norm = nn.LayerNorm(shape.width, shape.epsilon)
        self.feed_forward = FeedForward(shape.width, shape.feed_forward, "gelu_new", bias=True)

    def forward(self, x: Tensor, mask: Tensor | None, dropout: Callable[[Tensor], Tensor]) -> Tensor:
        x = x + dropout(self.attention(self.attention_norm(x), None, mask))
        return x + dropout(self.feed_forward(self.feed_forward_norm(x)))


def _config(shape: ModelShape, tokens: SpecialTokens) -> GPT2Config:
    from transformers import GPT2Config

    return GPT2Config(
        **sizes(shape, tokens), n_embd=shape.width, n_layer=shape.layers, n_head=shape.heads, n_positions=shape.context,
        n_inner=shape.feed_forward, layer_norm_epsilon=shape.epsilon, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip


def _shape(config: Any) -> ModelShape:
    feed_forward = config.n_inner or 4 * config.n_embd
    return stated_shape("gpt2", config, feed_forward=feed_forward, epsilon=config.layer_norm_epsilon)


FAMILY = Family(
    name="gpt2",
    model=GPT2,
    architecture="GPT2LMHeadModel",
    title="GPT-2",
    description="learned positions, LayerNorm, GELU, biases",
    layers="transformer.h",
    weights={
        "embedding.weight": ["transformer.wte.weight"],
        "positions.weight": ["transformer.wpe.weight"],
        "norm.weight": ["transformer.ln_f.weight"],
        "norm.bias": ["transformer.ln_f.bias"],
        "output.weight": ["lm_head.weight"],
        "attention_norm": ["ln_1"],
        "attention.query_key_value": ["attn.c_attn"],
        "attention.out": ["attn.c_proj"],
        "feed_forward_norm": ["ln_2"],
        "feed_forward.up": ["mlp.c_fc"],
        "feed_forward.down": ["mlp.c_proj"],
    },
    transposed=True,
    config=_config,
    shape=_shape,
    epsilon=1e-5,
)
