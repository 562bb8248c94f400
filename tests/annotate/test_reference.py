"""The reference: good text, whatever else is there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.annotate.quality import SIGNALS
from tasks.annotate.quality.reference import RESPECTS, SHARE, badness, references, respect_of, worst_of_others
from tasks.select.thresholds import BOUNDS

SIGNED = [name for signals in RESPECTS.values() for name in signals]


def drawn(good: int, bad: dict[str, int], seed: int = 1) -> dict[str, np.ndarray]:
    """Signals of good documents, then of such as are bad in one respect (a number of each)."""
    generator = np.random.default_rng(seed)
    documents = good + sum(bad.values())
    signals = {name[1:]: generator.normal(1, 0.1, documents) for name in SIGNED}
    start = good
    for respect, number in bad.items():
        for name in RESPECTS[respect]:
            signals[name[1:]][start : start + number] += 5 if name[0] == "+" else -5
        start += number
    return signals


def test_every_signal_with_a_threshold_belongs_to_one_respect() -> None:
    assert {respect_of(name[4:]) for name in BOUNDS} == set(RESPECTS)
    assert {("-" if name.startswith("min_") else "+") + name[4:] for name in BOUNDS} == set(SIGNED)
    assert {name[1:] for name in SIGNED} <= set(SIGNALS)


@pytest.mark.parametrize("respect", RESPECTS)
def test_six_tenths_of_junk_of_all_other_kinds_stay_out(respect: str) -> None:
    others = [name for name in RESPECTS if name not in (respect, "words")]  # the mean length of words is bad on both sides
    chosen = references(drawn(400, dict.fromkeys(others, 600 // len(others))))[respect]
    assert chosen.sum() >= SHARE * len(chosen)
    assert chosen[400:].mean() < 0.01


def test_the_respect_in_question_has_no_say() -> None:
    signals = drawn(300, {"repetition": 100})
    changed = {name: values[::-1].copy() if respect_of(name) == "repetition" else values for name, values in signals.items()}
    assert (references(signals)["repetition"] == references(changed)["repetition"]).all()
    assert (references(signals)["usage"] != references(changed)["usage"]).any()


def test_signals_that_were_not_measured_speak_for_nobody() -> None:
    signals = drawn(300, {"capitals": 100})
    unknown = {name: np.full(400, np.nan) if respect_of(name) == "usage" else values for name, values in signals.items()}
    assert (worst_of_others(unknown)["words"] == worst_of_others(signals)["words"]).mean() < 1  # it did speak before
    assert references(unknown)["words"][300:].mean() < 0.05


@given(st.lists(st.floats(0, 1, width=32), max_size=30))
def test_equal_documents_are_equally_bad_and_none_is_worse_than_all(values: list[float]) -> None:
    signals = {name[1:]: np.array(values) for name in SIGNED}
    bad = np.max([badness(signals, respect) for respect in RESPECTS], axis=0)
    assert bad.shape == (len(values),)
    assert ((bad >= 0) & (bad < 1)).all()
    assert all(bad[i] == bad[j] for i in range(len(values)) for j in range(i) if values[i] == values[j])
    assert references(signals)["usage"].sum() >= SHARE * len(values)
