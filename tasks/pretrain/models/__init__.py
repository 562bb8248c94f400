"""Models that can be trained, one family a file: the model, its map to the stock class of `transformers`, its words in a card.

`base` says what they share, `layers` holds their parts, `family` says what a family declares, `convert` exports and imports.
"""

from __future__ import annotations

from lang_configs.training import Model, Pretrain
from tasks.pretrain.models.base import CausalLM, LanguageModel, MaskedLM, ModelShape, Training, initialise
from tasks.pretrain.models.convert import from_transformers, save_transformers, to_transformers
from tasks.pretrain.models.family import Family, SpecialTokens, families, find, register, register_from

__all__ = [
    "CausalLM", "Family", "LanguageModel", "MaskedLM", "ModelShape", "SpecialTokens", "Training", "build", "families", "find",
    "from_transformers", "initialise", "new", "register", "register_from", "save_transformers", "shape_of", "to_transformers",
]  # fmt: skip


def shape_of(model: Model, vocab_size: int) -> ModelShape:
    """The shape that a config asks for; by default a gated feed-forward's three matrices hold as much as two of four widths."""
    family = find(model.family)
    usual = -(-8 * model.width // (3 * 64)) * 64 if family.gated else 4 * model.width
    return ModelShape(
        family=family.name,
        vocab_size=vocab_size,
        layers=model.layers,
        width=model.width,
        heads=model.heads,
        feed_forward=model.feed_forward or usual,
        context=model.context,
        key_value_heads=model.key_value_heads or model.heads,
        head_width=model.width // model.heads,
        tied=model.tied or family.always_tied,
        epsilon=family.epsilon,
    )


def build(shape: ModelShape) -> LanguageModel:
    """A model of this shape, its weights not yet drawn."""
    return find(shape.family).build(shape)


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
