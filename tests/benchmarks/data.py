"""Near-duplicate removal side by side with the peers, and the whole data flow: `python tests/benchmarks/data.py`.

Each tool runs as a whole process, one after the other, on a corpus with known duplicates (`data_corpus.py`): JSON lines in,
JSON lines of what is kept out. The row of our stage alone reads Parquet and writes annotations, as the pipeline does, and is
compared with nothing. Every tool runs on a small corpus too: what it takes for each document more is the difference of the
two runs, so that imports and start-up count for none, and slow peers may get a smaller corpus (their time grows linearly). Wall
times belong to one machine and its load, processor seconds less so: read the ratios of both, which are those of documents per
second. Each peer is installed into a virtual environment of its own below the scratch folder. "Removed below" counts
removals that have no planted duplicate at the threshold.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from data_corpus import BINS, THRESHOLD, Corpus, Score, build, score
from heading import heading, load

HERE = Path(__file__).parent
DEFAULT_BUNDLE = Path(os.environ.get("LUGHA_BUNDLE", HERE.parent.parent.parent / "shared" / "data"))


@dataclass(frozen=True)
class Peer:
    """A pinned tool, and the largest corpus that it gets."""

    requirements: tuple[str, ...]
    documents: int


FEW = 1000
"""Documents of the small corpus."""
PEERS = {
    "rensa": Peer(("rensa==0.5.0",), 100_000),
    "datasketch": Peer(("datasketch==2.0.0",), 10_000),
    # what the four steps import, not the extra `multilingual`: its 8 GB hold tokenizers of other languages
    "datatrove": Peer(
        ("datatrove==0.10.1", "spacy==3.8.18", "regex", "nltk", "orjson", "pandas", "pyarrow", "tokenizers", "xxhash==3.5.0"),
        5_000,
    ),
}


@dataclass(frozen=True)
class Cost:
    """Wall and processor seconds of all processes of a tool, and the largest sum of their resident memory in bytes."""

    wall: float
    processor: float
    memory: int


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    tool: str
    documents: int
    cost: Cost
    score: Score
    few: int
    start: Cost
    """Of a run on `few` documents."""

    @property
    def wall(self) -> float:
        """Seconds for each document more."""
        return (self.cost.wall - self.start.wall) / (self.documents - self.few)

    @property
    def processor(self) -> float:
        """Processor seconds for each document more."""
        return (self.cost.processor - self.start.processor) / (self.documents - self.few)


def main() -> None:
    given = _arguments()
    scratch, own = given.scratch, HERE / "data_ours.py"
    scratch.mkdir(parents=True, exist_ok=True)
    warm, few, corpus = (build(given.bundle, scratch, number) for number in (300, FEW, given.documents))
    measure([sys.executable, own, "jsonl", warm.jsonl], scratch / "runs" / "warm-up")  # compiles the kernels
    print(f"{heading()}\n", flush=True)
    rows = []
    for workers in (1, 2):
        command = [sys.executable, own, f"--workers={workers}", "jsonl"]
        rows.append(compare(f"ours, {workers} worker{'s' * (workers > 1)}", command, "jsonl", few, corpus, scratch))
    for name in given.peers:
        python = install(name, scratch / "venvs" / name)
        part = build(given.bundle, scratch, min(given.documents, PEERS[name].documents))
        version = PEERS[name].requirements[0].replace("==", " ")
        rows.append(compare(version, [python, HERE / f"peer_{name}.py"], "jsonl", few, part, scratch))
    print(table(rows), flush=True)
    command = [sys.executable, own, "stage"]
    print(f"\n{table([compare('ours, stage alone, 1 worker', command, 'shards', few, corpus, scratch)])}", flush=True)
    for size in given.refresh:
        parts = [build(given.bundle, scratch, given.documents, seed) for seed in range(1, size // given.documents + 1)]
        parts.append(build(given.bundle, scratch, given.documents // 10, 99))
        folders = ",".join(str(part.shards) for part in parts)
        cost = measure([sys.executable, own, "refresh", folders], scratch / "runs" / "refresh")
        print("\n" + _refresh(cost, scratch / "runs" / "refresh"), flush=True)
    if not given.no_flow:
        settings = ["--workers=2", f"--evaluation={given.bundle / 'eval'}"]
        measure([sys.executable, own, *settings, "flow", warm.jsonl], scratch / "runs" / "flow")
        cost = measure([sys.executable, own, *settings, "flow", corpus.jsonl], scratch / "runs" / "flow")
        print("\n" + _flow(cost, scratch / "runs" / "flow", given.documents))
    print(f"\nload {load()} after")


def install(name: str, folder: Path) -> Path:
    """The Python of a virtual environment that holds a peer, made unless it is there."""
    python, done = folder / "bin" / "python", folder / "installed"
    wanted = " ".join(PEERS[name].requirements)
    if not done.exists() or done.read_text() != wanted:
        venv.create(folder, clear=True, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PEERS[name].requirements], check=True)
        done.write_text(wanted)
    return python


def compare(tool: str, command: Sequence[str | Path], form: str, few: Corpus, corpus: Corpus, scratch: Path) -> Row:
    """Run a tool on a small and on a large corpus in the form that it reads, and judge what it removed of the large one."""
    out = scratch / "runs" / "".join(letter if letter.isalnum() else "-" for letter in tool)
    start, cost = (measure([*command, getattr(given, form)], out) for given in (few, corpus))
    removed = {int(line) for line in (out / "removed.txt").read_text().split()}
    row = Row(tool, corpus.documents, cost, score(corpus.truth(), removed), few.documents, start)
    print(f"{tool}: {cost.wall:.1f} s", file=sys.stderr, flush=True)
    return row


def measure(command: Sequence[str | Path], out: Path) -> Cost:
    """What a process and its children take; `out` is made empty and is its last argument."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    arguments = [str(part) for part in [*command, out]]
    with open(out / "log.txt", "w") as log:
        before, started = _processor(), time.perf_counter()
        process = subprocess.Popen(arguments, stdout=log, stderr=subprocess.STDOUT)
        watched, peak = psutil.Process(process.pid), 0
        while process.poll() is None:
            peak = max(peak, _resident(watched))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
        wall, processor = time.perf_counter() - started, _processor() - before
    if process.returncode:
        sys.exit(f"{' '.join(arguments)}\nended with {process.returncode}:\n{(out / 'log.txt').read_text()[-3000:]}")
    return Cost(wall, processor, peak)


