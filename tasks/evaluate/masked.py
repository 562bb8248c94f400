"""How well a masked model predicts held-out tokens from both sides: nothing to compare with a causal model's numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tasks.core.stage import Metrics, Progress
from tasks.evaluate.bits_per_byte import BOOTSTRAP_SEED, LOGITS, Validation, perplexity, scored_tokens
from tasks.evaluate.model import BATCH_TOKENS, final_states, masked_scores, padded, window

SCORED, CONTEXT = 1024, 256
"""Most tokens of the pseudo-perplexity, and of text around each. A token costs a whole window, so these bound the cost."""

SAMPLE_SEED = 1


def pseudo_perplexity(model: Any, validation: Validation, mask: int, bootstrap: int, progress: Progress) -> Metrics:
    """exp of the mean -ln p(token | the rest of its document), each token with it alone replaced by `mask`.

    The pseudo-log-likelihood of Salazar et al. (2020, arXiv 1910.14659), of at most `SCORED` tokens drawn from all but BOS
    and EOS. The model reads `CONTEXT` tokens around it (less if its trained window is less), moved inwards at the ends of
    the document. In bits per byte: times the tokens per byte of all validation text. The intervals are the 2.5 to 97.5
    percentile of `bootstrap` resamplings of the documents. Other pieces of a word are seen, which flatters long words (arXiv
    2305.10588). Raises StageError when the documents hold no text or are not of the model's vocabulary.
    """
    tokens = scored_tokens(model, validation)
    draw = np.random.default_rng(SAMPLE_SEED)
    chosen = np.sort(draw.choice(int(tokens.sum()), min(SCORED, int(tokens.sum())), replace=False))
    ends = np.cumsum(tokens)
    documents = np.searchsorted(ends, chosen, "right")
    places = validation.offsets[documents] + 1 + chosen - (ends - tokens)[documents]
    context = min(CONTEXT, window(model))
    windows = [_around(validation, *pair, context) for pair in zip(documents, places, strict=True)]
    nats, _ = _predict(model, [ids for ids, _ in windows], [np.array([place]) for _, place in windows], mask, progress)
    sampled = np.bincount(documents, minlength=len(tokens))
    sums = np.bincount(documents, weights=[values[0] for values in nats], minlength=len(tokens))
    per_token, to_bits = sums.sum() / len(chosen), tokens.sum() / validation.sizes.sum() / math.log(2)
    low, high = _intervals(np.stack([sums, sampled, tokens, validation.sizes]).astype(np.float64), bootstrap)
    return {
        "pseudo_perplexity": perplexity(per_token),
        "pseudo_perplexity_low": perplexity(low[0]),
        "pseudo_perplexity_high": perplexity(high[0]),
        "pseudo_bits_per_byte": float(per_token * to_bits),
        "pseudo_bits_per_byte_low": float(low[1]),
        "pseudo_bits_per_byte_high": float(high[1]),
        "pseudo_tokens": len(chosen),
        "pseudo_context": context,
        "pseudo_documents": int((sampled > 0).sum()),
        "details": {
            "tokens": f"{len(chosen)} of {int(tokens.sum())}, each alone masked, drawn from all but BOS and EOS",
            "windows": "around the token, within its document",
            "interval": f"95 % bootstrap over documents, {bootstrap} resamplings",
        },
    }


def masked_prediction(model: Any, validation: Validation, mask: int, share: float, progress: Progress) -> Metrics:
    """Mean -ln p and accuracy of the tokens of all validation documents when `share` of them are masked at once.

    That is the loss of the training, on windows within a document that do not overlap; BOS and EOS are read, not masked.
    """
    scored_tokens(model, validation)
    sequences: list[np.ndarray] = []
    places: list[np.ndarray] = []
    for start, end in zip(validation.offsets[:-1], validation.offsets[1:], strict=True):
        for first in range(start, end, window(model)):
            last = min(first + window(model), end)
            inside = np.arange(max(first, start + 1), min(last, end - 1)) - first
            if len(inside):
                count = max(1, round(share * len(inside)))
                drawn = np.random.default_rng([SAMPLE_SEED, len(sequences)]).permutation(inside)[:count]
                sequences.append(np.asarray(validation.tokens[first:last], np.int64))
                places.append(np.sort(drawn))
    nats, hits = _predict(model, sequences, places, mask, progress)
    return {
        "masked_loss": float(np.concatenate(nats).mean()),
        "masked_accuracy": float(np.concatenate(hits).mean()),
        "details": {"share": share, "tokens": sum(map(len, places)), "windows": "not overlapping, within a document"},
    }


def _around(validation: Validation, document: int, place: int, context: int) -> tuple[np.ndarray, int]:
    """The window of at most `context` tokens of a document with `place` in its middle, and where in it that is."""
    start, end = int(validation.offsets[document]), int(validation.offsets[document + 1])
    first = max(start, min(int(place) - context // 2, end - context))
    return np.asarray(validation.tokens[first : min(first + context, end)], np.int64), int(place) - first


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
    most = min(BATCH_TOKENS, max(1, int(LOGITS / model.config.vocab_size / share)))
    nats: list[np.ndarray] = [np.zeros(0)] * len(masked)
    hits, done = list(nats), 0
    with torch.inference_mode():
        for chosen, batch in padded(masked, most, model.device):
            states = final_states(model, batch, [len(masked[index]) for index in chosen])
            rows = np.repeat(np.arange(len(chosen)), [len(places[index]) for index in chosen])
            columns = np.concatenate([places[index] for index in chosen])
            scores = masked_scores(model, states[torch.from_numpy(rows), torch.from_numpy(columns)])
            labels = torch.from_numpy(np.concatenate([sequences[index][places[index]] for index in chosen])).to(batch.device)
            losses = F.cross_entropy(scores, labels, reduction="none").double().cpu().numpy()
            right = (scores.argmax(-1) == labels).cpu().numpy()
            for row, index in enumerate(chosen):
                nats[index], hits[index] = losses[rows == row], right[rows == row]
            done += len(columns)
            progress(done, sum(map(len, places)), "masked tokens")
    return nats, hits


def _intervals(sums: np.ndarray, resamplings: int) -> np.ndarray:
    """Percentiles 2.5 and 97.5 of nats per token and bits per byte: `[2, 2]`.

    The rows of `sums` `[4, documents]` are nats and number of the sampled tokens, all tokens, and bytes.
    """
    draw = np.random.default_rng(BOOTSTRAP_SEED)
    documents, values = sums.shape[1], []
    for _ in range(resamplings):
        nats, sampled, tokens, size = sums[:, draw.integers(0, documents, documents)].sum(1)
        if sampled:  # of few documents, all that were drawn may have no token in the sample
            values.append((nats / sampled, nats / sampled * tokens / size / math.log(2)))
    found: np.ndarray = np.percentile(values, [2.5, 97.5], axis=0)
    return found
