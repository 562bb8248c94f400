"""Exported models and tokenizers, read with transformers, and token sequences as padded batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.stage import StageError

if TYPE_CHECKING:
    from torch import Tensor

BATCH_TOKENS = 8192
"""Tokens in one forward pass, padding included."""


def load_model(folder: Path) -> Any:
    """The causal model in `folder` (config.json, model.safetensors), fp32, in evaluation mode, on the GPU if there is one."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            str(folder), dtype=torch.float32, local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise StageError(f"{folder}: no causal model that transformers can read: {_first_line(error)}") from error
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def load_tokenizer(folder: Path) -> Any:
    """The fast tokenizer in `folder` (tokenizer.json, tokenizer_config.json)."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise StageError(f"{folder}: no tokenizer that transformers can read: {_first_line(error)}") from error
    if tokenizer.bos_token_id is None or tokenizer.eos_token_id is None:
        raise StageError(f"{folder}: the tokenizer names no BOS or no EOS token")
    return tokenizer


def window(model: Any) -> int:
    """The longest window in tokens that the model was trained on."""
    return int(model.config.max_position_embeddings)


def padded(sequences: Sequence[Any], most_tokens: int, device: Any) -> Iterator[tuple[list[int], Tensor]]:
    """Batches of at most `most_tokens`: indices into `sequences`, and ids `[batch, length]` filled up with 0 on the right.

    Sequences are sorted by length, so that little is padding; a causal model's positions never see what is right of them.
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


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
