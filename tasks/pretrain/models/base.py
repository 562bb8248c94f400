"""What all families of models have in common: sizes, initialisation, and how a causal or a masked model is trained.

A family (llama, qwen3, nanochat, gpt2, bert, modernbert) is a file that puts `layers` together and says which class of
`transformers` it is, number for number. What differs from the stock classes is only what makes training fast: fused matrices,
no padding, and a masked model that computes its output at masked positions only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from tasks.pretrain.models.layers import cross_entropy, soft_cap
from tasks.pretrain.sampled import Sample

FINAL_GAIN = 0.02
"""Where the gain of the last norm starts with unit embeddings: small, so that the first logits are."""
NORMAL = 0.02
"""Standard deviation of GPT-2's and BERT's initialisation."""


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a model: `width` is the residual stream's, `context` the longest window in tokens."""

    family: str
    vocab_size: int
    layers: int
    width: int
    heads: int
    feed_forward: int
    context: int
    key_value_heads: int
    head_width: int
    tied: bool = True
    rope_base: float = 10_000.0
    epsilon: float = 1e-6
    local_attention: int = 0
    """ModernBERT: reach of a local layer in tokens, to both sides; 0: all layers see everything."""
    global_every: int = 1
    local_rope_base: float = 10_000.0


@dataclass(frozen=True)
class Training:
    """What a model does only while it is trained."""

    dropout: float = 0.0
    """Of the embeddings and of what each part adds to the stream."""
    checkpointing: bool = False
    """Keep no activations inside blocks, compute them again in the backward pass (arXiv 1604.06174)."""
    separator: int | None = None
    """Token that begins a document: no token attends across it. None: windows are plain text."""
    narrow_layers: int = 0
    """Masked models: this many layers, the last ones, run at masked positions only (NarrowBERT, arXiv 2301.04761)."""


class LanguageModel(nn.Module):
    """Embedding, blocks, last norm and output matrix; a family adds the blocks."""

    objective: ClassVar[Literal["causal", "masked"]]
    cap = 0.0
    """Where logits are capped; 0: nowhere."""
    last_gain = ""
    """Name of the gain that keeps the first logits small, if one does."""

    def __init__(self, shape: ModelShape, block: Callable[[ModelShape, int], nn.Module], norm: nn.Module) -> None:
        super().__init__()
        self.shape, self.training_only = shape, Training()
        self.embedding = nn.Embedding(shape.vocab_size, shape.width)
        self.blocks = nn.ModuleList(block(shape, layer) for layer in range(shape.layers))
        self.norm = norm
        self.output = None if shape.tied else nn.Linear(shape.width, shape.vocab_size, bias=False)

    @property
    def output_weight(self) -> Tensor:
        """The matrix `[vocab_size, width]` of the logits."""
        return self.embedding.weight if self.output is None else self.output.weight

    @property
    def matmul_parameters(self) -> int:
        """Parameters that each token is multiplied with: all of them, less an embedding that is only looked up."""
        return sum(weight.numel() for weight in self.parameters()) - (0 if self.shape.tied else self.embedding.weight.numel())

    def loss(self, *batch: Tensor, **options: Any) -> Tensor:
        """Mean cross-entropy in nats of what is to be predicted in a batch, as the objective has it."""
        raise NotImplementedError

    def dropout(self, x: Tensor) -> Tensor:
        """Dropout (JMLR 15, 1929), in training only."""
        rate = self.training_only.dropout
        return F.dropout(x, rate) if rate and self.training else x

    def run_block(self, block: nn.Module, x: Tensor, *others: Any) -> Tensor:
        """What a block makes of the stream, with or without keeping its activations."""
        if self.training_only.checkpointing and self.training:
            return checkpoint(block, x, *others, self.dropout, use_reentrant=False)
        return block(x, *others, self.dropout)

    def document_mask(self, ids: Tensor) -> Tensor | None:
        """Which tokens `[batch, 1, length, length]` lie in one document, if models are to tell documents apart."""
        if self.training_only.separator is None:
            return None
        number = (ids == self.training_only.separator).cumsum(1)
        return (number[:, :, None] == number[:, None, :])[:, None]


