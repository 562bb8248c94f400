"""Training side by side with the peers: `python tests/benchmarks/training.py`, with `--speed STEPS` or `--seconds SECONDS`.

Same text, tokenizer, token files, layers, context and machine, and about as many parameters (5 million); each system is a whole
process, one after the other. Ours spends its parameters differently: 192 wide with an output matrix of its own, where the
peers are 256 wide and use their embedding twice, as their recipes do; `ours-peers-shape` has the shape of the peers. Each peer
has a row as its documentation runs it, and one as who knows PyTorch runs it: in bf16, compiled, in the environment that our
stage sets. `-fp32` rows say what is left on a processor that does not multiply bf16.

With `--speed`, each takes so many steps in each of some rounds, and the table has the median and the best step of all rounds
but for the first three steps of a process; what the first step takes, building and compiling the model included, is that of
the last round. With `--seconds`, each trains for the same time by the clock (imports excluded, compiling and model building
included). The peak learning rate of each peer is the one of `--rates` that is best on the validation documents; then every
system is trained from each of some seeds, and scored on the test documents by the same code. The learning rates of all
systems follow the share of the time that has passed, so none is cut short by the load of the machine. Intervals are 95 %,
bootstrapped over documents and seeds, ratios paired. Kernels are compiled anew for each run, or with `--warm-cache` before
the first run of each system that is reported.
Finished runs by the clock stay in the scratch folder and are not repeated. Each baseline is the first system of its kind.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data import DEFAULT_BUNDLE
from heading import heading, load
from pydantic import ValidationError
from training_corpus import corpus
from training_runs import Run, Score, install, mean_bits, prepare, score, train_ours, train_peer

from lang_configs.schema import Runtime
from lang_configs.training import Pretrain, Tokenizer
from tasks.evaluate.bootstrap import interval

UNBOUNDED = 10_000
"""Epochs that no budget reaches: the clock or the steps end a run."""


@dataclass(frozen=True)
class System:
    """A row of the table: `peer_<peer>.py` with these options, or our own training with these changes (dotted keys)."""

    title: str
    kind: str = "causal"
    peer: str | None = None
    options: tuple[str, ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)


PEERS_SHAPE = {"model.width": 256, "model.tied": True}
WHOLE, FP32 = {"half_context": 0.0}, {"precision": "fp32"}
MASKED = {"model.family": "modernbert", "masking": 0.15, "model.context": 128, "batch_tokens": 2048, "half_context": 0.0}
NARROW = MASKED | {"narrow_layers": 2}
BF16, COMPILED = ("--bf16",), ("--compile",)
SYSTEMS = {
    "nanogpt": System("nanoGPT as its README: fp32, B=12", peer="nanogpt"),
    "nanogpt-fp32": System("nanoGPT, fp32, compiled", peer="nanogpt", options=COMPILED),
    "nanogpt-fast": System("nanoGPT, bf16, compiled", peer="nanogpt", options=BF16 + COMPILED),
    "goldfish": System("Trainer, GPT-2 (Goldfish), fp32, B=8", peer="goldfish"),
    "goldfish-fast": System("Trainer, GPT-2, bf16, compiled", peer="goldfish", options=BF16 + COMPILED),
    "llama-fast": System("Trainer, Llama, bf16, compiled, B=8", peer="llama", options=BF16 + COMPILED),
    "ours-peers-shape-fp32": System("ours, shape of the peers, fp32", changes=PEERS_SHAPE | WHOLE | FP32),
    "ours-fp32": System("ours, fp32", changes=WHOLE | FP32),
    "ours-peers-shape-whole": System("ours, shape of the peers, windows of 256", changes=PEERS_SHAPE | WHOLE),
    "ours-whole": System("ours, windows of 256 throughout", changes=WHOLE),
    "ours-half": System("ours, windows of 128 throughout", changes={"half_context": 1.0}),
    "ours-peers-shape": System("ours, shape of the peers", changes=PEERS_SHAPE),
    "ours": System("ours"),
    "bert": System("Trainer, BERT, fp32, B=16, T=128", "masked", peer="bert"),
    "bert-fast": System("Trainer, BERT, bf16, compiled", "masked", peer="bert", options=BF16 + COMPILED),
    "bert-sparse": System("Trainer, BERT, bf16, sparse head", "masked", peer="bert_sparse", options=BF16),
    "ours-masked-peers-shape-fp32": System("ours, shape of the peer, fp32", "masked", changes=MASKED | PEERS_SHAPE | FP32),
    "ours-masked-peers-shape": System("ours, shape of the peer", "masked", changes=MASKED | PEERS_SHAPE),
    "ours-masked": System("ours, masked, T=128", "masked", changes=MASKED),
    "ours-narrow-peers-shape": System("ours, narrow, shape of the peer", "masked", changes=NARROW | PEERS_SHAPE),
    "ours-narrow": System("ours, narrow", "masked", changes=NARROW),
}
PHASED = ("ours-peers-shape", "ours", "ours-narrow-peers-shape", "ours-narrow")
"""Their steps are not all alike: only by the clock is their speed that of a run."""
SPEED = tuple(name for name in SYSTEMS if name not in PHASED)
QUALITY = ("nanogpt-fast", "goldfish-fast", "llama-fast", "ours-peers-shape", "ours")
QUALITY += ("bert-sparse", "ours-masked", "ours-narrow-peers-shape", "ours-narrow")


@dataclass(frozen=True)
class Row:
    """What the runs of a system came to, with the scores of those by the clock, and the peak learning rate if it was swept."""

    system: System
    runs: tuple[Run, ...]
    scores: tuple[Score, ...] = ()
    rate: float | None = None


def main() -> None:
    given = _arguments()
    train, validation, test = corpus(given.bundle)
    source = prepare(train, validation, test, given.scratch / "data", Tokenizer(vocab_size=8192))
    print(heading())
    print(
        f"\nTraining text {_bytes(train):,} bytes, reported on {len(test)} test documents of {_bytes(test):,} bytes.\n",
        flush=True,
    )
    bench = Bench(source, given.scratch, given.warm_cache)
    if given.speed:
        chosen = known(given.systems or SPEED)
        rounds = [{name: bench.run(name, {"steps": given.speed}, 1) for name in chosen} for _ in range(given.rounds)]
        print(f"{given.speed} steps in each of {given.rounds} rounds\n")
        print(speeds_table([Row(SYSTEMS[name], tuple(one[name] for one in rounds)) for name in chosen]), flush=True)
    if given.seconds:
        chosen = known(given.systems or QUALITY)
        budget = {"seconds": given.seconds}
        rates = {name: bench.sweep(name, budget, given.rates) for name in chosen if SYSTEMS[name].peer}
        seeds = range(1, given.seeds + 1)  # the systems take turns within a seed
        runs = {seed: {name: bench.run(name, budget, seed, rates.get(name)) for name in chosen} for seed in seeds}
        rows = []
        for name in chosen:
            done = tuple(runs[seed][name] for seed in seeds)
            rows.append(Row(SYSTEMS[name], done, tuple(bench.score(run, "test") for run in done), rates.get(name)))
        print(f"\n{given.seconds:g} s of training from each of {given.seeds} seeds\n\n{scores_table(rows)}", flush=True)
    print(f"\nload {load()} after")


WARMING_STEPS = 4
"""Of ours the first half reads short windows, so that every kernel is compiled."""


@dataclass(frozen=True)
class Bench:
    """Runs and scores of systems on one folder of token files."""

    source: Path
    scratch: Path
    warm_cache: bool
    _warmed: set[str] = field(default_factory=set)

    def run(self, name: str, budget: Mapping[str, float], seed: int, rate: float | None = None) -> Run:
        """One training; by the clock, one that was finished before is taken from its folder."""
        amount = "-".join(f"{unit}-{value:g}" for unit, value in budget.items())
        out = self.scratch / "runs" / f"{name}-{amount}-{rate}-{seed}"
        record, asked = out / "run.json", (self.source / "meta.json").read_text()
        if "seconds" in budget and record.exists() and (found := json.loads(record.read_text()))["asked"] == asked:
            return Run.read(found["run"])
        if self.warm_cache and name not in self._warmed:
            self._train(SYSTEMS[name], {"steps": WARMING_STEPS}, seed, rate, out)
            self._warmed.add(name)
        done = self._train(SYSTEMS[name], budget, seed, rate, out)
        record.write_text(json.dumps({"asked": asked, "run": done.written()}))
        print(f"{name} {rate or ''}: {len(done.step_tokens)} steps, {done.wall:.1f} s", file=sys.stderr, flush=True)
        return done

    def _train(self, system: System, budget: Mapping[str, float], seed: int, rate: float | None, out: Path) -> Run:
        cache = self.scratch / "inductor" if self.warm_cache else None
        if system.peer:
            python = install(self.scratch / "venvs" / "training")
            options = (*system.options, *(["--rate", str(rate)] if rate else []))
            return train_peer(python, system.peer, options, self.source, budget, seed, out, cache)
        runtime = Runtime(compile=True)
        return train_ours(self.source, budgeted(system.changes, budget, seed), runtime, out, cache, {})

    def score(self, run: Run, split: str) -> Score:
        return score(run.model, self.source, split)

    def sweep(self, name: str, budget: Mapping[str, float], rates: Sequence[float]) -> float:
        """The peak learning rate that is best on the validation documents, from a seed that no reported run has."""
        found = {rate: self.score(self.run(name, budget, 0, rate), "validation").bits for rate in rates}
        best = min(found, key=lambda rate: found[rate])
        said = ", ".join(f"{rate:g}: {bits:.4f}" for rate, bits in found.items())
        print(f"{SYSTEMS[name].title}: {best:g} of {said} (validation)", flush=True)
        return best


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


def speeds_table(rows: Sequence[Row]) -> str:
    """Markdown: tokens per second of a step once it has settled; ratios are to the first row of the same kind."""
    head = ["system", "parameters", "tokens/s", "best step", "ratio", "first step s", "peak MB", "with children"]
    lines = [head, ["---"] * 2 + ["---:"] * (len(head) - 2)]
    for row in rows:
        speed, base = _median(row), _median(_baseline(row, rows))
        cells = [row.system.title, f"{row.runs[0].parameters / 1e6:.2f} M", f"{speed:,.0f}"]
        cells += [f"{max(max(run.speeds) for run in row.runs):,.0f}", f"{speed / base:.2f}", f"{row.runs[-1].first:.1f}"]
        lines.append(cells + _memory(row))
    return _markdown(lines)


def scores_table(rows: Sequence[Row]) -> str:
    """Markdown: tokens per second of whole runs, and what they learned; a masked model's bits are per masked token."""
    head = ["system", "parameters", "rate", "tokens", "tokens/s", "ratio", "process s", "peak MB", "with children"]
    head += ["bits per byte", "95 %", "ratio", "95 %"]
    lines = [head, ["---"] * 2 + ["---:"] * (len(head) - 2)]
    for row in rows:
        base = _baseline(row, rows)
        bits, to = mean_bits(row.scores), mean_bits(base.scores)
        mean, mean_to = (statistics.fmean(score.bits for score in one.scores) for one in (row, base))
        cells = [row.system.title, f"{row.runs[0].parameters / 1e6:.2f} M", f"{row.rate:g}" if row.rate else ""]
        cells += [f"{statistics.fmean(run.tokens for run in row.runs):,.0f}", f"{_whole(row):,.0f}"]
        cells += [f"{_whole(row) / _whole(base):.2f}", f"{statistics.fmean(run.wall for run in row.runs):.0f}", *_memory(row)]
        unit = " per masked token" if row.system.kind == "masked" else ""
        cells += [f"{mean:.4f}{unit}", "{:.4f} to {:.4f}".format(*interval(bits)), f"{mean / mean_to:.3f}"]
        cells.append("" if row is base else "{:.3f} to {:.3f}".format(*interval(bits / to)))
        lines.append(cells)
    return _markdown(lines)


