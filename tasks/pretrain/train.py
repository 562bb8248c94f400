"""The training loop: `python -m tasks.pretrain.train --tokens FOLDER --out FOLDER --config JSON`.

It runs in a process of its own and prints a JSON object a line: {"tokens": ..., "total": ...} as it goes, {"warning": ...},
{"error": ...}, and at the end {"metrics": ...}. SIGINT, SIGTERM and, with --watch-stdin, the end of its input make it
save and exit with code 75; the same command goes on from there. In fp32 on one machine and with a budget of steps or
epochs, the result is bit for bit that of a run without the stop.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from lang_configs.schema import Pretrain
from tasks.documents import write_table
from tasks.pretrain import CHECKPOINTS, STOP_SECONDS, STOPPED, checkpoint, export, hardware
from tasks.pretrain.data import TokenFiles, Windows, halve
from tasks.pretrain.energy import JOULES_PER_KWH, Meter, watts
from tasks.pretrain.model import CausalLM, ModelShape
from tasks.pretrain.optimizer import Optimizer
from tasks.pretrain.schedule import Used, learning_rate_scale, progress
from tasks.pretrain.utilization import flops_per_token, peak_flops
from tasks.stage import StageError, peak_memory, replacing

STEPS_PER_EPOCH = 32
"""A small corpus gets smaller batches than the config allows, so that an epoch has this many steps."""
REPORT_SECONDS = 1.0

log = logging.getLogger(__name__)

METRICS = pa.schema(
    [
        ("step", pa.int64()),
        ("tokens", pa.int64()),
        ("epoch", pa.float64()),
        ("loss", pa.float64()),  # nats per token, mean since the last row
        ("bits_per_byte", pa.float64()),  # the same, estimated from the bytes per token of the whole training text
        ("learning_rate", pa.float64()),
        ("gradient_norm", pa.float64()),
        ("tokens_per_second", pa.float64()),
        ("memory_bytes", pa.int64()),
        ("elapsed_seconds", pa.float64()),
        ("mfu", pa.float64()),  # since the last row; null for a GPU whose peak is not known
        ("watts", pa.float64()),  # as measured since the last row; null where no counter can be read
    ]
)


class Stopped(BaseException):
    """A signal asked for the end. Not an Exception, so that no library takes it for an error of its own."""


@dataclass
class State:
    """Where a run is; `windows` read so far determines what is read next."""

    step: int = 0
    windows: int = 0
    seconds: float = 0.0
    joules: float = 0.0
    skipped: int = 0
    skipped_in_a_row: int = 0
    losses: list[float] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Batch:
    """Windows of one optimizer step: `count` micro-batches of `each` windows, cut in two if `half`."""

    each: int
    count: int
    half: bool


class Trainer:
    """A run, new or as the last checkpoint left it."""

    def __init__(self, tokens: Path, out: Path, config: Pretrain) -> None:
        self.config, self.out = config, out
        self.files = TokenFiles.read(tokens)
        self.shape = ModelShape.of(config.model, self.files.vocab_size)
        self.data = Windows(self.files, config.model.context, config.seed)
        self.device = hardware.pick_device()
        self.dtype = hardware.pick_dtype(config.precision, self.device)
        torch.manual_seed(config.seed)
        self.model = CausalLM(self.shape).to(self.device)
        self.optimizer = Optimizer(self.model, config)
        self.model.to(self.dtype)
        self.parameters = sum(weight.numel() for weight in self.optimizer.weights.values())
        self.full, self.half = plan_batches(config, self.data.count, hardware.most_windows(self.shape, self.device))
        self.meter, self.peak = Meter(self.device), peak_flops(self.device, self.dtype)
        self.state = State()
        self.unsaved = self.stop = False
        self.loss, self.compiled = self.model.loss, False

    def start(self) -> None:
        """Load the last checkpoint, if any, and compile the model if that pays."""
        self.started = self.saved_at = time.monotonic()
        self._resume()
        self.seconds_before, self.joules_before = self.state.seconds, self.state.joules
        epoch_tokens = self.data.count * self.shape.context
        if self.used() < 1 and hardware.worth_compiling(self.config, self.parameters, epoch_tokens, self.device):
            self._compile()

    def run(self, report: Callable[[State, float], None]) -> None:
        """Train until the budget is used. Raises Stopped after a signal, when all is saved."""
        state, config = self.state, self.config
        logged_at, logged_windows, logged_joules = time.monotonic(), state.windows, self.meter.measured_joules()
        used = self.used()
        while used < 1 or state.step == 0:
            batch = self.half if used < config.half_context else self.full
            loss = self._backward(batch)
            if loss is None:
                self.save()
                raise Stopped
            self.unsaved = True
            scale = learning_rate_scale(config.schedule, used, config.warm_up, config.decay)
            norm = self.optimizer.step(scale)
            state.step += 1
            state.windows += batch.each * batch.count
            state.losses += [loss] if math.isfinite(norm) else []
            used = self.used()
            if used == 1 or state.step % config.log_steps == 0:
                now = time.monotonic()
                joules = self.meter.measured_joules()
                speed = (state.windows - logged_windows) * self.shape.context / (now - logged_at)
                power = watts(joules, logged_joules, now - logged_at)
                self._log(scale * config.peak_learning_rate, norm, speed, self._mfu(speed, batch.half), power)
                logged_at, logged_windows, logged_joules = now, state.windows, joules
            if used == 1 or time.monotonic() - self.saved_at > 60 * config.checkpoint_minutes:
                self.save()
            report(state, used)

    def used(self) -> float:
        """Share of the budget that is used; the clock counts compiling and goes on where an earlier run stopped."""
        state = self.state
        state.seconds = self.seconds_before + time.monotonic() - self.started
        state.joules = self.joules_before + self.meter.joules()
        kwh, tokens = state.joules / JOULES_PER_KWH, state.windows * self.shape.context
        return progress(self.config, Used(state.step, state.seconds, tokens, state.windows / self.data.count, kwh))

    def save(self) -> None:
        """Write a checkpoint if there is something new to save."""
        if self.unsaved:
            self.state.skipped, self.state.skipped_in_a_row = self.optimizer.skipped, self.optimizer.skipped_in_a_row
            record = {"run": self._identity(), **asdict(self.state)}
            weights, moments = self.optimizer.weights, self.optimizer.state()
            checkpoint.save(self.out / CHECKPOINTS, self.state.step, weights, moments, record)
        self.unsaved = False
        self.saved_at = time.monotonic()

    def publish(self) -> dict[str, Any]:
        """Write `model/` and `metrics.parquet`; return the metrics of the whole run."""
        files, state = self.files, self.state
        model = CausalLM(self.shape)
        model.load_state_dict(self.optimizer.weights)
        for earlier in [self.out / "model", *self.out.glob(".model.*.tmp")]:
            shutil.rmtree(earlier, ignore_errors=True)
        with replacing(self.out / "model") as temporary:
            export.save_transformers(model, temporary, files.bos, files.eos, files.pad)
        write_table(pa.Table.from_pylist(state.rows, METRICS), self.out / "metrics.parquet")
        tokens = state.windows * self.shape.context
        return {
            "parameters": self.parameters,
            "steps": state.step,
            "tokens": tokens,
            "epochs": round(state.windows / self.data.count, 4),
            "seconds": round(state.seconds, 1),
            "tokens_per_second": round(tokens / state.seconds),
            "training_loss": state.rows[-1]["loss"],
            "training_bits_per_byte": state.rows[-1]["bits_per_byte"],
            "skipped_steps": self.optimizer.skipped,
            "mfu": self._mfu(tokens / state.seconds, half=False),
            "kwh": round(state.joules / JOULES_PER_KWH, 9),
            "energy": self.meter.words,
            "device": self.device,
            "precision": str(self.dtype).removeprefix("torch."),
            "compiled": self.compiled,
        }

    def on_signal(self, number: int, frame: object) -> None:
        """Ask the loop to stop; leave at once while there is nothing to save, as compiling may take long."""
        self.stop = True
        if not self.unsaved:
            raise Stopped

    def _resume(self) -> None:
        found = checkpoint.load_latest(self.out / CHECKPOINTS)
        if not found:
            return
        weights, moments, record = found
        if record.pop("run") != self._identity():
            raise StageError(f"{self.out / CHECKPOINTS}: a run with another config or other tokens; remove it to start anew")
        self.state = State(**record)
        self.optimizer.load(weights, moments)
        self.optimizer.skipped, self.optimizer.skipped_in_a_row = self.state.skipped, self.state.skipped_in_a_row

    def _identity(self) -> dict[str, Any]:
        config = self.config.model_dump(mode="json")
        return {"config": config, "tokens": self.files.train_tokens, "bytes": self.files.train_bytes, "dtype": str(self.dtype)}

    def _compile(self) -> None:
        # All window lengths are tried now: once the run goes on, nothing but steps stands between a signal and the exit.
        compiled = torch.compile(self.model.loss, dynamic=False)
        try:
            for batch in {self.half, self.full}:
                rows = torch.zeros(batch.each, self.shape.context + 1, dtype=torch.int64, device=self.device)
                compiled(halve(rows) if batch.half else rows).backward()
        except Exception as error:  # no compiler, no headers, no Triton: all mean the same here
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            log.warning("the model could not be compiled, so training is slower (is a C++ compiler installed?): %s", reason)
        else:
            self.loss, self.compiled = compiled, True
        for parameter in self.model.parameters():
            parameter.grad = None

    def _backward(self, batch: Batch) -> float | None:
        """Gradients of one step; returns the mean loss, or None when a signal came."""
        total = 0.0
        for micro in range(batch.count):
            rows = self.data.read(self.state.windows + micro * batch.each, batch.each).to(self.device)
            loss: Tensor = self.loss(halve(rows) if batch.half else rows) / batch.count
            loss.backward()
            total += loss.item()
            if self.stop:
                return None
        return total

    def _mfu(self, speed: float, half: bool) -> float | None:
        length = self.shape.context // (2 if half else 1)
        flops = flops_per_token(self.parameters, self.shape.layers, self.shape.width, length)
        return speed * flops / self.peak if self.peak else None

    def _log(self, rate: float, norm: float, speed: float, mfu: float | None, power: float | None) -> None:
        state, files = self.state, self.files
        loss = sum(state.losses) / len(state.losses) if state.losses else None
        state.losses.clear()
        memory = torch.cuda.max_memory_allocated() if self.device == "cuda" else peak_memory()
        bits = None if loss is None else loss / math.log(2) * files.train_tokens / files.train_bytes
        row = [state.step, state.windows * self.shape.context, state.windows / self.data.count, loss, bits,
               rate, norm if math.isfinite(norm) else None, speed, memory, state.seconds, mfu, power]  # fmt: skip
        state.rows.append(dict(zip(METRICS.names, row, strict=True)))


def plan_batches(config: Pretrain, windows: int, most: int) -> tuple[Batch, Batch]:
    """The batch of a step in windows, whole and (with half as many) in halves, for an epoch of `windows`.

    At most `config.batch_tokens`, less for a small corpus; in equal micro-batches of at most `most` windows.
    """
    whole = max(1, min(config.batch_tokens // config.model.context, windows // STEPS_PER_EPOCH))

    def plan(size: int, half: bool) -> Batch:
        count = -(-size // most)
        return Batch(size // count, count, half)

    return plan(whole, half=False), plan(max(1, whole // 2), half=True)


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns 0, STOPPED after a signal, or 1 after an error."""
    parser = argparse.ArgumentParser(prog="python -m tasks.pretrain.train")
    parser.add_argument("--tokens", type=Path, required=True, help="folder of token files")
    parser.add_argument("--out", type=Path, required=True, help="folder for model/, metrics.parquet and checkpoints")
    parser.add_argument("--config", required=True, help="the pretrain section of the config, as JSON")
    parser.add_argument("--watch-stdin", action="store_true", help="save and exit when standard input ends")
    options = parser.parse_args(arguments)
    logging.basicConfig(handlers=[_JsonLines()], level=logging.WARNING, force=True)
    if options.watch_stdin:
        threading.Thread(target=_stop_when_input_ends, daemon=True).start()
    try:
        trainer = Trainer(options.tokens, options.out, Pretrain.model_validate_json(options.config))
        signal.signal(signal.SIGINT, trainer.on_signal)
        signal.signal(signal.SIGTERM, trainer.on_signal)
        trainer.start()
        trainer.run(_reporter(trainer.shape.context))
        _emit({"metrics": trainer.publish()})
    except Stopped:
        return STOPPED
    except StageError as error:
        _emit({"error": str(error)})
        return 1
    return 0


def _reporter(context: int) -> Callable[[State, float], None]:
    last = 0.0

    def report(state: State, used: float) -> None:
        nonlocal last
        if used == 1 or time.monotonic() - last > REPORT_SECONDS:
            last = time.monotonic()
            tokens = state.windows * context
            _emit({"tokens": tokens, "total": round(tokens / used), "step": state.step})

    return report


def _emit(record: dict[str, Any]) -> None:
    try:
        print(json.dumps(record), flush=True)
    except OSError:  # nobody reads any more: what counts now is to save
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _JsonLines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _emit({"warning": record.getMessage()})


def _stop_when_input_ends() -> None:
    """The parent holds the other end: when it dies, however it dies, training saves and ends too."""
    # os.read, not sys.stdin: a thread that waits in a buffered reader aborts the interpreter when it ends
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_SECONDS)
    os._exit(STOPPED)


if __name__ == "__main__":
    sys.exit(main())
