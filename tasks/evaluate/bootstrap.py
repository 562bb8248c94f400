"""95 % confidence intervals: the percentile bootstrap over documents, paired where two systems read the same ones.

Efron and Tibshirani (1993, An Introduction to the Bootstrap, chapter 13); paired as in Koehn (2004, aclanthology.org/W04-3250).
What is measured here is always a function of sums over documents: of bits and bytes, or of true positives and predictions. So
a resample is the sums over documents drawn with replacement, as many as there are, and every metric is computed from those.
A document is drawn whole: its paragraphs have one author and one topic, and are no independent observations.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SEED = 1

PERCENTILES = (2.5, 97.5)


def describe(resamples: int) -> str:
    """How the intervals came about, for the details of an evaluation."""
    return f"95 % bootstrap over documents, {resamples} resamples"


def by_document(statistics: np.ndarray, documents: Sequence[str]) -> np.ndarray:
    """Statistics of items `[items, k]`, summed over the items of each document: `[documents, k]`, in order of appearance."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(documents))}
    sums = np.zeros((len(numbers), statistics.shape[1]))
    np.add.at(sums, [numbers[name] for name in documents], statistics)
    return sums


def resample(statistics: np.ndarray, resamples: int) -> np.ndarray:
    """Sums `[resamples, k]` of the statistics `[documents, k]` over documents drawn with replacement.

    The draws depend on nothing but the number of documents: sums of two systems that read the same documents, in the same
    order, are paired row by row.
    """
    generator, count = np.random.default_rng(SEED), len(statistics)
    drawn = (np.bincount(generator.integers(0, count, count), minlength=count) for _ in range(resamples))
    return np.stack([weights @ statistics for weights in drawn])


def average_runs(values: np.ndarray) -> np.ndarray:
    """The mean over runs of a system (its seeds) in each resample, `[runs, resamples]` -> `[resamples]`.

    The runs are drawn with replacement as well, so that the interval holds both what documents and what seeds make uncertain.
    """
    runs, resamples = values.shape
    if runs == 1:
        return values[0]
    drawn = np.random.default_rng([SEED, runs]).integers(0, runs, (runs, resamples))
    averages: np.ndarray = np.take_along_axis(values, drawn, 0).mean(0)
    return averages


def interval(values: np.ndarray) -> tuple[float, float]:
    """The 95 % percentile interval of a metric in the resamples; those in which it has no value (NaN) do not count."""
    low, high = np.nanpercentile(values, PERCENTILES)
    return float(low), float(high)