def table(rows: Sequence[Row]) -> str:
    """Markdown; the ratios are the seconds for each document more over those of the first row."""
    bins = [f"J {low:.1f}-{min(high, 1):.1f}" for low, high in BINS]
    head = [
        "tool",
        "documents",
        "wall s",
        f"wall s of {FEW:,}",
        "docs/s",
        "ratio",
        "CPU s",
        "CPU ratio",
        "peak MB",
        "exact",
        *bins,
        f"removed below {THRESHOLD}",
    ]
    base = rows[0]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        wall = [f"{row.cost.wall:.1f}", f"{row.start.wall:.1f}", f"{1 / row.wall:,.0f}", f"{row.wall / base.wall:.1f}"]
        processor = [f"{row.cost.processor:.1f}", f"{row.processor / base.processor:.1f}"]
        recalls = [f"{share:.3f}" for share in (row.score.exact, *row.score.near)]
        memory = f"{row.cost.memory / 1e6:.0f}"
        lines.append([row.tool, f"{row.documents:,}", *wall, *processor, memory, *recalls, str(row.score.below)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _refresh(cost: Cost, out: Path) -> str:
    """Of runs in one process, its start and imports not counted: a refresh happens inside a build."""
    record = json.loads((out / "refresh.json").read_text())
    seconds, documents = record["seconds"], record["documents"]
    return (
        f"{documents['refresh'] - documents['first']:,} new documents against an index of {documents['first']:,}:"
        f" {seconds['refresh']:.2f} s, annotations of all documents written; all at once {seconds['at once']:.1f} s, the"
        f" {'same' if record['equal'] else 'NOT THE SAME'} files; index {record['index_bytes'] / 1e6:.0f} MB,"
        f" peak {cost.memory / 1e6:.0f} MB"
    )


def _flow(cost: Cost, out: Path, documents: int) -> str:
    record = json.loads((out / "stages.json").read_text())
    stages = ", ".join(f"{label} {spent:.1f}" for label, spent in record["seconds"].items())
    decisions = ", ".join(f"{row['decision']} {row['documents']}" for row in record["decisions"])
    counted = sum(row["documents"] for row in record["decisions"])
    return (
        f"whole data flow, {documents:,} documents, 2 workers: {cost.wall:.1f} s, {cost.processor:.1f} CPU s,"
        f" peak {cost.memory / 1e6:.0f} MB\n"
        f"seconds by stage: {stages}\ndecisions ({counted:,} in all): {decisions}"
    )


def _processor() -> float:
    """Seconds that all ended children, and theirs, have computed."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _resident(process: psutil.Process) -> int:
    total = 0
    try:
        for one in [process, *process.children(recursive=True)]:
            total += one.memory_info().rss
    except psutil.Error:  # ended meanwhile
        pass
    return total


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--peers", default="rensa,datasketch,datatrove", help="comma-separated; empty for none")
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE, help="folder of real text (LUGHA_BUNDLE)")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "lugha-benchmark")
    parser.add_argument("--refresh", default="", help="comma-separated sizes of the index, multiples of --documents")
    parser.add_argument("--no-flow", action="store_true", help="leave the whole data flow out")
    given = parser.parse_args()
    given.refresh = [int(size) for size in given.refresh.split(",") if size]
    given.peers = [name for name in given.peers.split(",") if name]
    if unknown := [name for name in given.peers if name not in PEERS]:
        parser.error(f"--peers: {unknown[0]!r} is unknown; there are {', '.join(PEERS)}")
    if not (given.bundle / "MANIFEST.json").is_file():
        parser.error(f"--bundle {given.bundle}: there is no MANIFEST.json")
    return given


if __name__ == "__main__":
    main()
