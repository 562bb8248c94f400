"""How the text becomes a model: the sections `tokenizer`, `tokens` and `pretrain`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticKnownError

from lang_configs.sources import Seed, Strict

Pieces = Annotated[int, Field(ge=320, le=65536)]
"""A size of vocabulary."""
PiecesOrSizes = Annotated[
    Annotated[Pieces, Tag("size")] | Annotated[list[Pieces], Field(min_length=1), Tag("sizes")],
    Discriminator(lambda value: "sizes" if isinstance(value, list) else "size"),  # so that a mistake is one sentence, not two
]


class Tokenizer(Strict):
    """SentencePiece with byte fallback on NFC text."""

    type: Literal["bpe", "unigram"] = "bpe"
    vocab_size: PiecesOrSizes = Field(
        8192,
        description="Upper bound: a small corpus gets fewer pieces; a script of many characters gets room for them. Of a list,"
        " each is trained and measured, and the model's cheapest is taken: least computation for a byte of text",
    )
    bytes_per_piece: int = Field(60, ge=1, description="Training text that one piece of vocabulary needs, in bytes")
    training_bytes: int = Field(32 << 20, ge=1000, description="Text sampled for training, in bytes")
    seed: Seed = 1


class Tokens(Strict):
    """Nothing to set: the corpus and the tokenizer decide the token files."""


@dataclass(frozen=True)
class FamilyTraits:
    """What the config of a model depends on in its family."""

    masked: bool = False
    """Whether it predicts masked tokens, not the next one."""
    grouped_queries: bool = False
    """Whether several queries may share keys and values (`key_value_heads`)."""
    module: str = ""
    """What declares a family that is not of this package."""


FAMILIES = {
    "qwen3": FamilyTraits(grouped_queries=True),
    "llama": FamilyTraits(grouped_queries=True),
    "nanochat": FamilyTraits(grouped_queries=True),
    "gpt2": FamilyTraits(),
    "bert": FamilyTraits(masked=True),
    "modernbert": FamilyTraits(masked=True),
}
"""The families of models that a config may name; each of these is a file of that name in `tasks/pretrain/models`."""


def register_family(name: str, traits: FamilyTraits) -> None:
    """Let configs name a family that is declared elsewhere; to be called by `tasks.pretrain.models.register` alone."""
    FAMILIES[name] = traits


def _known_family(name: str) -> str:
    if name not in FAMILIES:
        raise PydanticKnownError("literal_error", {"expected": ", ".join(f"'{family}'" for family in FAMILIES)})
    return name


Precision = Literal["auto", "fp32", "tf32", "bf16", "fp16"]


class Model(Strict):
    """Shape of a model; every family is a stock class of transformers."""

    family: Annotated[str, AfterValidator(_known_family)] = Field(
        "qwen3",
        description="qwen3, llama, nanochat and gpt2 are causal, bert and modernbert masked",
        json_schema_extra={"enum": list(FAMILIES)},
    )
    layers: int = Field(4, ge=1)
    width: int = Field(192, ge=32)
    heads: int = Field(2, ge=1)
    key_value_heads: int | None = Field(None, ge=1, description="Fewer than heads: grouped queries (qwen3, llama, nanochat)")
    feed_forward: int | None = Field(
        None, ge=32, description="Default: 4 widths, or 8/3 of the width, rounded up to 64, where it is gated"
    )
    context: int = Field(256, ge=16, description="Tokens per window")
    tied: bool = Field(
        False,
        description="One matrix for embeddings and output: fewer parameters. Two cost no more computation (one is looked up)"
        " and learn more in the same time. BERT's are always one",
    )

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Model:
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise ValueError(f"width {self.width} must be an even multiple of heads {self.heads}")
        if self.key_value_heads and (not FAMILIES[self.family].grouped_queries or self.heads % self.key_value_heads):
            raise ValueError(f"key_value_heads must divide heads {self.heads}, and {self.family} may not have them")
        return self

    @property
    def masked(self) -> bool:
        """Whether the model predicts masked tokens from both sides, not the next token."""
        return FAMILIES[self.family].masked


class Pretrain(Strict):
    """How the model is trained. The first of steps, minutes, tokens, epochs and kwh to be used up ends the run, and the
    schedule follows it.
    """

    model: Model = Model()
    steps: int | None = Field(None, ge=1)
    minutes: float | None = Field(30.0, gt=0)
    epochs: float = Field(4.0, gt=0, description="Most passes over the training tokens")
    tokens: int | None = Field(None, ge=1, description="Most tokens to read, each pass counted")
    kwh: float | None = Field(
        None, gt=0, description="Most energy of GPU and processor, in kWh: measured where that is possible, else estimated"
    )
    batch_tokens: int = Field(8192, ge=64, description="Most tokens per optimizer step; a small corpus gets smaller steps")
    half_context: float = Field(
        0.6,
        ge=0,
        le=1,
        description="Share of the run, at its start, on windows of half the context and steps of half the tokens",
    )
    sampled_softmax: float = Field(
        0.25,
        ge=0,
        le=0.5,
        description="Causal models: share of the vocabulary that steps on half windows score: what occurs in them, and of the"
        " rest a random part that counts for all of it (arXiv 1412.2007); 0: everything is scored, as it always is where the"
        " corpus has less than a million tokens",
    )
    initialisation: Literal["unit", "normal"] = Field(
        "unit", description="unit: embeddings of unit size and blocks that start at zero; normal: GPT-2's, deviation .02"
    )
    masking: float = Field(0.25, gt=0, lt=1, description="Masked models: share of the tokens to be predicted")
    hybrid: float = Field(
        0.0, ge=0, lt=1, description="Causal models: share of the steps that predict masked tokens from both sides (GPT-BERT)"
    )
    narrow_layers: int = Field(
        0, ge=0, description="Masked models: this many last layers run at masked positions only (NarrowBERT)"
    )
    narrow_share: float = Field(0.8, ge=0, le=1, description="Share of the run with narrow layers; then all positions again")
    isolate_documents: bool = Field(False, description="No token attends to, or is predicted from, another document")
    dropout: float = Field(0.0, ge=0, lt=1, description="For many epochs over little text")
    optimizer: Literal["muon", "adamw", "lion", "lamb"] = "muon"
    learning_rate: float | None = Field(
        None, gt=0, description="Of the matrices at its peak; default: muon .02, adamw .005, lion .001, lamb .03"
    )
    embedding_learning_rate: float | None = Field(
        None, gt=0, description="Of embeddings; default: that of matrices, but fifty times adamw's where entries have unit size"
    )
    norm_learning_rate: float | None = Field(
        None,
        gt=0,
        description="Of the gains of the norms and of biases; default: .003, of muon and adamw with unit embeddings .03",
    )
    weight_decay: float = Field(0.0, ge=0, description="Of matrices")
    average: float | None = Field(None, gt=0, lt=1, description="Decay of an exponential moving average of the weights (EMA)")
    schedule: Literal["wsd", "cosine", "linear"] = "wsd"
    warm_up: float = Field(0.01, ge=0, lt=1, description="Share of the run")
    decay: float = Field(0.5, gt=0, le=1, description="Share of the run that a wsd schedule spends going down")
    clip: float = Field(1.0, gt=0, description="Largest gradient norm")
    precision: Precision = Field(
        "auto",
        description="auto: bf16 where the hardware multiplies it, fp16 on older GPUs, else fp32; tf32: fp32 of which a GPU"
        " multiplies 10 bits",
    )
    checkpointing: bool = Field(False, description="Compute activations again instead of keeping them: slower, less memory")
    seed: Seed = 1

    @model_validator(mode="after")
    def _objectives_fit_the_family(self) -> Pretrain:
        if self.narrow_layers and (not self.model.masked or self.narrow_layers >= self.model.layers):
            raise ValueError(f"narrow_layers must be fewer than the {self.model.layers} layers of a masked model")
        if self.hybrid and self.model.masked:
            raise ValueError(f"hybrid is for causal models; {self.model.family} is masked already")
        return self

    @property
    def peak_learning_rate(self) -> float:
        """Learning rate of the matrices at its peak."""
        return self.learning_rate or {"muon": 0.02, "adamw": 0.005, "lion": 0.001, "lamb": 0.03}[self.optimizer]