class CausalLM(LanguageModel):
    """Predicts each next token of a window."""

    objective = "causal"

    def logits(self, ids: Tensor) -> Tensor:
        """Scores of every next token, `[batch, length, vocab_size]`."""
        return soft_cap(F.linear(self(ids), self.output_weight), self.cap)

    def set_bidirectional(self, both: bool) -> None:
        """Let tokens look at those after them, for `loss` with positions; a model is used and exported as one that does not."""
        for block in self.blocks:
            block.attention.causal = not both  # type: ignore[union-attr]

    def loss(  # type: ignore[override]
        self, windows: Tensor, positions: Tensor | None = None, labels: Tensor | None = None, sample: Sample | None = None
    ) -> Tensor:
        """Mean cross-entropy in nats per token of windows `[batch, length + 1]`: each token from those before it.

        With a `sample`, which all tokens of the windows are in, it is estimated from the scores of its pieces.

        With `positions` and `labels` `[batch, masked]`, `windows` are masked ids `[batch, length]` and each label is predicted
        at the position before its own, as if it were a next token (masked next-token prediction; GPT-BERT, arXiv 2410.24159).
        """
        if positions is not None and labels is not None:
            hidden = gather_positions(self(windows), positions - 1).flatten(0, 1)
            return cross_entropy(hidden, self.output_weight, labels.flatten(), cap=self.cap)
        labels, weight, log_weights = windows[:, 1:], self.output_weight, None
        targets = labels
        if sample is not None:
            targets, log_weights = sample.positions[labels], sample.log_weights
            weight = F.embedding(sample.pieces, weight)
        if self.training_only.separator is not None:  # the first token of a document cannot be known from the one before
            targets = targets.masked_fill(labels == self.training_only.separator, -100)
        hidden = self(windows[:, :-1]).flatten(0, 1)
        return cross_entropy(hidden, weight, targets.flatten(), cap=self.cap, log_weights=log_weights)


class MaskedLM(LanguageModel):
    """Predicts the tokens at masked positions from both sides."""

    objective = "masked"
    head: nn.Module
    output_bias: nn.Parameter

    def logits(self, ids: Tensor) -> Tensor:
        """Scores of the token at every position, `[batch, length, vocab_size]`."""
        return F.linear(self.head(self(ids)), self.output_weight, self.output_bias)

    def loss(self, ids: Tensor, positions: Tensor, labels: Tensor) -> Tensor:  # type: ignore[override]
        """Mean cross-entropy in nats of `labels`, the tokens at `positions`, both `[batch, masked]`, of masked `ids`
        `[batch, length]`.

        The output matrix sees only these positions (sparse prediction; cramming, arXiv 2212.14034), whose number is the
        same in every window so that shapes never change.
        """
        hidden = self.head(self(ids, positions)).flatten(0, 1)
        return cross_entropy(hidden, self.output_weight, labels.flatten(), self.output_bias)


def gather_positions(x: Tensor, positions: Tensor) -> Tensor:
    """The vectors `[batch, masked, width]` of `x` `[batch, length, width]` at `positions` `[batch, masked]`."""
    return x.gather(1, positions[:, :, None].expand(-1, -1, x.shape[2]))


def initialise(model: LanguageModel, kind: Literal["unit", "normal"]) -> None:
    """Draw the weights.

    unit: for Muon. Embeddings have unit size, so that the stream has it from the first step; matrices are uniform with
    standard deviation .5 / sqrt(inputs), as modded-nanogpt's; what the blocks add starts at zero; the gain of the last norm
    keeps the first logits small although output and embedding share a matrix. normal: GPT-2's, all of deviation .02, and
    what the blocks add less by the square root of their number.
    """
    for name, module in model.named_modules():
        adds = name.startswith("blocks.") and name.rpartition(".")[2] in ("out", "down")
        if isinstance(module, nn.Linear):
            if kind == "normal":
                nn.init.normal_(module.weight, std=NORMAL / (2 * model.shape.layers) ** 0.5 if adds else NORMAL)
            elif adds:
                nn.init.zeros_(module.weight)
            elif module is model.output:
                nn.init.normal_(module.weight, std=FINAL_GAIN)
            else:
                bound = 0.5 * (3 / module.in_features) ** 0.5
                nn.init.uniform_(module.weight, -bound, bound)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=1.0 if kind == "unit" else NORMAL)
    name = "head.norm.weight" if isinstance(model, MaskedLM) else "norm.weight"
    gain = dict(model.named_parameters()).get(name)
    if kind == "unit" and model.shape.tied and gain is not None:
        nn.init.constant_(gain, FINAL_GAIN)
        model.last_gain = name
