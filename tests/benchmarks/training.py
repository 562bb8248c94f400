"""Training side by side with the peers: `python tests/benchmarks/training.py`, with `--speed` or for `--seconds 170,300`.

Same text, tokenizer, token files, layers, context and machine, and about as many parameters (5 million); each system is a whole
process, one after the other. Ours spends its parameters differently: 192 wide with an output matrix of its own, where the
peers are 256 wide and use their embedding twice, as their recipes do; `ours-peers-shape` has the shape of the peers.
With `--speed`, each takes so many steps in each of some rounds, and the table has the median and the best step of all
rounds but for the first three steps of a process; what the first step takes, building and compiling the model included, is
that of the last round. With `--seconds`, each trains for the same time by the clock (imports
excluded, compiling and model building included) and is scored on the same held-out documents by the same code. The
learning rates of all systems follow the share of the time that has passed, so none is cut short by the load of the
machine. Peers run in the environment that they find, ours in that which the stage sets; `--tuned-peers` gives it to the
peers too. Kernels are compiled anew for each run unless `--warm-cache`. Each baseline is the first system of its kind.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data import DEFAULT_BUNDLE
from pydantic import ValidationError
from training_corpus import corpus
from training_runs import Run, Score, install, prepare, score, train_ours, train_peer

from lang_configs.schema import Runtime
from lang_configs.training import Pretrain, Tokenizer

UNBOUNDED = 10_000
"""Epochs that no budget reaches: the clock or the steps end a run."""


@dataclass(frozen=True)
class System:
    """A row of the table: `peer_<peer>.py`, or without one our own training with these changes (dotted keys)."""

    title: str
    kind: str = "causal"
    peer: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)


PEERS_SHAPE = {"model.width": 256, "model.tied": True}
MASKED = {"model.family": "modernbert", "masking": 0.15, "model.context": 128, "batch_tokens": 2048, "half_context": 0.0}
SYSTEMS = {
    "nanogpt": System("nanoGPT, fp32, B=12", peer="nanogpt"),
    "goldfish": System("Trainer + GPT-2 (Goldfish), fp32, B=8", peer="goldfish"),
    "llama": System("Trainer + Llama, bf16 autocast, B=8", peer="llama"),
    "ours": System("ours"),
    "ours-peers-shape": System("ours, shape of the peers", changes=PEERS_SHAPE),
    "ours-peers-shape-whole": System("ours, shape of the peers, windows of 256", changes=PEERS_SHAPE | {"half_context": 0.0}),
    "ours-whole": System("ours, windows of 256 throughout", changes={"half_context": 0.0}),
    "ours-half": System("ours, windows of 128 throughout", changes={"half_context": 1.0}),
    "bert": System("Trainer + BERT, fp32, B=16, T=128", "masked", peer="bert"),
    "ours-masked": System("ours, masked, T=128", "masked", changes=MASKED),
    "ours-masked-peers-shape": System("ours, masked, shape of the peer", "masked", changes=MASKED | PEERS_SHAPE),
    "ours-narrow": System("ours, masked, narrow", "masked", changes=MASKED | {"narrow_layers": 2}),
}
CAUSAL_SPEED = ("nanogpt", "goldfish", "llama", "ours-peers-shape-whole", "ours-whole", "ours-half")
MASKED_SPEED = ("bert", "ours-masked-peers-shape", "ours-masked", "ours-narrow")
SPEED = CAUSAL_SPEED + MASKED_SPEED
QUALITY = ("nanogpt", "goldfish", "llama", "ours-peers-shape", "ours", "bert", "ours-masked", "ours-narrow")


@dataclass(frozen=True)
class Row:
    """What the runs of a system came to; a run in rounds has no score."""

    system: System
    runs: tuple[Run, ...]
    score: Score | None = None


def main() -> None:
    given = _arguments()
    train, validation, test = corpus(given.bundle)
    source = prepare(train, validation, test, given.scratch / "data", Tokenizer(vocab_size=8192))
    print(f"training text {_bytes(train):,} bytes, reported on {len(test)} test documents of {_bytes(test):,} bytes")
    print(f"load before: {_load()}", flush=True)
    run = _runner(source, given)
    if given.speed:
        chosen = known(given.systems or SPEED)
        rounds = [{name: run(name, {"steps": given.speed}) for name in chosen} for _ in range(given.rounds)]
        rows = [Row(SYSTEMS[name], tuple(one[name] for one in rounds)) for name in chosen]
        print(f"\n{given.speed} steps in each of {given.rounds} rounds\n{table(rows)}", flush=True)
    for seconds in given.seconds:
        rows = []
        for name in known(given.systems or QUALITY):
            done = run(name, {"seconds": seconds})
            rows.append(Row(SYSTEMS[name], (done,), score(done.model, source, "test")))
        print(f"\n{seconds:g} s of training each\n{table(rows)}", flush=True)
    print(f"load after: {_load()}")


def configure(changes: Mapping[str, Any]) -> Pretrain:
    """The section `pretrain` with some dotted keys set. Raises ValidationError on a key that it does not have."""
    values: dict[str, Any] = {}
    for key, value in changes.items():
        *sections, name = key.split(".")
        section = values
        for part in sections:
            section = section.setdefault(part, {})
        section[name] = value
    return Pretrain.model_validate(values)


def refused(error: ValidationError) -> str:
    """The keys that a config does not have, or whose values it does not know."""
    return ", ".join(".".join(map(str, problem["loc"])) for problem in error.errors())


def budgeted(changes: Mapping[str, Any], budget: Mapping[str, float], seed: int) -> Pretrain:
    """Our config for a budget of `seconds` or `steps`, which alone ends the run."""
    limits: dict[str, Any] = {"epochs": UNBOUNDED, "seed": seed, "minutes": None}
    if "steps" in budget:
        limits["steps"] = budget["steps"]
    else:
        limits["minutes"] = budget["seconds"] / 60
    return configure({**limits, **changes})


def table(rows: Sequence[Row]) -> str:
    """Markdown; ratios are to the first row of the same kind. A masked model's bits are per masked token."""
    scored = any(row.score for row in rows)
    head = ["system", "parameters", "steps", "tokens", "tokens/s", "best step", "ratio", "first step s"]
    head += ["peak MB", "with children"]
    head += ["process s", "training s", "bits per byte", "95 %", "ratio"] if scored else []
    lines = [head, ["---"] * len(head)]
    for row in rows:
        base = next(other for other in rows if other.system.kind == row.system.kind)
        runs = row.runs
        cells = [row.system.title, f"{runs[0].parameters / 1e6:.2f} M", f"{sum(len(run.step_tokens) for run in runs):,}"]
        cells += [f"{sum(run.tokens for run in runs):,}", f"{_speed(row):,.0f}", f"{max(_speeds(row)):,.0f}"]
        cells += [f"{_speed(row) / _speed(base):.2f}", f"{runs[-1].first:.1f}"]
        cells += [f"{max(getattr(run, name) for run in runs) / 1e6:.0f}" for name in ("memory", "memory_with_children")]
        if row.score and base.score:
            unit = " per masked token" if row.system.kind == "masked" else ""
            interval = f"{row.score.low:.4f}-{row.score.high:.4f}" if row.score.low and row.score.high else ""
            cells += [f"{runs[0].wall:.0f}", f"{runs[0].seconds:.0f}", f"{row.score.bits:.4f}{unit}", interval]
            cells.append(f"{row.score.bits / base.score.bits:.3f}")
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _speeds(row: Row) -> list[float]:
    return [speed for run in row.runs for speed in run.speeds]


