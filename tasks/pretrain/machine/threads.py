"""What a training process needs before it loads torch: environment variables, and how many processes there are to be."""

from __future__ import annotations

import os
from pathlib import Path

from lang_configs.schema import Runtime
from tasks.core.engines import available_cores
from tasks.pretrain.machine.compiler import compiler


def cache_folder() -> Path:
    """What is kept from one run to the next, of whatever workspace: compiled kernels, measured speeds."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lugha"


def environment(processes: int = 1) -> dict[str, str]:
    """Environment variables that a training process needs before it loads torch.

    One thread for each core this process may use (shared by `processes`), which wait by spinning for a fraction of a
    millisecond (a twentieth faster than sleeping at once), then sleep: on a machine with other work, threads that spin
    keep each other from the cores (measured: twenty times slower). glibc keeps large tensors on its heap; otherwise each
    is mapped and page-faulted again at every step, up to a fifth of the time. Compiled kernels are kept for the next run;
    see `compiler` for what they are compiled by.
    """
    threads = str(max(1, available_cores() // processes))
    return {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,  # torch takes it for the number of all its threads where it is set
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "10000",
        "MALLOC_MMAP_THRESHOLD_": "4000000000",
        "MALLOC_TRIM_THRESHOLD_": "8000000000",
        "MALLOC_TOP_PAD_": "200000000",
        "TORCHINDUCTOR_CACHE_DIR": str(cache_folder() / "inductor"),
        **compiler(cache_folder()),
    }


def process_count(runtime: Runtime) -> int:
    """Data-parallel processes of a run: as many as the config says, or one for each GPU that may be used."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = len(visible.split(",")) if visible else len(list(Path("/dev").glob("nvidia[0-9]*")))
    return runtime.processes or max(1, gpus)
