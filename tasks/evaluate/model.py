"""Exported models and tokenizers, read with transformers, and token sequences as padded batches."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tasks.core.errors import StageError
from tasks.tokenizer.export import load_transformers

if TYPE_CHECKING:
    from torch import Tensor

BATCH_TOKENS = 8192
"""Tokens in one forward pass, padding included."""

TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "vocab.txt", "*.model")
"""Any of these holds the pieces of a tokenizer."""


def load_model(folder: Path) -> Any:
    """The model in `folder` (config.json, model.safetensors), fp32, in evaluation mode, on the GPU if there is one.

    The first of the `architectures` in its config says whether it is causal or masked. Raises StageError if it is neither.
    """
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        architecture = json.loads((folder / "config.json").read_text())["architectures"][0]
        model: Any = auto_class(architecture).from_pretrained(
            str(folder), dtype=torch.float32, local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
    except Exception as error:  # what is raised of damaged files is theirs to choose: of safetensors, tokenizers, transformers
        raise StageError(f"{folder}: no language model that transformers can read: {_first_line(error)}") from error
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def objective(architecture: str) -> Literal["causal", "masked"]:
    """What a class of transformers, by its name, was trained for; raises ValueError if it is no language model."""
    if architecture.endswith("ForMaskedLM"):
        return "masked"
    if architecture.endswith(("ForCausalLM", "LMHeadModel")):
        return "causal"
    raise ValueError(f"{architecture} is neither a causal nor a masked language model")


def auto_class(architecture: str) -> Any:
    """The class of transformers that loads models of this architecture by their config."""
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    return AutoModelForMaskedLM if objective(architecture) == "masked" else AutoModelForCausalLM


def is_masked(model: Any) -> bool:
    """Whether a loaded model predicts masked tokens from both sides, and not each next token."""
    return objective(type(model).__name__) == "masked"


def load_tokenizer(folder: Path, finds_special_tokens: bool = False) -> Any:
    """The fast tokenizer in `folder` (tokenizer.json, tokenizer_config.json), which reads text as training did.

    Ours brings text into NFC itself, whatever it is given. Only on demand does it find special tokens in text. Raises
    StageError where there is none: transformers makes an empty one of the model's config alone.
    """
    if not any(path.is_file() for pattern in TOKENIZER_FILES for path in folder.glob(pattern)):
        raise StageError(f"{folder}: there is no tokenizer beside the model; put its tokenizer.json there")
    try:
        tokenizer = load_transformers(folder, finds_special_tokens)
    except Exception as error:  # as above
        raise StageError(f"{folder}: no tokenizer that transformers can read: {_first_line(error)}") from error
    boundaries(tokenizer)
    return tokenizer


def boundaries(tokenizer: Any) -> tuple[int, int]:
    """The tokens that stand before and after a text: BOS and EOS, or what BERT has in their place.

    A model that has no mark for the begin of a text reads that for the end of the one before (GPT-2; lm-evaluation-harness
    does the same). Raises StageError when the tokenizer names none of them.
    """
    names = ("bos_token_id", "cls_token_id", "eos_token_id"), ("eos_token_id", "sep_token_id", "bos_token_id")
    found = [next((token for name in one if (token := getattr(tokenizer, name)) is not None), None) for one in names]
    if found[0] is None or found[1] is None:
        raise StageError(f"{tokenizer.name_or_path}: the tokenizer names no token for the begin or the end of a text")
    return int(found[0]), int(found[1])


def mask_token(tokenizer: Any) -> int:
    """Id of the token that a masked model reads in place of what it has to predict; raises StageError if there is none."""
    if tokenizer.mask_token_id is None:
        raise StageError("the tokenizer has no mask token, which a masked model needs; train it again with this version")
    return int(tokenizer.mask_token_id)


def context_length(model: Any) -> int:
    """The longest window in tokens that the model was trained on; raises StageError if its config does not say."""
    longest = getattr(model.config, "max_position_embeddings", None)
    if not longest or longest < 2:
        raise StageError(f"{model.name_or_path}: its config names no max_position_embeddings, so its context is not known")
    # RoBERTa counts positions from the padding token's number on, which takes room from them
    embeddings = getattr(getattr(model, "base_model", None), "embeddings", None)
    padding = getattr(getattr(embeddings, "position_embeddings", None), "padding_idx", None)
    return int(longest) - (0 if padding is None else padding + 1)


def padded_batches(sequences: Sequence[Any], most_tokens: int, device: Any) -> Iterator[tuple[list[int], Tensor]]:
    """Batches of at most `most_tokens`: indices into `sequences`, and ids `[batch, length]` filled up with 0 on the right.

    Sequences are sorted by length, so that little is padding. `last_hidden_states` keeps it from being seen.
    """
    import torch

    order = sorted(range(len(sequences)), key=lambda index: -len(sequences[index]))
    start = 0
    while start < len(order):
        length = max(1, len(sequences[order[start]]))
        chosen = order[start : start + max(1, most_tokens // length)]
        ids = torch.zeros(len(chosen), length, dtype=torch.long)
        for row, index in enumerate(chosen):
            ids[row, : len(sequences[index])] = torch.as_tensor(sequences[index], dtype=torch.long)
        yield chosen, ids.to(device)
        start += len(chosen)


def last_hidden_states(model: Any, ids: Tensor, lengths: Sequence[int]) -> Tensor:
    """Last hidden states `[batch, length, width]` of padded ids `[batch, length]` with `lengths` tokens in the rows.

    A causal model's positions never see what is right of them; to others the padding is hidden by an attention mask.
    """
    if is_masked(model):
        output = model.base_model(ids, attention_mask=seen(ids, lengths).long())
    else:
        output = model.base_model(ids, use_cache=False)
    states: Tensor = output.last_hidden_state
    return states


def masked_logits(model: Any, ids: Tensor, lengths: Sequence[int], rows: Tensor, columns: Tensor) -> Tensor:
    """Logits `[tokens, vocabulary]` of a masked model at places of padded ids, given by their rows and columns.

    Where the model's head is known, of these only: for all places of a window they would cost more than the layers.
    """
    head = next((getattr(model, name) for name in ("cls", "lm_head", "predictions") if hasattr(model, name)), None)
    if head is None and not (hasattr(model, "head") and hasattr(model, "decoder")):
        logits: Tensor = model(ids, attention_mask=seen(ids, lengths).long()).logits[rows, columns]
        return logits.float()
    states = last_hidden_states(model, ids, lengths)[rows, columns]
    logits = head(states) if head is not None else model.decoder(model.head(states))
    return logits.float()


def seen(ids: Tensor, lengths: Sequence[int]) -> Tensor:
    """Which tokens of padded ids `[batch, length]` are no padding: bool of the same shape."""
    import torch

    return torch.arange(ids.shape[1], device=ids.device) < torch.tensor(lengths, device=ids.device)[:, None]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
