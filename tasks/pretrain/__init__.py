"""Pretraining of a causal or masked language model from token files, in a process of its own, or one for each GPU.

The pieces, to be read in this order: models, data, batches, sampled, optimizer, schedule, guard, parallel, checkpoint,
hardware, utilization, energy, emissions, trainer, train; measure and estimate say beforehand what a run will take.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lang_configs.training import Pretrain
from tasks.core.artifacts import Model, TokenFiles, Tokenizer
from tasks.core.errors import StageError
from tasks.core.paths import child_environment
from tasks.core.stage import Stage, Work
from tasks.pretrain.emissions import footprint
from tasks.pretrain.hardware import environment, process_count

CHECKPOINTS = ".checkpoints"
STOPPED = 75
"""Exit code of a training process that saved because of a signal (EX_TEMPFAIL of sysexits.h: try again)."""
STOP_SECONDS = 20
"""Time to save after a signal."""

log = logging.getLogger(__name__)


def pretrain(inputs: Mapping[str, Path], config: Pretrain, out: Path, work: Work) -> dict[str, Any]:
    """Train a model on `inputs["tokens"]` and write it in the format of `transformers`.

    Writes `model/` (config.json, model.safetensors in fp32 and, of causal models, generation_config.json: a stock class) and
    `metrics.parquet` (a row per logging step: step, tokens, epoch, loss in nats per token, bits_per_byte estimated on
    the training text, learning_rate, gradient_norm, tokens_per_second, memory_bytes, elapsed_seconds,
    mfu, watts). The metrics hold the energy in kWh, how it is known, its CO2 equivalent in grams and its price. A run that
    was killed or stopped goes on from its last checkpoint in `out`. With `runtime.tensorboard`, the columns of
    `metrics.parquet` are also written there as they come, in a folder named like `out`.

    Raises StageError with the child's own words when training fails. SIGINT and SIGTERM reach this process again once
    the child has saved.
    """
    processes = process_count(config)
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    command = [sys.executable, *launcher, "-m", "tasks.pretrain.train", "--watch-stdin"]
    command += ["--tokens", str(inputs["tokens"].resolve()), "--out", str(out.resolve()), "--config", config.model_dump_json()]
    if work.runtime.tensorboard:
        command += ["--tensorboard", str(Path(work.runtime.tensorboard).resolve() / out.stem.lstrip("."))]
    metrics: dict[str, Any] = {}
    error = last_line = ""
    stopped = False
    with _child(command, processes) as child, _signals_passed_on(child) as received:
        assert child.stdout is not None
        for line in child.stdout:
            record = _parse(line)
            if "total" in record:
                work.progress(record["tokens"], record["total"], "tokens")
            elif "warning" in record:
                log.warning("%s", record["warning"])
            elif "metrics" in record:
                metrics = record["metrics"]
            elif "error" in record:
                error = record["error"]
            elif "stopped" in record:
                stopped = True
            elif line.strip():
                last_line = line.strip()
        code = child.wait()
    if received:
        os.kill(os.getpid(), received[0])
    if code or not metrics:
        raise StageError(_explain(STOPPED if stopped else code, error or last_line))
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
    return metrics | footprint(metrics["kwh"], work.runtime)


@contextlib.contextmanager
def _child(command: list[str], processes: int) -> Iterator[subprocess.Popen[str]]:
    """Run a command in a session of its own, which ends with the block: by itself, by SIGTERM, at last by SIGKILL."""
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,  # its end tells the child that this process is gone
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=child_environment() | environment(processes),
        start_new_session=True,
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(STOP_SECONDS + 5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe:
                pipe.close()


@contextlib.contextmanager
def _signals_passed_on(child: subprocess.Popen[str]) -> Iterator[list[int]]:
    """Pass SIGINT and SIGTERM on to the child, so that it saves; yields the list of those that came."""
    received: list[int] = []

    def pass_on(number: int, frame: object) -> None:
        received.append(number)
        child.terminate()

    if threading.current_thread() is not threading.main_thread():  # only the main thread may; others end by an exception
        yield received
        return
    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _parse(line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _explain(code: int, words: str) -> str:
    if code in (STOPPED, -signal.SIGTERM):
        return "training was stopped and has saved; run the same command again to go on"
    if code == -signal.SIGKILL:
        return "training was killed, perhaps because memory ran out; lower pretrain.batch_tokens or the size of the model"
    if code < 0:
        return f"training died of {signal.Signals(-code).name}: {words or 'no words'}"
    return f"training failed: {words or f'exit code {code} without a word'}"


PRETRAIN = Stage(
    "pretrain",
    pretrain,
    version=6,
    libraries=["torch"],
    inputs={"tokens": TokenFiles, "tokenizer": Tokenizer},
    artifact=Model,
    headline=lambda metrics: f"{metrics['tokens']:,} tokens trained on",
    tables={"training": "metrics.parquet"},
    alone=True,
)
