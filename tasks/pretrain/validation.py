"""The held-out loss while a run goes on, and the weights that had the lowest."""

from __future__ import annotations

import logging
import math

import torch
from torch import Tensor

from tasks.pretrain import checkpoint
from tasks.pretrain.start import Run
from tasks.pretrain.state import CHECKPOINTS

VALIDATIONS = 10
"""How often the held-out loss is measured in a run, at equal shares of its budget."""

log = logging.getLogger(__name__)


def due(run: Run, before: float, used: float) -> bool:
    """Whether the step that took the used share of the budget from `before` to `used` is to be validated."""
    return run.held_out is not None and math.floor(VALIDATIONS * used) > math.floor(VALIDATIONS * before)


def validate(run: Run, final: bool) -> float:
    """Mean loss of the held-out windows; the weights are kept if they are the best so far and not the last."""
    assert run.held_out is not None
    objective, optimizer, ranks = run.objective, run.optimizer, run.machine.ranks
    phase, masked = run.phases[-1], run.model.objective == "masked"
    objective.set_model(phase, masked)
    if run.config.average:
        optimizer.copy_to_model(optimizer.final_weights())
    run.model.eval()
    total = 0.0
    with torch.no_grad():
        for first in range(0, len(run.held_out), phase.micro_batch):
            windows = run.held_out[first : first + phase.micro_batch]
            total += len(windows) * run.model.loss(*objective.batch(windows, (first,), masked)).item()
    run.model.train()
    if run.config.average:
        optimizer.copy_to_model(optimizer.weights)
    (loss,) = ranks.all_reduce_max(total / len(run.held_out))  # so that all agree
    run.state.validation_loss = loss
    if loss < run.best_loss and not final:
        run.best_loss = loss
        weights = ranks.gather(optimizer.final_weights())
        with checkpoint.disk_may_be_full("the best weights so far", run.state.step):
            if ranks.is_main:
                checkpoint.save_best(run.out / CHECKPOINTS, run.state.step, weights, loss)
    return loss


def best_weights(run: Run) -> tuple[dict[str, Tensor], int, float | None]:
    """The weights to publish, their step and their held-out loss: the last ones, unless the loss was lower before."""
    step, last = run.state.step, run.state.validation_loss
    found = checkpoint.load_best(run.out / CHECKPOINTS)
    if last is None or not found or found[2] >= last:
        return run.machine.ranks.gather(run.optimizer.final_weights()), step, last
    log.warning(
        "the held-out loss rose from %.3f to %.3f after step %d, whose model is taken: more text, fewer epochs or dropout"
        " would have made use of the rest of the time", found[2], last, found[1],
    )  # fmt: skip
    return found
