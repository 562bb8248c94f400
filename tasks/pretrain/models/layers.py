"""The parts that the families of models are put together from: norms, rotary positions, attention, feed-forward, loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MATMUL_CONTEXT = 256
"""Longest window for which plain matrix products beat PyTorch's fused attention on a CPU (measured, 2 cores)."""
MOST_LOGITS = 1 << 26
"""Logits that may stand in memory at once (256 MiB in fp32); beyond, the loss goes over the tokens in chunks."""

Rotation = tuple[Tensor, Tensor]
"""Cosine and sine `[length, head width / 2]` (or with a dimension of batch in front) of each position's angles."""


class FusedLinear(nn.Linear):
    """Several linear layers of the same input in one matrix product: the rows of `sizes`, one block below the other."""

    def __init__(self, width: int, sizes: Sequence[int], bias: bool = False) -> None:
        super().__init__(width, sum(sizes), bias)
        self.sizes = tuple(sizes)


class RMSNorm(nn.Module):
    """Scales each vector to unit root mean square, in fp32, then by a learned gain (arXiv 1910.07467)."""

    def __init__(self, width: int, epsilon: float, gain: bool = True) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(width)) if gain else None

    def forward(self, x: Tensor) -> Tensor:
        y = x.float()
        y = (y * torch.rsqrt(y.square().mean(-1, keepdim=True) + self.epsilon)).to(x.dtype)
        return y if self.weight is None else self.weight * y


