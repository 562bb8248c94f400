"""Data-parallel processes: each reads its share of the windows, and all take the same step with the mean of their gradients.

`torchrun` starts them and tells each its rank; they meet over NCCL on GPUs and gloo on CPUs. Weights and optimizer stand in
every process, so all of them hold the same numbers after each step, and only the first one writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
from torch import Tensor, distributed


class Ranks:
    """The processes of a run: one, or as many as torchrun started."""

    def __init__(self) -> None:
        self.count = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        if self.count > 1:
            if torch.cuda.is_available():
                torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
            distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0

    def mean(self, gradients: Iterable[Tensor], *numbers: float) -> list[float]:
        """Replace gradients by their mean over all processes, in place; returns the means of some numbers likewise."""
        if self.count == 1:
            return list(numbers)
        gradients = list(gradients)
        flat = torch.cat([gradient.float().flatten() for gradient in gradients] + [gradients[0].new_tensor(numbers).float()])
        distributed.all_reduce(flat)
        flat /= self.count
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients] + [len(numbers)]), strict=False):
            gradient.copy_(part.view_as(gradient))
        return flat[-len(numbers) :].tolist()

    def largest(self, *numbers: float) -> list[float]:
        """The largest of each number over all processes."""
        if self.count == 1:
            return list(numbers)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        largest = torch.tensor(numbers, dtype=torch.float64, device=device)
        distributed.all_reduce(largest, distributed.ReduceOp.MAX)
        return largest.tolist()

    def close(self) -> None:
        """Leave the group."""
        if self.count > 1:
            distributed.destroy_process_group()
