"""The cards of a small made-up run, once for all tests."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from tasks.cards import cards
from tasks.core.stage import Work
from tests.cards.made_up_run import CONFIG, MASKED_EVALUATION, TRAINING, Run, Settings, add_tasks, build, made_up


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return build(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def written(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cards")
    cards(run.folders, CONFIG, out, Work())
    return out


@pytest.fixture(scope="module")
def masked(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cards of the same run, but its model is masked."""
    other = Run(tmp_path_factory.mktemp("masked"))
    other.outputs = dict(run.outputs)
    rows = [row | {"bits_per_byte": None} for row in TRAINING]
    metrics = pa.Table.from_pylist(rows, pa.Table.from_pylist(TRAINING).schema)
    shape = {"layers": 4, "width": 256, "heads": 2, "feed_forward": None, "context": 256, "tied": True}
    trained = {"family": "modernbert", "objective": "masked", "parameters": 5261312, "steps": 890, "tokens": 3645440}
    other.add("pretrain", made_up(trained, metrics=metrics), Settings(model=shape, seed=1))
    other.add("evaluate", made_up(MASKED_EVALUATION), Settings(masking=0.25))
    add_tasks(other)
    out = tmp_path_factory.mktemp("masked-cards")
    cards(other.folders, CONFIG, out, Work())
    return out
