"""Where a model is trained and in which number format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lang_configs.training import Precision
from tasks.core.errors import StageError
from tasks.pretrain.machine.energy import Meter
from tasks.pretrain.machine.parallel import Ranks
from tasks.pretrain.machine.utilization import peak_flops

GPU_ONLY = {
    "fp16": "a CPU multiplies fp16 20 to 400 times more slowly than bf16 or fp32",
    "tf32": "no CPU has products of that kind",
}


@dataclass(frozen=True)
class Machine:
    """Device, number format, processes and meters of a run."""

    device: str
    dtype: torch.dtype
    ranks: Ranks
    meter: Meter
    peak_flops: float | None
    """FLOPs per second that the device could do, None if that is not known."""

    def to_device(self, ids: Tensor) -> Tensor:
        """A copy of `ids` on the device, without waiting for it."""
        # From pinned memory a GPU copies when it gets there; from other memory the program would wait until it does.
        return ids if self.device == "cpu" else ids.pin_memory().to(self.device, non_blocking=True)

    def mfu(self, flops: float, seconds: float) -> float | None:
        """Model FLOPs utilisation: what part of the peak of all devices `flops` in so many seconds are."""
        return flops / seconds / (self.peak_flops * self.ranks.world_size) if self.peak_flops else None

    def joules(self) -> float:
        """Energy of all processes so far; they ask together."""
        return self.ranks.all_reduce_sum(self.meter.joules())[0]

    def measured_joules(self) -> float | None:
        """That part of it that can be measured, None where nothing can; they ask together."""
        own = self.meter.measured_joules()
        total, known = self.ranks.all_reduce_sum(own or 0.0, own is not None)
        return total if known else None

    @property
    def energy(self) -> str:
        """How the energy is known."""
        several = self.ranks.world_size > 1
        return self.meter.description + (f"; the sum of {self.ranks.world_size} processes" if several else "")

    @property
    def precision(self) -> str:
        """The number format as torch names it, e.g. bfloat16."""
        return str(self.dtype).removeprefix("torch.")


def this_machine(precision: Precision) -> Machine:
    """The machine as a run uses it; the processes meet here. Raises StageError for a precision that it does not have."""
    ranks, device = Ranks(), pick_device()
    dtype = pick_dtype(precision, device)
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    return Machine(device, dtype, ranks, Meter(device, ranks.is_first_here), peak_flops(device, dtype))


def pick_device() -> str:
    """A GPU if there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def pick_dtype(precision: Precision, device: str) -> torch.dtype:
    """What to compute in; auto is bf16 where the hardware multiplies it, fp16 on GPUs without it. Raises StageError for fp16
    or tf32 on a CPU.
    """
    if device == "cpu" and precision in GPU_ONLY:
        raise StageError(f"pretrain.precision {precision} needs a GPU: {GPU_ONLY[precision]}; leave it at auto")
    if precision == "auto":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False) if device == "cuda" else _cpu_has_bf16()
        precision = "bf16" if has_bf16 else "fp16" if device == "cuda" else "fp32"
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)


def _cpu_has_bf16() -> bool:
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return False
    return bool(flags & {"avx512_bf16", "amx_bf16"})
