"""The card of the packaged language identification model, with figures measured on text that it was not trained on."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lang_configs.schema import LanguageId, Select
from tasks.annotate.language import WINDOW, Identification, identify, identify_column
from tasks.annotate.language.confusion import SCORES, UNMEASURED_SCORE, beside, threshold, write
from tasks.annotate.language.pieces import as_column
from tasks.annotate.language.words import list_sizes
from tasks.core.files import sha256, write_atomically

if TYPE_CHECKING:
    from tasks.annotate.language.train import Collection

FOCUS = {"swh_Latn": "Swahili", "yor_Latn": "Yoruba", "hau_Latn": "Hausa", "amh_Ethi": "Amharic"}
COMORIAN = ("swb_Latn", "zdj_Latn")
NEWS = "masakhanews"
STORIES = "african_storybook"
TEMPLATE = Path(__file__).with_name("card.md.j2")

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


def write_card(collection: Collection, raw: Path, out: Path) -> None:
    """Measure the model `lid.ftz` in `out` and write its card beside it."""
    from jinja2 import Environment, StrictUndefined

    model = out / "lid.ftz"
    both = {label: collection.test.get(label, []) + lines for label, lines in collection.dev.items()}
    found = {label: identify(lines, model) for label, lines in ({**collection.test, **both}).items()}
    rows = write(beside(model), model, {label: [entry[:2] for entry in lines] for label, lines in found.items()})["labels"]
    results = measure(collection.test, raw, model)
    template = Environment(undefined=StrictUndefined, keep_trailing_newline=True).from_string(TEMPLATE.read_text("utf-8"))
    write_atomically(out / "lid_card.md", template.render(_facts(collection, model) | _figures(results, rows, model)).encode())


def measure(test: dict[str, list[str]], raw: Path, model: Path) -> Results:
    """Run the model over the test lines, and over documents below `raw` whose licence kept them out of its training."""
    from tasks.annotate.language.train import documents

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


def _affinities(texts: list[str], model: Path) -> list[float]:
    """Affinity of the texts that are called Swahili at its least score."""
    found = identify_column(as_column(texts), model)
    least = threshold(LanguageId(model=str(model)), "swh_Latn")
    rows = zip(*(found.column(name).to_pylist() for name in ("label", "score", "affinity")), strict=True)
    return [affinity for label, score, affinity in rows if label == "swh_Latn" and score >= least]


def share(found: list[Identification], label: str, threshold: float = 0) -> float:
    """Share of the texts that got the label with at least this score."""
    return sum(entry.label == label and entry.score >= threshold for entry in found) / max(1, len(found))


def false_positives(lines: Lines, label: str, threshold: float = 0) -> dict[str, float]:
    """For each other label, the share of its lines that got `label`."""
    return {other: share(found, label, threshold) for other, found in lines.items() if other != label}


def _facts(collection: Collection, model: Path) -> dict[str, Any]:
    from tasks.annotate.language import train

    return {
        "labels": sorted(collection.train),
        "bytes": model.stat().st_size,
        "sha256": sha256(model),
        "window": WINDOW,
        "words": sum(len(line.split()) for lines in collection.train.values() for line in lines),
        "windows": collection.windows,
        "window_words": train.WINDOW_WORDS,
        "fewest_windows": train.FEWEST_WINDOWS,
        "factor": train.WINDOWS_FACTOR,
        "short_words": train.SHORT_WORDS,
        "short_every": train.SHORT_EVERY,
        "short_from": train.SHORT_FROM,
        "factors": train.FACTORS,
        "mislabelled": train.MISLABELLED,
        "power": train.WINDOWS_POWER,
        "most_words": train.MOST_WORDS,
        "kept": collection.lines_kept,
        "dropped": collection.lines_dropped,
        "sources": sorted((*credit, count, len(labels)) for credit, (count, labels) in collection.sources.items()),
        "udhr_only": len(collection.udhr_only & set(collection.train)),
        "refused": sorted(collection.refused.items()),
        "training": _listed(train.TRAINING),
        "quantisation": _listed(train.QUANTISATION),
    }


def _figures(results: Results, rows: dict[str, Any], model: Path) -> dict[str, Any]:
    lines = results.lines
    right = {label: share(found, label) for label, found in lines.items()}
    large = [label for label, found in lines.items() if len(found) >= 20]
    yoruba = [entry for entry in lines["yor_Latn"] if entry.label != "eng_Latn"]
    elsewhere = [(f"{name}, news articles (MasakhaNEWS)", label, results.news[label]) for label, name in FOCUS.items()]
    elsewhere += [(f"Swahili, sentences of stories, {length}", "swh_Latn", found) for length, found in results.stories.items()]
    swahili = rows["swh_Latn"]["threshold"]
    return {
        "lines": sum(len(found) for found in lines.values()),
        "languages": len(lines),
        "accuracy": sum(right[label] * len(lines[label]) for label in lines) / sum(len(found) for found in lines.values()),
        "macro": sum(right.values()) / len(right),
        "languages_20": len(large),
        "macro_20": sum(right[label] for label in large) / len(large),
        "measured": len(rows),
        "unmeasured": UNMEASURED_SCORE,
        "focus": [_focus(lines, rows[label], label, name) for label, name in FOCUS.items()],
        "english_yoruba": 1 - len(yoruba) / len(lines["yor_Latn"]),
        "yoruba_rest": share(yoruba, "yor_Latn"),
        "elsewhere": [
            (name, len(found), *(f"{share(found, label, score):.3f}" for score in (0, 0.5, rows[label]["threshold"], 0.8)))
            for name, label, found in elsewhere
        ],
        "titles": results.titles,
        "lists": len(list_sizes(model)),
        "floor": Select().min_affinity,
        "affinity": {
            name: (len(values), sum(value < Select().min_affinity for value in values))
            for name, values in results.affinity.items()
        },
        "swahili": swahili,
        "comorian": ", ".join(
            f"{share(lines[label], 'swh_Latn', swahili):.0%} of {len(lines[label])} {label}" for label in COMORIAN
        ),
        "confusions": [_confusions(lines, label, name) for label, name in FOCUS.items()],
    }


def confusion_table(name: str, content: dict[str, Any]) -> str:
    """What was measured of a model, as Markdown: a row for each label with enough held-out lines."""
    head = ["label", "lines", "recall at 0.3", "at 0.5", "at 0.8", "least score", "recall there", "false positives there"]
    head += ["taken for", "taken for it"]
    table = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for label, row in content["labels"].items():
        at = SCORES.index(row["threshold"])
        recalls = [f"{row['recall'][place]:.3f}" for place in (*map(SCORES.index, (0.3, 0.5, 0.8)), at)]
        recalls.insert(3, f"{row['threshold']:.2f}")
        near = [", ".join(f"{other} {rate:.1%} of {n}" for other, n, rate in row[way]) for way in ("taken_for", "mistaken")]
        cells = [label, str(row["n"]), *recalls, f"{row['false_positives'][at]:.3%}", *(cell or "none" for cell in near)]
        table.append(f"| {' | '.join(cells)} |")
    return (
        f"# What {name} confuses\n\nMeasured on {content['lines']:,} held-out lines of {content['languages']} labels; a label"
        " with fewer than 20 lines has no row. The least score is the smallest at which on average no more than 0.1 % of the"
        " other labels' lines, and no more than 3 % (and one line) of those of any one with 20 lines, are taken for it;"
        " 0.5 if there is none.\n\n" + "\n".join(table) + "\n"
    )


def _listed(settings: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def _focus(lines: Lines, row: dict[str, Any], label: str, name: str) -> list[Any]:
    least = row["threshold"]
    wrong = false_positives(lines, label, least)
    recall = [f"{share(lines[label], label, score):.3f}" for score in (0, 0.5, least)]
    return [name, len(lines[label]), *recall[:2], least, recall[2], f"{sum(wrong.values()) / len(wrong):.3%}", _worst(wrong)]


def _confusions(lines: Lines, label: str, name: str) -> list[str]:
    called = Counter(entry.label for entry in lines[label] if entry.label != label)
    away = {other: count / len(lines[label]) for other, count in called.items()}
    return [name, _worst(away), _worst(false_positives(lines, label))]


def _worst(rates: dict[str, float]) -> str:
    ranked = sorted(((rate, other) for other, rate in rates.items() if rate), key=lambda entry: (-entry[0], entry[1]))
    return ", ".join(f"{other} {rate:.1%}" for rate, other in ranked[:5]) or "none"
