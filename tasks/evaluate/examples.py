"""The train, dev and test examples of an evaluation set: from published files, or from the sections of a crawled site."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import xxhash

from lang_configs.evaluation import EvaluationSet
from tasks.core.artifacts import Corpus
from tasks.core.documents import batches
from tasks.core.errors import StageError
from tasks.evaluate.held_out import HELD_OUT_SPLIT
from tasks.evaluation_sets import EvaluationData, Item

PARAGRAPH_CHARACTERS = 80
"""Shorter paragraphs of a site are captions and headings."""

MOST_TRAIN, MOST_TEST = 2000, 1000
"""Most paragraphs of a site; published sets are used whole."""

FEWEST = 20
"""Fewer training or test items than this measure nothing: one item is 5 points."""


class Unavailable(Exception):  # noqa: N818 - a reason to skip, not an error
    """Why a set cannot be used here."""


@dataclass(frozen=True)
class Examples:
    """The items of one set: to learn from, to choose on, and to report. `left_out` counts test items not used, by reason."""

    name: str
    train: list[Item]
    dev: list[Item]
    test: list[Item]
    left_out: dict[str, int] = field(default_factory=dict)


def read_examples(entry: EvaluationSet, data: EvaluationData, corpus: Path | None, needed: Sequence[str]) -> Examples:
    """The items of a set; raises Unavailable when one of the `needed` splits (of train, dev, test) is not at hand."""
    if entry.format != "sections":
        return _published(entry, data, needed)
    if corpus is None:
        raise Unavailable("it is made of the corpus of a run, and there is none here")
    return _sections(entry, corpus)


def check_labels(examples: Examples, entry: EvaluationSet) -> None:
    """Raises StageError when an item has no label: then the config names the wrong column."""
    for split in ("train", "dev", "test"):
        if any(item.label is None for item in getattr(examples, split)):
            raise StageError(
                f"evaluation.{entry.name}: {entry.files[split]} has items without {entry.label!r}; set label to its column"
            )


def check_sizes(examples: Examples, needed: Sequence[str]) -> None:
    """Raises Unavailable when one of the `needed` splits has fewer than `FEWEST` items."""
    sizes = {split: len(getattr(examples, split)) for split in needed}
    if min(sizes.values()) < FEWEST:
        left_out = "".join(f", {count} left out ({reason})" for reason, count in examples.left_out.items() if count)
        counts = ", ".join(f"{size} to {split}" for split, size in sizes.items())
        raise Unavailable(f"too few items: {counts}{left_out}; {FEWEST} of each are needed")


def with_dev(examples: Examples) -> Examples:
    """The same, with the items of every tenth training document to choose on where there are no dev items."""
    if examples.dev:
        return examples
    parts = list(dict.fromkeys(item.document or item.place for item in examples.train))
    chosen = set(parts[::10])
    sides: tuple[list[Item], list[Item]] = [], []
    for item in examples.train:
        sides[(item.document or item.place) in chosen].append(item)
    return replace(examples, train=sides[0], dev=sides[1])


def label_counts(items: list[Item]) -> dict[str, int]:
    """Items of each label."""
    return dict(sorted(Counter(str(item.label) for item in items).items()))


def _published(entry: EvaluationSet, data: EvaluationData, needed: Sequence[str]) -> Examples:
    at_hand = data.paths(entry.name)
    files = {str(split): file for split, file in entry.files.items()}
    for name in needed:
        if name not in files:
            raise Unavailable(f"the config names no {name} file")
        if name not in at_hand:
            raise Unavailable(f"not at hand: {files[name]}")
    train, dev, test = (data.items(entry.name, split) for split in ("train", "dev", "test"))
    return Examples(entry.name, train, dev, test)


def _sections(entry: EvaluationSet, corpus: Path) -> Examples:
    """Paragraphs of a site's pages, labelled by section: training documents to learn from, held-out documents to test."""
    train = _sample(_paragraphs(entry, corpus, "train"), MOST_TRAIN)
    found = _sample(_paragraphs(entry, corpus, HELD_OUT_SPLIT), MOST_TEST)
    if not train and not found:
        raise Unavailable(f"the corpus has no document of source {entry.source} below a section")
    labels, texts = {item.label for item in train}, {item.text for item in train}
    unknown = [item for item in found if item.label not in labels]
    repeated = [item for item in found if item.label in labels and item.text in texts]
    test = [item for item in found if item.label in labels and item.text not in texts]
    return Examples(
        entry.name,
        train,
        [],
        test,
        {"label without a training document": len(unknown), "paragraph of a training document": len(repeated)},
    )


def _paragraphs(entry: EvaluationSet, corpus: Path, split: str) -> Iterator[Item]:
    for shard in Corpus(corpus).shards(split):
        for batch in batches(shard, ["id", "text", "url", "source"]):
            for row in batch.to_pylist():
                label = _section(row["url"]) if row["source"] == entry.source else None
                if label is None:
                    continue
                document = row["id"].hex()
                for number, line in enumerate(row["text"].split("\n")):
                    if len(line) >= PARAGRAPH_CHARACTERS:
                        yield Item(f"{document}/{number}", line, label, document=document)


def _section(url: str | None) -> str | None:
    """The first part of the path of a page that lies below it; None for a page at the root."""
    parts = urlsplit(url or "").path.split("/")
    return parts[1] if len(parts) > 2 and parts[1] else None


def _sample(items: Iterator[Item], most: int) -> list[Item]:
    """At most `most` items, chosen by the hash of their place: the same ones whatever the order of documents."""
    return heapq.nsmallest(most, items, key=lambda item: (xxhash.xxh3_64_intdigest(item.place.encode()), item.place))
