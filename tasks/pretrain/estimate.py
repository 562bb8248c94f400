"""What a training will take, before it runs: time, memory, energy, CO2 and money, from a measurement of seconds."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lang_configs.schema import Runtime
from lang_configs.training import Pretrain
from tasks.core.engines import available_cores
from tasks.core.errors import StageError
from tasks.core.files import write_atomically
from tasks.pretrain import child
from tasks.pretrain.batches import enough_tokens
from tasks.pretrain.emissions import footprint
from tasks.pretrain.machine.compiling import worth_compiling
from tasks.pretrain.machine.energy import JOULES_PER_KWH, processor_name
from tasks.pretrain.machine.threads import cache_folder, process_count

MEASURE_SECONDS = 5.0
"""How long steps are measured; loading torch and making the model comes on top."""
LIMIT_SECONDS = 15.0
"""After so long the measurement is given up; steps are measured for less time where loading takes most of it."""
COMPILED_SPEEDUP = {"cpu": 1.2, "cuda": 1.5}
COMPILE_SECONDS = 30.0
"""What compiling gains and costs (measured on 2 cores: 1.1 to 1.4 times the speed, 10 to 27 s for each of two window lengths;
on a GPU assumed)."""
TOKEN_BYTES = 2
"""Of the training tokens, which are mapped into memory; no packaged tokenizer has more than 65,535 pieces."""
WITHOUT_EFFECT = {
    "steps", "minutes", "epochs", "tokens", "kwh", "half_context", "learning_rate", "embedding_learning_rate",
    "norm_learning_rate", "weight_decay", "schedule", "warm_up", "decay", "clip", "seed",
}  # fmt: skip
"""Fields that say how long or how well a model is trained, but not how fast."""


@dataclass(frozen=True)
class Speed:
    """What a machine did in a measurement. Tokens are those of an optimizer step on whole and on half windows."""

    parameters: int
    device: str
    precision: str
    full_tokens: int
    full_tokens_per_second: float
    half_tokens: int
    half_tokens_per_second: float
    memory_bytes: int
    data_bytes: int
    """Size of the token file that `memory_bytes` includes."""
    watts: float
    shared_watts: float
    """The part of them that other processes on the machine would not add to."""
    energy: str
    """How the watts are known."""
    measured_seconds: float
    start_seconds: float = 0.0
    """Time to load everything and to make the model."""


@dataclass(frozen=True)
class Estimate:
    """What a training will take; how each number is known is said beside it."""

    parameters: int
    device: str
    precision: str
    tokens: int
    tokens_per_second: float
    seconds: float
    ends_by: str
    """The field of the config whose budget is used up first."""
    memory_bytes: int
    kwh: float
    energy: str
    co2_grams: float
    grid: str
    cost: float | None
    currency: str | None
    notes: list[str]


def estimate(config: Pretrain, speed: Speed, train_tokens: int | None, runtime: Runtime) -> Estimate:
    """What a run with this config on `train_tokens` takes at a measured speed; None: it is not known how many there are.

    The measurement was one process and compiled nothing; what the run will do is known from `runtime` and its budget.

    Raises StageError where only the number of tokens would say when the run ends.
    """
    notes = []
    processes = process_count(runtime) if speed.device == "cuda" else 1  # on a CPU they share the cores that one uses all of
    if processes > 1:
        speed = _together(speed, processes)
        notes.append(f"measured with one GPU; {processes} are taken for {processes} times its speed and energy")
    epoch, kind = train_tokens or sys.maxsize, (speed.device, speed.precision)
    compiles = worth_compiling(config, runtime.compile, speed.parameters, epoch, *kind)
    if compiles:
        gain = COMPILED_SPEEDUP[speed.device]
        speed = _faster(speed, gain)
        notes.append(f"measured without compiling; compiling is taken for {gain} times the speed after {COMPILE_SECONDS:.0f} s")
    if train_tokens is None:
        notes.append("how many tokens the text has is not known: an end by pretrain.epochs is not foreseen")
    before = speed.start_seconds + (COMPILE_SECONDS if compiles else 0)
    budgets = list(_budgets(config, speed, train_tokens, COMPILE_SECONDS if compiles else 0))
    if not budgets:
        raise StageError("only pretrain.epochs ends this run, and how many tokens the text has is not known yet")
    ends_by, seconds, tokens = min(budgets, key=lambda budget: budget[1])
    kwh = speed.watts * (before + seconds) / JOULES_PER_KWH
    data = 0 if speed.device == "cuda" else max(0, TOKEN_BYTES * (train_tokens or 0) - speed.data_bytes)
    cost = footprint(kwh, runtime)
    return Estimate(
        parameters=speed.parameters,
        device=speed.device,
        precision=speed.precision,
        tokens=round(tokens),
        tokens_per_second=tokens / seconds,
        seconds=before + seconds,
        ends_by=ends_by,
        memory_bytes=speed.memory_bytes + data,
        kwh=kwh,
        energy=speed.energy,
        notes=notes,
        **{name: cost[name] for name in ("co2_grams", "grid", "cost", "currency")},
    )


def _faster(speed: Speed, gain: float) -> Speed:
    full, half = gain * speed.full_tokens_per_second, gain * speed.half_tokens_per_second
    return replace(speed, full_tokens_per_second=full, half_tokens_per_second=half)


def _together(speed: Speed, processes: int) -> Speed:
    """The speed and power of several processes, each with a device of its own."""
    own = speed.watts - speed.shared_watts
    return replace(_faster(speed, processes), watts=speed.shared_watts + processes * own)


def _budgets(config: Pretrain, speed: Speed, train_tokens: int | None, compiling: float) -> Iterator[tuple[str, float, float]]:
    """Of each budget its field, and the seconds of steps and the tokens after which it is used up.

    The share of the run on half windows is a share of whichever budget ends the run: of its time or of its tokens.
    """
    half, full = config.half_context, 1 - config.half_context
    by_time = half * speed.half_tokens_per_second + full * speed.full_tokens_per_second
    by_tokens = 1 / (half / speed.half_tokens_per_second + full / speed.full_tokens_per_second)
    if train_tokens is not None:
        windows = (train_tokens - 1) // config.model.context
        tokens = config.epochs * windows * config.model.context
        yield "epochs", tokens / by_tokens, tokens
    if config.tokens:
        yield "tokens", config.tokens / by_tokens, config.tokens
    if config.steps:
        tokens = config.steps * (half * speed.half_tokens + full * speed.full_tokens)
        half_seconds = half * speed.half_tokens / speed.half_tokens_per_second
        yield "steps", config.steps * (half_seconds + full * speed.full_tokens / speed.full_tokens_per_second), tokens
    limits = {"minutes": 60 * (config.minutes or 0), "kwh": JOULES_PER_KWH * (config.kwh or 0) / speed.watts}
    for name, seconds in limits.items():
        if seconds:
            training = max(1.0, seconds - compiling)
            yield name, training, training * by_time


def known_speed(config: Pretrain, train_tokens: int | None, vocab_size: int) -> Speed | None:
    """What an earlier `measured_speed` found for the same model on this machine, None if there was none."""
    try:
        return Speed(**json.loads(_record(config, train_tokens, vocab_size).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def measured_speed(config: Pretrain, train_tokens: int | None, vocab_size: int) -> Speed:
    """Measure how fast the model trains here, in a process of its own, and remember it for this machine.

    Raises StageError when that takes longer than LIMIT_SECONDS, or fails.
    """
    command = [*child.command("tasks.pretrain.measure", config), "--vocab-size", str(vocab_size)]
    command += ["--seconds", str(MEASURE_SECONDS), "--until", str(time.time() + 0.8 * LIMIT_SECONDS)]
    command += ["--tokens", str(train_tokens)] if train_tokens is not None else []
    begun = time.monotonic()
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=child.variables(config),
            timeout=LIMIT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise StageError(f"the model is too slow here to be measured in {LIMIT_SECONDS:.0f} s") from None
    if done.returncode:
        message = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise StageError(f"the speed of training could not be measured: {message}")
    speed = Speed(**json.loads(done.stdout.splitlines()[-1]))
    speed = replace(speed, start_seconds=time.monotonic() - begun - speed.measured_seconds)
    record = _record(config, train_tokens, vocab_size)
    record.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(record, json.dumps(asdict(speed)).encode())
    return speed


def _record(config: Pretrain, train_tokens: int | None, vocab_size: int) -> Path:
    """Where the speed of a model on this machine is kept."""
    model = config.model_dump(mode="json", exclude=WITHOUT_EFFECT)
    size = min(train_tokens or sys.maxsize, enough_tokens(config))
    key: list[Any] = [model, size, vocab_size, processor_name(), available_cores(), version("torch")]
    key += [path.read_text(errors="replace") for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))]
    key += [os.environ.get("CUDA_VISIBLE_DEVICES")]
    digest = hashlib.blake2b(json.dumps(key, sort_keys=True).encode(), digest_size=10).hexdigest()
    return cache_folder() / "speed" / f"{digest}.json"
