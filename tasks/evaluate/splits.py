"""The train, dev and test items of a classification set: from published files, or from the sections of a crawled site."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import xxhash

from lang_configs.schema import EvaluationSet
from tasks.core.documents import batches
from tasks.core.errors import StageError
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
class Split:
    """Items of one task; every training and test item has a label. `left_out` counts test items not used, by reason."""

    task: str
    train: list[Item]
    dev: list[Item]
    test: list[Item]
    left_out: dict[str, int] = field(default_factory=dict)

    def groups(self) -> list[str]:
        """The document of each training item: places are `document/number`."""
        return [item.place.rsplit("/", 1)[0] for item in self.train]


def read_split(entry: EvaluationSet, data: EvaluationData, corpus: Path) -> Split:
    """The items of a set. Raises Unavailable when it is not at hand or too small, StageError when items have no label."""
    split = _sections(entry, corpus) if entry.format == "sections" else _published(entry, data)
    if not split.train or len(split.test) < FEWEST or len(split.train) < FEWEST:
        left_out = "".join(f", {count} left out ({reason})" for reason, count in split.left_out.items() if count)
        raise Unavailable(
            f"too few items: {len(split.train)} to train, {len(split.test)} to test{left_out}; {FEWEST} of each are needed"
        )
    if len({item.label for item in split.train}) < 2:
        raise Unavailable("the training items have only one label")
    return split


def _published(entry: EvaluationSet, data: EvaluationData) -> Split:
    at_hand = data.paths(entry.name)
    files = {str(split): file for split, file in entry.files.items()}
    for name in ("train", "test"):
        if name not in files:
            raise Unavailable(f"the config names no {name} file")
        if name not in at_hand:
            raise Unavailable(f"not at hand: {files[name]}")
    items = {name: data.items(entry.name, name) for name in ("train", "dev", "test")}
    for name, rows in items.items():
        if any(item.label is None for item in rows):
            raise StageError(
                f"evaluation.{entry.name}: {files[name]} has items without {entry.label!r}; set label to its column"
            )
    return Split(entry.name, items["train"], items["dev"], items["test"])


def _sections(entry: EvaluationSet, corpus: Path) -> Split:
    """Paragraphs of a site's pages, labelled by section: training documents to learn from, validation documents to test."""
    train = _sample(_paragraphs(entry, corpus, "train"), MOST_TRAIN)
    found = _sample(_paragraphs(entry, corpus, "test"), MOST_TEST)
    if not train and not found:
        raise Unavailable(f"the corpus has no document of source {entry.source} below a section")
    labels, texts = {item.label for item in train}, {item.text for item in train}
    unknown = [item for item in found if item.label not in labels]
    repeated = [item for item in found if item.label in labels and item.text in texts]
    test = [item for item in found if item.label in labels and item.text not in texts]
    return Split(
        entry.name,
        train,
        [],
        test,
        {"label without a training document": len(unknown), "paragraph of a training document": len(repeated)},
    )


def _paragraphs(entry: EvaluationSet, corpus: Path, side: str) -> Iterator[Item]:
    for shard in sorted(corpus.glob(f"{side}-*.parquet")):
        for batch in batches(shard, ["id", "text", "url", "source"]):
            for row in batch.to_pylist():
                label = _section(row["url"]) if row["source"] == entry.source else None
                if label is None:
                    continue
                for number, line in enumerate(row["text"].split("\n")):
                    if len(line) >= PARAGRAPH_CHARACTERS:
                        yield Item(f"{row['id'].hex()}/{number}", line, label)


def _section(url: str | None) -> str | None:
    """The first part of the path of a page that lies below it; None for a page at the root."""
    parts = urlsplit(url or "").path.split("/")
    return parts[1] if len(parts) > 2 and parts[1] else None


def _sample(items: Iterator[Item], most: int) -> list[Item]:
    """At most `most` items, chosen by the hash of their place: the same ones whatever the order of documents."""
    return heapq.nsmallest(most, items, key=lambda item: (xxhash.xxh3_64_intdigest(item.place.encode()), item.place))


def label_counts(items: list[Item]) -> dict[str, int]:
    """Items of each label."""
    return dict(sorted(Counter(str(item.label) for item in items).items()))
