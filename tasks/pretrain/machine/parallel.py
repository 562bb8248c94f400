"""Data-parallel processes: each reads its share of the windows, and all take the same step with the mean of their gradients.

`torchrun` starts them and tells each its rank; they meet over NCCL on GPUs and gloo on CPUs. Every process holds the whole
model in the type that it computes in. The fp32 weights and the optimizer's state, which are most of the memory, are shared out:
each process updates the parameters that it owns and broadcasts them (ZeRO stage 1, arXiv 1910.02054). Only the first
process writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, distributed

BUCKET = 1 << 24
"""Numbers that are averaged in one message: 64 MiB in fp32, beside the gradients themselves."""


class Ranks:
    """The processes of a run: one, or as many as torchrun started."""

    def __init__(self) -> None:
        self.world_size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        self.is_first_here = os.environ.get("LOCAL_RANK", "0") == "0"
        """Whether this is the first of the processes on its machine."""
        if self.world_size > 1:
            if torch.cuda.is_available():
                torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
            distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0

    def all_reduce_mean(self, gradients: Iterable[Tensor], *numbers: float) -> list[float]:
        """Replace gradients by their mean over all processes, in place; returns the means of some numbers likewise."""
        if self.world_size == 1:
            return list(numbers)
        means = torch.tensor(numbers, device=self._device)
        for bucket in _buckets([*gradients, means]):
            flat = torch.cat([gradient.flatten() for gradient in bucket])
            distributed.all_reduce(flat)
            flat /= self.world_size
            for gradient, part in zip(bucket, flat.split([gradient.numel() for gradient in bucket]), strict=True):
                gradient.copy_(part.view_as(gradient))
        return means.tolist()

    def partition(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """Which process owns each name, so that sizes add up to about the same everywhere."""
        owners, loads = {}, [0] * self.world_size
        for name in sorted(sizes, key=lambda name: -sizes[name]):
            owners[name] = loads.index(min(loads))
            loads[owners[name]] += sizes[name]
        return owners

    def broadcast(self, tensors: Mapping[str, Tensor], owners: Mapping[str, int]) -> None:
        """Fill each tensor of every process with what its owner has."""
        if self.world_size > 1:
            pending = [distributed.broadcast(tensors[name], owners[name], async_op=True) for name in owners]
            for work in pending:
                work.wait()

    def gather(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of all processes by name, in the first one, those of others in its main memory; the others get none."""
        if self.world_size == 1:
            return tensors
        described: list[Any] = [None] * self.world_size
        distributed.all_gather_object(described, {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()})
        gathered = dict(tensors) if self.is_main else {}
        for rank in range(1, self.world_size):
            for name, (shape, dtype) in described[rank].items():
                if self.rank == rank:
                    distributed.send(tensors[name].to(self._device).contiguous(), 0)
                elif self.is_main:
                    buffer = torch.empty(shape, dtype=dtype, device=self._device)
                    distributed.recv(buffer, rank)
                    gathered[name] = buffer.cpu()
        return gathered

    def all_reduce_max(self, *numbers: float) -> list[float]:
        """The largest of each number over all processes."""
        return self._all_reduce(numbers, distributed.ReduceOp.MAX) if self.world_size > 1 else list(numbers)

    def all_reduce_sum(self, *numbers: float) -> list[float]:
        """The sum of each number over all processes."""
        return self._all_reduce(numbers, distributed.ReduceOp.SUM) if self.world_size > 1 else list(numbers)

    def _all_reduce(self, numbers: Sequence[float], operation: Any) -> list[float]:
        values = torch.tensor(numbers, dtype=torch.float64, device=self._device)
        distributed.all_reduce(values, operation)
        found: list[float] = values.tolist()
        return found

    def close(self) -> None:
        """Leave the group."""
        if self.world_size > 1:
            distributed.destroy_process_group()

    @property
    def _device(self) -> str:
        return "cuda" if torch.cuda.is_available() else "cpu"


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and sum(other.numel() for other in bucket) + tensor.numel() > BUCKET:
            yield bucket
            bucket = []
        bucket.append(tensor)
    yield bucket
