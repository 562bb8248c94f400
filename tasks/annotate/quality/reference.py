"""Which documents are surely good text, whatever else a corpus holds: a language's usage and thresholds are learned from these.

Six tenths of a crawl may be junk, so no quantile over all documents says anything of good text. But junk of most kinds is bad
in several respects at once (a menu repeats itself, is set in capitals and ends no sentence), where good text is seldom at the
bad end of any. So documents are ranked in each respect by themselves, a document counts as bad as in its worst respect, and
the least bad quarter is the reference. The respect that is to be learned about has no say in it: its own tail must stay
whole. Ranks need no bounds that some language might break.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

SHARE = 0.25
"""Of the documents that make the reference: with 60 % junk a quarter is little more than half of what is good."""

RESPECTS: Mapping[str, tuple[str, ...]] = {
    "words": ("-mean_word_length", "+mean_word_length", "+single_letter_words"),
    "characters": ("-letters", "+digits", "+symbols", "-alpha_words", "+punctuation"),
    "capitals": ("+capital_words",),
    "hashes": ("+hash_words",),
    "ellipses": ("+ellipsis_words",),
    "bullets": ("+bullet_lines",),
    "repetition": (
        "-unique_words", "+top_word", "+duplicate_lines", "+duplicate_line_characters", "+duplicate_paragraphs",
        "+duplicate_paragraph_characters", "+top_2_grams", "+top_3_grams", "+top_4_grams",
        *(f"+duplicate_{n}_grams" for n in range(5, 11)),
    ),
    "usage": ("-function_words", "-word_order"),
}  # fmt: skip
"""Respect -> its signals, with the side that is bad: + where much is, - where little is. Signals of one respect go together."""


def respect_of(signal: str) -> str:
    """The respect that a signal belongs to."""
    return next(respect for respect, signals in RESPECTS.items() if any(name[1:] == signal for name in signals))


def badness(signals: Mapping[str, np.ndarray], respect: str) -> np.ndarray:
    """How bad each document is in one respect: 0 best, below 1; of columns of equal length.

    A signal that was not measured (NaN) speaks for nobody.
    """
    return _rank(np.max([_signed_rank(signals, name) for name in RESPECTS[respect]], axis=0))


def worst_of_others(signals: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """For each respect how bad a document is in the worst of all others: 0 best, below 1."""
    by_respect = {respect: badness(signals, respect) for respect in RESPECTS}
    return {respect: np.max([bad for other, bad in by_respect.items() if other != respect], axis=0) for respect in by_respect}


def references(signals: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Which documents make the reference for each respect: bool, at least SHARE of them."""
    return {respect: _least(bad) for respect, bad in worst_of_others(signals).items()}


def _least(bad: np.ndarray) -> np.ndarray:
    chosen: np.ndarray = bad <= np.quantile(bad, SHARE) if len(bad) else np.zeros(0, bool)
    return chosen


def _signed_rank(signals: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    values = signals[name[1:]]
    return _rank(np.where(np.isnan(values), -np.inf, values if name[0] == "+" else -values))


def _rank(values: np.ndarray) -> np.ndarray:
    """Share of the values that are smaller: equal values are equally good."""
    return np.searchsorted(np.sort(values), values) / max(1, len(values))
