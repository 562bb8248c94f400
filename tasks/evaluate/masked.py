"""How well a masked model predicts held-out tokens from both sides: nothing to compare with a causal model's numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tasks.core.stage import Metrics, Progress
from tasks.evaluate import bootstrap
from tasks.evaluate.causal import MAX_LOGITS, perplexity, scored_tokens
from tasks.evaluate.held_out import TokenizedDocuments
from tasks.evaluate.model import BATCH_TOKENS, context_length, masked_logits, padded_batches

SCORED, CONTEXT = 1024, 256
"""Most tokens of the pseudo-perplexity, and of text around each. A token costs a whole window, so these bound the cost."""

STATISTICS: tuple[str, ...] = ("nats", "sampled", "tokens", "bytes")
"""Columns of what pseudo-perplexity is computed from, for each document: `ratios` gives it from their sums."""

SAMPLE_SEED = 1


def pseudo_perplexity(
    model: Any, documents: TokenizedDocuments, mask: int, resamples: int, progress: Progress
) -> tuple[Metrics, np.ndarray]:
    """exp of the mean -ln p(token | the rest of its document), each token with it alone replaced by `mask`; and `STATISTICS` of
    each document.

    The pseudo-log-likelihood of Salazar et al. (2020, arXiv 1910.14659), of at most `SCORED` tokens drawn from all but BOS
    and EOS. The model reads `CONTEXT` tokens around it (less if its own context is less), moved inwards at the ends of the
    document. In bits per byte: times the tokens per byte of all held-out text. Other tokens of a word are seen, which
    flatters long words (arXiv 2305.10588). Raises StageError when the documents hold no text or are not of the model's
    vocabulary.
    """
    tokens = scored_tokens(model, documents)
    generator = np.random.default_rng(SAMPLE_SEED)
    chosen = np.sort(generator.choice(int(tokens.sum()), min(SCORED, int(tokens.sum())), replace=False))
    ends = np.cumsum(tokens)
    numbers = np.searchsorted(ends, chosen, "right")
    places = documents.offsets[numbers] + 1 + chosen - (ends - tokens)[numbers]
    context = min(CONTEXT, context_length(model))
    windows = [_around(documents, *pair, context) for pair in zip(numbers, places, strict=True)]
    nats, _ = _predict(model, [ids for ids, _ in windows], [np.array([place]) for _, place in windows], mask, progress)
    sampled = np.bincount(numbers, minlength=len(tokens))
    sums = np.bincount(numbers, weights=[values[0] for values in nats], minlength=len(tokens))
    statistics = np.stack([sums, sampled, tokens, documents.bytes], 1).astype(np.float64)
    [[per_token, per_byte]] = ratios(statistics.sum(0, keepdims=True))
    resampled = ratios(bootstrap.resample(statistics, resamples))
    (low, high), (low_bits, high_bits) = map(bootstrap.interval, resampled.T)
    metrics = {
        "pseudo_perplexity": perplexity(per_token),
        "pseudo_perplexity_low": perplexity(low),
        "pseudo_perplexity_high": perplexity(high),
        "pseudo_bits_per_byte": float(per_byte),
        "pseudo_bits_per_byte_low": low_bits,
        "pseudo_bits_per_byte_high": high_bits,
        "pseudo_tokens": len(chosen),
        "pseudo_context": context,
        "pseudo_documents": int((sampled > 0).sum()),
        "details": {
            "tokens": f"{len(chosen)} of {int(tokens.sum())}, each alone masked, drawn from all but BOS and EOS",
            "windows": "around the token, within its document",
            "interval": bootstrap.describe(resamples),
        },
    }
    return metrics, statistics


def masked_prediction(model: Any, documents: TokenizedDocuments, mask: int, share: float, progress: Progress) -> Metrics:
    """Mean -ln p and accuracy of the tokens of all held-out documents when `share` of them are masked at once.

    That is the loss of the training, on windows within a document that do not overlap; BOS and EOS are read, not masked.
    """
    scored_tokens(model, documents)
    context = context_length(model)
    sequences: list[np.ndarray] = []
    places: list[np.ndarray] = []
    for start, end in zip(documents.offsets[:-1], documents.offsets[1:], strict=True):
        for first in range(start, end, context):
            last = min(first + context, end)
            inside = np.arange(max(first, start + 1), min(last, end - 1)) - first
            if len(inside):
                count = max(1, round(share * len(inside)))
                masked = np.random.default_rng([SAMPLE_SEED, len(sequences)]).permutation(inside)[:count]
                sequences.append(np.asarray(documents.tokens[first:last], np.int64))
                places.append(np.sort(masked))
    nats, hits = _predict(model, sequences, places, mask, progress)
    return {
        "masked_loss": float(np.concatenate(nats).mean()),
        "masked_accuracy": float(np.concatenate(hits).mean()),
        "details": {"share": share, "tokens": sum(map(len, places)), "windows": "not overlapping, within a document"},
    }


def ratios(sums: np.ndarray) -> np.ndarray:
    """Nats per token and bits per byte `[resamples, 2]` from sums of `STATISTICS` `[resamples, 4]`: nats and number of the
    sampled tokens, all tokens, and bytes. NaN where no token was sampled.
    """
    nats, sampled, tokens, size = sums.T
    with np.errstate(invalid="ignore"):  # all of the few documents that were drawn may have no token in the sample
        per_token = nats / sampled
        return np.stack([per_token, per_token * tokens / size / math.log(2)], 1)


def bits(sums: np.ndarray) -> np.ndarray:
    """Pseudo-bits per byte `[resamples]` from sums of `STATISTICS` `[resamples, 4]`."""
    per_byte: np.ndarray = ratios(sums)[:, 1]
    return per_byte


def _around(documents: TokenizedDocuments, number: int, place: int, context: int) -> tuple[np.ndarray, int]:
    """The window of at most `context` tokens of a document with `place` in its middle, and where in it that is."""
    start, end = int(documents.offsets[number]), int(documents.offsets[number + 1])
    first = max(start, min(int(place) - context // 2, end - context))
    return np.asarray(documents.tokens[first : min(first + context, end)], np.int64), int(place) - first


def _predict(
    model: Any, sequences: Sequence[np.ndarray], places: Sequence[np.ndarray], mask: int, progress: Progress
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """-ln p of the token at each place of each sequence, all of them masked, and whether it is the likeliest."""
    import torch
    from torch.nn import functional as F

    masked = [ids.copy() for ids in sequences]
    for ids, at in zip(masked, places, strict=True):
        ids[at] = mask
    share = max(len(at) / len(ids) for ids, at in zip(masked, places, strict=True))
    most = min(BATCH_TOKENS, max(1, int(MAX_LOGITS / model.config.vocab_size / share)))
    nats: list[np.ndarray] = [np.zeros(0)] * len(masked)
    hits, done = list(nats), 0
    with torch.inference_mode():
        for chosen, batch in padded_batches(masked, most, model.device):
            rows = np.repeat(np.arange(len(chosen)), [len(places[index]) for index in chosen])
            columns = np.concatenate([places[index] for index in chosen])
            lengths = [len(masked[index]) for index in chosen]
            logits = masked_logits(model, batch, lengths, torch.from_numpy(rows), torch.from_numpy(columns))
            labels = torch.from_numpy(np.concatenate([sequences[index][places[index]] for index in chosen])).to(batch.device)
            losses = F.cross_entropy(logits, labels, reduction="none").double().cpu().numpy()
            right = (logits.argmax(-1) == labels).cpu().numpy()
            for row, index in enumerate(chosen):
                nats[index], hits[index] = losses[rows == row], right[rows == row]
            done += len(columns)
            progress(done, sum(map(len, places)), "masked tokens")
    return nats, hits
