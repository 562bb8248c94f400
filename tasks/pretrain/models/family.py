"""What a family of models is, and which there are: those of this folder, one file each, and those that others register."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lang_configs.training import FAMILIES, FamilyTraits, register_family
from tasks.pretrain.models.base import LanguageModel, MaskedLM, ModelShape

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


@dataclass(frozen=True)
class SpecialTokens:
    """Ids of the special tokens, as an export states them."""

    bos: int | None = None
    eos: int | None = None
    pad: int | None = None
    mask: int | None = None


@dataclass(frozen=True)
class Family:
    """A model and its map to the class of `transformers` that computes the same, number for number."""

    name: str
    """As `pretrain.model.family` names it."""
    model: type[LanguageModel]
    architecture: str
    """The stock class."""
    title: str
    description: str
    """In a card: TITLE, as `ARCHITECTURE`: DESCRIPTION."""
    layers: str
    """Where the stock class keeps its layers, e.g. model.layers."""
    weights: Mapping[str, Sequence[str]]
    """The stock weights that one of ours holds, one above the other: full names of those outside of blocks, and for the
    modules of a block their names within a layer."""
    config: Callable[[ModelShape, SpecialTokens], PreTrainedConfig]
    """The stock config of a shape."""
    shape: Callable[[Any], ModelShape]
    """The shape that a stock config states, as far as we have it; what is left over is found by comparing configs."""
    epsilon: float
    """Of the norms, in a new model."""
    gated: bool = False
    """Whether the feed-forward part has three matrices."""
    grouped_queries: bool = False
    """Whether several queries may share keys and values."""
    always_tied: bool = False
    """Whether the stock class has one matrix for embeddings and output, whatever its config says."""
    transposed: bool = False
    """Whether the stock class keeps the matrices of its layers as `[inputs, outputs]`."""
    optional: Sequence[str] = ()
    """Stock weights that are another one under a second name."""
    earlier_fields: Callable[[ModelShape], dict[str, Any]] = lambda shape: {}
    """Fields of the stock config as `transformers` before version 5 names them, where it knows them by other names."""

    @property
    def masked(self) -> bool:
        """Whether the model predicts masked tokens, not the next one."""
        return issubclass(self.model, MaskedLM)

    def build(self, shape: ModelShape) -> LanguageModel:
        """A model of this shape, its weights not yet drawn."""
        return self.model(shape)  # type: ignore[call-arg]  # the class of a family knows its blocks


_registered: dict[str, Family] = {}


def register(family: Family) -> None:
    """Let configs name a family that is declared outside of this package: as `FAMILY` in the module of its model.

    Processes of training import that module by its name. Raises ValueError for a name that another family has, and for a
    family that is not found in this way.
    """
    module = family.model.__module__
    if family.name in FAMILIES and _registered.get(family.name) != family:
        raise ValueError(f"{family.name}: there is a family of this name already")
    if module == "__main__" or getattr(sys.modules[module], "FAMILY", None) != family:
        raise ValueError(f"{family.name}: declare it as FAMILY in a module that other processes can import, not in {module}")
    _registered[family.name] = family
    register_family(family.name, FamilyTraits(family.masked, family.grouped_queries, module))


def register_from(module: str) -> None:
    """Register the family that a module declares, which is imported for that."""
    register(import_module(module).FAMILY)


def find(name: str) -> Family:
    """The family of this name."""
    if name in _registered:
        return _registered[name]
    found = import_module(f"tasks.pretrain.models.{name}").FAMILY
    assert isinstance(found, Family)
    return found


def families() -> dict[str, Family]:
    """All families by name."""
    return {name: find(name) for name in FAMILIES}


def sizes(shape: ModelShape, tokens: SpecialTokens) -> dict[str, Any]:
    """The fields of a stock config that all classes of `transformers` name alike."""
    return {
        "vocab_size": shape.vocab_size,
        "dtype": "float32",
        "tie_word_embeddings": shape.tied,
        "bos_token_id": tokens.bos,
        "eos_token_id": tokens.eos,
        "pad_token_id": tokens.pad,
    }


def layer_sizes(shape: ModelShape) -> dict[str, Any]:
    """The fields of a stock config that most classes since BERT name alike."""
    return {
        "hidden_size": shape.width,
        "intermediate_size": shape.feed_forward,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "max_position_embeddings": shape.context,
    }


def rope(base: float) -> dict[str, Any]:
    """Rotary positions of a stock config."""
    return {"rope_type": "default", "rope_theta": base}


def stated_shape(family: str, config: Any, **changes: Any) -> ModelShape:
    """The shape that a stock config states in the usual fields; `changes` are what its class says in others."""
    width, heads = config.hidden_size, config.num_attention_heads
    stated: dict[str, Any] = {
        "family": family,
        "vocab_size": config.vocab_size,
        "layers": config.num_hidden_layers,
        "width": width,
        "heads": heads,
        "feed_forward": getattr(config, "intermediate_size", None),
        "context": config.max_position_embeddings,
        "key_value_heads": getattr(config, "num_key_value_heads", None) or heads,
        "head_width": getattr(config, "head_dim", None) or width // heads,
        "tied": config.tie_word_embeddings,
    }
    return ModelShape(**(stated | changes))
