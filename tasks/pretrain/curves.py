"""What a run records of itself as it goes: the columns of `metrics.parquet`, and the event files of TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from tasks.core.errors import StageError

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
