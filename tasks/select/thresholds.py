"""Thresholds on the quality signals that the config leaves open: measured from the language's own text, within bounds.

FineWeb-2 (Penedo et al. 2025, arXiv 2506.20920) takes them from the distribution of each signal in clean text of the language.
Here that is a quantile over the documents that are surely in it, held between two bounds: beyond `loose` even a corpus full
of junk cannot move a threshold, and a corpus without any does not move it past `tight`, so that good text is not cut off.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from lang_configs.schema import Quality
from tasks.annotate.quality.usage import LEAST_SCORE
from tasks.core.characters import UNSPACED_SCRIPTS

TAIL = 0.005
"""Share of the reference documents on the bad side of each measured threshold."""
LEAST_DOCUMENTS = 500
"""From so many reference documents on a quantile is used; with fewer the loose bound holds."""
COMMON = {"max_single_letter_words": (0.9, 2.0)}
"""Junk that can be more than the tail: one large collection has 4 % of letter-spaced text. Twice what this quantile is."""

BOUNDS: dict[str, tuple[float, float]] = {
    "min_mean_word_length": (1.5, 2.5),
    "max_mean_word_length": (20.0, 8.0),
    "min_letters": (0.6, 0.75),
    "max_digits": (0.3, 0.2),
    "max_symbols": (0.15, 0.1),
    "min_alpha_words": (0.6, 0.8),
    "max_capital_words": (0.95, 0.75),
    "max_single_letter_words": (0.5, 0.07),
    "max_punctuation": (1.2, 0.9),
    "max_hash_words": (0.2, 0.1),
    "max_ellipsis_words": (0.2, 0.1),
    "min_unique_words": (0.1, 0.2),
    "max_top_word": (0.35, 0.25),
    "max_bullet_lines": (0.95, 0.9),
    "max_duplicate_lines": (0.5, 0.3),
    "max_duplicate_line_characters": (0.5, 0.3),
    "max_duplicate_paragraphs": (0.5, 0.3),
    "max_duplicate_paragraph_characters": (0.5, 0.2),
    "max_top_2_grams": (0.4, 0.25),
    "max_top_3_grams": (0.3, 0.22),
    "max_top_4_grams": (0.25, 0.2),
    "max_duplicate_5_grams": (0.3, 0.15),
    "max_duplicate_6_grams": (0.28, 0.14),
    "max_duplicate_7_grams": (0.26, 0.13),
    "max_duplicate_8_grams": (0.24, 0.12),
    "max_duplicate_9_grams": (0.22, 0.11),
    "max_duplicate_10_grams": (0.2, 0.1),
    "min_function_words": (0.02, 0.12),
    "min_word_order": (-0.05, 0.0),
}
"""Threshold -> (loose, tight). The tight ones are those of Gopher (Rae et al. 2021, A1.1) where good text passes them; the
others were set by reading what they drop of Swahili, Hausa, Yoruba and Amharic news, stories, verse, speeches and tweets."""

WITHOUT_SPACES = {"max_mean_word_length": (1000.0, 200.0)}
"""The same for scripts that set off no words by spaces: what stands between two spaces there is a clause or a paragraph."""


class Threshold(NamedTuple):
    """A threshold in force: `how` it was found (config, measured, tight, loose, too little text), the quantile that was
    measured (`quantile`, of `documents` documents; None if nothing was) and the two bounds.
    """

    name: str
    value: float
    how: str
    measured: float | None = None
    quantile: float | None = None
    documents: int | None = None
    loose: float | None = None
    tight: float | None = None


def resolve(database: Any, config: Quality, label: str) -> list[Threshold]:
    """All thresholds in the order of the config; `database` has the annotations `language`, `quality` and `duplicates`.

    Measured on documents with this label and a score of at least LEAST_SCORE, long enough, and no exact copies.
    """
    stated = config.model_dump()
    open_ones = [name for name, value in stated.items() if value is None]
    tails = {name: (TAIL if name.startswith("min_") else 1 - TAIL, 1.0) for name in open_ones}
    tails |= {name: common for name, common in COMMON.items() if name in tails}
    quantiles = {name: quantile for name, (quantile, _) in tails.items()}
    columns = "".join(f", {times} * quantile_cont({name[4:]}, {quantile})" for name, (quantile, times) in tails.items())
    (counted,) = database.execute(
        f"SELECT count(*){columns} FROM quality JOIN language l USING (id) JOIN duplicates u USING (id)"
        " WHERE l.label = $label AND l.score >= $score AND words BETWEEN $least AND $most AND u.kind IS DISTINCT FROM 'exact'",
        {"label": label, "score": LEAST_SCORE, "least": stated["min_words"], "most": stated["max_words"]},
    ).fetchall()
    bounds = BOUNDS | (WITHOUT_SPACES if label.rpartition("_")[2] in UNSPACED_SCRIPTS else {})
    documents, found = counted[0], dict(zip(open_ones, counted[1:], strict=True))
    return [
        Threshold(name, value, "config")
        if value is not None
        else _within(name, bounds[name], documents, found[name], quantiles[name])
        for name, value in stated.items()
    ]


def _within(name: str, bounds: tuple[float, float], documents: int, measured: float | None, quantile: float) -> Threshold:
    loose, tight = bounds
    if measured is None or documents < LEAST_DOCUMENTS:
        return Threshold(name, loose, "too little text", None, None, documents, loose, tight)
    value = min(max(measured, min(loose, tight)), max(loose, tight))
    how = "tight" if value == tight else "loose" if value == loose else "measured"
    return Threshold(name, round(value, 4), how, round(measured, 4), quantile, documents, loose, tight)
