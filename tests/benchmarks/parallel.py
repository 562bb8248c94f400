"""Our data-parallel training beside PyTorch's own: `python tests/benchmarks/parallel.py`, two processes over gloo.

Stock is DistributedDataParallel with ZeroRedundancyOptimizer around torch.optim.AdamW and, for muon, around torch.optim.Muon,
which takes the matrices one by one and a fused one as a whole. In bf16 its weights are fp32 and its products bf16 by autocast;
ours computes in bf16 beside fp32 weights that are shared out. Both read the same windows. Resumed: the weights of a run that
was stopped half-way and went on from what was saved, beside those of a run that was not.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from heading import heading
from torch import Tensor, distributed, nn

from lang_configs.schema import Runtime
from lang_configs.training import Pretrain
from tasks.core.memory import peak_memory
from tasks.pretrain.loop import gradients, save, update
from tasks.pretrain.machine.parallel import Ranks
from tasks.pretrain.machine.threads import environment
from tasks.pretrain.optimizer import Optimizer
from tasks.pretrain.start import Run, start

ROOT = Path(__file__).parents[2]
PROCESSES, VOCABULARY = 2, 8192


@dataclass(frozen=True)
class Found:
    """What one process measured: wall and processor seconds of a step (medians) and its peak memory."""

    seconds: float
    processor: float
    memory: int
    digest: float
    """Sum of all weights, to see that both processes hold the same."""


class Ours:
    """A run as the stage does it, step by step."""

    def __init__(self, folder: Path, config: Pretrain, out: Path) -> None:
        self.run: Run = start(folder, out, config, Runtime(compile=False))

    def step(self) -> None:
        loss, norm = gradients(self.run, self.run.phases[-1])
        update(self.run, self.run.phases[-1], loss, norm, 1.0)

    def save(self) -> None:
        save(self.run)

    def weights(self) -> dict[str, Tensor]:
        return dict(self.run.model.named_parameters())


class Stock:
    """The same model and windows with DistributedDataParallel and ZeroRedundancyOptimizer."""

    def __init__(self, folder: Path, config: Pretrain, out: Path) -> None:
        from torch.distributed.optim import ZeroRedundancyOptimizer
        from torch.nn.parallel import DistributedDataParallel

        fp32 = config.model_copy(update={"precision": "fp32"})
        self.run, self.out, self.bf16 = (
            start(folder, out / "ours", fp32, Runtime(compile=False)),
            out,
            config.precision == "bf16",
        )
        groups = _groups(self.run, config)
        self.run.optimizer = None  # type: ignore[assignment]  # its memory is not to be counted
        self.model = DistributedDataParallel(_LossOf(self.run.model), gradient_as_bucket_view=True)
        self.optimizers = [ZeroRedundancyOptimizer(params, rule, **settings) for params, rule, settings in groups if params]
        self.peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]
        if (path := out / "stock.pt").exists():
            saved = torch.load(path, weights_only=False)  # its states of optimizers are pickles
            self.model.load_state_dict(saved["model"])
            for optimizer, state in zip(self.optimizers, saved["optimizers"], strict=True):
                optimizer.load_state_dict(state)
            self.run.state.windows = saved["windows"]

    def step(self) -> None:
        run, phase = self.run, self.run.phases[-1]
        rank, count = run.machine.ranks.rank, phase.accumulation
        for number in range(rank, count, PROCESSES):
            batch = run.objective.micro_batch(phase, run.state.windows + number * phase.micro_batch, masked=False)
            with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
                loss = self.model(*batch)
            (loss * (PROCESSES / count)).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), run.config.clip)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        run.state.windows += phase.windows

    def save(self) -> None:
        for optimizer in self.optimizers:
            optimizer.consolidate_state_dict(to=0)
        if self.run.machine.ranks.is_main:
            states = [optimizer.state_dict() for optimizer in self.optimizers]
            record = {"model": self.model.state_dict(), "optimizers": states, "windows": self.run.state.windows}
            torch.save(record, self.out / "stock.pt")
        distributed.barrier()

    def weights(self) -> dict[str, Tensor]:
        return dict(self.run.model.named_parameters())


class _Alone(Ranks):
    """One process, to which all weights belong."""

    def __init__(self) -> None:
        self.world_size, self.rank = 1, 0


class _LossOf(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, *batch: Tensor) -> Tensor:
        loss: Tensor = self.model.loss(*batch)
        return loss


def _groups(run: Run, config: Pretrain) -> list[tuple[list[dict[str, Any]], type, dict[str, Any]]]:
    """The weights and learning rates that our optimizer has, for stock rules: matrices by Muon, if it is asked for."""
    ours = Optimizer(run.model, config, _Alone())
    assert ours.rule is not None
    parameters = dict(run.model.named_parameters())
    rest = [
        {"params": [parameters[name] for name in group["names"]], "lr": group["peak"], "weight_decay": group["weight_decay"]}
        for group in ours.rule.param_groups
    ]
    matrices = sorted({name for group in ours.muon for name, _, _ in group.slices})
    muon = [{"params": [parameters[name] for name in matrices]}] if matrices else []
    betas = (0.8, 0.95) if muon else (0.9, 0.95)
    return [
        (rest, torch.optim.AdamW, {"betas": betas, "eps": 1e-10, "fused": True}),
        (muon, torch.optim.Muon, {"lr": config.peak_learning_rate, "weight_decay": 0.0}),
    ]


def work(given: argparse.Namespace) -> None:
    """In each process: begin or go on in `--out`, take some steps, save."""
    config = Pretrain.model_validate_json(given.config)
    kind: Callable[[Path, Pretrain, Path], Ours | Stock] = {"ours": Ours, "stock": Stock}[given.system]
    training, spent = kind(given.tokens, config, given.out), []
    for _ in range(given.steps):
        begun, busy = time.monotonic(), time.process_time()
        training.step()
        spent.append((time.monotonic() - begun, time.process_time() - busy))
    memory = peak_memory()
    training.save()
    weights, rank = training.weights(), distributed.get_rank()
    digest = sum(float(weight.double().sum()) for weight in weights.values())
    wall, processor = (statistics.median(column) for column in zip(*(spent[1:] or spent), strict=True))  # the first allocates
    found = Found(wall, processor, memory, digest)
    (given.out / f"{rank}.json").write_text(json.dumps(asdict(found)))
    if rank == 0:
        torch.save({name: weight.detach().float() for name, weight in weights.items()}, given.out / "weights.pt")
    distributed.destroy_process_group()


def measure(system: str, config: Pretrain, steps: int, tokens: Path, out: Path) -> list[Found]:
    """Take steps in two processes; what each of them found."""
    out.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={PROCESSES}", __file__]
    command += ["--system", system, "--config", config.model_dump_json(), "--steps", str(steps)]
    command += ["--tokens", str(tokens), "--out", str(out)]
    settings = os.environ | environment(PROCESSES) | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=settings, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{system}: {done.stderr}")
    found = [Found(**json.loads((out / f"{rank}.json").read_text())) for rank in range(PROCESSES)]
    if len({one.digest for one in found}) > 1:
        raise SystemExit(f"{system}: the processes hold different weights")
    return found


def random_tokens(folder: Path) -> Path:
    """Token files of as many pieces as a text has, the frequent ones far more often."""
    ids = np.random.default_rng(1).zipf(1.3, size=200_000) % (VOCABULARY - 4) + 4
    ids.astype("uint16").tofile(folder / "train.bin")
    meta = {"dtype": "uint16", "vocab_size": VOCABULARY, "bos": 1, "eos": 2, "pad": 0, "mask": 3}
    (folder / "meta.json").write_text(json.dumps(meta | {"train_tokens": len(ids), "train_bytes": len(ids)}))
    return folder


def main() -> None:
    """Measure both in turn, several rounds, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--system", help=argparse.SUPPRESS)
    parser.add_argument("--config", help=argparse.SUPPRESS)
    parser.add_argument("--tokens", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.system:
        work(given)
        return
    print(f"{heading()}\n", flush=True)
    print("| optimizer | precision | system | s per step | processor s | peak MB per process | resumed | from the other |")
    print("|---|---|---|---:|---:|---:|---|---|")
    for optimizer in ("adamw", "muon"):
        for precision in ("fp32", "bf16"):
            _compare(optimizer, precision, given)


def _compare(optimizer: str, precision: str, given: argparse.Namespace) -> None:
    model = {"layers": given.layers, "width": given.width, "heads": 2}
    changes = {"model": model, "optimizer": optimizer, "precision": precision, "half_context": 0, "batch_tokens": 4096}
    config, half = Pretrain.model_validate(changes), given.steps // 2
    found: dict[str, list[list[Found]]] = {"ours": [], "stock": []}  # of each round
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        tokens = random_tokens(folder)
        for number in range(given.rounds):
            for system, rows in found.items():
                rows.append(measure(system, config, given.steps, tokens, folder / f"{system}-{number}"))
        for system in found:
            for steps in (half, given.steps - half):
                measure(system, config, steps, tokens, folder / f"{system}-resumed")
        weights = {path.parent.name: torch.load(path) for path in folder.glob("*/weights.pt")}
    for system, rows in found.items():
        every = [one for pair in rows for one in pair]
        resumed = _apart(weights[f"{system}-0"], weights[f"{system}-resumed"])
        cells = [optimizer, precision, system, f"{min(one.seconds for one in every):.2f}"]
        cells += [f"{min(one.processor for one in every):.2f}"]
        cells += [f"{max(one.memory for one in every) / 1e6:.0f}"]
        cells.append("bit for bit" if resumed == 0 else f"{resumed:.0e} apart")
        same_rule = (optimizer, precision) == ("adamw", "fp32")
        cells.append(f"{_apart(weights['ours-0'], weights['stock-0']):.0e} apart" if same_rule else "")
        print(f"| {' | '.join(cells)} |", flush=True)


def _apart(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The largest difference of a weight."""
    return max(float((one[name] - other[name]).abs().max()) for name in one)


if __name__ == "__main__":
    main()
