"""Which of the documents that a user vouches for are in one language: the many that are alike.

Vouched text may itself hold other languages and no language at all, up to a third of it. Documents are compared by the words
and character n-grams of as many words of each; the half that is most like the mean of that half is found by concentration
steps (Rousseeuw and Van Driessen 1999, Technometrics 41:3), likeness being the Bhattacharyya coefficient.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from tasks.annotate.language.own.linear import Vocabulary, Windows

STEPS = 10
FAR = 5.0
"""Median absolute deviations from the median likeness: a document that is less like the core is none of its kind."""


def core(vocabulary: Vocabulary, documents: Windows, suspects: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which documents (a window of words each) are the core, and how many deviations each is from it.

    The core is the half of those that are not `suspects` (bool).
    """
    chosen = ~suspects
    for _ in range(STEPS):
        likeness = _likeness(documents.words, documents.ends, vocabulary.starts, vocabulary.features, chosen)
        closest = ~suspects & (likeness >= np.median(likeness[~suspects]))
        if (closest == chosen).all():
            break
        chosen = closest
    inside = likeness[~suspects]
    middle = np.median(inside)
    return chosen, (middle - likeness) / max(1e-9, float(np.median(np.abs(inside - middle))))


@numba.njit(cache=True, nogil=True)
def _likeness(words: Any, ends: Any, starts: Any, features: Any, chosen: Any) -> Any:
    """Of each document to the mean of the chosen ones but for itself, 0 to 1."""
    size = features.max() + 1
    mean, own = np.zeros(size), np.zeros(size)
    out = np.empty(len(ends))
    for turn in range(2):
        begin = 0
        for document in range(len(ends)):
            number = 0
            for at in range(begin, ends[document]):
                word = words[at]
                for place in range(starts[word], starts[word + 1]):
                    own[features[place]] += 1
                    number += 1
            total, others = 0.0, max(1, chosen.sum() - chosen[document])
            for at in range(begin, ends[document]):
                word = words[at]
                for place in range(starts[word], starts[word + 1]):
                    feature = features[place]
                    if own[feature] == 0:
                        continue
                    share = own[feature] / number
                    own[feature] = 0
                    if turn == 0 and chosen[document]:
                        mean[feature] += share
                    elif turn == 1:
                        rest = mean[feature] - (share if chosen[document] else 0.0)
                        total += np.sqrt(share * max(0.0, rest) / others)
            out[document] = total
            begin = ends[document]
    return out
