"""Our reader of fastText models beside the libraries that read them: `python tests/benchmarks/language_reader.py`.

Each is a process of its own on one thread, with the packaged model and the same strings: the bundle's test lines, normalised,
and what the stage `language` reads of whole documents (windows and lines). The first call is not timed; figures are the least
processor seconds of a few rounds. fasttext gets all strings in one call, which is its fastest way; fasttext-predict, a fork
with wheels, takes one at a time. Memory is what reading the model and predicting add to the imports. "Ends the process": of
damaged copies of the model, how many end it by a signal or keep it busy for 30 seconds.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import data
import numpy as np
from data import DEFAULT_BUNDLE, HERE, Peer, install
from heading import heading, load
from peer_fasttext import Best, K, take
from training_corpus import corpus

from tasks.annotate.language import PACKAGED
from tasks.annotate.language.model import Classifier
from tasks.annotate.language.pieces import as_column, normalise_all, pieces

PREDICT = "fasttext-predict"
PEER = Peer(("fasttext-predict==0.9.2.4", "psutil"), 0)
DAMAGED = 20


@dataclass(frozen=True)
class Row:
    """What one reader took for the strings of one text, in seconds of one core, and MB of memory."""

    name: str
    strings: str
    documents: int
    bytes: int
    seconds: float
    memory: float
    best: Best


def main() -> None:
    given = _arguments()
    given.scratch.mkdir(parents=True, exist_ok=True)
    data.PEERS[PREDICT] = PEER
    library = HERE / "peer_fasttext.py"
    readers: dict[str, list[str | Path]] = {
        "ours": [sys.executable, HERE / "language_reader.py", "ours"],
        "fasttext": [sys.executable, library, "all"],
        PREDICT: [install(PREDICT, given.scratch / "venvs" / PREDICT), library, "one"],
    }
    print(f"{heading()}\n", flush=True)
    rows, damaged = [], damage(given.scratch / "damaged")
    for name, (documents, texts) in strings(given.bundle).items():
        file = given.scratch / "strings.json"
        file.write_text(json.dumps(texts))
        rows += [measure(reader, command, name, documents, file) for reader, command in readers.items()]
    print(table(rows, {reader: deaths(command, damaged) for reader, command in readers.items()}))
    print(f"\nload {load()} after")


def strings(bundle: Path) -> dict[str, tuple[int, list[str]]]:
    """Number of documents and the strings that are classified, by name."""
    lines = (bundle / "lid" / "test.txt").read_text("utf-8").splitlines()
    normalised = [text for text in normalise_all([line.partition(" ")[2] for line in lines]) if text]
    texts = [text for part in corpus(bundle) for text in part][:2000]
    return {"test lines": (len(normalised), normalised), "documents": (len(texts), pieces(as_column(texts)).texts())}


def measure(reader: str, command: Sequence[str | Path], name: str, documents: int, file: Path) -> Row:
    """Run a reader as a process of its own."""
    done = subprocess.run([*command, PACKAGED, file], check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout)
    size = sum(len(text.encode()) for text in json.loads(file.read_text()))
    best = [(label, score) for label, score in found["best"]]
    return Row(reader, name, documents, size, found["seconds"], found["memory"] / 1e6, best)


def table(rows: Sequence[Row], died: dict[str, int]) -> str:
    """Markdown; the reference for "same label" and for the probabilities is fasttext."""
    lines = [
        "| reader | strings | µs/document | MB/s | ratio | memory MB | same label | largest difference | ends the process |",
        f"|{'---|' * 9}",
    ]
    for row in rows:
        reference = next(one for one in rows if one.strings == row.strings and one.name == "fasttext")
        same, difference = agreement(row.best, reference.best)
        cells = [row.name, f"{row.documents:,} {row.strings}", f"{1e6 * row.seconds / row.documents:.1f}"]
        cells += [f"{row.bytes / 1e6 / row.seconds:.1f}", f"{reference.seconds / row.seconds:.1f}", f"{row.memory:.0f}"]
        cells += [f"{same:.4%}", f"{difference:.1e}", f"{died[row.name]} of {DAMAGED}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def agreement(ours: Best, theirs: Best) -> tuple[float, float]:
    """Share of strings with the same best label, and the largest difference of its probability."""
    same = sum(mine[0] == other[0] for mine, other in zip(ours, theirs, strict=True))
    difference = max((abs(mine[1] - other[1]) for mine, other in zip(ours, theirs, strict=True)), default=0.0)
    return same / max(1, len(ours)), difference


def damage(folder: Path) -> list[Path]:
    """Copies of the model, each cut short or with a few bytes of its first 4,000 changed."""
    folder.mkdir(exist_ok=True)
    chance, whole = random.Random(1), PACKAGED.read_bytes()
    files = []
    for number in range(DAMAGED):
        content = bytearray(whole)
        if number % 2:
            del content[chance.randrange(100, len(whole)) :]
        else:
            for _ in range(4):
                content[chance.randrange(4000)] = chance.randrange(256)
        files.append(folder / f"{number:02d}.ftz")
        files[-1].write_bytes(content)
    return files


def deaths(command: Sequence[str | Path], files: Sequence[Path]) -> int:
    """How many of the files end the process that reads them by a signal, or keep it busy for 30 seconds."""
    limit = 'ulimit -v 8000000; ulimit -t 30; ulimit -c 0; exec "$@"'  # a damaged size asks for all memory
    ends = [subprocess.run(["bash", "-c", limit, "-", *map(str, command), file], capture_output=True) for file in files]
    return sum(end.returncode < 0 or end.returncode > 128 for end in ends)


def opened(model: str) -> Callable[[list[str]], Best]:
    """What gives the best label of each string by our reader, the model being read."""
    classifier = Classifier(model)

    def predict(texts: list[str]) -> Best:
        encoded = [text.encode() for text in texts]
        ends = np.cumsum([len(text) for text in encoded], dtype=np.int64)
        places, scores = classifier.predict(np.frombuffer(b"".join(encoded), np.uint8), ends, K)
        best = zip(places[:, 0].tolist(), scores[:, 0].tolist(), strict=True)
        return [(classifier.labels[place] if score else "", score) for place, score in best]

    return predict


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE, help="folder of real text (LUGHA_BUNDLE)")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "lugha-benchmark")
    return parser.parse_args()


if __name__ == "__main__":
    if sys.argv[1:2] != ["ours"]:
        main()
    elif len(sys.argv) > 3:
        print(take(lambda: opened(sys.argv[2]), Path(sys.argv[3])))
    else:
        opened(sys.argv[2])(["habari za leo"])
