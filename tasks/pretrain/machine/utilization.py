"""Model FLOPs utilisation (MFU): what part of the machine's arithmetic a run puts into the model."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from tasks.pretrain.batches import Phase
    from tasks.pretrain.models import LanguageModel

MATRIX = 1024
REPEATS = 10
"""Size and number of the products that measure a CPU: its peak within 5 % (against 2048), in a tenth of a second."""


@dataclass(frozen=True)
class Gpu:
    """Dense 16-bit FLOPs per second of the matrix units (bf16; fp16 before Ampere), and the board's power in watts."""

    flops: float
    watts: float


GPUS = {  # the first whose words are all in the device's name; from NVIDIA's data sheets, half of what they say with sparsity
    "B200": Gpu(2250e12, 1000),
    "H200": Gpu(989e12, 700),
    "H100 PCIe": Gpu(756e12, 350),
    "H100 NVL": Gpu(835e12, 400),
    "H100": Gpu(989e12, 700),
    "A100 PCIe": Gpu(312e12, 300),
    "A100": Gpu(312e12, 400),
    "A10G": Gpu(70e12, 300),
    "A10": Gpu(125e12, 150),
    "A30": Gpu(165e12, 165),
    "A40": Gpu(150e12, 300),
    "RTX A6000": Gpu(155e12, 300),
    "L40S": Gpu(362e12, 350),
    "L4": Gpu(121e12, 72),
    "V100": Gpu(125e12, 300),
    "P100": Gpu(19e12, 250),
    "T4": Gpu(65e12, 70),
    "RTX 4090": Gpu(165e12, 450),
    "RTX 3090": Gpu(71e12, 350),
}


def flops_per_token(parameters: int, layers: int, width: int, length: int) -> float:
    """FLOPs that training spends on one token: 6 N + 12 L d T (PaLM, arXiv 2204.02311, appendix B).

    `length` is that of the window. As there, attention counts in full, though half of it is masked.
    """
    return 6 * parameters + 12 * layers * width * length


def step_flops(model: LanguageModel, phase: Phase, context: int) -> float:
    """FLOPs of the products of one step, those with pieces that are not scored left out."""
    shape = model.shape
    not_scored = (shape.vocab_size - phase.scored) * shape.width if phase.scored else 0
    length = context // (2 if phase.half else 1)
    token = flops_per_token(model.matmul_parameters - not_scored, shape.layers, shape.width, length)
    return phase.windows * context * token


def peak_flops(device: str, dtype: torch.dtype) -> float | None:
    """FLOPs per second that the machine could do: of a GPU by its name, None if it is not known; of a CPU measured."""
    if device != "cuda":
        return _measured(dtype)
    gpu = this_gpu()
    return gpu.flops if gpu else None


def this_gpu() -> Gpu | None:
    """What the table says of the current GPU."""
    import torch

    return find_gpu(torch.cuda.get_device_name())


def find_gpu(name: str) -> Gpu | None:
    """What the table says of a GPU by its name: NVIDIA A100-SXM4-80GB, NVIDIA GeForce RTX 4090."""
    words = set(name.lower().replace("-", " ").split())
    return next((gpu for key, gpu in GPUS.items() if set(key.lower().split()) <= words), None)


@lru_cache
def _measured(dtype: torch.dtype) -> float:
    import torch

    left, right = torch.randn(2, MATRIX, MATRIX, dtype=torch.float32).to(dtype)
    left @ right
    best = float("inf")
    for _ in range(REPEATS):
        begun = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - begun)
    return 2 * MATRIX**3 / best
