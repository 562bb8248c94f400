"""Runs of the trainer on the small corpus, in this process or in one of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from lang_configs.schema import Runtime
from lang_configs.training import Pretrain
from tasks.pretrain import CHECKPOINTS, checkpoint
from tasks.pretrain.loop import train
from tasks.pretrain.start import Run
from tasks.pretrain.start import start as start_run
from tasks.pretrain.state import State
from tests import REPOSITORY

TINY: dict[str, Any] = {
    "model": {"layers": 1, "width": 32, "heads": 2, "feed_forward": 64, "context": 32},
    "batch_tokens": 256,
    "precision": "fp32",
    "compile": False,
    "minutes": None,
    "epochs": 100,
    "log_steps": 5,
    "checkpoint_steps": 1,
}


def sections(changes: dict[str, Any]) -> tuple[Pretrain, Runtime]:
    """The sections `pretrain` and `runtime` of TINY with changes to either."""
    values = TINY | changes
    runtime = {name: values.pop(name) for name in Runtime.model_fields if name in values}
    return Pretrain.model_validate(values), Runtime.model_validate(runtime)


def start(
    tokens: Path, out: Path, changes: dict[str, Any], launcher: tuple[str, ...] = (), module: str = "tasks.pretrain.train",
    options: tuple[str, ...] = (), threads: int = 1,
) -> subprocess.Popen[str]:  # fmt: skip
    out.mkdir(exist_ok=True)
    config, runtime = sections(changes)
    command = [sys.executable, *launcher, "-m", module, *options, "--tokens", str(tokens), "--out", str(out)]
    command += ["--config", config.model_dump_json(), "--runtime", runtime.model_dump_json()]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    return subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    output = process.communicate()[0]
    assert process.returncode == 0, output
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    metrics: dict[str, Any] = next(line["metrics"] for line in lines if "metrics" in line)
    return metrics


def begin(tokens: Path, out: Path, changes: dict[str, Any]) -> Run:
    """A run in this process, new or where an earlier one stopped, before its next step."""
    return start_run(tokens, out, *sections(changes))


def run_here(tokens: Path, out: Path, changes: dict[str, Any]) -> Run:
    """A whole run in this process: no signals, no second start."""
    run = begin(tokens, out, changes)
    train(run)
    return run


def run_until(tokens: Path, out: Path, changes: dict[str, Any], step: int) -> None:
    """A run that ends after so many steps, as far as its checkpoint tells."""

    def interrupt(state: State, used: float) -> None:
        if state.step == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(begin(tokens, out, changes), interrupt)


def step_reached(out: Path) -> int:
    return max([int(path.name[5:]) for path in checkpoint.saved(out / CHECKPOINTS)], default=0)


def result(out: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any], list[dict[str, Any]]]:
    """All that a run leaves, less what the clock says."""
    found = checkpoint.load_latest(out / CHECKPOINTS)
    assert found is not None
    weights, moments, state = found
    clocks = {"seconds", "joules", "rows"}
    measured = ["tokens_per_second", "memory_bytes", "elapsed_seconds", "mfu", "watts"]
    table = pq.read_table(out / "metrics.parquet").drop_columns(measured)
    return weights | moments, {key: value for key, value in state.items() if key not in clocks}, table.to_pylist()
