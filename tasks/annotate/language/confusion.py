"""What a model is known to confuse, measured on held-out lines when it was trained, and the threshold that follows from it.

The file `<model>_confusion.json` lies beside the model. For each label with enough held-out lines: how many (`n`), the share
of them that got it (`recall`) and the mean over the other labels of the share of lines that got it (`false_positives`) at each
of `scores`, the neighbours in both directions, and the threshold.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lang_configs.schema import LanguageId
from tasks.annotate.language.model import classifier
from tasks.core.errors import StageError
from tasks.core.files import sha256

PACKAGED = Path(__file__).with_name("lid.ftz")

UNMEASURED_SCORE = 0.5
"""Threshold for a label of which nothing was measured."""
SCORES = [round(0.05 * step, 2) for step in range(20)]
LEAST_SCORE = 0.2
FEWEST_LINES = 20
"""Held-out lines that a rate rests on at least."""
MOST_FALSE_POSITIVES = 0.001
"""Mean over the other labels."""
MOST_OF_A_NEIGHBOUR = 0.03
"""Share of the lines of any one label with enough of them; a single line is no rate."""
NEIGHBOURS = 5


def beside(model: Path) -> Path:
    """Where the confusions of a model are kept."""
    return model.with_name(f"{model.stem}_confusion.json")


def threshold(config: LanguageId, label: str) -> float:
    """The least score for `label` that was measured for the model in use, or `UNMEASURED_SCORE`."""
    if config.model and config.model.startswith(("http://", "https://")):
        return UNMEASURED_SCORE
    row = _rows(Path(config.model).expanduser() if config.model else PACKAGED).get(config.label or label)
    return float(row["threshold"]) if row else UNMEASURED_SCORE


def facts(model: Path, label: str | None) -> dict[str, Any]:
    """What is known of a label, for the metrics of the stage: numbers at the threshold, and its neighbours."""
    row = _rows(model).get(label or "")
    if row is None:
        return {"label": label, "known": False, "threshold": UNMEASURED_SCORE, "note": "nothing was measured for this label"}
    at = SCORES.index(row["threshold"])
    rates = {f"recall_{score}": row["recall"][SCORES.index(score)] for score in (0.3, 0.5, 0.8)}
    return {
        "label": label,
        "known": True,
        "lines": row["n"],
        "others": row["others"],
        "threshold": row["threshold"],
        "recall": row["recall"][at],
        "false_positives": row["false_positives"][at],
        "separable": row["separable"],
        **rates,
        "taken_for": row["taken_for"],
        "mistaken": row["mistaken"],
    }


def labels_known(model: Path = PACKAGED) -> list[dict[str, Any]]:
    """The `facts` of each label of a model, with its precision where it was measured: the share of lines with this label that
    have it rightly, if each of the languages had as many lines.
    """
    found = [facts(model, label) for label in sorted(classifier(str(model)).labels)]
    for row in found:
        if row["known"]:
            wrong = row["false_positives"] * row["others"]
            row["precision"] = round(row["recall"] / max(1e-9, row["recall"] + wrong), 4)
    return found


def measured(lines: Mapping[str, Sequence[tuple[str, float]]]) -> dict[str, Any]:
    """The rows of the file: from label -> (label found, score) of each of its held-out lines."""
    found = {label: _Found(answers) for label, answers in lines.items() if answers}
    enough = [label for label, one in found.items() if one.n >= FEWEST_LINES]
    return {label: _row(label, found, enough) for label in sorted(enough)}


def write(path: Path, model: Path, lines: Mapping[str, Sequence[tuple[str, float]]]) -> dict[str, Any]:
    """Measure, and write the file of `model` to `path`; returns what was written."""
    from tasks.core.files import write_atomically

    content = {
        "model": sha256(model),
        "lines": sum(map(len, lines.values())),
        "languages": sum(bool(answers) for answers in lines.values()),
        "scores": SCORES,
        "labels": measured(lines),
    }
    text = json.dumps(content, ensure_ascii=False).replace('}, "', '},\n"')
    write_atomically(path, text.encode() + b"\n")
    return content


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


class _Found:
    """The answers for the lines of one label: for each label that occurs, its scores in ascending order."""

    def __init__(self, answers: Sequence[tuple[str, float]]) -> None:
        self.n = len(answers)
        self.labels = Counter(label for label, _ in answers)
        self._scores = {label: np.sort([score for found, score in answers if found == label]) for label in self.labels}

    def share(self, label: str, score: float = 0) -> float:
        """Share of the lines that got `label` with this score or a better one."""
        scores = self._scores.get(label)
        return 0.0 if scores is None else float(len(scores) - np.searchsorted(scores, score)) / self.n


def _row(label: str, found: Mapping[str, _Found], enough: Sequence[str]) -> dict[str, Any]:
    others = [one for other, one in found.items() if other != label]
    recall = [found[label].share(label, score) for score in SCORES]
    false = [sum(one.share(label, score) for one in others) / max(1, len(others)) for score in SCORES]
    near = [found[other] for other in enough if other != label and found[other].labels[label] > 1]
    worst = [
        max((one.share(label, score) for one in near if one.n * one.share(label, score) > 1), default=0) for score in SCORES
    ]
    good = (
        score
        for score, mean, most in zip(SCORES, false, worst, strict=True)
        if score >= LEAST_SCORE and mean <= MOST_FALSE_POSITIVES and most <= MOST_OF_A_NEIGHBOUR
    )
    chosen = next(good, None)  # where look-alikes score as high as the language itself, a higher threshold keeps none out
    away = {other: found[label].labels[other] / found[label].n for other in found[label].labels if other != label}
    towards = {other: one.share(label) for other, one in found.items() if other != label}
    return {
        "n": found[label].n,
        "others": len(others),
        "threshold": UNMEASURED_SCORE if chosen is None else chosen,
        "separable": chosen is not None,
        "recall": [round(value, 4) for value in recall],
        "false_positives": [round(value, 6) for value in false],
        "worst_neighbour": [round(value, 4) for value in worst],
        "taken_for": [[other, found[label].n, round(rate, 4)] for other, rate in _most(away)],
        "mistaken": [[other, found[other].n, round(rate, 4)] for other, rate in _most(towards)],
    }


def _most(rates: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(((label, rate) for label, rate in rates.items() if rate), key=lambda one: (-one[1], one[0]))[:NEIGHBOURS]


@functools.lru_cache(maxsize=4)
def _read(path: Path, changed: int) -> dict[str, Any]:
    try:
        rows = json.loads(path.read_text("utf-8"))["labels"]
        if not all(row["threshold"] in SCORES and len(row["recall"]) == len(SCORES) for row in rows.values()):
            raise ValueError("its scores are others")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StageError(
            f"{path}: this is not the confusion table of a model ({error}); make it anew with train-lid"
        ) from error
    return dict(rows)


def _rows(model: Path) -> dict[str, Any]:
    path = beside(model)
    return _read(path, path.stat().st_mtime_ns) if path.is_file() else {}
