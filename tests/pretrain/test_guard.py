"""Steps that are skipped: gradients that are not finite, losses that jump."""

import math

import pytest

from tasks.core.errors import StageError
from tasks.pretrain.guard import Guard


def calm(steps: int = 100) -> Guard:
    guard = Guard()
    for step in range(steps):
        assert guard.allows(4 - 0.01 * step + 0.1 * math.sin(step), 1.0)
    return guard


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_skipped_from_the_first_step(bad: float) -> None:
    guard = Guard()
    assert not guard.allows(4.0, bad)
    assert not guard.allows(bad, 1.0)
    assert guard.allows(4.0, 1.0)
    assert (guard.not_finite, guard.spikes, guard.in_a_row) == (2, 0, 0)


def test_a_tenfold_loss_is_skipped_and_does_not_count_for_the_next() -> None:
    guard = calm()
    assert not guard.allows(35.0, 1.0)
    assert guard.allows(3.0, 1.0)
    assert not guard.allows(35.0, 1.0)
    assert guard.spikes == 2
    assert max(guard.losses) < 5


def test_no_loss_is_a_spike_before_there_is_something_to_compare_with() -> None:
    assert calm(60).allows(40.0, 1.0)


@pytest.mark.parametrize(("loss", "words"), [(50.0, "loss jumped to 50"), (math.nan, "infinite or NaN")])
def test_three_in_a_row_stop_the_run_with_a_sentence(loss: float, words: str) -> None:
    guard = calm()
    assert not guard.allows(loss, 1.0)
    assert not guard.allows(loss, 1.0)
    with pytest.raises(StageError, match=f"{words}.* 3 steps in a row; lower pretrain.learning_rate"):
        guard.allows(loss, 1.0)


def test_gradients_that_overflow_under_a_loss_scale_stop_nothing() -> None:
    guard = calm()
    for _ in range(10):
        assert not guard.allows(3.0, math.inf, loss_scale=1024)
    assert guard.not_finite == 10
