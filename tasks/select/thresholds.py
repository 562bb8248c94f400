"""Thresholds on the quality signals that the config leaves open: measured from the language's own text, within bounds.

FineWeb-2 (Penedo et al. 2025, arXiv 2506.20920) takes them from the distribution of each signal in clean text of the language.
Here it is the distribution in a reference that junk hardly gets into (`tasks.annotate.quality.reference`), of which only the
middle and the good side are looked at: the tail on the bad side is where what junk got in lies. The threshold is held between
two bounds: beyond `loose` no corpus can move it, and one without junk does not move it past `tight`, so that good text is
not cut off. `docs/benchmarks.md` says what that does to real text with up to 60 % junk.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lang_configs.schema import Quality
from tasks.annotate.quality.reference import RESPECTS, references, respect_of
from tasks.annotate.quality.usage import LEAST_SCORE
from tasks.core.characters import SOUTHEAST_SCRIPTS, UNSPACED_SCRIPTS

BEST, REACH = 0.1, 3.0
"""A measured threshold is REACH times as far from the median of the reference as its best tenth begins, on the other side: 3.8
standard deviations if it is normal. Measured on square roots, which take the skew out of shares and counts (Bartlett 1936,
Supplement to the Journal of the Royal Statistical Society 3:1). Set on Xhosa, Lingala, Kinyarwanda and Tswana, as is USAGE."""
FROM_ONE = ("min_letters", "min_alpha_words", "min_unique_words")
"""Shares that are near 1 in good text: what counts is how much is missing."""
LEAST_TRUSTED = 100
"""From so many documents of the sources that the user vouches for on, nothing else is measured."""
LEAST_DOCUMENTS = 20
"""From so many reference documents on they are measured; with fewer the loose bound holds."""
MOST_DOCUMENTS = 100_000
"""Documents that are read, those with the least ids: ids are hashes, so this is a random sample, and always the same."""
USAGE = {"min_function_words": (0.25, 0.27), "min_word_order": (0.1, 0.5)}
"""A quantile of the reference and the share of it that the threshold is: how many words are frequent ones and how much words
tell of each other is another thing in each language, and in each kind of text. No median: the reference may hold texts of one
formula, which have many times as much as others."""

BOUNDS: dict[str, tuple[float, float]] = {
    "min_mean_word_length": (1.5, 2.5),
    "max_mean_word_length": (20.0, 8.0),
    "min_letters": (0.6, 0.75),
    "max_digits": (0.3, 0.2),
    "max_symbols": (0.15, 0.1),
    "min_alpha_words": (0.6, 0.8),
    "max_capital_words": (0.95, 0.75),
    "max_single_letter_words": (0.5, 0.25),
    "max_punctuation": (1.2, 0.9),
    "max_hash_words": (0.2, 0.1),
    "max_ellipsis_words": (0.2, 0.1),
    "min_unique_words": (0.1, 0.2),
    "max_top_word": (0.35, 0.25),
    "max_bullet_lines": (0.95, 0.9),
    "max_duplicate_lines": (0.5, 0.3),
    "max_duplicate_line_characters": (0.5, 0.3),
    "max_duplicate_paragraphs": (0.5, 0.3),
    "max_duplicate_paragraph_characters": (0.5, 0.3),
    "max_top_2_grams": (0.4, 0.25),
    "max_top_3_grams": (0.3, 0.22),
    "max_top_4_grams": (0.25, 0.2),
    "max_duplicate_5_grams": (0.3, 0.225),
    "max_duplicate_6_grams": (0.28, 0.21),
    "max_duplicate_7_grams": (0.26, 0.195),
    "max_duplicate_8_grams": (0.24, 0.18),
    "max_duplicate_9_grams": (0.22, 0.165),
    "max_duplicate_10_grams": (0.2, 0.15),
    "min_function_words": (0.02, 0.12),
    "min_word_order": (0.02, 0.4),
}
"""Threshold -> (loose, tight). The tight ones are those of Gopher (Rae et al. 2021, A1.1) where good text passes them; the
others were set by reading what they drop of Swahili, Hausa, Yoruba and Amharic news, stories, verse, speeches and tweets, those
on duplicate n-grams and paragraphs of Kinyarwanda too, that on single letters of Tswana, which writes verbs in many words."""

UNSPACED_BOUNDS = {"min_mean_word_length": (1.0, 1.5)}
"""The same for scripts that set off no words by spaces: how long a word is was decided where it was cut."""
SOUTHEAST_BOUNDS = {"min_word_order": (0.2, 0.3)}
"""The same for those of South-East Asia: where letters are cut into words, letters of one word stand in two, and tell of each
other. Set on Khmer and Thai, with what was learned from other paragraphs: text has .41 and more, shuffled words .10 (95 %)."""


class Threshold(NamedTuple):
    """A threshold in force: `how` it was found (config, measured, tight, loose, too little text), what was measured before the
    bounds, from the `middle` of the reference (its median, or what USAGE says) and its `documents`; None if nothing
    was; and the two bounds.
    """

    name: str
    value: float
    how: str
    measured: float | None = None
    middle: float | None = None
    documents: int | None = None
    loose: float | None = None
    tight: float | None = None


def resolve(database: Any, config: Quality, label: str, trusted: Sequence[str] = ()) -> list[Threshold]:
    """All thresholds in the order of the config; `database` has documents, `language`, `quality` and `duplicates`.

    Measured on documents with this label and a score of at least LEAST_SCORE, long enough, and no exact copies: on those of
    the sources `trusted` if there are enough of them.
    """
    stated = config.model_dump()
    words = (stated["min_words"], stated["max_words"])
    signals = _signals(database, label, words, trusted or None)
    if trusted and len(signals["words"]) < LEAST_TRUSTED:
        signals = _signals(database, label, words)
    bounds, chosen = _bounds(label.rpartition("_")[2]), references(signals)
    found = []
    for name, value in stated.items():
        if value is not None:
            found.append(Threshold(name, value, "config"))
            continue
        values = signals[name[4:]][chosen[respect_of(name[4:])]]
        found.append(_within(name, bounds[name], values[~np.isnan(values)]))
    return found


def _bounds(script: str) -> dict[str, tuple[float, float]]:
    """Threshold -> (loose, tight) for a script (ISO 15924)."""
    found = BOUNDS | (UNSPACED_BOUNDS if script in UNSPACED_SCRIPTS else {})
    return found | (SOUTHEAST_BOUNDS if script in SOUTHEAST_SCRIPTS else {})


def _signals(
    database: Any, label: str, words: tuple[float, float], sources: Sequence[str] | None = None
) -> dict[str, np.ndarray]:
    """The signals of what is surely in the language, by name: float[documents], NaN where one was not measured."""
    names = ["words", *dict.fromkeys(name[1:] for signals in RESPECTS.values() for name in signals)]
    values: dict[str, Any] = {"label": label, "score": LEAST_SCORE, "least": words[0], "most": words[1]}
    values |= {"documents": MOST_DOCUMENTS} | ({} if sources is None else {"sources": list(sources)})
    columns = database.execute(
        f"SELECT {', '.join(names)} FROM quality JOIN language l USING (id) JOIN duplicates u USING (id)"
        + ("" if sources is None else " JOIN documents d USING (id)")
        + " WHERE l.label = $label AND l.score >= $score AND words BETWEEN $least AND $most AND u.kind IS DISTINCT FROM 'exact'"
        + ("" if sources is None else " AND list_contains($sources, d.source)")
        + " ORDER BY id LIMIT $documents",
        values,
    ).fetchnumpy()
    return {name: np.ma.filled(columns[name].astype(np.float64), np.nan) for name in names}


def _within(name: str, bounds: tuple[float, float], values: np.ndarray) -> Threshold:
    loose, tight = bounds
    if len(values) < LEAST_DOCUMENTS:
        return Threshold(name, loose, "too little text", None, None, len(values), loose, tight)
    middle = float(np.quantile(values, USAGE.get(name, (0.5, 1.0))[0]))
    best = float(np.quantile(values, BEST if name.startswith("max_") else 1 - BEST))
    measured = USAGE[name][1] * middle if name in USAGE else _as_far(name, middle, best)
    value = min(max(measured, min(loose, tight)), max(loose, tight))
    how = "tight" if value == tight else "loose" if value == loose else "measured"
    return Threshold(name, round(value, 4), how, round(measured, 4), round(middle, 4), len(values), loose, tight)


def _as_far(name: str, median: float, best: float) -> float:
    """REACH times as far from the median as the best tenth begins, on the other side."""
    middle, end = (math.sqrt(max(0.0, 1 - value if name in FROM_ONE else value)) for value in (median, best))
    measured = max(0.0, middle + REACH * (middle - end)) ** 2
    return 1 - measured if name in FROM_ONE else measured
