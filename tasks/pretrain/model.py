"""A causal language model of the Llama family, equal to `transformers` Qwen3ForCausalLM to the last bit of its mathematics.

Rotary positions (arXiv 2104.09864), RMSNorm before each part (arXiv 1910.07467), SwiGLU (arXiv 2002.05202), a norm on
queries and keys (arXiv 2302.05442), no biases, one matrix for embedding and output. What differs from the stock class
is only what makes training fast: one matrix product for queries, keys and values, and one for gate and up.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lang_configs.schema import Model

ROPE_BASE = 10_000.0
NORM_EPSILON = 1e-6
FINAL_GAIN = 0.02
"""Where the gain of the last norm starts: small, so that the first logits are, although embeddings have unit size."""
MATMUL_CONTEXT = 256
"""Longest window for which plain matrix products beat PyTorch's fused attention on a CPU (measured, 2 cores)."""


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a model: `width` is the residual stream's, `context` the longest window in tokens."""

    vocab_size: int
    layers: int
    width: int
    heads: int
    feed_forward: int
    context: int

    @classmethod
    def of(cls, model: Model, vocab_size: int) -> ModelShape:
        """The shape that a config asks for; by default SwiGLU's three matrices hold as much as two of four widths."""
        feed_forward = model.feed_forward or -(-8 * model.width // (3 * 64)) * 64
        return cls(vocab_size, model.layers, model.width, model.heads, feed_forward, model.context)

    @property
    def head_width(self) -> int:
        """Width of one attention head."""
        return self.width // self.heads


class CausalLM(nn.Module):
    """Predicts each next token of a window.

    Initialisation is for Muon: embeddings have unit size, so that the residual stream has it from the first step; what
    the blocks add starts at zero; the gain of the last norm keeps the first logits small although output and embedding
    share one matrix.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocab_size, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = RMSNorm(shape.width)
        cos, sin = rotary(shape.context, shape.head_width)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        nn.init.normal_(self.embedding.weight, std=1.0)
        nn.init.constant_(self.norm.weight, FINAL_GAIN)

    def forward(self, ids: Tensor) -> Tensor:
        """Final hidden states `[batch, length, width]` of token ids `[batch, length]`."""
        x = self.embedding(ids)
        cos, sin = self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]
        for block in self.blocks:
            x = block(x, cos, sin)
        return self.norm(x)

    def logits(self, ids: Tensor) -> Tensor:
        """Scores of every next token, `[batch, length, vocab_size]`."""
        return F.linear(self(ids), self.embedding.weight)

    def loss(self, windows: Tensor) -> Tensor:
        """Mean cross-entropy in nats per token of windows `[batch, length + 1]`: each token from those before it."""
        scores = self.logits(windows[:, :-1])
        return F.cross_entropy(scores.flatten(0, 1).float(), windows[:, 1:].flatten())


class Block(nn.Module):
    """Attention, then feed-forward, each on a normed copy and added to the stream."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        width, head = shape.width, shape.head_width
        self.heads, self.head_width = shape.heads, head
        self.attention_norm = RMSNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.query_norm = RMSNorm(head)
        self.key_norm = RMSNorm(head)
        self.attention_out = nn.Linear(width, width, bias=False)
        self.feed_forward_norm = RMSNorm(width)
        self.gate_up = nn.Linear(width, 2 * shape.feed_forward, bias=False)
        self.down = nn.Linear(shape.feed_forward, width, bias=False)
        bound = 0.5 * (3 / width) ** 0.5  # uniform with standard deviation 0.5 / sqrt(width), as modded-nanogpt
        nn.init.uniform_(self.query_key_value.weight, -bound, bound)
        nn.init.uniform_(self.gate_up.weight, -bound, bound)
        nn.init.zeros_(self.attention_out.weight)
        nn.init.zeros_(self.down.weight)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length, width = x.shape
        qkv = self.query_key_value(self.attention_norm(x)).view(batch, length, 3, self.heads, self.head_width)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        query, key = rotate(self.query_norm(query), cos, sin), rotate(self.key_norm(key), cos, sin)
        mixed = attend(query, key, value).transpose(1, 2).reshape(batch, length, width)
        x = x + self.attention_out(mixed)
        gate, up = self.gate_up(self.feed_forward_norm(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


class RMSNorm(nn.Module):
    """Scales each vector to unit root mean square, in fp32, then by a learned gain."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        y = x.float()
        y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + NORM_EPSILON)
        return self.weight * y.to(x.dtype)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Causal attention over `[batch, heads, length, head width]`."""
    length = query.shape[2]
    if query.device.type != "cpu" or length > MATMUL_CONTEXT:
        return F.scaled_dot_product_attention(query, key, value, is_causal=True)
    scores = (query * query.shape[3] ** -0.5) @ key.transpose(2, 3)
    future = torch.ones(length, length, dtype=torch.bool, device=query.device).triu(1)
    return scores.float().masked_fill(future, float("-inf")).softmax(-1).to(value.dtype) @ value


def rotary(length: int, head_width: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine `[length, head width / 2]` of position times frequency, in fp32."""
    frequency = 1.0 / ROPE_BASE ** (torch.arange(0, head_width, 2, dtype=torch.float32) / head_width)
    angle = torch.arange(length, dtype=torch.float32)[:, None] * frequency
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the halves of each head's vector by the angle of its position."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