def _baseline(row: Row, rows: Sequence[Row]) -> Row:
    return next(other for other in rows if other.system.kind == row.system.kind)


def _median(row: Row) -> float:
    return statistics.median(speed for run in row.runs for speed in run.speeds)


def _whole(row: Row) -> float:
    """Tokens per second of whole runs, first steps and compiling included."""
    return sum(run.tokens for run in row.runs) / sum(run.seconds for run in row.runs)


def _memory(row: Row) -> list[str]:
    return [f"{max(getattr(run, name) for run in row.runs) / 1e6:.0f}" for name in ("memory", "memory_with_children")]


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


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


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speed", type=int, default=0, metavar="STEPS", help="steps in each round, 12 or more")
    parser.add_argument("--rounds", type=int, default=2, help="rounds of --speed, in each of which every system has its turn")
    parser.add_argument("--seconds", type=float, default=0, help="training time of each run by the clock")
    parser.add_argument("--seeds", type=int, default=3, help="runs by the clock of each system")
    parser.add_argument("--rates", default="0.0005,0.001,0.002,0.004", help="peak learning rates that each peer is given")
    parser.add_argument("--systems", default="", help=f"comma-separated, of {', '.join(SYSTEMS)}; default: all that fit")
    parser.add_argument("--warm-cache", action="store_true", help="keep compiled kernels from run to run")
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE, help="folder of real text (LUGHA_BUNDLE)")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "lugha-benchmark")
    given = parser.parse_args()
    given.rates = [float(rate) for rate in given.rates.split(",") if rate]
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
