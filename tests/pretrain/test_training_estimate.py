"""What is said of a training beforehand: the arithmetic, the measurement, and (slow) how near a real run comes to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lang_configs.schema import Runtime
from lang_configs.training import Pretrain
from tasks.core.errors import StageError
from tasks.core.stage import Work
from tasks.pretrain import pretrain
from tasks.pretrain.estimate import (
    COMPILE_SECONDS,
    COMPILED_SPEEDUP,
    JOULES_PER_KWH,
    Estimate,
    Speed,
    estimate,
    known_speed,
    measured_speed,
)
from tasks.pretrain.machine.compiling import worth_compiling

SPEED = Speed(
    parameters=1_000_000,
    device="cpu",
    precision="bfloat16",
    full_tokens=4096,
    full_tokens_per_second=1000,
    half_tokens=2048,
    half_tokens_per_second=2000,
    memory_bytes=10**9,
    data_bytes=1000,
    watts=36,
    shared_watts=0,
    energy="estimated from something",
    measured_seconds=5,
    start_seconds=4,
)
ONLY_EPOCHS = {"minutes": None, "half_context": 0.5}
HERE = Runtime(country="KE", price_per_kwh=2, currency="KES", compile=False)


def said(speed: Speed = SPEED, text: int | None = 256_001, runtime: Runtime = HERE, **config: object) -> Estimate:
    return estimate(Pretrain.model_validate(ONLY_EPOCHS | config), speed, text, runtime)


def test_epochs_and_tokens_are_read_at_the_speed_of_their_windows() -> None:
    found = said(epochs=2)
    assert (found.tokens, found.ends_by) == (512_000, "epochs")
    assert found.seconds == 4 + 256_000 / 1000 + 256_000 / 2000
    assert found.tokens_per_second == pytest.approx(512_000 / 384)
    assert said(epochs=2, tokens=100_000).ends_by == "tokens"
    assert said(epochs=2, tokens=100_000).seconds == pytest.approx(4 + 75)


def test_steps_count_their_tokens_and_half_windows_have_half_of_them() -> None:
    found = said(epochs=1e9, steps=10)
    assert found.ends_by == "steps"
    assert found.tokens == 5 * 4096 + 5 * 2048
    assert found.seconds == pytest.approx(4 + 5 * 4.096 + 5 * 1.024)


def test_minutes_and_kwh_end_a_run_by_its_time() -> None:
    found = said(epochs=1e9, minutes=2)
    assert (found.ends_by, found.tokens) == ("minutes", 120 * 1500)
    by_energy = said(epochs=1e9, minutes=2, kwh=36 * 60 / JOULES_PER_KWH)
    assert (by_energy.ends_by, by_energy.tokens) == ("kwh", 60 * 1500)


def test_energy_co2_and_price_follow_the_time() -> None:
    found = said(epochs=1e9, minutes=2)
    assert found.kwh == pytest.approx(36 * 124 / 3.6e6)
    assert found.co2_grams == pytest.approx(found.kwh * 95, abs=1e-4)
    assert (found.cost, found.currency) == (pytest.approx(2 * found.kwh, abs=1e-6), "KES")
    assert found.grid == "Kenya 2025"


@pytest.mark.parametrize("processes", [1, 2, 8])
def test_each_process_has_a_gpu_with_the_speed_and_the_power_of_the_one_that_was_measured(processes: int) -> None:
    gpu = replace(SPEED, device="cuda", watts=400, shared_watts=100)
    runtime = HERE.model_copy(update={"processes": processes})
    watts = 100 + processes * 300
    by_time = said(gpu, runtime=runtime, epochs=1e9, minutes=2)
    assert by_time.tokens == processes * 120 * 1500
    assert by_time.kwh == pytest.approx(watts * 124 / 3.6e6)
    assert by_time.cost == pytest.approx(2 * by_time.kwh, abs=1e-6)
    by_tokens = said(gpu, runtime=runtime, tokens=100_000)
    assert by_tokens.seconds == pytest.approx(4 + 75 / processes)
    by_energy = said(gpu, runtime=runtime, epochs=1e9, kwh=watts * 60 / JOULES_PER_KWH)
    assert by_energy.tokens == processes * 60 * 1500
    assert any(f"{processes} times" in note for note in by_time.notes) == (processes > 1)


def test_processes_on_a_processor_share_what_one_uses_all_of() -> None:
    assert said(minutes=2, runtime=HERE.model_copy(update={"processes": 2})) == said(minutes=2)


def test_compiling_costs_time_gains_speed_and_is_said() -> None:
    compiling = HERE.model_copy(update={"compile": "auto"})  # which a run of so many steps does
    plain, compiled = said(epochs=1e9, steps=10**5), said(epochs=1e9, steps=10**5, runtime=compiling)
    assert said(epochs=1e9, steps=10, runtime=compiling) == said(epochs=1e9, steps=10)
    assert compiled.seconds == pytest.approx(4 + COMPILE_SECONDS + (plain.seconds - 4) / COMPILED_SPEEDUP["cpu"])
    assert "measured without compiling" in compiled.notes[0]


@pytest.mark.parametrize(
    ("budget", "device", "precision", "compiles"),
    [
        ({"minutes": 8}, "cpu", "bfloat16", True),
        ({"minutes": 8}, "cpu", "float32", False),  # the preset starter: its first step would wait for the compiler
        ({"minutes": 1}, "cpu", "bfloat16", False),
        ({"minutes": 60}, "cpu", "float32", True),
        ({"minutes": 8}, "cuda", "float32", True),
        ({"steps": 20_000}, "cpu", "float32", True),  # by the FLOPs of 80 million tokens
        ({"steps": 500}, "cpu", "bfloat16", True),
        ({"steps": 500}, "cpu", "float32", False),
        ({"steps": 20_000, "minutes": 5}, "cpu", "float32", False),
    ],
)
def test_a_run_is_compiled_where_it_is_long_enough_for_its_kind_of_machine(
    budget: dict[str, float], device: str, precision: str, compiles: bool
) -> None:
    config = Pretrain.model_validate({"epochs": 1e9, "minutes": None, "batch_tokens": 4096, **budget})
    size = (5_000_000, 10**9, device, precision)
    assert worth_compiling(config, "auto", *size) == compiles
    assert worth_compiling(config, True, *size)
    assert not worth_compiling(config, False, *size)


def test_without_the_number_of_tokens_the_other_budgets_still_count() -> None:
    found = said(text=None, minutes=1)
    assert found.ends_by == "minutes"
    assert "not known" in found.notes[0]
    with pytest.raises(StageError, match=r"only pretrain\.epochs ends this run"):
        said(text=None)


def test_memory_holds_the_whole_token_file() -> None:
    assert said(text=10**8, minutes=1).memory_bytes == 10**9 + 2 * 10**8 - 1000
    assert said(replace(SPEED, device="cuda"), text=10**8, minutes=1).memory_bytes == 10**9


@pytest.mark.slow
def test_a_measurement_is_made_once_for_a_model_and_trains_like_the_real_thing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("tasks.pretrain.estimate.MEASURE_SECONDS", 0.5)
    monkeypatch.setattr("tasks.pretrain.estimate.LIMIT_SECONDS", 120)  # what is tested is not how busy the machine is
    model = {"layers": 1, "width": 32, "heads": 2, "feed_forward": 64, "context": 32}
    config = Pretrain.model_validate({"model": model, "batch_tokens": 256, "precision": "fp32"})
    assert known_speed(config, 5000, 300) is None
    speed = measured_speed(config, 5000, 300)
    assert speed.precision == "float32"
    # 300 pieces twice, 4 matrices of attention, 3 of the feed-forward, gains; 156 windows make 32 steps of 4
    assert speed.parameters == 2 * 300 * 32 + 4 * 32 * 32 + 3 * 32 * 64 + 3 * 32 + 2 * 16
    assert (speed.full_tokens, speed.half_tokens) == (4 * 32, 2 * 32)
    assert min(speed.full_tokens_per_second, speed.half_tokens_per_second, speed.watts, speed.start_seconds) > 0
    assert known_speed(config.model_copy(update={"steps": 5, "learning_rate": 1.0, "seed": 9}), 5000, 300) == speed
    assert known_speed(config.model_copy(update={"optimizer": "adamw"}), 5000, 300) is None
    assert known_speed(config, 5000, 301) is None


def test_a_machine_too_slow_to_be_measured_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("tasks.pretrain.estimate.LIMIT_SECONDS", 0.01)
    with pytest.raises(StageError, match="too slow here to be measured"):
        measured_speed(Pretrain(), None, 300)


@pytest.mark.slow
def test_a_real_run_uses_what_was_said(
    make_tokens: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prints measured and estimated for each number. What other processes of the machine change is held against no bound:
    so memory, how the run ends, and the energy of a token, which goes by processor time.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("tasks.pretrain.estimate.LIMIT_SECONDS", 120)
    tokens = make_tokens(documents=2000)
    meta = json.loads((tokens / "meta.json").read_text())
    config = Pretrain.model_validate({"model": {"layers": 4, "width": 128, "heads": 2}, "minutes": 0.4})
    speed = measured_speed(config, meta["train_tokens"], meta["vocab_size"])
    expected = estimate(config, speed, meta["train_tokens"], Runtime(compile=False))
    (tmp_path / "out").mkdir()
    metrics = pretrain({"tokens": tokens}, config, tmp_path / "out", Work(runtime=Runtime(compile=False)))
    import pyarrow.parquet as pq

    memory = max(pq.read_table(tmp_path / "out" / "metrics.parquet")["memory_bytes"].to_pylist())
    with capsys.disabled():
        print("\nmeasured/estimated (measured):")
        for name, real, foreseen in (
            ("tokens/s", metrics["tokens_per_second"], expected.tokens_per_second),
            ("tokens", metrics["tokens"], expected.tokens),
            ("seconds of steps", metrics["seconds"], expected.seconds - speed.start_seconds),
            ("memory", memory, expected.memory_bytes),
            ("kWh", metrics["kwh"], expected.kwh),
        ):
            print(f"  {name:<18} {real / foreseen:.2f} ({real:,.6g})")
    assert memory == pytest.approx(expected.memory_bytes, rel=0.25)
    assert (expected.ends_by, metrics["parameters"], metrics["precision"]) == ("minutes", speed.parameters, speed.precision)
    assert expected.seconds - speed.start_seconds == pytest.approx(24)
    assert (
        24 <= metrics["seconds"] < 24 + 3 * speed.full_tokens / min(speed.full_tokens_per_second, metrics["tokens_per_second"])
    )
    if not metrics["energy"].startswith("measured"):
        assert 0.4 < (metrics["kwh"] / metrics["tokens"]) / (expected.kwh / expected.tokens) < 2.5
