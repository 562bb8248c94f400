"""Energy of a training run in joules: from the counters of GPU and processor where they can be read, else an estimate.

What is counted is the GPU's board and the processor with its memory; not the rest of the machine, losses of its power
supply, or cooling.
"""

from __future__ import annotations

import contextlib
import ctypes
import platform
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from tasks.core.memory import peak_memory
from tasks.pretrain.machine.utilization import this_gpu

JOULES_PER_KWH = 3.6e6
POWERCAP = Path("/sys/class/powercap")
CPUINFO = Path("/proc/cpuinfo")
SIBLINGS = Path("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list")
WATTS_PER_CORE = {"EPYC": 3.75, "Xeon": 6.25, "Ryzen": 13.1}
"""Thermal design power of a busy core by a word of the processor's name: EPYC 9654 (360 W, 96 cores), Xeon Platinum 8480+
(350 W, 56 cores), Ryzen 7 7700X (105 W, 8 cores), as their makers state them."""
WATTS_PER_OTHER_CORE = 12.0
WATTS_PER_GIGABYTE = 0.3725
"""Of memory; both numbers as in Green Algorithms (doi 10.1002/advs.202100707)."""
NVML_SECONDS = 0.25
"""NVML answers in milliseconds, and its counter moves ten times a second: it is not asked more often than this."""


class Counter(Protocol):
    """Joules since it was made."""

    measured: bool
    shared: bool
    """Whether it counts what all processes of the machine do, so that one of them must ask it and no other."""
    description: str
    """How they are known, to be read after `measured by` or `estimated from`."""

    def joules(self) -> float: ...


class Rapl:
    """Processor packages and their memory by the counters of Linux's powercap (Intel's RAPL; AMD has it since Zen).

    They count all that the processor does, for whomever. Raises OSError where there are none, or where only root may read
    them (as everywhere since 2020, for what they give away: `chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj`).
    """

    measured, shared = True, True
    description = "RAPL, the whole processor"

    def __init__(self, root: Path = POWERCAP) -> None:
        zones = [zone for zone in sorted(root.glob("intel-rapl:*")) if _is_counted((zone / "name").read_text().strip())]
        if not zones:
            raise FileNotFoundError(f"{root}: no energy counters")
        self._ranges = {zone: int((zone / "max_energy_range_uj").read_text()) for zone in zones}
        self._last = {zone: _counter(zone) for zone in zones}
        self._total = 0

    def joules(self) -> float:
        for zone, before in self._last.items():
            now = self._last[zone] = _counter(zone)
            self._total += now - before if now >= before else now - before + self._ranges[zone]  # it starts again from 0
        return self._total / 1e6


def _is_counted(name: str) -> bool:
    return name.startswith("package") or name == "dram"  # cores are a part of their package; psys holds all of them


def _counter(zone: Path) -> int:
    return int((zone / "energy_uj").read_text())


class Nvml:
    """The current GPU by the driver's own library, which needs no package; raises OSError where it counts no energy."""

    measured, shared = True, False
    description = "NVML, the GPU"

    def __init__(self, library: Any, uuid: str) -> None:
        self._library, self._device = library, ctypes.c_void_p()
        self._ask(library.nvmlInit_v2)
        self._ask(library.nvmlDeviceGetHandleByUUID, uuid.encode(), ctypes.byref(self._device))
        self._asked = time.monotonic()
        self._first = self._last = self._millijoules()

    def joules(self) -> float:
        if (now := time.monotonic()) - self._asked > NVML_SECONDS:
            self._asked, self._last = now, self._millijoules()
        return (self._last - self._first) / 1e3

    def _millijoules(self) -> int:
        energy = ctypes.c_ulonglong()
        self._ask(self._library.nvmlDeviceGetTotalEnergyConsumption, self._device, ctypes.byref(energy))
        return energy.value

    @staticmethod
    def _ask(function: Callable[..., int], *arguments: Any) -> None:
        if code := function(*arguments):
            raise OSError(f"NVML: error {code}")


