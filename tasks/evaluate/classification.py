"""Topic classification by a linear probe on the frozen model, beside what needs no trained model.

A probe (Alain and Bengio 2016, arXiv 1610.01644) measures what the model's states hold. It means something only next to
floors on the same split: the majority class, the same probe on random-initialised models of the same shape, and TF-IDF.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lang_configs.schema import Evaluate
from tasks.core.documents import write_table
from tasks.core.stage import Metrics, Progress
from tasks.evaluate.bits_per_byte import BOOTSTRAP_SEED
from tasks.evaluate.model import BATCH_TOKENS, auto_class, final_states, padded, window
from tasks.evaluate.splits import Split, label_counts

PROBE_TOKENS = 256
"""Tokens of a text that the probe reads, in chunks of the model's window."""

PROBE_C = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
TFIDF_C = (1.0, 10.0, 100.0)
"""Inverse regularisation strengths tried: features of the probe have unit variance, rows of TF-IDF unit length."""

FOLDS = 5
Features = dict[str, np.ndarray]


def classify(split: Split, model: Any, tokenizer: Any, rule: Evaluate, out: Path, progress: Progress) -> Metrics:
    """Scores of the probe and of its floors on the test items; writes the probe's predictions to `<task>.parquet`.

    The regularisation is chosen by macro F1 on the dev items, or by cross-validation over training documents if there
    are none; ties go to the stronger. Returns `scores` (see `tasks.evaluate.evaluate`) and `details`.
    """
    truth = [str(item.label) for item in split.test]
    tokens = {name: _encode(tokenizer, [item.text for item in getattr(split, name)]) for name in ("train", "dev", "test")}
    total, done = sum(map(len, tokens.values())) * (1 + rule.seeds), 0

    def report(before: int, count: float, _: float, unit: str) -> None:
        progress(before + count, total, unit)

    def probe(candidate: Any) -> tuple[list[str], float]:
        nonlocal done
        features = {}
        for name, sequences in tokens.items():
            features[name] = embed(candidate, sequences, partial(report, done))
            done += len(sequences)
        return _fit(_standardised(features), split, PROBE_C)

    predicted, strength = probe(model)
    words, words_strength = _fit(_tfidf(split), split, TFIDF_C)
    counts = label_counts(split.train)
    majority = max(counts, key=lambda label: counts[label])
    initial = [probe(random_initialised(model, seed))[0] for seed in range(1, rule.seeds + 1)]

    table = {"place": [item.place for item in split.test], "label": truth, "predicted": predicted}
    write_table(pa.table(table), out / f"{split.task}.parquet")
    scores = []
    for system, guesses in (("model", predicted), ("tfidf", words), ("majority", [majority] * len(truth))):
        values, intervals = scored(truth, guesses), intervals_over_items(truth, guesses, rule.bootstrap)
        scores += [_entry(split, metric, system, values[metric], *intervals[metric], 1) for metric in values]
    floors = [scored(truth, guesses) for guesses in initial]
    for metric in floors[0]:
        values_of_seeds = [floor[metric] for floor in floors]
        mean, deviation = float(np.mean(values_of_seeds)), float(np.std(values_of_seeds, ddof=1))
        scores.append(_entry(split, metric, "random-init", mean, mean - deviation, mean + deviation, rule.seeds))
    details = {
        "train": counts,
        "test": label_counts(split.test),
        "left_out": split.left_out,
        "probe": f"logistic regression on the standardised mean of the final hidden states of the first {PROBE_TOKENS} tokens",
        "regularisation": {"model": strength, "tfidf": words_strength, "chosen_on": "dev" if split.dev else "cross-validation"},
        "interval": f"95 % bootstrap over items, {rule.bootstrap} resamplings; random-init: one standard deviation over seeds",
    }
    return {"scores": scores, "details": details}


def embed(model: Any, sequences: Sequence[Sequence[int]], progress: Progress) -> np.ndarray:
    """Mean final hidden state of each token sequence (BOS and text; BOS is read, not averaged), `[sequences, width]`."""
    import torch

    context = window(model)
    chunks = [(index, first) for index, ids in enumerate(sequences) for first in range(0, len(ids), context)]
    totals = np.zeros((len(sequences), model.config.hidden_size))
    read = 0
    with torch.inference_mode():
        for chosen, ids in padded([sequences[i][first : first + context] for i, first in chunks], BATCH_TOKENS, model.device):
            lengths = [min(context, len(sequences[i]) - first) for i, first in (chunks[chunk] for chunk in chosen)]
            states = final_states(model, ids, lengths).float()
            for row, chunk in enumerate(chosen):
                index, first = chunks[chunk]
                totals[index] += states[row, 0 if first else 1 : lengths[row]].double().sum(0).cpu().numpy()
            read += len(chosen)
            progress(read * len(sequences) / len(chunks), len(sequences), "texts")
    counts = np.array([max(1, len(ids) - 1) for ids in sequences])
    return totals / counts[:, None]


def random_initialised(model: Any, seed: int) -> Any:
    """A model of the same configuration that has learned nothing."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        fresh = auto_class(type(model).__name__).from_config(model.config, dtype=torch.float32)
    return fresh.to(model.device).eval()


def scored(truth: Sequence[str], predicted: Sequence[str]) -> dict[str, float]:
    """Accuracy, macro F1 and F1 weighted by the labels' share of the truth, over the labels that either of them holds."""
    return {name: float(values[0]) for name, values in _scores(_confusions(truth, predicted, None)).items()}


