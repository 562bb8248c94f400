"""What each ingredient of our training is worth: `python tests/benchmarks/ablations.py --tokens 640000`.

Each variant is the base with a few keys changed, trained from several seeds for the same number of tokens (`--tokens`) or by
the clock (`--seconds`), each run a whole process, the variants taking turns within a seed. The table has bits per byte of
the held-out text as mean and 95 % interval over the seeds (Student's t), and the difference to what a variant is compared
with, run by run of the same seed: the order of the data and what is drawn at the start are then the same. Finished runs
stay in the scratch folder and are not repeated, so that a stopped comparison goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import scipy.stats
from data import DEFAULT_BUNDLE
from heading import heading, load
from pydantic import ValidationError
from training import UNBOUNDED, configure, refused
from training_corpus import corpus
from training_runs import prepare, score, subset, train_ours

from lang_configs.schema import Runtime
from lang_configs.training import Pretrain, Tokenizer

BASE = "base"
NORMAL = {"pretrain.initialisation": "normal"}
WHOLE_EPOCHS = {"pretrain.steps": None, "pretrain.minutes": None, "corpus.bytes": 5_000_000}
ALLOCATOR = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")

VARIANTS: dict[str, dict[str, Any]] = {
    BASE: {},
    "llama": {"pretrain.model.family": "llama"},
    "gpt2 (learned positions)": {"pretrain.model.family": "gpt2"},
    "adamw": {"pretrain.optimizer": "adamw"},
    "lion": {"pretrain.optimizer": "lion"},
    "lamb": {"pretrain.optimizer": "lamb"},
    "normal initialisation": NORMAL,
    "adamw and normal initialisation": {"pretrain.optimizer": "adamw", **NORMAL},
    "checkpointing": {"pretrain.checkpointing": True},
    "fp32": {"pretrain.precision": "fp32"},
    "not compiled": {"runtime.compile": False},
    "one matrix for embeddings and output": {"pretrain.model.tied": True},
    "4 heads": {"pretrain.model.heads": 4},
    "whole windows throughout": {"pretrain.half_context": 0.0},
    "all pieces scored throughout": {"pretrain.sampled_softmax": 0.0},
    "allocator as it comes": {f"environment.{name}": None for name in ALLOCATOR},
    "1 epoch of 5 MB": {**WHOLE_EPOCHS, "pretrain.epochs": 1},
    "4 epochs of 5 MB": {**WHOLE_EPOCHS, "pretrain.epochs": 4},
}
"""Changes to the base by dotted key: of the sections `pretrain` and `runtime`, variables of the `environment` (None: unset),
and how much of the `corpus` is read."""
COMPARED_WITH = {
    "gpt2 (learned positions)": "llama",
    "adamw and normal initialisation": "adamw",
    "4 epochs of 5 MB": "1 epoch of 5 MB",
}
"""What a variant differs from, where that is not the base."""


@dataclass(frozen=True)
class Result:
    """One run: median tokens per second of its steps, bytes of memory, tokens read, and bits per held-out byte."""

    speed: float
    memory: int
    tokens: int
    bits: float


@dataclass(frozen=True)
class Interval:
    """A mean and the half-width of its 95 % interval; infinite for a single value."""

    mean: float
    half: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Interval:
        """By Student's t with one degree of freedom less than there are values."""
        count = len(values)
        half = math.inf
        if count > 1:
            half = float(scipy.stats.t.ppf(0.975, count - 1)) * statistics.stdev(values) / math.sqrt(count)
        return cls(statistics.fmean(values), half)

    def __str__(self) -> str:
        return f"{self.mean:.4f} ± {self.half:.4f}"


def main() -> None:
    given = _arguments()
    source = prepare(*corpus(given.bundle), given.scratch / "data", Tokenizer(vocab_size=8192))
    budget = {"tokens": given.tokens} if given.tokens else {"seconds": given.seconds}
    chosen = known(given.variants, given.set)
    print(f"{heading()}\n\n{budget}, seeds 1 to {given.seeds}, base {json.dumps(given.set)}\n", flush=True)
    results: dict[str, list[Result]] = {name: [] for name in chosen}
    for seed in range(1, given.seeds + 1):
        for name in chosen:
            results[name].append(run(name, source, budget, given.set, seed, given.scratch))
            print(f"{name}, seed {seed}: {results[name][-1].bits:.4f}", file=sys.stderr, flush=True)
    print(table(results), flush=True)
    print(f"\nload {load()} after")


