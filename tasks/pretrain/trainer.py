"""The training loop, new or as the last checkpoint left it."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from safetensors import SafetensorError
from torch import Tensor

from lang_configs.training import Pretrain
from tasks.core.documents import write_table
from tasks.core.errors import StageError
from tasks.core.files import replacing
from tasks.core.memory import peak_memory
from tasks.pretrain import CHECKPOINTS, checkpoint, hardware, models
from tasks.pretrain.batches import Phase, plan_phases
from tasks.pretrain.curves import METRICS, tensorboard
from tasks.pretrain.data import TokenFiles, Windows, halve, mask, validation_windows
from tasks.pretrain.energy import JOULES_PER_KWH, Meter, watts
from tasks.pretrain.guard import Guard
from tasks.pretrain.optimizer import Optimizer
from tasks.pretrain.parallel import Ranks
from tasks.pretrain.sampled import Sample, sample
from tasks.pretrain.schedule import Used, learning_rate_scale, progress
from tasks.pretrain.utilization import flops_per_token, peak_flops

LOOKS = 10
"""How often the held-out loss is measured in a run, at equal shares of its budget."""
FP16_SCALE, FP16_GROWTH_STEPS = 2.0**16, 2000
"""Where fp16's loss scale starts, and after how many finite steps it doubles (torch.amp.GradScaler's)."""

log = logging.getLogger(__name__)


class Stopped(BaseException):
    """A signal asked for the end. Not an Exception, so that no library takes it for an error of its own."""


@dataclass
class State:
    """Where a run is; `windows` read so far determines what is read next."""

    step: int = 0
    windows: int = 0
    seconds: float = 0.0
    joules: float = 0.0
    flops: float = 0.0
    loss_scale: float = 1.0
    good_steps: int = 0
    validation_loss: float | None = None
    losses: list[float] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)


class Trainer:
    """A run of one process, or of one of several that share every batch."""

    def __init__(self, tokens: Path, out: Path, config: Pretrain, curves: Path | None = None) -> None:
        self.config, self.out, self.curves, self.ranks = config, out, curves, Ranks()
        self.files = TokenFiles.read(tokens)
        self.data = Windows(self.files, config.model.context, config.seed)
        self.held_out = validation_windows(self.files, config.model.context)
        self.device = hardware.pick_device()
        self.dtype = hardware.pick_dtype(config.precision, self.device)
        torch.set_float32_matmul_precision("high" if config.precision == "tf32" else "highest")
        torch.manual_seed(config.seed)
        self.model = models.new(config, self.files.vocab_size, self.files.bos).to(self.device)
        self.optimizer = Optimizer(self.model, config, self.ranks)
        self.model.to(self.dtype)
        self.parameters = sum(parameter.numel() for parameter in self.model.parameters())
        most = hardware.most_windows(self.model.shape, hardware.working_bytes(self.device), config.checkpointing)
        self.phases = plan_phases(config, self.data.count, most, self.files.vocab_size, self.ranks.count)
        self.meter, self.peak = Meter(self.device), peak_flops(self.device, self.dtype)
        self.state, self.guard = State(), Guard()
        if self.dtype == torch.float16:
            self.state.loss_scale = FP16_SCALE
        self.best = math.inf
        self.unsaved = self.stop = False
        self.loss, self.compiled = self.model.loss, False
        self.compiled_for: set[tuple[Phase, bool]] = set()

    def start(self) -> None:
        """Load the last checkpoint, if any, and have the model compiled if that pays."""
        self.started = self.saved_at = time.monotonic()
        self._resume()
        self.board = tensorboard(self.curves, self.state.step) if self.curves and self.ranks.first else None
        self.seconds_before, self.joules_before = self.state.seconds, self.state.joules
        epoch_tokens = self.data.count * self.config.model.context
        if self.used() < 1 and hardware.worth_compiling(self.config, self.parameters, epoch_tokens, self.device):
            self.loss, self.compiled = torch.compile(self.model.loss, dynamic=False), True

    def run(self, report: Callable[[State, float], None]) -> None:
        """Train until the budget is used. Raises Stopped after a signal, when all is saved."""
        state, config = self.state, self.config
        logged_at, logged, logged_joules = time.monotonic(), dataclasses.replace(state), self.meter.measured_joules()
        (used,) = self.ranks.largest(self.used())
        while used < 1 or state.step == 0:
            before = used
            phase = next((phase for phase in self.phases if used < phase.until), self.phases[-1])
            loss, norm = self._gradients(phase)
            scale = learning_rate_scale(config.schedule, used, config.warm_up, config.decay)
            self._step(loss, norm, scale)
            self.unsaved = True
            state.step += 1
            state.windows += phase.windows
            state.flops += self._flops(phase)
            used, stop, unsaved = self.ranks.largest(self.used(), self.stop, time.monotonic() - self.saved_at)
            look = self.held_out is not None and math.floor(LOOKS * used) > math.floor(LOOKS * before)
            if used == 1 or state.step % config.log_steps == 0 or look:
                now, joules = time.monotonic(), self.meter.measured_joules()
                speed = (state.windows - logged.windows) * config.model.context / (now - logged_at)
                mfu = self._mfu(state.flops - logged.flops, now - logged_at)
                power = watts(joules, logged_joules, now - logged_at)
                held_out = self._validate(final=used == 1) if look else None
                self._log(scale, norm, speed, mfu, power, held_out)
                logged_at, logged, logged_joules = time.monotonic(), dataclasses.replace(state), self.meter.measured_joules()
            due = config.checkpoint_steps and state.step % config.checkpoint_steps == 0
            if stop or used == 1 or due or unsaved > 60 * config.checkpoint_minutes:
                self.save()
            if stop and used < 1:
                raise Stopped
            report(state, used)

    def used(self) -> float:
        """Share of the budget that is used; the clock counts compiling and goes on where an earlier run stopped."""
        state = self.state
        state.seconds = self.seconds_before + time.monotonic() - self.started
        state.joules = self.joules_before + self.meter.joules()
        kwh, tokens = state.joules / JOULES_PER_KWH, state.windows * self.config.model.context
        return progress(self.config, Used(state.step, state.seconds, tokens, state.windows / self.data.count, kwh))

    def save(self) -> None:
        """Write a checkpoint if there is something new to save; a disk that is full costs this one, not the run."""
        if self.unsaved:
            weights, moments = self.ranks.gather(self.optimizer.weights), self.ranks.gather(self.optimizer.state())
            record = {"run": self._identity(), "guard": asdict(self.guard), **asdict(self.state)}
            with _disk_may_be_full("the checkpoint", self.state.step):
                if self.ranks.first:
                    checkpoint.save(self.out / CHECKPOINTS, self.state.step, weights, moments, record)
        self.unsaved = False
        self.saved_at = time.monotonic()

    def publish(self) -> dict[str, Any]:
        """Write `model/` and `metrics.parquet` in the first process; return the metrics of the whole run.

        The model is the last one, unless the held-out loss was lower before: then that one, which too many epochs spoiled.
        """
        files, state = self.files, self.state
        weights, step, validation = self._best()
        if not self.ranks.first:
            return {}
        model = models.build(self.model.shape)
        model.load_state_dict(weights)
        for earlier in [self.out / "model", *self.out.glob(".model.*.tmp")]:
            shutil.rmtree(earlier, ignore_errors=True)
        with replacing(self.out / "model") as temporary:
            models.save_transformers(model, temporary, models.SpecialTokens(files.bos, files.eos, files.pad, files.mask))
        write_table(pa.Table.from_pylist(state.rows, METRICS), self.out / "metrics.parquet")
        tokens = state.windows * self.config.model.context
        return {
            "family": self.model.shape.family,
            "objective": self.model.objective,
            "parameters": self.parameters,
            "steps": state.step,
            "tokens": tokens,
            "epochs": round(state.windows / self.data.count, 4),
            "seconds": round(state.seconds, 1),
            "tokens_per_second": round(tokens / state.seconds),
            "training_loss": state.rows[-1]["loss"],
            "training_bits_per_byte": state.rows[-1]["bits_per_byte"],
            "published_step": step,
            "validation_loss": validation,
            "skipped_steps": self.guard.not_finite + self.guard.spikes,
            "loss_spikes": self.guard.spikes,
            "mfu": self._mfu(state.flops, state.seconds),
            "kwh": round(state.joules / JOULES_PER_KWH, 9),
            "energy": self.meter.words,
            "processes": self.ranks.count,
            "device": self.device,
            "precision": str(self.dtype).removeprefix("torch."),
            "compiled": self.compiled,
        }

    def on_signal(self, number: int, frame: object) -> None:
        """Ask the loop to stop; leave at once while there is nothing to save, as compiling may take long."""
        self.stop = True
        if not self.unsaved and self.ranks.count == 1:
            raise Stopped

    def _resume(self) -> None:
        folder = self.out / CHECKPOINTS
        found, best = checkpoint.load_latest(folder), checkpoint.load_best(folder)
        self.best = best[2] if best else math.inf
        if not found:
            return
        weights, moments, record = found
        if record.pop("run") != self._identity():
            raise StageError(f"{folder}: a run with another config or other tokens; remove it to start anew")
        self.guard = Guard(**record.pop("guard"))
        self.state = State(**record)
        self.optimizer.load(weights, moments)

    def _validate(self, final: bool) -> float:
        """Mean loss of the held-out windows; the weights are kept if they are the best so far and not the last."""
        assert self.held_out is not None
        masked, size = self.model.objective == "masked", self.phases[-1].each
        self._set(self.phases[-1], masked)
        if self.config.average:
            self.optimizer.show(self.optimizer.published())
        self.model.eval()
        total = 0.0
        with torch.no_grad():
            for first in range(0, len(self.held_out), size):
                rows = self.held_out[first : first + size]
                total += len(rows) * self.model.loss(*self._shown(rows, (self.config.seed, first), masked)).item()
        self.model.train()
        if self.config.average:
            self.optimizer.show(self.optimizer.weights)
        (loss,) = self.ranks.largest(total / len(self.held_out))  # so that all agree
        self.state.validation_loss = loss
        if loss < self.best and not final:
            self.best = loss
            weights = self.ranks.gather(self.optimizer.published())
            with _disk_may_be_full("the best weights so far", self.state.step):
                if self.ranks.first:
                    checkpoint.save_best(self.out / CHECKPOINTS, self.state.step, weights, loss)
        return loss

    def _best(self) -> tuple[dict[str, Tensor], int, float | None]:
        """The weights to publish, their step and their held-out loss."""
        state, last = self.state, self.state.validation_loss
        found = checkpoint.load_best(self.out / CHECKPOINTS)
        if last is None or not found or found[2] >= last:
            return self.ranks.gather(self.optimizer.published()), state.step, last
        log.warning(
            "the held-out loss rose from %.3f to %.3f after step %d, whose model is taken: more text, fewer epochs or dropout"
            " would have made use of the rest of the time", found[2], last, found[1],
        )  # fmt: skip
        return found

    def _identity(self) -> dict[str, Any]:
        config = self.config.model_dump(mode="json")
        return {"config": config, "tokens": self.files.train_tokens, "bytes": self.files.train_bytes, "dtype": str(self.dtype)}

    def _objectives(self) -> list[bool]:
        """Whether steps predict masked tokens: none, all, or some of each."""
        return [False, True] if self.config.hybrid else [self.model.objective == "masked"]

    def _is_masked(self, step: int) -> bool:
        share = self.config.hybrid
        return self._objectives()[0] or math.floor((step + 1) * share) > math.floor(step * share)

    def _set(self, phase: Phase, masked: bool) -> None:
        if isinstance(self.model, models.CausalLM):
            self.model.set_bidirectional(masked)
        narrow = self.config.narrow_layers if phase.narrow else 0
        self.model.training_only = dataclasses.replace(self.model.training_only, narrow_layers=narrow)

    def _batch(self, phase: Phase, position: int, masked: bool) -> tuple[Tensor, ...]:
        """One micro-batch, beginning with the window at `position` of the run, as the model's loss takes it."""
        rows = self.data.read(position, phase.each)
        return self._shown(halve(rows) if phase.half else rows, (self.config.seed, position, phase.half), masked)

    def _sample(self, phase: Phase) -> Sample:
        """The pieces to score in all micro-batches of a step, of whatever process."""
        position = self.state.windows
        labels = self.data.read(position, phase.windows)[:, 1:]
        found = sample(labels, self.files.vocab_size, phase.scored, (self.config.seed, position))
        return Sample(*(self._on_device(part) for part in found))

    def _shown(self, rows: Tensor, key: tuple[int, ...], masked: bool) -> tuple[Tensor, ...]:
        if not masked:
            return (self._on_device(rows),)
        if self.files.mask is None:
            raise StageError(f"{self.files.folder}: the tokenizer has no mask token; train it again with this version")
        return tuple(self._on_device(part) for part in mask(rows, self.config.masking, self.files.mask, key))

    def _on_device(self, ids: Tensor) -> Tensor:
        # From pinned memory a GPU copies when it gets there; from other memory the program would wait until it does.
        return ids if self.device == "cpu" else ids.pin_memory().to(self.device, non_blocking=True)

    def _gradients(self, phase: Phase) -> tuple[float, float]:
        """Gradients of one step, whose mean loss and norm are returned; a kind of batch is compiled when it first comes."""
        kind = (phase, self._is_masked(self.state.step))
        if not self.compiled or kind in self.compiled_for:
            return self._backward(phase)
        self.save()  # compiling may take longer than a signal is willing to wait
        try:
            self.compiled_for.add(kind)
            return self._backward(phase)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # no compiler, no headers, no Triton: all mean the same here
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            log.warning("the model could not be compiled, so training is slower (is a C++ compiler installed?): %s", reason)
        self.optimizer.drop()
        self.loss, self.compiled = self.model.loss, False
        return self._backward(phase)

    def _backward(self, phase: Phase) -> tuple[float, float]:
        losses, masked = [], self._is_masked(self.state.step)
        self._set(phase, masked)
        options = {"sample": self._sample(phase)} if phase.scored and not masked else {}
        for micro in range(self.ranks.rank, phase.count, self.ranks.count):
            if self.config.dropout:  # what dropout draws is a function of seed and window, like the order of the data
                torch.manual_seed(hash((self.config.seed, self.state.windows, micro)))
            loss = self.loss(*self._batch(phase, self.state.windows + micro * phase.each, masked), **options)
            (loss * (self.state.loss_scale * self.ranks.count / phase.count)).backward()
            losses.append(loss.detach())  # to read its value now would let a GPU wait for each micro-batch
            if self.stop and self.ranks.count == 1:  # the step is not finished: with many micro-batches it may take minutes
                self.optimizer.drop()
                self.save()
                raise Stopped
        gradients = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
        (mean,) = self.ranks.mean(gradients, torch.stack(losses).mean().item())
        return mean, self.optimizer.gradient_norm(self.state.loss_scale)

    def _step(self, loss: float, norm: float, scale: float) -> None:
        state = self.state
        if self.guard.allows(loss, norm, state.loss_scale):
            self.optimizer.step(scale, norm, state.loss_scale)
            state.losses += [loss] if self._is_masked(state.step) == (self.model.objective == "masked") else []
            state.good_steps += 1
            if self.dtype == torch.float16 and state.good_steps % FP16_GROWTH_STEPS == 0:
                state.loss_scale *= 2
            return
        self.optimizer.drop()
        if self.dtype == torch.float16 and not math.isfinite(norm):
            state.loss_scale, state.good_steps = max(1.0, state.loss_scale / 2), 0

    def _flops(self, phase: Phase) -> float:
        """What the products of one step take, those of pieces that are not scored left out."""
        shape, context = self.model.shape, self.config.model.context
        not_scored = (shape.vocab_size - phase.scored) * shape.width if phase.scored else 0
        length = context // (2 if phase.half else 1)
        return (
            phase.windows
            * context
            * flops_per_token(self.model.matmul_parameters - not_scored, shape.layers, shape.width, length)
        )

    def _mfu(self, flops: float, seconds: float) -> float | None:
        return flops / seconds / (self.peak * self.ranks.count) if self.peak else None

    def _log(
        self, scale: float, norm: float, speed: float, mfu: float | None, power: float | None, held_out: float | None
    ) -> None:
        state, files = self.state, self.files
        loss = sum(state.losses) / len(state.losses) if state.losses else None
        state.losses.clear()
        memory = torch.cuda.max_memory_allocated() if self.device == "cuda" else peak_memory()
        per_byte = files.train_tokens / files.train_bytes / math.log(2) if self.model.objective == "causal" else None
        bits, held_out_bits = (per_byte * nats if per_byte and nats is not None else None for nats in (loss, held_out))
        rate = scale * self.config.peak_learning_rate
        values = [state.step, state.windows * self.config.model.context, state.windows / self.data.count, loss, bits, rate]
        values += [norm if math.isfinite(norm) else None, speed, memory, state.seconds, mfu, held_out, held_out_bits, power]
        state.rows.append(row := dict(zip(METRICS.names, values, strict=True)))
        if self.board:
            for name in (name for name, value in row.items() if value is not None):
                self.board.add_scalar(name, row[name], state.step)


@contextlib.contextmanager
def _disk_may_be_full(what: str, step: int) -> Iterator[None]:
    """A disk that is full costs what was to be written, not the run."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        log.warning("%s of step %d could not be written (%s); the one before is kept", what, step, error)
