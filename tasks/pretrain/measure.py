"""How fast a model trains on this machine: `python -m tasks.pretrain.measure --config JSON`, a training of seconds.

It is the real training, on random tokens and not compiled, in a process of its own; prints one JSON object: a `Speed`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean

import numpy as np
import torch

from lang_configs.training import Pretrain
from tasks.core.memory import peak_memory
from tasks.pretrain import hardware
from tasks.pretrain.batches import Phase, enough_tokens
from tasks.pretrain.estimate import Speed
from tasks.pretrain.trainer import State, Trainer

UNLIMITED = {"steps": None, "minutes": None, "tokens": None, "kwh": None, "epochs": 1e9}
QUIET = {"compile": False, "checkpoint_minutes": 1e9, "checkpoint_steps": None, "log_steps": 10**9}


class _Enough(BaseException):
    """The time for measuring is over. Not an Exception, so that nothing takes it for an error."""


@dataclass(frozen=True)
class Steps:
    """Of one kind of step: its tokens, and seconds of the whole step."""

    tokens: int
    seconds: float


def measure(config: Pretrain, train_tokens: int | None, vocab_size: int, seconds: float, until: float) -> Speed:
    """Train on random tokens for about `seconds`: on whole windows, then on half ones, if the config has both.

    At `until` (seconds of time.time) no step is begun but the first of each kind.

    A step of many micro-batches is put together from the time of one and of the optimizer. `train_tokens` decides how
    large batches are; None stands for plenty.
    """
    with tempfile.TemporaryDirectory() as folder:
        tokens = _random_tokens(Path(folder), config, train_tokens, vocab_size)
        trainer = Trainer(Path(folder), Path(folder), config.model_copy(update=UNLIMITED | QUIET))
        trainer.start()
        seconds = min(seconds, until - time.time())
        begun, joules = time.monotonic(), trainer.meter.joules()
        kinds = {phase.half: phase for phase in reversed(trainer.phases)}  # of each length, the first phase
        timed = {half: _time(trainer, phase, seconds / len(kinds)) for half, phase in kinds.items()}
        spent, joules = time.monotonic() - begun, trainer.meter.joules() - joules
    full, half = timed.get(False) or timed[True], timed.get(True) or timed[False]
    epoch_tokens = (train_tokens or sys.maxsize) // config.model.context * config.model.context
    return Speed(
        parameters=trainer.parameters,
        device=trainer.device,
        precision=str(trainer.dtype).removeprefix("torch."),
        full_tokens=full.tokens,
        full_tokens_per_second=full.tokens / full.seconds,
        half_tokens=half.tokens,
        half_tokens_per_second=half.tokens / half.seconds,
        memory_bytes=(torch.cuda.max_memory_allocated() if trainer.device == "cuda" else peak_memory()),
        data_bytes=tokens,
        watts=joules / spent,
        energy=trainer.meter.words,
        compiles=hardware.worth_compiling(config, trainer.parameters, epoch_tokens, trainer.device),
        measured_seconds=spent,
    )


def _random_tokens(folder: Path, config: Pretrain, train_tokens: int | None, vocab_size: int) -> int:
    """Token files, as many as make steps of the right kind; returns the bytes of the training tokens."""
    enough = enough_tokens(config)
    count = max(min(enough, train_tokens or enough), config.model.context + 1)
    dtype = "uint16" if vocab_size <= 65535 else "uint32"
    ids = np.random.default_rng(config.seed).integers(vocab_size, size=count, dtype=dtype)
    ids.tofile(folder / "train.bin")
    meta = {"dtype": dtype, "vocab_size": vocab_size, "bos": 1, "eos": 2, "pad": 0, "mask": 3}
    meta |= {"train_tokens": count, "train_bytes": count}
    (folder / "meta.json").write_text(json.dumps(meta))
    return ids.nbytes


def _time(trainer: Trainer, phase: Phase, seconds: float) -> Steps:
    """Run steps of one kind for so long, at least one; the first, in which memory is fetched, counts only if it is alone.

    The mean of the others, not their median: a run is as long as all of its steps, slow ones included.
    """
    trainer.phases = [replace(phase, until=1.0, count=1)]
    durations: list[float] = []
    updates: list[float] = []
    begun = last = time.monotonic()

    def report(state: State, used: float) -> None:
        nonlocal last
        now = time.monotonic()
        durations.append(now - last)
        last = now
        if now - begun + durations[-1] > seconds:
            raise _Enough

    step = trainer.optimizer.step
    setattr(trainer.optimizer, "step", _timed(step, updates))  # noqa: B010 (a method, to mypy)
    try:
        trainer.run(report)
    except _Enough:
        pass
    finally:
        setattr(trainer.optimizer, "step", step)  # noqa: B010
    whole, update = (fmean(values[1:] or values) for values in (durations, updates))
    tokens = phase.windows * trainer.config.model.context
    return Steps(tokens, phase.count * (whole - update) + update)


def _timed(function: Callable[..., None], seconds: list[float]) -> Callable[..., None]:
    def timed(*arguments: float) -> None:
        begun = time.monotonic()
        function(*arguments)
        seconds.append(time.monotonic() - begun)

    return timed


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tasks.pretrain.measure")
    parser.add_argument("--config", required=True, help="the pretrain section of the config, as JSON")
    parser.add_argument("--tokens", type=int, help="training tokens; default: plenty")
    parser.add_argument("--vocab-size", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True, help="how long to measure")
    parser.add_argument("--until", type=float, default=float("inf"), help="when to end at the latest (Unix time)")
    options = parser.parse_args(arguments)
    config = Pretrain.model_validate_json(options.config)
    print(json.dumps(asdict(measure(config, options.tokens, options.vocab_size, options.seconds, options.until))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
