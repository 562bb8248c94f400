"""What a run consists of, and how it begins: from scratch, or as its last checkpoint left it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from lang_configs.schema import Runtime
from lang_configs.training import Pretrain
from tasks.core.errors import StageError
from tasks.pretrain import checkpoint, models
from tasks.pretrain.batches import Phase, plan_phases
from tasks.pretrain.data import TokenFiles, Windows, validation_windows
from tasks.pretrain.guard import Guard
from tasks.pretrain.machine import memory
from tasks.pretrain.machine.compiling import Loss, worth_compiling
from tasks.pretrain.machine.device import Machine, this_machine
from tasks.pretrain.models import LanguageModel
from tasks.pretrain.objective import Objective
from tasks.pretrain.optimizer import Optimizer
from tasks.pretrain.schedule import Budget
from tasks.pretrain.state import CHECKPOINTS, State, Stop

FP16_SCALE = 2.0**16
"""Where fp16's loss scale starts (torch.amp.GradScaler's)."""


@dataclass
class Run:
    """A training in one process, or in one of several that share every batch."""

    config: Pretrain
    runtime: Runtime
    out: Path
    machine: Machine
    data: Windows
    held_out: torch.Tensor | None
    model: LanguageModel
    optimizer: Optimizer
    objective: Objective
    loss: Loss
    phases: list[Phase]
    stop: Stop
    state: State = field(default_factory=State)
    guard: Guard = field(default_factory=Guard)
    best_loss: float = math.inf
    """Lowest held-out loss so far, whose weights are kept."""
    unsaved: bool = False
    saved_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.budget = Budget(self.config, self.state, self.machine.joules, self.data.count)

    @property
    def files(self) -> TokenFiles:
        """The token files that are trained on."""
        return self.data.files

    @property
    def parameters(self) -> int:
        """How many the model has."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint must have in common with a run that goes on from it: all that changes what is computed."""
        files, config = self.files, self.config.model_dump(mode="json")
        return {"config": config, "tokens": files.train_tokens, "bytes": files.train_bytes, "dtype": str(self.machine.dtype)}

    def set_unsaved(self, unsaved: bool) -> None:
        """Note whether there is something new to save: until then a signal may end this process at once, if it is alone."""
        self.unsaved = unsaved
        self.stop.at_once = not unsaved and self.machine.ranks.world_size == 1


def start(tokens: Path, out: Path, config: Pretrain, runtime: Runtime, stop: Stop | None = None) -> Run:
    """A run on the token files in `tokens` that writes to `out`: new, or where its last checkpoint in `out` left it.

    Raises StageError where token files or config do not fit, or `out` holds a run with others.
    """
    machine = this_machine(config.precision)
    data = Windows(TokenFiles.read(tokens), config.model.context, config.seed)
    run = from_scratch(data, out, config, runtime, machine, stop or Stop())
    resume(run)
    epoch_tokens = data.count * config.model.context
    kind = (machine.device, machine.precision)
    if run.budget.used() < 1 and worth_compiling(config, runtime.compile, run.parameters, epoch_tokens, *kind):
        run.loss.compile()
    return run


def from_scratch(data: Windows, out: Path, config: Pretrain, runtime: Runtime, machine: Machine, stop: Stop) -> Run:
    """A run whose weights are drawn from the seed."""
    files, ranks = data.files, machine.ranks
    torch.manual_seed(config.seed)
    model = models.new(config, files.vocab_size, files.bos).to(machine.device)
    optimizer = Optimizer(model, config, ranks)  # takes the weights in fp32
    model.to(machine.dtype)
    most = memory.most_windows(model.shape, memory.working_bytes(machine.device), config.checkpointing)
    run = Run(
        config=config,
        runtime=runtime,
        out=out,
        machine=machine,
        data=data,
        held_out=validation_windows(files, config.model.context),
        model=model,
        optimizer=optimizer,
        objective=Objective(config, data, model, machine),
        loss=Loss(model.loss),
        phases=plan_phases(config, data.count, most, files.vocab_size, ranks.world_size),
        stop=stop,
    )
    if machine.dtype == torch.float16:
        run.state.loss_scale = FP16_SCALE
    run.set_unsaved(False)
    return run


def resume(run: Run) -> None:
    """Set a run to its last checkpoint, if there is one. Raises StageError if that is of another config or other tokens."""
    folder = run.out / CHECKPOINTS
    found, best = checkpoint.load_latest(folder), checkpoint.load_best(folder)
    run.best_loss = best[2] if best else math.inf
    if not found:
        return
    weights, moments, record = found
    if record.pop("run") != run.identity:
        raise StageError(f"{folder}: a run with another config or other tokens; remove it to start anew")
    run.guard = Guard(**record.pop("guard"))
    run.state = State(**record)
    run.budget = Budget(run.config, run.state, run.machine.joules, run.data.count)
    run.optimizer.load(weights, moments)
