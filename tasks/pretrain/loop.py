"""The training loop, from top to bottom: a step's gradients, its update, what is logged, validated and saved after it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict

import torch

from tasks.pretrain import checkpoint
from tasks.pretrain.batches import Phase
from tasks.pretrain.curves import Curves
from tasks.pretrain.machine.compiling import MOST_DIFFERENCE, difference
from tasks.pretrain.machine.utilization import step_flops
from tasks.pretrain.schedule import learning_rate_scale
from tasks.pretrain.start import Run
from tasks.pretrain.state import CHECKPOINTS, State, Stopped
from tasks.pretrain.validation import due, validate

FP16_GROWTH_STEPS = 2000
"""Finite steps after which fp16's loss scale doubles (torch.amp.GradScaler's)."""


def train(run: Run, report: Callable[[State, float], None] = lambda state, used: None) -> None:
    """Train until the budget is used up; `report(state, share of the budget)` is called after each step.

    Raises Stopped after a signal, when all is saved, and StageError where the guard gives up.
    """
    config, runtime, state, ranks = run.config, run.runtime, run.state, run.machine.ranks
    curves = Curves(run)
    (used,) = ranks.all_reduce_max(run.budget.used())
    while used < 1 or state.step == 0:
        before = used
        phase = next((phase for phase in run.phases if used < phase.until), run.phases[-1])
        scale = learning_rate_scale(config.schedule, used, config.warm_up, config.decay)
        loss, norm = gradients(run, phase)
        update(run, phase, loss, norm, scale)
        used, stop, unsaved = ranks.all_reduce_max(run.budget.used(), run.stop.asked, time.monotonic() - run.saved_at)

        validates = due(run, before, used)
        if validates or used == 1 or state.step % runtime.log_steps == 0:
            interval = curves.interval()
            validation_loss = validate(run, final=used == 1) if validates else None
            curves.add(interval, scale * config.peak_learning_rate, norm, validation_loss)

        saves = runtime.checkpoint_steps and state.step % runtime.checkpoint_steps == 0
        if saves or stop or used == 1 or unsaved > 60 * runtime.checkpoint_minutes:
            save(run)
        if stop and used < 1:
            raise Stopped
        report(state, used)


def gradients(run: Run, phase: Phase) -> tuple[float, float]:
    """Compute the gradients of one step; returns its mean loss and their norm, both over all processes."""
    masked = run.objective.is_masked(run.state.step)
    if run.loss.is_new((phase, masked)):
        save(run)  # compiling may take longer than a signal is willing to wait
        try:
            return _compared(run, phase, masked)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            run.loss.give_up_compiling(error)
            run.optimizer.zero_grad()
    return _accumulate(run, phase, masked)


def _compared(run: Run, phase: Phase, masked: bool) -> tuple[float, float]:
    """The same with and without the compiler, for a kind of batch that is new to it: compilers err."""
    with run.loss.plain():
        expected = _accumulate(run, phase, masked)
    kept = {name: parameter.grad for name, parameter in run.model.named_parameters() if parameter.grad is not None}
    run.optimizer.zero_grad()
    found = _accumulate(run, phase, masked)
    parameters = dict(run.model.named_parameters())
    (apart,) = run.machine.ranks.all_reduce_max(difference(kept, {name: parameters[name].grad for name in kept}))
    if apart <= MOST_DIFFERENCE:
        return found
    run.loss.give_up_compiled(apart)
    for name, gradient in kept.items():
        parameters[name].grad = gradient
    return expected


def _accumulate(run: Run, phase: Phase, masked: bool) -> tuple[float, float]:
    config, state, ranks, losses = run.config, run.state, run.machine.ranks, []
    run.objective.set_model(phase, masked)
    options = {"sample": run.objective.sample(phase, state.windows)} if phase.scored and not masked else {}
    for number in range(ranks.rank, phase.accumulation, ranks.world_size):
        if config.dropout:  # what dropout draws is a function of seed and window, like the order of the data
            torch.manual_seed(hash((config.seed, state.windows, number)))
        batch = run.objective.micro_batch(phase, state.windows + number * phase.micro_batch, masked)
        loss = run.loss(*batch, **options)
        (loss * (state.loss_scale * ranks.world_size / phase.accumulation)).backward()
        losses.append(loss.detach())  # to read its value now would let a GPU wait for each micro-batch
        if run.stop.asked and ranks.world_size == 1:  # with many micro-batches the rest of the step may take minutes
            run.optimizer.zero_grad()
            save(run)
            raise Stopped
    computed = [parameter.grad for parameter in run.model.parameters() if parameter.grad is not None]
    (mean,) = ranks.all_reduce_mean(computed, torch.stack(losses).mean().item())
    return mean, run.optimizer.gradient_norm(state.loss_scale)


def update(run: Run, phase: Phase, loss: float, norm: float, scale: float) -> None:
    """Change the weights at `scale` times the learning rates, unless the guard skips the step, and count the step."""
    config, state, fp16 = run.config, run.state, run.machine.dtype == torch.float16
    masking = config.masking if run.objective.is_masked(state.step) else None
    if run.guard.allows(loss, norm, state.loss_scale):
        run.optimizer.step(scale, norm, state.loss_scale)
        if run.objective.is_main(state.step):
            state.losses.append(loss)
        state.good_steps += 1
        if fp16 and state.good_steps % FP16_GROWTH_STEPS == 0:
            state.loss_scale *= 2
    else:
        run.optimizer.zero_grad()
        if fp16 and not math.isfinite(norm):
            state.loss_scale, state.good_steps = max(1.0, state.loss_scale / 2), 0
    run.set_unsaved(True)
    state.step += 1
    state.windows += phase.windows
    state.flops += step_flops(run.model, phase, config.model.context, masking, config.narrow_layers)


def save(run: Run) -> None:
    """Write a checkpoint if there is something new to save; a disk that is full costs this one, not the run."""
    if run.unsaved:
        ranks, step = run.machine.ranks, run.state.step
        weights, moments = ranks.gather(run.optimizer.weights), ranks.gather(run.optimizer.state())
        record = {"run": run.identity, "guard": asdict(run.guard), **asdict(run.state)}
        with checkpoint.disk_may_be_full("the checkpoint", step):
            if ranks.is_main:
                checkpoint.save(run.out / CHECKPOINTS, step, weights, moments, record)
    run.set_unsaved(False)
    run.saved_at = time.monotonic()
