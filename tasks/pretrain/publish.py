"""What a run leaves: the model as a stock class of `transformers`, a row per logging step, and the figures of the whole run."""

from __future__ import annotations

import shutil
from typing import Any

import pyarrow as pa

from tasks.core.artifacts import Model
from tasks.core.documents import write_table
from tasks.core.files import replacing
from tasks.pretrain import models
from tasks.pretrain.curves import METRICS
from tasks.pretrain.machine.energy import JOULES_PER_KWH
from tasks.pretrain.start import Run
from tasks.pretrain.validation import best_weights


def publish(run: Run) -> dict[str, Any]:
    """Write `model/` and `metrics.parquet` in the first process; return the metrics of the whole run.

    The model is the last one, unless the held-out loss was lower before: then that one, which too many epochs spoiled.
    """
    weights, step, validation_loss = best_weights(run)
    if not run.machine.ranks.is_main:
        return {}
    files = run.files
    model = models.build(run.model.shape)
    model.load_state_dict(weights)
    published = Model(run.out)
    for earlier in [published.transformers, *run.out.glob(".model.*.tmp")]:
        shutil.rmtree(earlier, ignore_errors=True)
    with replacing(published.transformers) as temporary:
        models.save_transformers(model, temporary, models.SpecialTokens(files.bos, files.eos, files.pad, files.mask))
    write_table(pa.Table.from_pylist(run.state.rows, METRICS), published.curves)
    return _metrics(run) | {"published_step": step, "validation_loss": validation_loss}


def _metrics(run: Run) -> dict[str, Any]:
    state, machine = run.state, run.machine
    tokens = state.windows * run.config.model.context
    return {
        "family": run.model.shape.family,
        "objective": run.model.objective,
        "parameters": run.parameters,
        "steps": state.step,
        "tokens": tokens,
        "epochs": round(state.windows / run.data.count, 4),
        "seconds": round(state.seconds, 1),
        "tokens_per_second": round(tokens / state.seconds),
        "training_loss": state.rows[-1]["loss"],
        "training_bits_per_byte": state.rows[-1]["bits_per_byte"],
        "skipped_steps": run.guard.not_finite + run.guard.spikes,
        "loss_spikes": run.guard.spikes,
        "mfu": machine.mfu(state.flops, state.seconds),
        "kwh": round(state.joules / JOULES_PER_KWH, 9),
        "energy": machine.energy,
        "processes": machine.ranks.world_size,
        "device": machine.device,
        "precision": machine.precision,
        "compiled": run.loss.compiled,
    }
