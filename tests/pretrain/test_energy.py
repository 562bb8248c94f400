"""Energy, CO2 and utilisation: counters as the kernel and the driver show them, and what is said where there are none."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from lang_configs.schema import Runtime
from lang_configs.training import Model
from tasks.pretrain import emissions
from tasks.pretrain.machine import device, energy, utilization
from tasks.pretrain.machine.energy import JOULES_PER_KWH, BusyCores, Meter, Nvml, Rapl
from tasks.pretrain.models import build, shape_of
from tasks.pretrain.publish import publish
from tests.pretrain.runs import begin, run_here

EVERY_STEP = {"epochs": 1e9, "log_steps": 1, "checkpoint_steps": None}


def zone(root: Path, number: str, name: str, microjoules: int, largest: int = 1_000_000) -> Path:
    folder = root / f"intel-rapl:{number}"
    folder.mkdir()
    (folder / "name").write_text(f"{name}\n")
    (folder / "max_energy_range_uj").write_text(f"{largest}\n")
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    return folder


class Counter:
    """So many joules more at every reading."""

    def __init__(self, joules: float, measured: bool = True) -> None:
        self.each, self.measured, self.description, self.total = joules, measured, "a counter of the test", 0.0

    def joules(self) -> float:
        self.total += self.each
        return self.total


class Driver:
    """The functions of NVML that are used, over a GPU whose counter the test turns."""

    def __init__(self, millijoules: int | None) -> None:
        self.millijoules = millijoules

    def nvmlInit_v2(self) -> int:  # noqa: N802
        return 0

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes, device: Any) -> int:  # noqa: N802
        return 0 if uuid == b"GPU-1234" else 6

    def nvmlDeviceGetTotalEnergyConsumption(self, device: Any, energy: Any) -> int:  # noqa: N802
        if self.millijoules is None:
            return 3  # not supported
        ctypes.cast(energy, ctypes.POINTER(ctypes.c_ulonglong))[0] = self.millijoules
        return 0


def test_rapl_adds_up_packages_and_memory_and_starts_again_at_zero(tmp_path: Path) -> None:
    package, memory = zone(tmp_path, "0", "package-0", 400_000), zone(tmp_path, "0:1", "dram", 10_000)
    core, whole = zone(tmp_path, "0:0", "core", 0), zone(tmp_path, "1", "psys", 0)
    counter = Rapl(tmp_path)
    (package / "energy_uj").write_text("900000")
    (memory / "energy_uj").write_text("110000")
    for counted_elsewhere in (core, whole):
        (counted_elsewhere / "energy_uj").write_text("777777")
    assert counter.joules() == pytest.approx(0.6)
    (package / "energy_uj").write_text("100000")  # past the end of its range of one joule
    assert counter.joules() == pytest.approx(0.8)


def test_a_processor_without_counters_is_estimated_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "Rapl", lambda: Rapl(tmp_path))
    (tmp_path / "cpuinfo").write_text("processor : 0\nmodel name\t: AMD EPYC 9654 96-Core Processor\n")
    monkeypatch.setattr(energy, "CPUINFO", tmp_path / "cpuinfo")
    meter = Meter("cpu")
    assert meter.description.startswith("estimated from processor time at 3.75 W per core (AMD EPYC 9654")
    assert meter.measured_joules() is None
    before, busy = meter.joules(), time.process_time()
    while time.process_time() - busy < 0.05:
        pass
    assert meter.joules() - before >= 0.05 * 3.75
    assert "12 W per core (Loongson, not in the table)" in BusyCores("Loongson").description


def test_the_gpu_is_asked_of_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "NVML_SECONDS", -1)
    driver = Driver(5_000)
    counter = Nvml(driver, "GPU-1234")
    driver.millijoules = 12_500
    assert counter.joules() == 7.5
    with pytest.raises(OSError, match="NVML: error 3"):
        Nvml(Driver(None), "GPU-1234")
    with pytest.raises(OSError, match="NVML: error 6"):
        Nvml(driver, "MIG-1234")


def test_measured_and_estimated_parts_add_up_and_both_are_named() -> None:
    meter = Meter("cuda", [Counter(2), Counter(3, measured=False)])
    assert meter.joules() == 5
    assert meter.measured_joules() == 4
    assert meter.description == "measured by a counter of the test; estimated from a counter of the test"
    assert Meter("cuda", [Counter(1)]).description.endswith("the GPU is not counted")


def test_a_budget_in_kwh_ends_a_run_and_the_rows_hold_watts_and_mfu(
    make_tokens: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "Meter", lambda name: Meter(name, [Counter(1.0)]))
    config = EVERY_STEP | {"kwh": 30.5 / JOULES_PER_KWH}
    run = run_here(make_tokens(), tmp_path, config)
    assert 30.5 <= run.state.joules < 33
    assert 5 < run.state.step < 31
    metrics = publish(run)
    assert metrics["kwh"] == pytest.approx(run.state.joules / JOULES_PER_KWH, abs=1e-9)
    assert metrics["energy"] == "measured by a counter of the test"
    rows = pq.read_table(tmp_path / "metrics.parquet").to_pylist()
    assert all(row["watts"] > 0 and row["mfu"] > 0 for row in rows)
    again = begin(make_tokens(name="same"), tmp_path, config)
    assert again.budget.used() == 1  # what an earlier part of the run has used counts


def test_a_budget_in_tokens_ends_a_run_and_estimated_watts_are_null(
    make_tokens: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "Meter", lambda name: Meter(name, [Counter(1.0, measured=False)]))
    run = run_here(make_tokens(), tmp_path, EVERY_STEP | {"tokens": 10_000})
    assert 10_000 <= run.state.windows * 32 < 10_000 + 256
    assert {row["watts"] for row in run.state.rows} == {None}


def test_flops_of_a_token_are_those_of_the_matrices() -> None:
    shape = shape_of(Model(layers=3, width=64, heads=2, feed_forward=128, context=32), 500)
    model = build(shape)
    matrices = sum(weight.numel() for weight in model.parameters() if weight.ndim == 2)
    all_of_them = sum(weight.numel() for weight in model.parameters())
    attention = 12 * shape.layers * shape.width * 32  # scores and mixing: 2 x 2 d T forward, twice that backward
    assert utilization.flops_per_token(all_of_them, shape.layers, shape.width, 32) == pytest.approx(
        6 * matrices + attention, rel=0.01
    )


@pytest.mark.parametrize(
    ("name", "teraflops"),
    [
        ("NVIDIA H200", 989),
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A10G", 70),
        ("NVIDIA L4", 121),
        ("NVIDIA L40S", 362),
        ("Tesla T4", 65),
        ("NVIDIA GeForce RTX 4090", 165),
    ],
)
def test_gpus_are_known_by_their_names(name: str, teraflops: float) -> None:
    gpu = utilization.find_gpu(name)
    assert gpu is not None
    assert gpu.flops == teraflops * 1e12
    assert utilization.find_gpu("Some other GPU") is None


def test_a_processor_is_measured_once() -> None:
    peak = utilization.peak_flops("cpu", torch.float32)
    assert peak is not None and peak > 1e8
    assert utilization.peak_flops("cpu", torch.float32) == peak


def test_co2_and_price_are_those_of_the_place() -> None:
    kenya = emissions.footprint(2.0, Runtime(country="KE", price_per_kwh=30, currency="KES"))
    assert (kenya["co2_grams"], kenya["cost"], kenya["currency"]) == (190, 60, "KES")
    assert kenya["grid"] == "Kenya 2025"
    nowhere = emissions.footprint(2.0, Runtime())
    assert (nowhere["co2_grams"], nowhere["cost"], nowhere["currency"]) == (962, None, None)
    assert nowhere["grid"] == "world average 2023; runtime.country is not set"
    assert emissions.grid("XX")[1] == "world average 2023; no figure for XX"
    assert emissions.grid("EU")[1].endswith("not verified")