def _speed(row: Row) -> float:
    return statistics.median(_speeds(row))


def _runner(source: Path, given: argparse.Namespace) -> Callable[[str, Mapping[str, float]], Run]:
    python = install(given.scratch / "venvs" / "training")
    cache = given.scratch / "inductor" if given.warm_cache else None

    def run(name: str, budget: Mapping[str, float]) -> Run:
        system, out = SYSTEMS[name], given.scratch / "runs" / name
        if system.peer:
            done = train_peer(python, system.peer, source, budget, given.seed, out, given.tuned_peers)
        else:
            runtime = Runtime(compile=True if "steps" in budget else "auto")  # auto: so few steps would not be worth it
            done = train_ours(source, budgeted(system.changes, budget, given.seed), runtime, out, cache, {})
        print(f"{system.title}: {len(done.step_tokens)} steps, {done.wall:.1f} s", file=sys.stderr, flush=True)
        return done

    return run


def known(names: Sequence[str]) -> list[str]:
    """The systems that this version can configure; the others are named."""
    found = []
    for name in names:
        try:
            configure(SYSTEMS[name].changes)
            found.append(name)
        except ValidationError as error:
            print(f"left out: {SYSTEMS[name].title} (not in this version: {refused(error)})", flush=True)
    return found


def _bytes(texts: Sequence[str]) -> int:
    return sum(len(text.encode()) for text in texts)


def _load() -> str:
    return " ".join(f"{load:.2f}" for load in os.getloadavg())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speed", type=int, default=0, metavar="STEPS", help="steps in each round, 12 or more")
    parser.add_argument("--rounds", type=int, default=2, help="rounds of --speed, in each of which every system has its turn")
    parser.add_argument("--seconds", default="", help="comma-separated budgets of training time")
    parser.add_argument("--systems", default="", help=f"comma-separated, of {', '.join(SYSTEMS)}; default: all that fit")
    parser.add_argument("--tuned-peers", action="store_true", help="run the peers in our environment variables")
    parser.add_argument("--warm-cache", action="store_true", help="keep compiled kernels from run to run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE, help="folder of real text (LUGHA_BUNDLE)")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "lugha-benchmark")
    given = parser.parse_args()
    given.seconds = [float(seconds) for seconds in given.seconds.split(",") if seconds]
    given.systems = [name for name in given.systems.split(",") if name]
    if unknown := [name for name in given.systems if name not in SYSTEMS]:
        parser.error(f"--systems: {unknown[0]!r} is unknown; there are {', '.join(SYSTEMS)}")
    if not given.speed and not given.seconds:
        parser.error("nothing to do: give --speed, --seconds or both")
    if not (given.bundle / "MANIFEST.json").is_file():
        parser.error(f"--bundle {given.bundle}: there is no MANIFEST.json")
    return given


if __name__ == "__main__":
    main()
