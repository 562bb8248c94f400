"""What the peers of `training.py` share: arguments, token file, clock, and the record that each leaves.

The clock starts once the libraries are imported and the token file is open, as ours does, and stops with the last step: a
model saved or scored later costs nothing. A budget of seconds drives the learning rate too, by the share that has
passed: that is the schedule which a user gets who knows beforehand how many steps the budget holds, and no load of the
machine can cut it short.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tasks.core.memory import peak_memory

WARM_UP = 0.1


@dataclass(frozen=True)
class Job:
    """What a peer is asked for: a budget in seconds or in steps, and where token files and results are.

    `rate`: the peak learning rate; without it the one of the peer's recipe.
    """

    tokens: Path
    out: Path
    seconds: float | None
    steps: int | None
    seed: int
    rate: float | None
    bf16: bool
    compile: bool
    vocab_size: int
    stream: np.ndarray

    def windows(self, context: int) -> torch.Tensor:
        """The token file as `[windows, context]`, one after the other."""
        count = len(self.stream) // context
        return torch.from_numpy(self.stream[: count * context].astype(np.int64).reshape(count, context))


class Clock:
    """Counts steps and seconds against the budget."""

    def __init__(self, job: Job) -> None:
        self.job, self.seconds = job, [time.perf_counter()]

    @property
    def used(self) -> float:
        """Share of the budget that is used, from 0 to 1."""
        if self.job.steps:
            return min(1.0, (len(self.seconds) - 1) / self.job.steps)
        return min(1.0, (time.perf_counter() - self.seconds[0]) / (self.job.seconds or 1))

    def step_ended(self) -> None:
        self.seconds.append(time.perf_counter())


def cosine(used: float, least: float = 0.0) -> float:
    """Share of the peak learning rate: up over the warm-up, then half a cosine down to `least`."""
    if used < WARM_UP:
        return _warming(used)
    return least + (1 - least) * 0.5 * (1 + math.cos(math.pi * (used - WARM_UP) / (1 - WARM_UP)))


def linear(used: float) -> float:
    """Share of the peak learning rate: up over the warm-up, then straight down to 0."""
    return _warming(used) if used < WARM_UP else (1 - used) / (1 - WARM_UP)


def _warming(used: float) -> float:
    return max(used / WARM_UP, 0.01)  # 0 would make the first step idle


def read_job() -> Job:
    """The job that the command line asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokens", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, help="peak learning rate")
    parser.add_argument("--bf16", action="store_true", help="torch.autocast")
    parser.add_argument("--compile", action="store_true", help="torch.compile")
    given = parser.parse_args()
    meta = json.loads((given.tokens / "meta.json").read_text())
    stream = np.memmap(given.tokens / "train.bin", np.dtype(meta["dtype"]).newbyteorder("<"), "r")
    return Job(**vars(given), vocab_size=meta["vocab_size"], stream=stream)


def finish(job: Job, clock: Clock, model: Any, tokens_per_step: int) -> None:
    """Write the steps to `result.json` and the model, of a class of transformers, to `model/`."""
    record = {
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "tokens_per_step": tokens_per_step,
        "step_seconds": np.diff(clock.seconds).tolist(),
        "memory": peak_memory(),
    }
    model.float().save_pretrained(job.out / "model")
    (job.out / "result.json").write_text(json.dumps(record))
