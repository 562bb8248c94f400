"""Models that can be trained, by family: `base` says what they share, `layers` holds their parts, `convert` their exports."""

from __future__ import annotations

from lang_configs.training import Model, Pretrain
from tasks.pretrain.models.base import CausalLM, LanguageModel, MaskedLM, ModelShape, Training, initialise
from tasks.pretrain.models.bert import Bert
from tasks.pretrain.models.convert import Tokens, from_transformers, save_transformers, to_transformers
from tasks.pretrain.models.decoder import Decoder
from tasks.pretrain.models.gpt2 import GPT2
from tasks.pretrain.models.modernbert import ModernBert
from tasks.pretrain.models.nanochat import NanoChat

__all__ = [
    "CausalLM", "LanguageModel", "MaskedLM", "ModelShape", "Tokens", "Training", "build", "from_transformers", "initialise",
    "new", "save_transformers", "shape_of", "to_transformers",
]  # fmt: skip

EPSILON = {"qwen3": 1e-6, "llama": 1e-6, "nanochat": 1e-6, "gpt2": 1e-5, "bert": 1e-12, "modernbert": 1e-5}
GATED = ("qwen3", "llama", "modernbert")


def shape_of(model: Model, vocab_size: int) -> ModelShape:
    """The shape that a config asks for; by default a gated feed-forward's three matrices hold as much as two of four widths."""
    usual = -(-8 * model.width // (3 * 64)) * 64 if model.family in GATED else 4 * model.width
    return ModelShape(
        family=model.family,
        vocab_size=vocab_size,
        layers=model.layers,
        width=model.width,
        heads=model.heads,
        feed_forward=model.feed_forward or usual,
        context=model.context,
        key_value_heads=model.key_value_heads or model.heads,
        head_width=model.width // model.heads,
        tied=model.tied or model.family == "bert",  # the stock class ties the bias along with the matrix
        epsilon=EPSILON[model.family],
    )


def build(shape: ModelShape) -> LanguageModel:
    """A model of this shape, its weights not yet drawn."""
    match shape.family:
        case "qwen3" | "llama":
            return Decoder(shape)
        case "nanochat":
            return NanoChat(shape)
        case "gpt2":
            return GPT2(shape)
        case "bert":
            return Bert(shape)
        case "modernbert":
            return ModernBert(shape)


def new(config: Pretrain, vocab_size: int, separator: int) -> LanguageModel:
    """The model that a config asks for, freshly drawn from torch's generator; `separator` begins each document."""
    model = build(shape_of(config.model, vocab_size))
    initialise(model, config.initialisation)
    model.training_only = Training(
        dropout=config.dropout,
        checkpointing=config.checkpointing,
        separator=separator if config.isolate_documents else None,
        narrow_layers=config.narrow_layers,
    )
    return model
