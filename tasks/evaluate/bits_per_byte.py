"""Held-out bits per byte: how well the model compresses text that it never saw, whatever its tokenizer."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tasks.core.errors import StageError
from tasks.core.stage import Metrics, Progress
from tasks.evaluate.model import BATCH_TOKENS, padded, window

LOGITS = 1 << 25
"""Most scores held at once (128 MiB in fp32): a large vocabulary gets smaller batches."""

BOOTSTRAP_SEED = 1


@dataclass(frozen=True)
class Validation:
    """Validation documents: each is BOS, tokens, EOS of `tokens` from its offset to the next; `sizes` are UTF-8 bytes."""

    tokens: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray


def held_out(model: Any, validation: Validation, words: int, bootstrap: int, progress: Progress) -> Metrics:
    """Sum of -log2 p(token | prefix) over whole documents, divided by their UTF-8 bytes.

    BOS is given and not scored; EOS is not scored, because no byte of text belongs to it. A document longer than the
    model's trained window is read in windows that do not overlap, the last token of one being the first of the next (the
    rolling log-likelihood of lm-evaluation-harness). The interval is the 2.5 to 97.5 percentile of `bootstrap`
    resamplings of the documents. Perplexities are per scored token and per word (`words`, parted by white space).
    """
    scored = scored_tokens(model, validation)
    nats = document_nats(model, validation, progress)
    bits, sizes, tokens = nats / math.log(2), validation.sizes.astype(np.float64), int(scored.sum())
    low, high = _interval(bits, sizes, bootstrap)
    return {
        "bits_per_byte": float(bits.sum() / sizes.sum()),
        "bits_per_byte_low": low,
        "bits_per_byte_high": high,
        "perplexity_per_token": perplexity(nats.sum() / tokens),
        "perplexity_per_word": perplexity(nats.sum() / max(words, 1)),
        "test_documents": len(sizes),
        "test_bytes": int(sizes.sum()),
        "details": {
            "tokens": tokens,
            "words": words,
            "context": window(model),
            "bos": "given, not scored",
            "eos": "not scored",
            "windows": "not overlapping, within a document",
            "interval": f"95 % bootstrap over documents, {bootstrap} resamplings",
        },
    }


def read_validation(folder: Path) -> Validation:
    """The validation documents of a folder of token files, by memory map; raises StageError when they do not fit together."""
    try:
        meta = json.loads((folder / "meta.json").read_text())
        tokens = np.memmap(folder / "test.bin", np.dtype(meta["dtype"]).newbyteorder("<"), "r")
        offsets, sizes = np.load(folder / "test.offsets.npy"), np.load(folder / "test.bytes.npy")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StageError(f"{folder}: the validation tokens cannot be read: {error}; run the stage tokens again") from error
    if len(offsets) != len(sizes) + 1 or offsets[-1] != len(tokens):
        raise StageError(
            f"{folder}: validation.bin, .offsets.npy and .bytes.npy do not fit together; run the stage tokens again"
        )
    return Validation(tokens, offsets, sizes)


def document_nats(model: Any, validation: Validation, progress: Progress) -> np.ndarray:
    """-ln p of the scored tokens of each document, added up in fp64; shape `[documents]`."""
    import torch
    from torch.nn import functional as F

    windows, documents = _windows(validation, window(model))
    most = min(BATCH_TOKENS, max(1, LOGITS // model.config.vocab_size))
    total, done = sum(len(ids) - 1 for ids in windows), 0
    nats = np.zeros(len(validation.sizes))
    with torch.inference_mode():
        for chosen, ids in padded(windows, most, model.device):
            logits = model(ids[:, :-1], use_cache=False).logits.float()
            losses = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
            rows = losses.view(len(chosen), -1).double().cpu().numpy()
            for row, index in zip(rows, chosen, strict=True):
                length = len(windows[index]) - 1
                nats[documents[index]] += row[:length].sum()
                done += length
            progress(done, total, "validation tokens")
    return nats


def scored_tokens(model: Any, validation: Validation) -> np.ndarray:
    """Tokens of each document that are scored: all but BOS and EOS.

    Raises StageError when there are none, or when they are not of the model's vocabulary.
    """
    scored = np.maximum(np.diff(validation.offsets) - 2, 0)
    if not scored.sum() or not validation.sizes.sum():
        raise StageError("the validation documents hold no text; raise select.validation")
    if int(validation.tokens.max()) >= model.config.vocab_size:
        raise StageError(
            "the validation tokens have ids beyond the model's vocabulary; evaluate with the tokenizer of its training"
        )
    return scored


def perplexity(nats: float) -> float:
    """exp of nats per token; JSON has no infinity, and nobody tells these apart."""
    return math.exp(min(nats, 100.0))


def _windows(validation: Validation, context: int) -> tuple[list[np.ndarray], list[int]]:
    """Windows of at most `context` inputs and one more token, and the document of each."""
    windows: list[np.ndarray] = []
    documents = []
    for document, (start, end) in enumerate(zip(validation.offsets[:-1], validation.offsets[1:], strict=True)):
        ids = np.asarray(validation.tokens[start : end - 1], np.int64)  # without EOS
        for first in range(0, len(ids) - 1, context):
            windows.append(ids[first : first + context + 1])
            documents.append(document)
    return windows, documents


def _interval(bits: np.ndarray, sizes: np.ndarray, resamplings: int) -> tuple[float, float]:
    draw = np.random.default_rng(BOOTSTRAP_SEED)
    ratios = np.empty(resamplings)
    for index in range(resamplings):
        chosen = draw.integers(0, len(bits), len(bits))
        ratios[index] = bits[chosen].sum() / max(sizes[chosen].sum(), 1)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return float(low), float(high)
