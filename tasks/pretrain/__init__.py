"""Pretraining of a causal or masked language model from token files, in a process of its own, or one for each GPU.

The pieces, to be read in this order: models; data, batches, objective, sampled; optimizer, schedule, guard; checkpoint, start,
loop, validation, curves, publish; train, child; machine. measure and estimate say beforehand what a run will take, emissions
what its energy means.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lang_configs.training import Pretrain
from tasks.core.artifacts import Model, TokenFiles, Tokenizer
from tasks.core.errors import StageError
from tasks.core.stage import Stage, Work
from tasks.pretrain import child
from tasks.pretrain.machine.threads import process_count
from tasks.pretrain.state import CHECKPOINTS, STOPPED

log = logging.getLogger(__name__)


def pretrain(inputs: Mapping[str, Path], config: Pretrain, out: Path, work: Work) -> dict[str, Any]:
    """Train a model on `inputs["tokens"]` and write it in the format of `transformers`.

    Writes `model/` (config.json, model.safetensors in fp32 and, of causal models, generation_config.json: a stock class) and
    `metrics.parquet` (a row per logging step: step, tokens, epoch, loss in nats per token, bits_per_byte estimated on
    the training text, learning_rate, gradient_norm, tokens_per_second, memory_bytes, elapsed_seconds,
    mfu, watts). The metrics hold the energy in kWh and how it is known. A run that was killed or stopped goes on from its last
    checkpoint in `out`, whatever `work.runtime` says by then. With `runtime.tensorboard`, the columns of `metrics.parquet`
    are also written there as they come, in a folder named like `out`.

    Raises StageError with the child's own message when training fails. SIGINT and SIGTERM reach this process again once
    the child has saved.
    """
    runtime, processes = work.runtime, process_count(work.runtime)
    if runtime.tensorboard:
        curves = Path(runtime.tensorboard).resolve() / out.stem.lstrip(".")
        runtime = runtime.model_copy(update={"tensorboard": str(curves)})
    command = child.command("tasks.pretrain.train", config, processes)
    command += ["--runtime", runtime.model_dump_json(), "--watch-stdin"]
    command += ["--tokens", str(inputs["tokens"].resolve()), "--out", str(out.resolve())]
    found: dict[str, Any] = {}
    last_line = ""
    with child.running(command, child.variables(config, processes)) as process, child.passing_signals_on(process) as received:
        assert process.stdout is not None
        for line in process.stdout:
            record = _parse(line)
            found |= record
            if "total" in record:
                work.progress(record["tokens"], record["total"], "tokens")
            elif "warning" in record:
                log.warning("%s", record["warning"])
            elif not record and line.strip():
                last_line = line.strip()
        code = process.wait()
    if received:
        os.kill(os.getpid(), received[0])
    if code or "metrics" not in found:
        raise StageError(_explain(STOPPED if "stopped" in found else code, found.get("error") or last_line))
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
    metrics: dict[str, Any] = found["metrics"]
    return metrics


def _parse(line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _explain(code: int, message: str) -> str:
    if code in (STOPPED, -signal.SIGTERM):
        return "training was stopped and has saved; run the same command again to go on"
    if code == -signal.SIGKILL:
        return "training was killed, perhaps because memory ran out; lower pretrain.batch_tokens or the size of the model"
    if code < 0:
        return f"training died of {signal.Signals(-code).name}: {message or 'no message'}"
    return f"training failed: {message or f'exit code {code} without a message'}"


PRETRAIN = Stage(
    "pretrain",
    pretrain,
    version=8,
    libraries=["torch"],
    inputs={"tokens": TokenFiles, "tokenizer": Tokenizer},
    artifact=Model,
    headline=lambda metrics: f"{metrics['tokens']:,} tokens trained on",
    tables={"training": "metrics.parquet"},
    alone=True,
)
