"""How fast a model trains on this machine: `python -m tasks.pretrain.measure --config JSON`, a training of seconds.

It is the real training, on random tokens and not compiled, in a process of its own; prints one JSON object: a `Speed`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean

import numpy as np
import torch

from lang_configs.schema import Runtime
from lang_configs.training import Pretrain
from tasks.pretrain import models
from tasks.pretrain.batches import Phase, enough_tokens
from tasks.pretrain.estimate import Speed
from tasks.pretrain.loop import gradients, update
from tasks.pretrain.machine.memory import used_bytes
from tasks.pretrain.schedule import FLOOR
from tasks.pretrain.start import Run, start


@dataclass(frozen=True)
class Steps:
    """Of one kind of step: its tokens, and seconds of the whole step."""

    tokens: int
    seconds: float


def measure(config: Pretrain, train_tokens: int | None, vocab_size: int, seconds: float, until: float) -> Speed:
    """Train on random tokens for about `seconds`: on whole windows, then on half ones, if the config has both.

    At `until` (seconds of time.time) no step is begun but the first of each kind.

    A step of many micro-batches is put together from the time of one and of the update. `train_tokens` decides how
    large batches are; None stands for plenty.
    """
    with tempfile.TemporaryDirectory() as folder:
        tokens = _random_tokens(Path(folder), config, train_tokens, vocab_size)
        run = start(Path(folder), Path(folder), config, Runtime(compile=False))
        machine = run.machine
        seconds = min(seconds, until - time.time())
        meter, begun = machine.meter, time.monotonic()
        joules, shared = meter.joules(), meter.shared_joules()
        kinds = {phase.half: phase for phase in reversed(run.phases)}  # of each length, the first phase
        timed = {half: _time(run, phase, seconds / len(kinds)) for half, phase in kinds.items()}
        spent = time.monotonic() - begun
        joules, shared = meter.joules() - joules, meter.shared_joules() - shared
    full, half = timed.get(False) or timed[True], timed.get(True) or timed[False]
    return Speed(
        parameters=run.parameters,
        device=machine.device,
        precision=machine.precision,
        full_tokens=full.tokens,
        full_tokens_per_second=full.tokens / full.seconds,
        half_tokens=half.tokens,
        half_tokens_per_second=half.tokens / half.seconds,
        memory_bytes=used_bytes(machine.device),
        data_bytes=tokens,
        watts=joules / spent,
        shared_watts=shared / spent,
        energy=meter.description,
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


def _time(run: Run, phase: Phase, seconds: float) -> Steps:
    """Run steps of one kind for so long, at least one; the first, in which memory is fetched, counts only if it is alone.

    The mean of the others, not their median: a run is as long as all of its steps, slow ones included.
    """
    short = replace(phase, accumulation=1)
    micro_batches: list[float] = []
    updates: list[float] = []
    begun = now = time.monotonic()
    while not updates or now - begun + micro_batches[-1] + updates[-1] <= seconds:
        before = now
        loss, norm = gradients(run, short)
        computed = time.monotonic()
        update(run, short, loss, norm, FLOOR)
        if run.machine.device == "cuda":
            torch.cuda.synchronize()
        now = time.monotonic()
        micro_batches.append(computed - before)
        updates.append(now - computed)
    micro_batch, whole_update = (fmean(values[1:] or values) for values in (micro_batches, updates))
    return Steps(phase.windows * run.config.model.context, phase.accumulation * micro_batch + whole_update)


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tasks.pretrain.measure")
    parser.add_argument("--config", required=True, help="the pretrain section of the config, as JSON")
    parser.add_argument("--family-module", help="module that declares the model's family, if that is not one of ours")
    parser.add_argument("--tokens", type=int, help="training tokens; default: plenty")
    parser.add_argument("--vocab-size", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True, help="how long to measure")
    parser.add_argument("--until", type=float, default=float("inf"), help="when to end at the latest (Unix time)")
    options = parser.parse_args(arguments)
    if options.family_module:
        models.register_from(options.family_module)
    config = Pretrain.model_validate_json(options.config)
    print(json.dumps(asdict(measure(config, options.tokens, options.vocab_size, options.seconds, options.until))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
