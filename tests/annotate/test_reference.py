"""The reference: good text, whatever else is there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.annotate.quality import SIGNALS
from tasks.annotate.quality.reference import (
    MOST_ORDERLY,
    RESPECTS,
    SHARE,
    badness,
    references,
    respect_of,
    running,
    worst_of_others,
)
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
    assert chosen.sum() >= 0.9 * SHARE * len(chosen)
    assert chosen[400:].mean() < (0.1 if respect == "usage" else 0.01)


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
    assert all(chosen.sum() >= SHARE * len(values) for name, chosen in references(signals).items() if name != "usage")


@pytest.mark.parametrize("typical", [0.1, 0.4, 1.7])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6])
def test_running_text_is_told_from_words_in_no_order_whatever_its_share(typical: float, share: float) -> None:
    generator = np.random.default_rng(2)
    number = round(1000 * share)
    order = np.append(generator.normal(typical, typical / 6, 1000 - number), generator.normal(0, 0.02, number))
    chosen = running(order)
    assert chosen[: 1000 - number].mean() > 0.97
    assert not share or chosen[1000 - number :].mean() < 0.2


def test_text_of_one_formula_does_not_set_the_bar_for_all_other_text() -> None:
    generator = np.random.default_rng(2)
    order = np.append(generator.normal(4.5, 0.3, 600), generator.normal(0.3, 0.05, 400))
    assert running(order).all()
    assert not running(np.append(order, MOST_ORDERLY / 2))[-1]


def test_nothing_is_running_text_where_order_was_not_measured() -> None:
    assert not running(np.full(5, np.nan)).any()
    assert running(np.zeros(0)).shape == (0,)
