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

ORDERLY = 0.25
"""Of the median word order of running text: what is below it has its words in no order. Shuffled text has 0 in any language."""
MOST_ORDERLY = 0.05
"""Word order (nats) that running text is asked for at most: more is a matter of the kind of text, and one kind must not set it
for all others, as formulas (a thousand villages described by one program) would.
"""
STEPS = 20
"""Most steps to what is running text; it takes three or four."""
SHARE_FOR_USAGE = 0.4
"""The same where words in no order are left out after it: all that is good with 60 % junk."""

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
    """Which documents make the reference for each respect: bool; the least bad SHARE of them, for usage the running text of the
    least bad SHARE_FOR_USAGE.
    """
    bad = worst_of_others(signals)
    found = {respect: _least(bad[respect], SHARE) for respect in bad}
    least = _least(bad["usage"], SHARE_FOR_USAGE)
    found["usage"] = least & running(np.where(least, signals["word_order"], np.nan))
    return found


def running(order: np.ndarray) -> np.ndarray:
    """Which documents have the word order of running text: at least ORDERLY of the median of all these, or
    MOST_ORDERLY; bool.

    What has none lies around 0, so the first step takes those above it: all of the text and half of the rest, and each
    further step leaves out more of the rest (a fixed point as of iterative thresholding, Ridler and Calvard 1978).
    """
    chosen = order > 0
    for _ in range(STEPS):
        before = chosen
        chosen = order >= min(MOST_ORDERLY, ORDERLY * np.median(order[before])) if before.any() else before
        if np.array_equal(chosen, before):
            break
    return np.asarray(chosen, bool)


def _least(bad: np.ndarray, share: float) -> np.ndarray:
    chosen: np.ndarray = bad <= np.quantile(bad, share) if len(bad) else np.zeros(0, bool)
    return chosen


def _signed_rank(signals: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    values = signals[name[1:]]
    return _rank(np.where(np.isnan(values), -np.inf, values if name[0] == "+" else -values))


def _rank(values: np.ndarray) -> np.ndarray:
    """Share of the values that are smaller: equal values are equally good."""
    return np.searchsorted(np.sort(values), values) / max(1, len(values))