def intervals_over_items(truth: Sequence[str], predicted: Sequence[str], resamplings: int) -> dict[str, tuple[float, float]]:
    """95 % percentile interval of each score of `scored`; every system meets the same resamplings."""
    draws = np.random.default_rng(BOOTSTRAP_SEED).integers(0, len(truth), (resamplings, len(truth)))
    scores = _scores(_confusions(truth, predicted, draws))
    bounds = {name: np.percentile(values, [2.5, 97.5]) for name, values in scores.items()}
    return {name: (float(low), float(high)) for name, (low, high) in bounds.items()}


def _encode(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    if not texts:
        return []
    start = PROBE_TOKENS * 32  # far more characters than that many tokens hold: no need to encode a whole book
    ids = tokenizer([text[:start] for text in texts], add_special_tokens=False, verbose=False)["input_ids"]
    return [[tokenizer.bos_token_id, *row[: PROBE_TOKENS - 1]] for row in ids]


def _standardised(features: Features) -> Features:
    mean, deviation = features["train"].mean(0), features["train"].std(0)
    deviation[deviation < 1e-12] = 1.0
    return {name: (values - mean) / deviation for name, values in features.items()}


def _tfidf(split: Split) -> Features:
    """TF-IDF of words 1-2 and characters 2-5, in the coordinates of the space that the training texts span.

    A logistic regression with an L2 penalty has its weights in that space (the representer theorem), so the predictions are
    those of the sparse features, from as many columns as there are training texts instead of some 200,000.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union

    union = make_union(
        TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\S+"),  # \w would cut words at combining marks
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5)),
    )
    train = union.fit_transform([item.text for item in split.train])
    values, vectors = np.linalg.eigh((train @ train.T).toarray())
    kept = values > 1e-9 * values[-1]
    to_span = vectors[:, kept] / np.sqrt(values[kept])
    rest = {name: [item.text for item in getattr(split, name)] for name in ("dev", "test")}
    projected = {name: (union.transform(texts) @ train.T) @ to_span for name, texts in rest.items() if texts}
    return {"train": vectors[:, kept] * np.sqrt(values[kept]), "dev": np.zeros((0, int(kept.sum()))), **projected}


def _fit(features: Features, split: Split, strengths: Sequence[float]) -> tuple[list[str], float]:
    """Predictions for the test items, and the inverse regularisation strength chosen."""
    labels = np.array([str(item.label) for item in split.train])
    if split.dev:
        truth = [str(item.label) for item in split.dev]
        quality = [scored(truth, _predict(features["train"], labels, features["dev"], c))["macro_f1"] for c in strengths]
    else:
        folds = _folds(labels, split.groups())
        quality = [_cross_validated(features["train"], labels, folds, c) for c in strengths]
    strength = strengths[int(np.argmax(np.round(quality, 6)))]
    return _predict(features["train"], labels, features["test"], strength), strength


def _predict(train: np.ndarray, labels: np.ndarray, other: np.ndarray, strength: float) -> list[str]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    if len(set(labels)) == 1:
        return [str(labels[0])] * len(other)
    # thousands of products of small matrices, for which threads cost more than they give: `make swahili` evaluates 35 s sooner
    with warnings.catch_warnings(), threadpool_limits(1, user_api="blas"):
        warnings.simplefilter("ignore", ConvergenceWarning)  # weak regularisation may not end; dev decides what it is worth
        return [str(label) for label in LogisticRegression(C=strength, max_iter=1000).fit(train, labels).predict(other)]


def _folds(labels: np.ndarray, groups: list[str]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Folds with no document on both sides; a published set, whose items are its documents, is cut by label alone."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        kinds: Callable[..., Any] = StratifiedGroupKFold if len(set(groups)) >= FOLDS else StratifiedKFold
        count = max(2, min(FOLDS, int(np.unique(labels, return_counts=True)[1].max())))
        return list(kinds(count, shuffle=True, random_state=BOOTSTRAP_SEED).split(labels, labels, groups))


def _cross_validated(
    features: np.ndarray, labels: np.ndarray, folds: list[tuple[np.ndarray, np.ndarray]], strength: float
) -> float:
    guesses = np.empty(len(labels), object)
    for inside, outside in folds:
        guesses[outside] = _predict(features[inside], labels[inside], features[outside], strength)
    return scored(labels.tolist(), guesses.tolist())["macro_f1"]


def _confusions(truth: Sequence[str], predicted: Sequence[str], draws: np.ndarray | None) -> np.ndarray:
    """Counts `[resamplings, labels, labels]` of (truth, predicted); without `draws`, of all items once."""
    labels = {label: number for number, label in enumerate(sorted({*truth, *predicted}))}
    pairs = np.array([labels[a] * len(labels) + labels[b] for a, b in zip(truth, predicted, strict=True)])
    drawn = pairs[None] if draws is None else pairs[draws]
    counts = np.stack([np.bincount(row, minlength=len(labels) ** 2) for row in drawn])
    return counts.reshape(len(drawn), len(labels), len(labels))


def _scores(confusions: np.ndarray) -> dict[str, np.ndarray]:
    right = np.diagonal(confusions, axis1=1, axis2=2)
    support, guessed = confusions.sum(2), confusions.sum(1)
    f1 = 2 * right / np.maximum(support + guessed, 1)
    return {
        "accuracy": right.sum(1) / support.sum(1),
        "macro_f1": f1.sum(1) / (support + guessed > 0).sum(1),
        "weighted_f1": (f1 * support).sum(1) / support.sum(1),
    }


def _entry(split: Split, metric: str, system: str, value: float, low: float, high: float, seeds: int) -> Metrics:
    return {
        "task": split.task,
        "metric": metric,
        "system": system,
        "value": value,
        "low": low,
        "high": high,
        "n": len(split.test),
        "seeds": seeds,
    }
