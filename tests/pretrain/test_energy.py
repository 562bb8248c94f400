"""Energy, CO2 and utilisation: counters as the kernel and the driver show them, and what is said where there are none."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lang_configs.schema import Runtime
from tasks.pretrain import emissions
from tasks.pretrain.batches import Phase
from tasks.pretrain.loop import gradients, update
from tasks.pretrain.machine import device, energy, utilization
from tasks.pretrain.machine.energy import JOULES_PER_KWH, BusyCores, Meter, Nvml, Rapl
from tasks.pretrain.publish import publish
from tests.pretrain.runs import begin, finish, run_here, start

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

    def __init__(self, joules: float, measured: bool = True, shared: bool = False) -> None:
        self.each, self.measured, self.shared, self.total = joules, measured, shared, 0.0
        self.description = "a counter of the test"

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
    monkeypatch.setattr(energy, "SIBLINGS", tmp_path / "siblings")
    meter = Meter("cpu")
    assert meter.description.startswith("estimated from processor time at 3.75 W per core (AMD EPYC 9654")
    assert meter.measured_joules() is None
    before, busy = meter.joules(), time.process_time()
    while time.process_time() - busy < 0.05:
        pass
    assert meter.joules() - before >= 0.05 * 3.75


@pytest.mark.parametrize(
    ("processor", "threads", "virtual", "watts", "words"),
    [
        ("AMD EPYC 9654 96-Core Processor", 1, False, 3.75, "3.75 W per core (AMD EPYC 9654 96-Core Processor) and"),
        (
            "AMD EPYC 9654 96-Core Processor",
            2,
            False,
            1.875,
            "3.75 W per core (AMD EPYC 9654 96-Core Processor, 2 threads",
        ),
        ("AMD EPYC 9654", 1, True, 3.75, "each virtual processor assumed to be a whole core"),
        ("Loongson", 1, False, 12, "12 W per core (Loongson, not in the table: assumed)"),
        ("Intel(R) Xeon(R) Platinum 8480+", 2, True, 3.125, "6.25 W per core"),
        ("", 1, True, 12, "the processor, not in the table: assumed, each virtual processor assumed to be a whole core"),
    ],
)
def test_processor_time_is_charged_a_share_of_a_core_and_what_is_assumed_is_said(
    monkeypatch: pytest.MonkeyPatch, processor: str, threads: int, virtual: bool, watts: float, words: str
) -> None:
    busy = iter([3.0, 13.0])
    clock = SimpleNamespace(process_time=lambda: next(busy), monotonic=lambda: 7.0)  # ten seconds of work in no time
    monkeypatch.setattr(energy, "time", clock)
    counter = BusyCores(processor, threads, virtual)
    assert counter.joules() == pytest.approx(10 * watts)
    assert words in counter.description
    assert ("assumed" in counter.description) == ("assumed" in words)


@pytest.mark.parametrize(("siblings", "threads"), [("0\n", 1), ("0-1\n", 2), ("0,32\n", 2), ("0-3\n", 4), ("0,4,8,12\n", 4)])
def test_the_threads_of_a_core_are_those_that_the_kernel_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, siblings: str, threads: int
) -> None:
    (tmp_path / "siblings").write_text(siblings)
    monkeypatch.setattr(energy, "SIBLINGS", tmp_path / "siblings")
    monkeypatch.setattr(energy, "Rapl", lambda: Rapl(tmp_path))
    said = Meter("cpu").description
    assert (f"{threads} threads to a core" in said) == (threads > 1)


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
    meter = Meter("cuda", counters=[Counter(2), Counter(3, measured=False)])
    assert meter.joules() == 5
    assert meter.measured_joules() == 4
    assert meter.description == "measured by a counter of the test; estimated from a counter of the test"
    assert Meter("cuda", counters=[Counter(1)]).description.endswith("the GPU is not counted")


def test_a_budget_in_kwh_ends_a_run_and_the_rows_hold_watts_and_mfu(
    make_tokens: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "Meter", lambda name, first: Meter(name, first, [Counter(1.0)]))
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


@pytest.mark.slow
@pytest.mark.parametrize("rapl", [True, False])
def test_the_energy_of_all_processes_counts_and_the_processor_once(
    make_tokens: Callable[..., Path], tmp_path: Path, rapl: bool
) -> None:
    """Two processes, whose GPUs stand at 10 and 20 joules; RAPL stands at 1,000, the estimates of the processor at 1 and 2."""
    budget = {"steps": None, "epochs": 1e9, "kwh": (1025 if rapl else 32) / JOULES_PER_KWH}
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    process = start(make_tokens(), tmp_path, budget, launcher, "tests.pretrain.metered", ("--rapl",) * rapl)
    metrics = finish(process)
    assert metrics["processes"] == 2
    assert metrics["kwh"] * JOULES_PER_KWH == pytest.approx(1030 if rapl else 33, rel=1e-3)
    assert metrics["steps"] == 1  # none of the two alone has used the budget up
    assert metrics["energy"].endswith("the sum of 2 processes")


def test_a_budget_in_tokens_ends_a_run_and_estimated_watts_are_null(
    make_tokens: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "Meter", lambda name, first: Meter(name, first, [Counter(1.0, measured=False)]))
    run = run_here(make_tokens(), tmp_path, EVERY_STEP | {"tokens": 10_000})
    assert 10_000 <= run.state.windows * 32 < 10_000 + 256
    assert {row["watts"] for row in run.state.rows} == {None}


SIZES = {"layers": 3, "width": 64, "heads": 4, "feed_forward": 96, "context": 48}
WHOLE = Phase(1.0, micro_batch=2, accumulation=1)
COUNTED = [
    *((family, {}, WHOLE) for family in ("qwen3", "llama", "nanochat", "gpt2", "bert", "modernbert")),
    ("qwen3", {"key_value_heads": 2, "tied": True}, WHOLE),
    ("qwen3", {}, replace(WHOLE, half=True)),
    ("qwen3", {}, replace(WHOLE, half=True, scored=192)),
    ("llama", {"hybrid": 0.5}, WHOLE),
    ("qwen3", {"hybrid": 0.5, "masking": 0.4}, replace(WHOLE, half=True, scored=192)),
    ("bert", {"narrow_layers": 2}, replace(WHOLE, narrow=True)),
    ("modernbert", {"narrow_layers": 1, "masking": 0.15}, replace(WHOLE, half=True, narrow=True)),
    ("modernbert", {"narrow_layers": 2}, WHOLE),
    ("modernbert", {"isolate_documents": True}, WHOLE),
]


@pytest.mark.parametrize(("family", "changes", "phase"), COUNTED)
def test_flops_of_a_step_are_those_that_torch_counts(
    make_tokens: Callable[..., Path], tmp_path: Path, family: str, changes: dict[str, Any], phase: Phase
) -> None:
    """The matrix products of a step, each counted by torch as it is computed."""
    shape = {name: value for name, value in changes.items() if name in ("key_value_heads", "tied")}
    settings = {name: value for name, value in changes.items() if name not in shape}
    config = {"model": {**SIZES, **shape, "family": family}, "steps": 1, "half_context": 0.0, **settings}
    run = begin(make_tokens(documents=200), tmp_path, config)
    run.state.step = 1  # where hybrid training masks
    with FlopCounterMode(display=False) as counter:
        loss, norm = gradients(run, phase)
    update(run, phase, loss, norm, 1.0)
    assert run.state.flops == pytest.approx(counter.get_total_flops(), rel=0.005)


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
        ("NVIDIA GeForce RTX 3090", 71),
        ("NVIDIA A100 80GB PCIe", 312),
        ("NVIDIA RTX A6000", 155),
        ("Tesla V100-PCIE-16GB", 125),
        ("NVIDIA GeForce RTX 3090 Ti", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA GeForce RTX 4090 D", None),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None),
        ("GRID T4-16Q", None),
        ("NVIDIA L40", None),
        ("NVIDIA H200 NVL", None),
        ("Quadro T400", None),
        ("NVIDIA", None),
        ("Some other GPU", None),
    ],
)
def test_a_gpu_is_known_by_the_whole_of_its_name(name: str, teraflops: float | None) -> None:
    gpu = utilization.find_gpu(name)
    assert (gpu and gpu.flops) == (teraflops and teraflops * 1e12)


def test_the_pcie_board_of_a_gpu_is_its_own_entry_where_it_differs() -> None:
    boards = [utilization.find_gpu(f"NVIDIA A100{rest}") for rest in ("-SXM4-80GB", "-PCIE-40GB", " 80GB PCIe")]
    assert [board and board.watts for board in boards] == [400, 300, 300]


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
