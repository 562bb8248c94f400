"""The card of the packaged language identification model, with figures measured on text that it was not trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lang_configs.schema import Select
from tasks.annotate.language import WINDOW, identify, train
from tasks.annotate.language.confusion import UNMEASURED_SCORE, beside, write
from tasks.annotate.language.words import list_sizes
from tasks.core.files import sha256, write_atomically
from tools.lid.bundle import FACTORS, MISLABELLED, MOST_WORDS, Collection
from tools.lid.evaluation import FOCUS, Lines, Results, false_positives, measure, share

COMORIAN = ("swb_Latn", "zdj_Latn")
TEMPLATE = Path(__file__).with_name("card.md.j2")


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


def _facts(collection: Collection, model: Path) -> dict[str, Any]:
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
        "factors": FACTORS,
        "mislabelled": MISLABELLED,
        "power": train.WINDOWS_POWER,
        "most_words": MOST_WORDS,
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