class Attention(nn.Module):
    """Multi-head attention whose queries, keys and values come from one matrix; keys may serve several queries (GQA, arXiv
    2305.13245). With `norm`, queries and keys are normed: before the rotation, or after it with `norm_last`.
    """

    def __init__(
        self, width: int, heads: int, key_value_heads: int, head_width: int, causal: bool, bias: bool = False,
        norm: type[nn.Module] | None = None, epsilon: float = 0.0, gain: bool = True, norm_last: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.heads, self.key_value_heads, self.head_width = heads, key_value_heads, head_width
        self.causal, self.norm_last = causal, norm_last
        inner, shared = heads * head_width, key_value_heads * head_width
        self.query_key_value = FusedLinear(width, (inner, shared, shared), bias)
        self.query_norm = norm(head_width, epsilon, gain) if norm else nn.Identity()
        self.key_norm = norm(head_width, epsilon, gain) if norm else nn.Identity()
        self.out = nn.Linear(inner, width, bias)

    def forward(self, x: Tensor, rotation: Rotation | None = None, mask: Tensor | None = None) -> Tensor:
        """Mix `x` `[batch, length, width]`; `mask` `[batch, 1, length, length]` is true where a token may look."""
        parts = self.query_key_value(x).split(self.query_key_value.sizes, dim=-1)
        query, key, value = (self._heads(part) for part in parts)
        query, key = self._rotated(self.query_norm, query, rotation), self._rotated(self.key_norm, key, rotation)
        return self._attend(query, key, value, self.causal, mask)

    def attend_from(self, queries: Tensor, x: Tensor, at: Rotation | None, rotation: Rotation | None) -> Tensor:
        """Mix at `queries` `[batch, masked, width]` only, whose rotation is `at`, over all of `x` (NarrowBERT)."""
        inner = self.query_key_value.sizes[0]
        weight, bias = self.query_key_value.weight, self.query_key_value.bias
        query = self._heads(F.linear(queries, weight[:inner], None if bias is None else bias[:inner]))
        key, value = F.linear(x, weight[inner:], None if bias is None else bias[inner:]).chunk(2, dim=-1)
        query = self._rotated(self.query_norm, query, at)
        return self._attend(query, self._rotated(self.key_norm, self._heads(key), rotation), self._heads(value), False, None)

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_width)).transpose(1, 2)

    def _rotated(self, norm: nn.Module, x: Tensor, rotation: Rotation | None) -> Tensor:
        if self.norm_last:
            return norm(x if rotation is None else rotate(x, *rotation))
        return norm(x) if rotation is None else rotate(norm(x), *rotation)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, causal: bool, mask: Tensor | None) -> Tensor:
        if self.key_value_heads != self.heads:
            key, value = (x.repeat_interleave(self.heads // self.key_value_heads, dim=1) for x in (key, value))
        return self.out(attend(query, key, value, causal, mask).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two matrices with an activation between them."""

    def __init__(self, width: int, hidden: int, activation: str, bias: bool = False) -> None:
        super().__init__()
        self.up, self.down, self.activation = nn.Linear(width, hidden, bias), nn.Linear(hidden, width, bias), activation

    def forward(self, x: Tensor) -> Tensor:
        return self.down(activate(self.activation, self.up(x)))


class GatedFeedForward(nn.Module):
    """Two matrices up, of which one, activated, gates the other, and one down (SwiGLU, GeGLU: arXiv 2002.05202)."""

    def __init__(self, width: int, hidden: int, activation: str, bias: bool = False) -> None:
        super().__init__()
        self.gate_up, self.down = FusedLinear(width, (hidden, hidden), bias), nn.Linear(hidden, width, bias)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(activate(self.activation, gate) * up)


def activate(name: str, x: Tensor) -> Tensor:
    """An activation by the name that `transformers` gives it."""
    match name:
        case "silu":
            return F.silu(x)
        case "gelu":
            return F.gelu(x)
        case "gelu_new":
            return F.gelu(x, approximate="tanh")
        case "relu2":
            return F.relu(x).square()
    raise ValueError(f"activation {name!r}; known here are silu, gelu, gelu_new and relu2")


def attend(query: Tensor, key: Tensor, value: Tensor, causal: bool, mask: Tensor | None = None) -> Tensor:
    """Attention over `[batch, heads, length, head width]`; `mask` is true where a query may look."""
    length = key.shape[2]
    if query.device.type != "cpu" or length > MATMUL_CONTEXT:
        if mask is not None and causal:
            mask = mask & ~_future(length, query.device)
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal and mask is None)
    scores = ((query * query.shape[3] ** -0.5) @ key.transpose(2, 3)).float()
    if causal:
        scores = scores.masked_fill(_future(length, query.device), float("-inf"))
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(-1).to(value.dtype) @ value


def _future(length: int, device: torch.device) -> Tensor:
    return torch.ones(length, length, dtype=torch.bool, device=device).triu(1)


def rotary(length: int, head_width: int, base: float) -> Rotation:
    """The rotation of positions 0 to `length` - 1 in fp32 (arXiv 2104.09864)."""
    frequency = 1.0 / base ** (torch.arange(0, head_width, 2, dtype=torch.float32) / head_width)
    angle = torch.arange(length, dtype=torch.float32)[:, None] * frequency
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the halves of each head's vector by the angle of its position."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def cross_entropy(
    hidden: Tensor, weight: Tensor, labels: Tensor, bias: Tensor | None = None, cap: float = 0.0,
    log_weights: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Mean cross-entropy in nats of `labels` `[n]` given `hidden` `[n, width]` times the output matrix; labels of -100 do not
    count. With `cap`, logits are squashed to within it. A row of the matrix may count for several, with logarithms of how
    many. Too many logits for memory are made and forgotten in chunks.
    """
    if not cap and len(labels) * len(weight) > MOST_LOGITS:
        options = nn.LinearCrossEntropyOptions()
        bias = bias if log_weights is None else log_weights.to(weight.dtype)  # never both: only masked models have a bias
        return F.linear_cross_entropy(hidden, weight, labels, linear_bias=bias, options=options).float()
    scores = soft_cap(F.linear(hidden, weight, bias).float(), cap)
    return F.cross_entropy(scores if log_weights is None else scores + log_weights, labels)


def soft_cap(scores: Tensor, cap: float) -> Tensor:
    """Squash scores to within `cap` (arXiv 2408.00118); 0 leaves them as they are."""
    return cap * torch.tanh(scores / cap) if cap else scores