class BusyCores:
    """An estimate: the processor time of this process at its share of the thermal design power, and its memory.

    The threads of a core share its power. A virtual machine does not say whether its processors are cores or threads of one.
    """

    measured, shared = False, False

    def __init__(self, processor: str, threads: int = 1, virtual: bool = False) -> None:
        known = next((watts for word, watts in WATTS_PER_CORE.items() if word in re.findall(r"\w+", processor)), None)
        core = known or WATTS_PER_OTHER_CORE
        self._watts = core / threads
        self._begun, self._busy = time.monotonic(), time.process_time()
        words = [processor or "the processor"]
        words += [f"{threads} threads to a core"] * (threads > 1) + ["not in the table: assumed"] * (known is None)
        words += ["each virtual processor assumed to be a whole core"] * (virtual and threads == 1)
        self.description = (
            f"processor time at {core:g} W per core ({', '.join(words)}) and {WATTS_PER_GIGABYTE} W per GB of memory"
        )

    def joules(self) -> float:
        cores = self._watts * (time.process_time() - self._busy)
        return cores + WATTS_PER_GIGABYTE * peak_memory() / 1e9 * (time.monotonic() - self._begun)


class FullPower:
    """An estimate: a GPU that cannot be asked, all the time at its board power, which training comes close to."""

    measured, shared = False, False

    def __init__(self, watts: float) -> None:
        self._watts, self._begun = watts, time.monotonic()
        self.description = f"a GPU at its board power of {watts:g} W"

    def joules(self) -> float:
        return self._watts * (time.monotonic() - self._begun)


class Meter:
    """The counters of a process, from when it was made; what all processes of a machine share is left to the `first` there."""

    def __init__(self, device: str, first: bool = True, counters: list[Counter] | None = None) -> None:
        found = _counters(device) if counters is None else counters
        self.counters = [counter for counter in found if first or not counter.shared]
        uncounted = device == "cuda" and len(found) == 1
        self.description = _description(self.counters) + ("; the GPU is not counted" if uncounted else "")

    def joules(self) -> float:
        """Measured and estimated energy so far."""
        return sum(counter.joules() for counter in self.counters)

    def shared_joules(self) -> float:
        """The part of it that other processes on the machine would not add to."""
        return sum(counter.joules() for counter in self.counters if counter.shared)

    def measured_joules(self) -> float | None:
        """Energy so far as far as it can be measured; None where nothing can."""
        found = [counter.joules() for counter in self.counters if counter.measured]
        return sum(found) if found else None


def watts(after: float | None, before: float | None, seconds: float) -> float | None:
    """Mean power between two readings in joules, None where there are none."""
    return None if after is None or before is None or seconds <= 0 else (after - before) / seconds


def processor_name() -> str:
    """As the processor calls itself, e.g. AMD EPYC 9654 96-Core Processor."""
    with contextlib.suppress(OSError):
        for line in CPUINFO.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _counters(device: str) -> list[Counter]:
    found: list[Counter] = []
    if device == "cuda" and (gpu := _gpu_counter()):
        found.append(gpu)
    try:
        found.append(Rapl())
    except OSError:
        found.append(BusyCores(processor_name(), _threads_per_core(), _is_virtual()))
    return found


def _threads_per_core() -> int:
    try:
        siblings = SIBLINGS.read_text().strip().split(",")
    except OSError:
        return 1
    return sum(int(last or first) - int(first) + 1 for first, _, last in (part.partition("-") for part in siblings))


def _is_virtual() -> bool:
    with contextlib.suppress(OSError):
        return "hypervisor" in CPUINFO.read_text(errors="replace").split()
    return False


def _gpu_counter() -> Counter | None:
    import torch

    try:
        uuid = f"GPU-{torch.cuda.get_device_properties(torch.cuda.current_device()).uuid}"
        return Nvml(ctypes.CDLL("libnvidia-ml.so.1"), uuid)
    except (OSError, AttributeError):  # no such library, no such function, a slice of a GPU, or one older than Volta
        gpu = this_gpu()
        return FullPower(gpu.watts) if gpu else None


def _description(counters: list[Counter]) -> str:
    measured = [counter.description for counter in counters if counter.measured]
    estimated = [counter.description for counter in counters if not counter.measured]
    parts = [f"measured by {' and '.join(measured)}"] * bool(measured)
    return "; ".join(parts + [f"estimated from {' and '.join(estimated)}"] * bool(estimated))
