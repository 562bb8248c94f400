"""How many windows fit into memory at a time."""

from __future__ import annotations

import torch

from tasks.core.memory import peak_memory
from tasks.pretrain.models import ModelShape
from tasks.pretrain.models.layers import MOST_LOGITS

CPU_WORKING_BYTES, GPU_WORKING_SHARE = 1 << 30, 1 / 3
"""Memory for the activations and logits of one micro-batch: on a CPU, where larger ones are no faster; of a GPU's memory."""


def working_bytes(device: str) -> int:
    """Memory that one micro-batch may fill; the same on every GPU of one kind, so that they sum in the same order."""
    if device == "cpu":
        return CPU_WORKING_BYTES
    return round(GPU_WORKING_SHARE * torch.cuda.get_device_properties(device).total_memory)


def most_windows(shape: ModelShape, available: int, checkpointing: bool) -> int:
    """Windows that one micro-batch may hold in so many bytes, from a rough count of what a token needs in training."""
    logits = 12 * shape.vocab_size
    block = 40 * shape.width + 12 * shape.feed_forward
    activations = block + shape.layers * 4 * shape.width if checkpointing else shape.layers * block
    # There are never more than MOST_LOGITS logits.
    tokens = max(available / (logits + activations), (available - 12 * MOST_LOGITS) / activations)
    return max(1, int(tokens / shape.context))


def used_bytes(device: str) -> int:
    """Most memory so far: of the GPU, or of this process."""
    return torch.cuda.max_memory_allocated() if device == "cuda" else peak_memory()
