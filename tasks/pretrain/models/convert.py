"""Our models as stock classes of `transformers` and back: the same numbers under the names that the family declares."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tasks.core.errors import StageError
from tasks.pretrain.models.base import LanguageModel, ModelShape
from tasks.pretrain.models.family import Family, SpecialTokens, families, find

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


def save_transformers(model: LanguageModel, folder: Path, tokens: SpecialTokens) -> None:
    """Write `config.json`, `model.safetensors` (fp32) and, for causal models, `generation_config.json` into `folder`.

    The config also names what versions of transformers before 5 read under other names; each version leaves the rest alone.
    """
    to_transformers(model, tokens).save_pretrained(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text()) | find(model.shape.family).earlier_fields(model.shape)
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def to_transformers(model: LanguageModel, tokens: SpecialTokens | None = None) -> PreTrainedModel:
    """The same model as its stock class in fp32; the logits are equal up to the order of floating-point sums."""
    import transformers

    tokens, family = tokens or SpecialTokens(), find(model.shape.family)
    stock = getattr(transformers, family.architecture)(family.config(model.shape, tokens))
    ours = {name: weight.detach().float() for name, weight in model.state_dict().items()}
    state: dict[str, Tensor] = {}
    for name, theirs, transposed in _pairs(model, family):
        parts = ours[name].split(_rows(model, name, len(theirs)))
        state |= {their: part.T if transposed else part for their, part in zip(theirs, parts, strict=True)}
    missing, unexpected = stock.load_state_dict(state, strict=False)
    tied = set() if model.output is not None else set(family.weights["output.weight"])
    if unexpected or set(missing) - tied - set(family.optional):
        raise RuntimeError(f"{family.architecture} has other weights: {missing} are missing, {unexpected} are unknown")
    stock.tie_weights()
    if model.objective == "causal":
        # max_length: unless told otherwise, generate and its pipeline end with the last position that there is
        stock.generation_config.update(
            bos_token_id=tokens.bos, eos_token_id=tokens.eos, pad_token_id=tokens.pad, max_length=model.shape.context
        )
        stock.generation_config._from_model_config = False  # else version 4 may put the config's defaults in its place
    return stock.eval()


def from_transformers(stock: PreTrainedModel) -> LanguageModel:
    """A stock model as ours. Raises StageError if its class is unknown or it uses what our model does not have."""
    architecture = type(stock).__name__
    known = {family.architecture: family for family in families().values()}
    if architecture not in known:
        raise StageError(f"a {architecture} cannot be trained here; known are {', '.join(known)}")
    family = known[architecture]
    model = family.build(_checked_shape(family, stock.config))
    theirs = {name: weight.detach().float() for name, weight in stock.state_dict().items()}
    state: dict[str, Tensor] = {}
    for name, parts, transposed in _pairs(model, family):
        state[name] = torch.cat([theirs[part].T if transposed else theirs[part] for part in parts])
    model.load_state_dict(state)
    return model


def _pairs(model: LanguageModel, family: Family) -> Iterator[tuple[str, list[str], bool]]:
    """Each of our weights, the stock weights that it holds, and whether those are transposed."""
    for name, weight in model.state_dict().items():
        if name in family.weights:
            yield name, list(family.weights[name]), False
        else:
            layer, _, rest = name.removeprefix("blocks.").partition(".")
            module, _, kind = rest.rpartition(".")
            theirs = [f"{family.layers}.{layer}.{their}.{kind}" for their in family.weights[module]]
            yield name, theirs, family.transposed and weight.ndim == 2


def _rows(model: LanguageModel, name: str, parts: int) -> list[int]:
    if parts == 1:
        return [len(model.state_dict()[name])]
    return list(model.get_submodule(name.rpartition(".")[0]).sizes)  # type: ignore[arg-type]


_HARMLESS = {
    "architectures", "attention_dropout", "attention_probs_dropout_prob", "attn_pdrop", "bos_token_id", "classifier_activation",
    "classifier_bias", "classifier_dropout", "classifier_pooling", "cls_token_id", "deterministic_flash_attn", "dtype",
    "embd_pdrop", "embedding_dropout", "eos_token_id", "hidden_dropout_prob", "id2label", "initializer_cutoff_factor",
    "initializer_range", "label2id", "max_window_layers", "mlp_dropout", "_name_or_path", "pad_token_id", "pretraining_tp",
    "problem_type", "resid_pdrop", "sep_token_id", "sliding_window", "sparse_prediction", "summary_activation",
    "summary_first_dropout", "summary_proj_to_labels", "summary_type", "summary_use_proj", "transformers_version", "use_cache",
}  # fmt: skip
"""Keys of a stock config that change nothing that is computed without dropout."""


def _checked_shape(family: Family, config: PreTrainedConfig) -> ModelShape:
    """The shape that a stock config states. Raises StageError if it states anything that a shape cannot hold."""
    shape = family.shape(config)
    theirs, ours = config.to_dict(), family.config(shape, SpecialTokens()).to_dict()
    for name in sorted(theirs.keys() & ours.keys() - _HARMLESS):
        if theirs[name] != ours[name]:
            raise StageError(
                f"{name} is {theirs[name]!r} in this {family.architecture}; only {ours[name]!r} can be trained here"
            )
    return shape
