"""What the model says of held-out text: the test lines, news articles and stories that took no part in its training."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from lang_configs.schema import LanguageId
from tasks.annotate.language import Identification, identify, identify_column
from tasks.annotate.language.confusion import threshold
from tasks.annotate.language.pieces import as_column
from tools.lid.bundle import documents

FOCUS = {"swh_Latn": "Swahili", "yor_Latn": "Yoruba", "hau_Latn": "Hausa", "amh_Ethi": "Amharic"}
NEWS = "masakhanews"
STORIES = "african_storybook"

Lines = dict[str, list[Identification]]


@dataclass(frozen=True)
class Results:
    """What the model says of each held-out line and news article (by label), and of held-out stories in Swahili: their
    sentences by length and their lines as they stand; `titles` are the addresses of these stories.
    """

    lines: Lines
    news: Lines
    stories: Lines
    titles: list[str]
    affinity: dict[str, list[float]]
    """Affinity of the Swahili news articles, and of other languages' lines that are called Swahili at its least score."""


def measure(test: dict[str, list[str]], raw: Path, model: Path) -> Results:
    """Run the model over the test lines, and over documents below `raw` whose licence kept them out of its training."""
    news: dict[str, list[str]] = defaultdict(list)
    stories: dict[str, list[str]] = defaultdict(list)
    titles = []
    for name, document in documents(raw):
        if NEWS in name and document["lang_hint"] in FOCUS:
            news[document["lang_hint"]].append(document["text"])
        elif name.startswith(STORIES) and document["lang_hint"] == "swh_Latn" and "NC" in document["license"]:
            titles.append(document["id"])
            stories["all lines as they stand"] += [line for line in document["text"].split("\n") if line.split()]
            for sentence in re.split(r"(?<=[.!?])\s+|\n+", document["text"]):
                if words := len(sentence.split()):
                    length = "3 words or fewer" if words < 4 else "4 to 7 words" if words < 8 else "8 words or more"
                    stories[length].append(sentence)
    others = [line for label, lines in test.items() if label != "swh_Latn" for line in lines]
    return Results(
        {label: identify(lines, model) for label, lines in sorted(test.items())},
        {label: identify(articles, model) for label, articles in news.items()},
        {length: identify(lines, model) for length, lines in sorted(stories.items())},
        sorted(titles),
        {"news": _affinities(news["swh_Latn"], model), "others": _affinities(others, model)},
    )


def share(found: list[Identification], label: str, threshold: float = 0) -> float:
    """Share of the texts that got the label with at least this score."""
    return sum(entry.label == label and entry.score >= threshold for entry in found) / max(1, len(found))


def false_positives(lines: Lines, label: str, threshold: float = 0) -> dict[str, float]:
    """For each other label, the share of its lines that got `label`."""
    return {other: share(found, label, threshold) for other, found in lines.items() if other != label}


def _affinities(texts: list[str], model: Path) -> list[float]:
    """Affinity of the texts that are called Swahili at its least score."""
    found = identify_column(as_column(texts), model)
    least = threshold(LanguageId(model=str(model)), "swh_Latn")
    rows = zip(*(found.column(name).to_pylist() for name in ("label", "score", "affinity")), strict=True)
    return [affinity for label, score, affinity in rows if label == "swh_Latn" and score >= least]
