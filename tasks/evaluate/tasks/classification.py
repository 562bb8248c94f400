"""Classification of texts, by a linear probe on the frozen model or by fine-tuning, beside what needs no trained model.

A probe (Alain and Bengio 2016, arXiv 1610.01644) measures what the model's states hold. It means something only next to its
floors: the majority class, the same probe on random-initialised models of the same shape, and TF-IDF.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lang_configs.evaluation import EvaluationSet
from tasks.core.stage import Progress
from tasks.evaluate import floors
from tasks.evaluate.examples import Examples, Unavailable, check_labels, check_sizes, label_counts, read_examples, with_dev
from tasks.evaluate.finetuning import Encoded, Problem, described, tune
from tasks.evaluate.linear import fit_predict, standardised
from tasks.evaluate.metrics import ACCURACY, MACRO_F1, WEIGHTED_F1, Metric
from tasks.evaluate.model import BATCH_TOKENS, boundaries, context_length, is_masked, last_hidden_states, padded_batches
from tasks.evaluate.tasks import MODEL, Predictions, Settings
from tasks.evaluation_sets import EvaluationData, Item

Found = tuple[dict[str, list[list[str]]], dict[str, Any]]
"""Predictions by system and run, and how they came about."""

METRICS: tuple[Metric, ...] = (ACCURACY, MACRO_F1, WEIGHTED_F1)

NEEDED = ("train", "test")

PROBE_TOKENS = 256
"""Tokens of a text that the probe reads, in chunks of the model's context."""

PROBE_STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Inverse regularisation strengths tried: features of the probe have unit variance."""


def examples(entry: EvaluationSet, data: EvaluationData, corpus: Path | None) -> Examples:
    """Items with a label each, of at least two labels."""
    found = read_examples(entry, data, corpus, NEEDED)
    check_labels(found, entry)
    check_sizes(found, NEEDED)
    if len({item.label for item in found.train}) < 2:
        raise Unavailable("the training items have only one label")
    return found


def predict(examples: Examples, model: Any, tokenizer: Any, config: Settings, progress: Progress) -> Predictions:
    """The label of each test item, by the model in the way of the mode, and by its floors."""
    found, details = (_fine_tuned if config.mode == "full" else _probed)(examples, model, tokenizer, config, progress)
    words, strength = floors.tfidf(examples)
    simple = {floors.TFIDF: [words], floors.MAJORITY: [floors.majority(examples)]}
    counts = {"train": label_counts(examples.train), "test": label_counts(examples.test)}
    return Predictions(found | simple, {**counts, **details, "tfidf": {"regularisation": strength}})


def _probed(examples: Examples, model: Any, tokenizer: Any, config: Settings, progress: Progress) -> Found:
    splits = ("train", "dev", "test")
    tokens = {split: _encode(tokenizer, [item.text for item in getattr(examples, split)]) for split in splits}
    total, done = sum(map(len, tokens.values())) * (1 + config.seeds), 0

    def report(before: int, count: float, _: float, unit: str) -> None:
        progress(before + count, total, unit)

    def probe(candidate: Any) -> tuple[list[str], float]:
        nonlocal done
        features = {}
        for split, sequences in tokens.items():
            features[split] = embed(candidate, sequences, partial(report, done))
            done += len(sequences)
        return fit_predict(standardised(features), examples, PROBE_STRENGTHS)

    predicted, strength = probe(model)
    untrained = [probe(floors.random_initialised(model, seed))[0] for seed in range(1, config.seeds + 1)]
    return {MODEL: [predicted], floors.RANDOM_INIT: untrained}, {
        "probe": f"logistic regression on standardised means of the last hidden states of the first {PROBE_TOKENS} tokens",
        "regularisation": strength,
        "chosen_on": "dev" if examples.dev else "cross-validation",
    }


def _fine_tuned(examples: Examples, model: Any, tokenizer: Any, config: Settings, progress: Progress) -> Found:
    chosen = with_dev(examples)
    labels = sorted({str(item.label) for item in chosen.train})
    _, end = boundaries(tokenizer)
    marks = [end] if is_masked(model) else []  # as each was trained: BERT reads a text to its [SEP]
    longest = min(PROBE_TOKENS, context_length(model)) - len(marks)

    def encoded(items: Sequence[Item]) -> list[Encoded]:
        rows = _encode(tokenizer, [item.text for item in items])
        known = [labels.index(str(item.label)) if str(item.label) in labels else 0 for item in items]
        return [Encoded([*row[:longest], *marks], label) for row, label in zip(rows, known, strict=True)]

    def named(logits: Sequence[np.ndarray]) -> list[str]:
        return [labels[int(row.argmax())] for row in logits]

    def accuracy(items: Sequence[Item], predicted: Sequence[str]) -> float:
        return float(np.mean([str(item.label) == label for item, label in zip(items, predicted, strict=True)]))

    problem = Problem(
        "SequenceClassification",
        len(labels),
        train=encoded(chosen.train),
        dev=encoded(chosen.dev),
        test=encoded(chosen.test),
        quality=lambda logits: accuracy(chosen.dev, named(logits)),
        least=accuracy(chosen.dev, [max(labels, key=label_counts(chosen.train).__getitem__)] * len(chosen.dev)),
    )
    tuned = tune(lambda seed: model, tokenizer, problem, config.seeds, progress)
    untrained = tune(lambda seed: floors.random_initialised(model, seed), tokenizer, problem, config.seeds, progress)
    runs = {MODEL: list(map(named, tuned.runs)), floors.RANDOM_INIT: list(map(named, untrained.runs))}
    return runs, {"fine-tuning": described(tuned), "fine-tuning of untrained models": described(untrained)}


def statistics(items: Sequence[Item], predicted: Sequence[str]) -> np.ndarray:
    """For each item and label: whether it was found, is true, was predicted; `[items, 3 labels]`."""
    labels = {label: number for number, label in enumerate(sorted({*(str(item.label) for item in items), *predicted}))}
    identity = np.eye(len(labels))
    true = identity[[labels[str(item.label)] for item in items]]
    guessed = identity[[labels[label] for label in predicted]]
    return np.concatenate([true * guessed, true, guessed], 1)


def compute(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Accuracy, macro F1 and F1 weighted by the labels' share of the truth, over the labels that are true or predicted."""
    hits, true, predicted = np.split(sums, 3, -1)
    f1 = 2 * hits / np.maximum(true + predicted, 1)
    return {
        "accuracy": hits.sum(-1) / true.sum(-1),
        "macro_f1": f1.sum(-1) / (true + predicted > 0).sum(-1),
        "weighted_f1": (f1 * true).sum(-1) / true.sum(-1),
    }


