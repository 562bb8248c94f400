"""What a run records of itself as it goes: the columns of `metrics.parquet`, and the event files of TensorBoard."""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from tasks.core.errors import StageError
from tasks.pretrain.machine.energy import watts
from tasks.pretrain.machine.memory import used_bytes
from tasks.pretrain.start import Run

METRICS = pa.schema(
    [
        ("step", pa.int64()),
        ("tokens", pa.int64()),
        ("epoch", pa.float64()),
        ("loss", pa.float64()),  # nats per predicted token, mean since the last row; an estimate while a sample is scored
        ("bits_per_byte", pa.float64()),  # of causal models, estimated from the bytes per token of the whole training text
        ("learning_rate", pa.float64()),
        ("gradient_norm", pa.float64()),
        ("tokens_per_second", pa.float64()),
        ("memory_bytes", pa.int64()),
        ("elapsed_seconds", pa.float64()),
        ("mfu", pa.float64()),  # since the last row; null for a GPU whose peak is not known
        ("validation_loss", pa.float64()),  # nats per predicted token of some held-out windows, at each tenth of the run
        ("validation_bits_per_byte", pa.float64()),
        ("watts", pa.float64()),  # as measured since the last row; null where no counter can be read
    ]
)


def tensorboard(folder: Path, step: int) -> Any:
    """What writes event files to a folder, in which nothing counts that a run wrote after `step`."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise StageError("runtime.tensorboard needs a package that is not here: pip install tensorboard") from None
    return SummaryWriter(str(folder), purge_step=step + 1, flush_secs=10)


@dataclass(frozen=True)
class Interval:
    """What was measured since the last row."""

    tokens_per_second: float
    mfu: float | None
    watts: float | None


class Curves:
    """Adds rows to the state of a run and, if `runtime.tensorboard` is set, points to its curves there."""

    def __init__(self, run: Run) -> None:
        self._run = run
        folder = run.runtime.tensorboard
        self._board = tensorboard(Path(folder), run.state.step) if folder and run.machine.ranks.is_main else None
        self._restart()

    def interval(self) -> Interval:
        """Measure the time since the last row; what is done before `add` belongs to no interval."""
        run, state = self._run, self._run.state
        now, joules = time.monotonic(), run.machine.measured_joules()
        seconds = now - self._since
        return Interval(
            tokens_per_second=(state.windows - self._before.windows) * run.config.model.context / seconds,
            mfu=run.machine.mfu(state.flops - self._before.flops, seconds),
            watts=watts(joules, self._joules, seconds),
        )

    def add(self, interval: Interval, learning_rate: float, norm: float, validation_loss: float | None) -> None:
        """Add the row of a step; the training loss in it is the mean over the steps since the last one."""
        run, state = self._run, self._run.state
        loss = sum(state.losses) / len(state.losses) if state.losses else None
        state.losses.clear()
        row = {
            "step": state.step,
            "tokens": state.windows * run.config.model.context,
            "epoch": state.windows / run.data.count,
            "loss": loss,
            "bits_per_byte": self._bits_per_byte(loss),
            "learning_rate": learning_rate,
            "gradient_norm": norm if math.isfinite(norm) else None,
            "tokens_per_second": interval.tokens_per_second,
            "memory_bytes": used_bytes(run.machine.device),
            "elapsed_seconds": state.seconds,
            "mfu": interval.mfu,
            "validation_loss": validation_loss,
            "validation_bits_per_byte": self._bits_per_byte(validation_loss),
            "watts": interval.watts,
        }
        state.rows.append(row)
        if self._board:
            for name in (name for name, value in row.items() if value is not None):
                self._board.add_scalar(name, row[name], state.step)
        self._restart()

    def _bits_per_byte(self, nats: float | None) -> float | None:
        """Of a causal model, from the bytes per token of the whole training text."""
        files = self._run.files
        if nats is None or self._run.model.objective != "causal":
            return None
        return files.train_tokens / files.train_bytes / math.log(2) * nats

    def _restart(self) -> None:
        self._since, self._joules = time.monotonic(), self._run.machine.measured_joules()
        self._before = dataclasses.replace(self._run.state)
