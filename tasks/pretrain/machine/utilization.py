"""Model FLOPs utilisation (MFU): what part of the machine's arithmetic a run puts into the model."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from tasks.pretrain.batches import Phase, masked_count

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tasks.pretrain.models import LanguageModel

MATRIX = 1024
REPEATS = 10
"""Size and number of the products that measure a CPU: its peak within 5 % (against 2048), in a tenth of a second."""


@dataclass(frozen=True)
class Gpu:
    """Dense 16-bit FLOPs per second of the matrix units (bf16; fp16 before Ampere), and the board's power in watts."""

    flops: float
    watts: float


GPUS = {  # by the words that make a name, less GENERIC; from NVIDIA's data sheets, half of what they say with sparsity
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


GENERIC = re.compile(r"nvidia|tesla|geforce|tensor|core|gpu|sxm\d?|hbm\d?e?|\d+gb")
"""Words that do not tell one model from another: the maker, the socket, the memory."""


def step_flops(model: LanguageModel, phase: Phase, context: int, masking: float | None = None, narrow: int = 0) -> float:
    """FLOPs of the matrix products of one step: two forward and four backward for each number of a matrix and each token
    that it is multiplied with, as in PaLM (arXiv 2204.02311, appendix B). As there, attention counts in full, though half of
    it may be masked, and what is computed a second time to save memory does not count.

    `masking` is the share of masked tokens of a step that predicts those: only they meet the output matrix, and in the
    last `narrow` layers, if the phase has them, only they are computed. A step may score fewer pieces than there are.
    """
    shape, length = model.shape, context // (2 if phase.half else 1)
    inner, narrow = shape.heads * shape.head_width, narrow if phase.narrow and masking is not None else 0
    predicted = length if masking is None else masked_count(length, masking)
    layer = _matrices(model.blocks[0])
    keys_and_values = 2 * shape.key_value_heads * shape.head_width * shape.width
    wide = length * (layer + 2 * inner * length)
    thin = length * keys_and_values + predicted * (layer - keys_and_values + 2 * inner * length)
    pieces = phase.scored if phase.scored and masking is None else shape.vocab_size
    head = _matrices(model) - _matrices(model.blocks) - _matrices(model.output)
    last = predicted * (head + pieces * shape.width)
    return 6.0 * phase.windows * (context // length) * ((shape.layers - narrow) * wide + narrow * thin + last)


def _matrices(module: nn.Module | None) -> int:
    """Numbers of the matrices in a module that vectors are multiplied with; an embedding is looked up."""
    from torch.nn import Linear

    return sum(part.weight.numel() for part in module.modules() if isinstance(part, Linear)) if module else 0


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
    """What the table says of a GPU by its name: NVIDIA A100-SXM4-80GB, NVIDIA GeForce RTX 4090.

    The name must be that of the table as a whole: a 3090 Ti, a 4090 of a laptop or a slice of a GPU is another device.
    """
    words = {word for word in name.lower().replace("-", " ").split() if not GENERIC.fullmatch(word)}
    exact = {frozenset(key.lower().split()): gpu for key, gpu in GPUS.items()}
    return exact.get(frozenset(words)) or exact.get(frozenset(words - {"pcie"}))


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