def run(name: str, source: Path, budget: Mapping[str, float], settings: Mapping[str, Any], seed: int, scratch: Path) -> Result:
    """Train and score a variant once, unless that was done before with the same settings, budget and token files."""
    changes = {**settings, **VARIANTS[name]}
    config = configured(changes, budget, seed)
    runtime = Runtime.model_validate({"compile": True} | _section("runtime", changes))
    environment = _section("environment", changes)
    size = changes.get("corpus.bytes")
    tokens = json.loads((source / "meta.json").read_text())
    asked = {"config": config.model_dump(mode="json"), "runtime": runtime.model_dump(mode="json")}
    asked |= {"environment": environment, "bytes": size, "tokens": tokens}
    out = scratch / "ablations" / f"{''.join(letter if letter.isalnum() else '-' for letter in name)}-{seed}"
    record = out / "ablation.json"
    if record.exists() and (found := json.loads(record.read_text()))["asked"] == asked:
        return Result(**found["result"])
    read = subset(source, size, scratch / "subset") if size else source
    done = train_ours(read, config, runtime, out, scratch / "inductor", environment)
    result = Result(statistics.median(done.speeds), done.memory, done.tokens, score(done.model, source, "validation").bits)
    record.write_text(json.dumps({"asked": asked, "result": asdict(result)}))
    return result


def configured(changes: Mapping[str, Any], budget: Mapping[str, float], seed: int) -> Pretrain:
    """The config of a variant; a budget of `tokens` becomes steps, of which those on half windows hold half as many.

    Raises ValidationError on a key that this version does not have.
    """
    sections = _section("pretrain", changes)
    limits: dict[str, Any] = {"epochs": UNBOUNDED, "minutes": None, "seed": seed}
    if "seconds" in budget:
        limits["minutes"] = budget["seconds"] / 60
    else:
        plan = configure(sections)
        limits["steps"] = max(1, round(budget["tokens"] / (plan.batch_tokens * (1 - plan.half_context / 2))))
    return configure({**limits, **sections})


def _section(name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    return {key.removeprefix(f"{name}."): value for key, value in changes.items() if key.startswith(f"{name}.")}


def table(results: Mapping[str, Sequence[Result]]) -> str:
    """Markdown; differences are to the variant named in the last column, below zero where this one is better."""
    head = ["variant", "tokens/s", "ratio", "peak MB", "tokens", "bits per byte", "difference", "to"]
    lines = [head, ["---"] * len(head)]
    for name, own in results.items():
        other = COMPARED_WITH.get(name, BASE)
        speed = statistics.median(result.speed for result in own)
        cells = [name, f"{speed:,.0f}", "", f"{max(result.memory for result in own) / 1e6:.0f}", f"{own[0].tokens:,}"]
        cells += [str(Interval.of([result.bits for result in own])), "", ""]
        if other != name and (theirs := results.get(other)):
            cells[2] = f"{speed / statistics.median(result.speed for result in theirs):.2f}"
            difference = Interval.of([mine.bits - its.bits for mine, its in zip(own, theirs, strict=True)])
            cells[6], cells[7] = f"{difference.mean:+.4f} ± {difference.half:.4f}", other
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def known(names: Sequence[str], settings: Mapping[str, Any]) -> list[str]:
    """The variants that this version can configure; the others are named."""
    found = []
    for name in names:
        try:
            configured({**settings, **VARIANTS[name]}, {"seconds": 1}, 1)
            found.append(name)
        except ValidationError as error:
            print(f"left out: {name} (not in this version: {refused(error)})", flush=True)
    return found


def _setting(text: str) -> tuple[str, Any]:
    key, value = text.split("=", 1)
    return key, json.loads(value)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--tokens", type=int, default=0, help="training tokens of each run (640000 is a minute on two cores)")
    budget.add_argument("--seconds", type=float, default=0, help="training time of each run")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--variants", default="", help=f"comma-separated, of {', '.join(map(repr, VARIANTS))}; default: all")
    parser.add_argument(
        "--set", type=_setting, action="append", default=[], help="KEY=JSON for every run, e.g. pretrain.model.layers=2"
    )
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE, help="folder of real text (LUGHA_BUNDLE)")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "lugha-benchmark")
    given = parser.parse_args()
    given.set = dict(given.set)
    given.variants = [name for name in given.variants.split(",") if name] or list(VARIANTS)
    if unknown := [name for name in given.variants if name not in VARIANTS]:
        parser.error(f"--variants: {unknown[0]!r} is unknown; there are {', '.join(map(repr, VARIANTS))}")
    if not (given.bundle / "MANIFEST.json").is_file():
        parser.error(f"--bundle {given.bundle}: there is no MANIFEST.json")
    return given


if __name__ == "__main__":
    main()
