"""Held-out bits per byte: how well a causal model compresses text that it never saw, whatever its tokenizer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tasks.core.errors import StageError
from tasks.core.stage import Metrics, Progress
from tasks.evaluate import bootstrap
from tasks.evaluate.held_out import HELD_OUT_SPLIT, TokenizedDocuments
from tasks.evaluate.model import BATCH_TOKENS, context_length, padded_batches

MAX_LOGITS = 1 << 25
"""Most logits held at once (128 MiB in fp32): a large vocabulary gets smaller batches."""


STATISTICS: tuple[str, ...] = ("bits", "bytes")
"""Columns of what bits per byte are computed from, for each document: their sums, divided."""


def bits_per_byte(
    model: Any, documents: TokenizedDocuments, words: int, resamples: int, progress: Progress
) -> tuple[Metrics, np.ndarray]:
    """Sum of -log2 p(token | prefix) over whole documents, divided by their UTF-8 bytes; and `STATISTICS` of each document.

    BOS is given and not scored; EOS is not scored, because no byte of text belongs to it. A document longer than the model's
    context is read in windows that follow each other, the last token of one being the first of the next; the last one is filled
    up with what stands before it (the rolling log-likelihood of lm-evaluation-harness, which needs `add_bos_token=False` lest
    it scores BOS). Perplexities are per scored token and per word (`words`, those of `count_words`). Raises StageError when the
    documents hold no text or are not of the model's vocabulary.
    """
    scored = scored_tokens(model, documents)
    nats = negative_log_likelihoods(model, documents, progress)
    tokens, size = int(scored.sum()), int(documents.bytes.sum())
    statistics = np.stack([nats / math.log(2), documents.bytes], 1)
    low, high = bootstrap.interval(ratio(bootstrap.resample(statistics, resamples)))
    metrics = {
        "bits_per_byte": float(nats.sum() / math.log(2) / size),
        "bits_per_byte_low": low,
        "bits_per_byte_high": high,
        "perplexity_per_token": perplexity(nats.sum() / tokens),
        "perplexity_per_word": perplexity(nats.sum() / max(words, 1)),
        "details": {
            "tokens": tokens,
            "words": words,
            "context": context_length(model),
            "bos": "given, not scored",
            "eos": "not scored",
            "windows": "one after the other within a document, the last one filled up with text before it",
            "interval": bootstrap.describe(resamples),
        },
    }
    return metrics, statistics


def ratio(sums: np.ndarray) -> np.ndarray:
    """Bits per byte `[resamples]` from sums of `STATISTICS` `[resamples, 2]`."""
    bits: np.ndarray = sums[:, 0] / np.maximum(sums[:, 1], 1)
    return bits


def negative_log_likelihoods(model: Any, documents: TokenizedDocuments, progress: Progress) -> np.ndarray:
    """-ln p of the scored tokens of each document, added up in fp64; shape `[documents]`."""
    import torch
    from torch.nn import functional as F

    windows, numbers, scored = _windows(documents, context_length(model))
    most = min(BATCH_TOKENS, max(1, MAX_LOGITS // model.config.vocab_size))
    total, done = sum(scored), 0
    nats = np.zeros(len(documents.bytes))
    with torch.inference_mode():
        for chosen, ids in padded_batches(windows, most, model.device):
            logits = model(ids[:, :-1], use_cache=False).logits.float()
            losses = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
            rows = losses.view(len(chosen), -1).double().cpu().numpy()
            for row, index in zip(rows, chosen, strict=True):
                length = len(windows[index]) - 1
                nats[numbers[index]] += row[length - scored[index] : length].sum()
                done += scored[index]
            progress(done, total, "held-out tokens")
    return nats


def scored_tokens(model: Any, documents: TokenizedDocuments) -> np.ndarray:
    """Tokens of each document that are scored, all but BOS and EOS: `[documents]`.

    Raises StageError when there are none, or when they are not of the model's vocabulary.
    """
    scored = np.maximum(np.diff(documents.offsets) - 2, 0)
    if not scored.sum() or not documents.bytes.sum():
        raise StageError(f"the held-out documents hold no text; raise select.{HELD_OUT_SPLIT}")
    if int(documents.tokens.max()) >= model.config.vocab_size:
        raise StageError(
            "the held-out tokens have ids beyond the model's vocabulary; evaluate with the tokenizer of its training"
        )
    return scored


def perplexity(nats: float) -> float:
    """exp of nats per token; JSON has no infinity, and nobody tells these apart."""
    return math.exp(min(nats, 100.0))


def _windows(documents: TokenizedDocuments, context: int) -> tuple[list[np.ndarray], list[int], list[int]]:
    """Windows of at most `context` inputs and one more token, the number of the document of each, and how many of its last
    tokens are scored: all but those of the last window of a document that the one before has scored.
    """
    windows: list[np.ndarray] = []
    numbers, scored = [], []
    for number, (start, end) in enumerate(zip(documents.offsets[:-1], documents.offsets[1:], strict=True)):
        ids = np.asarray(documents.tokens[start : end - 1], np.int64)  # without EOS
        for first in range(0, len(ids) - 1, context):
            last = min(first + context + 1, len(ids))
            windows.append(ids[max(0, last - context - 1) : last])
            numbers.append(number)
            scored.append(last - first - 1)
    return windows, numbers, scored