def embed(model: Any, sequences: Sequence[Sequence[int]], progress: Progress) -> np.ndarray:
    """Mean last hidden state of each token sequence (BOS and text; BOS is read, not averaged), `[sequences, width]`."""
    import torch

    context = context_length(model)
    chunks = [(index, first) for index, ids in enumerate(sequences) for first in range(0, len(ids), context)]
    tokens = [sequences[index][first : first + context] for index, first in chunks]
    totals = np.zeros((len(sequences), model.config.hidden_size))
    read = 0
    with torch.inference_mode():
        for chosen, ids in padded_batches(tokens, BATCH_TOKENS, model.device):
            lengths = [len(tokens[chunk]) for chunk in chosen]
            states = last_hidden_states(model, ids, lengths).float()
            for row, chunk in enumerate(chosen):
                index, first = chunks[chunk]
                totals[index] += states[row, 0 if first else 1 : lengths[row]].double().sum(0).cpu().numpy()
            read += len(chosen)
            progress(read * len(sequences) / len(chunks), len(sequences), "texts")
    counts = np.array([max(1, len(ids) - 1) for ids in sequences])
    return totals / counts[:, None]


def _encode(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    if not texts:
        return []
    start = PROBE_TOKENS * 32  # far more characters than that many tokens hold: no need to encode a whole book
    ids = tokenizer([text[:start] for text in texts], add_special_tokens=False, verbose=False)["input_ids"]
    begin, _ = boundaries(tokenizer)
    return [[begin, *row[: PROBE_TOKENS - 1]] for row in ids]
