"""Tags of the words of sentences (names, parts of speech), by a linear probe on the frozen model or by fine-tuning."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lang_configs.evaluation import EvaluationSet
from tasks.core.errors import StageError
from tasks.core.stage import Progress
from tasks.evaluate import floors
from tasks.evaluate.examples import Examples, check_sizes, read_examples, with_dev
from tasks.evaluate.finetuning import IGNORED, Encoded, Problem, described, tune
from tasks.evaluate.linear import predict as predict_linear
from tasks.evaluate.linear import standardised
from tasks.evaluate.metrics import ACCURACY, SPAN_F1, Metric
from tasks.evaluate.tasks import MODEL, Predictions, Settings
from tasks.evaluate.words import windows, word_states
from tasks.evaluation_sets import EvaluationData, Item

METRICS: tuple[Metric, ...] = (SPAN_F1, ACCURACY)

NEEDED = ("train", "test")

PROBE_WORDS = 10_000
"""Words of training sentences that the probe learns from, from the first sentence on."""

PROBE_STRENGTHS = (1e-3, 1e-2, 1e-1)
"""Inverse regularisation strengths tried: features of the probe have unit variance."""

Tags = tuple[str, ...]
Found = tuple[dict[str, list[list[Tags]]], dict[str, Any]]
"""Predictions by system and run, and how they came about."""


def examples(entry: EvaluationSet, data: EvaluationData, corpus: Path | None) -> Examples:
    """Sentences with a tag for each word; without a dev split every tenth training sentence is one."""
    found = read_examples(entry, data, corpus, NEEDED)
    for split in ("train", "dev", "test"):
        for item in getattr(found, split):
            if len(item.labels) != len(item.text.split()):
                raise StageError(
                    f"evaluation.{entry.name}: {item.place} has {len(item.text.split())} words and {len(item.labels)} tags;"
                    " tagging needs one for each word: check `format` and the file"
                )
    check_sizes(found, NEEDED)
    return with_dev(found)


def predict(examples: Examples, model: Any, tokenizer: Any, config: Settings, progress: Progress) -> Predictions:
    """The tags of the words of each test item, by the model in the way of the mode, and by its floors."""
    frequent = most_frequent_tags(examples.train)
    found, details = (_fine_tuned if config.mode == "full" else _probed)(examples, frequent, model, tokenizer, config, progress)
    lookup = [tuple(frequent(word) for word in item.text.split()) for item in examples.test]
    tags = dict(sorted(Counter(tag for item in examples.test for tag in item.labels).items()))
    return Predictions(found | {floors.FREQUENT_TAG: [lookup]}, {"test": tags, **details})


def _probed(examples: Examples, frequent: Any, model: Any, tokenizer: Any, config: Settings, progress: Progress) -> Found:
    train = _beginning(examples.train)
    splits = {"train": train, "dev": examples.dev, "test": examples.test}

    def probe(candidate: Any) -> tuple[list[Tags], float]:
        features, labels, read = {}, {}, {}
        for split, items in splits.items():
            read[split] = windows([item.text.split() for item in items], tokenizer, candidate)
            features[split] = word_states(candidate, read[split], progress)
            labels[split] = np.array([items[one.sentence].labels[word] for one in read[split] for word in one.words])
        scaled = standardised(features)
        quality = {}
        for strength in PROBE_STRENGTHS:
            guessed = predict_linear(scaled["train"], labels["train"], scaled["dev"], strength)
            quality[strength] = _quality(examples.dev, _sentences(examples.dev, read["dev"], guessed, frequent))
        best = max(PROBE_STRENGTHS, key=lambda strength: round(quality[strength], 6))
        guessed = predict_linear(scaled["train"], labels["train"], scaled["test"], best)
        return _sentences(examples.test, read["test"], guessed, frequent), best

    predicted, strength = probe(model)
    untrained = [probe(floors.random_initialised(model, seed))[0] for seed in range(1, config.seeds + 1)]
    return {MODEL: [predicted], floors.RANDOM_INIT: untrained}, {
        "train": {"sentences": len(train), "words": sum(len(item.labels) for item in train)},
        "probe": "logistic regression on the standardised last hidden state at each word",
        "regularisation": {"model": strength, "chosen_on": "dev"},
    }


def _fine_tuned(examples: Examples, frequent: Any, model: Any, tokenizer: Any, config: Settings, progress: Progress) -> Found:
    tags = sorted({tag for item in examples.train for tag in item.labels})
    splits = {"train": examples.train, "dev": examples.dev, "test": examples.test}
    read = {split: windows([item.text.split() for item in items], tokenizer, model) for split, items in splits.items()}

    def encoded(split: str) -> list[Encoded]:
        found = []
        for window in read[split]:
            label, labels = [IGNORED] * len(window.ids), splits[split][window.sentence].labels
            for word, place in zip(window.words, window.places, strict=True):
                label[place] = tags.index(labels[word]) if labels[word] in tags else IGNORED
            found.append(Encoded(window.ids, label))
        return found

    def named(split: str, logits: Sequence[np.ndarray]) -> list[Tags]:
        rows = zip(read[split], logits, strict=True)
        guessed = [tags[int(place)] for window, row in rows for place in row[window.places].argmax(-1)]
        return _sentences(splits[split], read[split], guessed, frequent)

    common = Counter(tag for item in examples.train for tag in item.labels).most_common(1)[0][0]
    right = [tag == common for item in examples.dev for tag in item.labels]
    problem = Problem(
        "TokenClassification",
        len(tags),
        train=encoded("train"),
        dev=encoded("dev"),
        test=encoded("test"),
        quality=lambda logits: float(compute(statistics(examples.dev, named("dev", logits)).sum(0))["accuracy"]),
        least=float(np.mean(right)),
    )
    tuned = tune(lambda seed: model, tokenizer, problem, config.seeds, progress)
    untrained = tune(lambda seed: floors.random_initialised(model, seed), tokenizer, problem, config.seeds, progress)
    runs = {
        MODEL: [named("test", run) for run in tuned.runs],
        floors.RANDOM_INIT: [named("test", run) for run in untrained.runs],
    }
    return runs, {"fine-tuning": described(tuned), "fine-tuning of untrained models": described(untrained)}


def statistics(items: Sequence[Item], predicted: Sequence[Sequence[str]]) -> np.ndarray:
    """For each sentence: spans found, predicted and true, words with the right tag, and words; `[items, 5]`."""
    rows = []
    for item, tags in zip(items, predicted, strict=True):
        true, guessed = set(spans(item.labels)), set(spans(tags))
        right = sum(one == other for one, other in zip(item.labels, tags, strict=True))
        rows.append((len(true & guessed), len(guessed), len(true), right, len(item.labels)))
    return np.array(rows, np.float64).reshape(-1, 5)


def compute(sums: np.ndarray) -> dict[str, np.ndarray]:
    """F1 of whole spans (NaN where the tags are of no spans), and accuracy over words."""
    found, guessed, true, right, words = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {"span_f1": np.where(true > 0, 2 * found / (guessed + true), np.nan), "accuracy": right / words}


def spans(tags: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """Type, first word and the word after the last of each span that IOB2 tags mark, read strictly: only B- begins one.

    As seqeval does with `mode="strict", scheme=IOB2` (CoNLL's own script is lenient, and gives other numbers).
    """
    kind, first = "", 0
    for place, tag in enumerate([*tags, "O"]):
        if kind and tag != f"I-{kind}":
            yield kind, first, place
            kind = ""
        if tag.startswith("B-"):
            kind, first = tag[2:], place


def most_frequent_tags(items: Sequence[Item]) -> Any:
    """Word -> the tag that it has most often in training sentences; of a word that is not there, that of most words."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for item in items:
        for word, tag in zip(item.text.split(), item.labels, strict=True):
            counts[word][tag] += 1
    [(default, _)] = sum(counts.values(), Counter()).most_common(1)
    table = {word: min(found, key=lambda tag: (-found[tag], tag)) for word, found in counts.items()}
    return lambda word: table.get(word, default)


def _beginning(items: Sequence[Item]) -> list[Item]:
    total, kept = 0, []
    for item in items:
        if total >= PROBE_WORDS:
            break
        kept.append(item)
        total += len(item.labels)
    return kept


def _sentences(items: Sequence[Item], read: Sequence[Any], tags: Sequence[str], frequent: Any) -> list[Tags]:
    """The predicted tags by sentence; a word that the tokenizer makes nothing of gets its most frequent tag."""
    found = [[frequent(word) for word in item.text.split()] for item in items]
    given = iter(tags)
    for window in read:
        for word in window.words:
            found[window.sentence][word] = next(given)
    return [tuple(sentence) for sentence in found]


def _quality(items: Sequence[Item], predicted: Sequence[Tags]) -> float:
    """Span F1 where the tags are of spans, else accuracy."""
    values = compute(statistics(items, predicted).sum(0))
    return float(values["accuracy"] if np.isnan(values["span_f1"]) else values["span_f1"])
