"""What the plan says of a training, what is recorded of one, and that the place where it ran changes no fingerprint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.flows.starter import TINY, lugha, query

NO_HURRY = "import tasks.pretrain.estimate; tasks.pretrain.estimate.LIMIT_SECONDS = 280"
"""However busy the machine is."""
MORE_STEPS = [*TINY, "--set", "pretrain.steps=50"]


def training(workspace: Path, *arguments: str) -> tuple[dict[str, Any], str]:
    """The step of the plan that trains, and what was printed beside the plan."""
    result = lugha(workspace, "plan", "swahili", *arguments, "--json", before=NO_HURRY)
    return next(step for step in json.loads(result.stdout) if step["label"] == "pretrain"), result.stderr


@pytest.mark.slow
def test_the_plan_measures_once_and_says_what_the_training_takes(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    step, said = training(built, *MORE_STEPS, "--no-measure")
    assert step["training"] is None
    assert "was not measured" in step["note"]
    assert said == ""
    step, said = training(built, *MORE_STEPS, "--set", "runtime.country=RW", "--set", "runtime.price_per_kwh=0.2")
    assert "measuring how fast this machine trains the model" in said
    found = step["training"]
    assert found is not None, step["note"]
    (meta,) = query(built, "SELECT (metrics->>'train_tokens')::BIGINT AS n FROM stages WHERE stage = 'tokens'")
    assert found["tokens"] <= 4 * meta["n"]
    assert found["ends_by"] == "steps"
    assert found["grid"] == "Rwanda 2021"
    assert found["seconds"] == step["seconds"]
    assert min(found[name] for name in ("tokens_per_second", "memory_bytes", "kwh", "cost")) > 0
    again, said = training(built, *MORE_STEPS, "--no-measure")  # known by now
    assert (again["training"]["tokens_per_second"], said) == (found["tokens_per_second"], "")
    table = lugha(built, "plan", "swahili", *MORE_STEPS).stdout
    assert "tokens per second" in table
    assert "runtime.price_per_kwh is not set" in table


def test_the_country_and_the_price_run_nothing_again(built: Path) -> None:
    place = ["--set", "runtime.country=KE", "--set", "runtime.price_per_kwh=25", "--set", "runtime.currency=KES"]
    steps = json.loads(lugha(built, "plan", "swahili", *TINY, *place, "--no-measure", "--json").stdout)
    assert all(step["done"] for step in steps)


def test_the_energy_of_a_training_is_in_the_ledger_and_on_the_card(built: Path) -> None:
    (row,) = query(built, "SELECT kwh, source, co2_grams, grid, cost FROM footprint")
    assert row["kwh"] > 0
    assert row["source"].startswith(("measured by", "estimated from"))
    (world,) = query(built, "SELECT grams_per_kwh FROM grids WHERE country IS NULL")
    assert row["co2_grams"] == pytest.approx(row["kwh"] * world["grams_per_kwh"])
    assert (row["grid"], row["cost"]) == ("world average", None)
    assert query(built, "SELECT count(*) AS n FROM training WHERE mfu > 0")[0]["n"] > 0
    card = next(built.glob("swahili/release/*/model/README.md")).read_text()
    assert row["source"][:60] in card
    assert f"| CO2 equivalent | {row['co2_grams']:.2f} g at the world average of {world['grams_per_kwh']:.0f} g per kWh" in card
