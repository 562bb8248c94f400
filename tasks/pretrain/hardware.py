"""What the machine has, and what follows from it for training: number format, micro-batches, compiling, environment."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from lang_configs.training import Precision, Pretrain
from tasks.core.engines import available_cores
from tasks.core.errors import StageError

if TYPE_CHECKING:
    import torch

    from tasks.pretrain.models import ModelShape

COMPILE_SECONDS = 90
"""Shortest run that gets the time for compiling back (measured, 2 cores)."""
FLOPS = {"cpu": 4e11, "cuda": 2e13}
"""Rough speed, only to guess from a budget of steps or epochs whether a run is that short."""
GPU_ONLY = {
    "fp16": "a CPU multiplies fp16 20 to 400 times more slowly than bf16 or fp32",
    "tf32": "no CPU has products of that kind",
}
CPU_WORKING_BYTES, GPU_WORKING_SHARE = 1 << 30, 1 / 3
"""Memory for the activations and logits of one micro-batch: on a CPU, where larger ones are no faster; of a GPU's memory."""


def cache_folder() -> Path:
    """What is kept from one run to the next, of whatever workspace: compiled kernels, measured speeds."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lugha"


def environment(processes: int = 1) -> dict[str, str]:
    """Environment variables that a training process needs before it loads torch.

    One thread for each core this process may use (shared by `processes`), which wait by spinning for a fraction of a
    millisecond (a twentieth faster than sleeping at once), then sleep: on a machine with other work, threads that spin
    keep each other from the cores (measured: twenty times slower). glibc keeps large tensors on its heap; otherwise each
    is mapped and page-faulted again at every step, up to a fifth of the time. Compiled kernels are kept for the next run.
    """
    return {
        "OMP_NUM_THREADS": str(max(1, available_cores() // processes)),
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "10000",
        "MALLOC_MMAP_THRESHOLD_": "4000000000",
        "MALLOC_TRIM_THRESHOLD_": "8000000000",
        "MALLOC_TOP_PAD_": "200000000",
        "TORCHINDUCTOR_CACHE_DIR": str(cache_folder() / "inductor"),
    }


def pick_device() -> str:
    """A GPU if there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def pick_dtype(precision: Precision, device: str) -> torch.dtype:
    """What to compute in; auto is bf16 where the hardware multiplies it, fp16 on GPUs without it. Raises StageError for fp16
    or tf32 on a CPU.
    """
    import torch

    if device == "cpu" and precision in GPU_ONLY:
        raise StageError(f"pretrain.precision {precision} needs a GPU: {GPU_ONLY[precision]}; leave it at auto")
    if precision == "auto":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False) if device == "cuda" else _cpu_has_bf16()
        precision = "bf16" if has_bf16 else "fp16" if device == "cuda" else "fp32"
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)


def process_count(config: Pretrain) -> int:
    """Data-parallel processes of a run: as many as the config says, or one for each GPU that may be used."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = len(visible.split(",")) if visible else len(list(Path("/dev").glob("nvidia[0-9]*")))
    return config.processes or max(1, gpus)


def working_bytes(device: str) -> int:
    """Memory that one micro-batch may fill; the same on every GPU of one kind, so that they sum in the same order."""
    import torch

    if device == "cpu":
        return CPU_WORKING_BYTES
    return round(GPU_WORKING_SHARE * torch.cuda.get_device_properties(device).total_memory)


def most_windows(shape: ModelShape, available: int, checkpointing: bool) -> int:
    """Windows that one micro-batch may hold in so many bytes, from a rough count of what a token needs in training."""
    from tasks.pretrain.models.layers import MOST_LOGITS

    logits = 12 * shape.vocab_size
    block = 40 * shape.width + 12 * shape.feed_forward
    activations = block + shape.layers * 4 * shape.width if checkpointing else shape.layers * block
    # There are never more than MOST_LOGITS logits.
    tokens = max(available / (logits + activations), (available - 12 * MOST_LOGITS) / activations)
    return max(1, int(tokens / shape.context))


def worth_compiling(config: Pretrain, parameters: int, epoch_tokens: int, device: str) -> bool:
    """Whether a run is long enough to compile the model for; the same for the same budget, so that a resumed run agrees."""
    if config.compile != "auto":
        return config.compile
    tokens = min(config.epochs * epoch_tokens, (config.steps or math.inf) * config.batch_tokens, config.tokens or math.inf)
    seconds = min(6 * parameters * tokens / FLOPS[device], 60 * (config.minutes or math.inf))
    return seconds > COMPILE_SECONDS


def _cpu_has_bf16() -> bool:
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return False
    return bool(flags & {"avx512_bf16", "amx_bf16"})
