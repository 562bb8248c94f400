"""Language identification side by side with datatrove's: `python tests/benchmarks/language.py`.

Both are whole processes on the same corpus with the same model file, one after the other. datatrove gives fastText each whole
text as it stands, as its filter does; ours reads windows, samples lines, looks words up, and writes Parquet with checksums. The
peer gets a smaller corpus of the same make; its time grows linearly. "Same label" is the share of its documents that get the
same label from ours.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import data
from data import Cost, Peer, install, measure
from data_corpus import Corpus, build
from heading import heading, load

from tasks.annotate.language import PACKAGED

NAME = "datatrove-language"
PEER = Peer(("datatrove==0.10.1", "fasttext-numpy2-wheel==0.9.2", "numpy", "orjson", "regex"), 10_000)


def main() -> None:
    given = _arguments()
    scratch, own = given.scratch, [sys.executable, Path(__file__).resolve(), "--stage"]
    scratch.mkdir(parents=True, exist_ok=True)
    corpus, part = (build(given.bundle, scratch, number) for number in (given.documents, min(given.documents, PEER.documents)))
    data.PEERS[NAME] = PEER
    python = install(NAME, scratch / "venvs" / NAME)
    measure(
        [*own, "1", build(given.bundle, scratch, 300).shards], scratch / "runs" / "language-warm-up"
    )  # compiles the kernels
    print(f"{heading()}\n", flush=True)
    rows = []
    for workers in (1, 2):
        out = scratch / "runs" / f"language-{workers}"
        rows.append((f"ours, {workers} worker{'s' * (workers > 1)}", corpus, measure([*own, str(workers), corpus.shards], out)))
    theirs = scratch / "runs" / NAME
    peer = [python, Path(__file__).with_name("peer_datatrove_language.py"), part.jsonl, PACKAGED]
    rows.append((PEER.requirements[0].replace("==", " "), part, measure(peer, theirs)))
    print(table(rows))
    print(f"same label: {agreement(scratch / 'runs' / 'language-1', corpus, theirs / 'labels.jsonl'):.3%}")
    print(f"\nload {load()} after")


def table(rows: Sequence[tuple[str, Corpus, Cost]]) -> str:
    """Markdown; ratios are seconds per document over those of the first row."""
    lines = ["| tool | documents | wall s | docs/s | ratio | CPU s | CPU ratio | peak MB |", f"|{'---|' * 8}"]
    (_, corpus, base) = rows[0]
    for tool, its, cost in rows:
        scale = corpus.documents / its.documents
        cells = [tool, f"{its.documents:,}", f"{cost.wall:.1f}", f"{its.documents / cost.wall:,.0f}"]
        cells += [f"{scale * cost.wall / base.wall:.1f}", f"{cost.processor:.1f}"]
        cells += [f"{scale * cost.processor / base.processor:.1f}", f"{cost.memory / 1e6:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def agreement(ours: Path, corpus: Corpus, theirs: Path) -> float:
    """Share of the peer's documents whose best label is ours, too."""
    import duckdb

    with open(theirs, encoding="utf-8") as file:
        labels = {str(identity): label for identity, label, _ in map(json.loads, file)}
    found = duckdb.sql(
        f"SELECT split_part(d.url, '/', 4), l.label FROM '{corpus.shards}/*.parquet' d"
        f" JOIN '{ours}/benchmark/language/*/*.parquet' l USING (id)"
    ).fetchall()
    same = [labels[number] == label for number, label in found if number in labels]
    return sum(same) / max(1, len(same))


def stage(shards: Path, out: Path, workers: int) -> None:
    """The stage as the pipeline runs it: annotations, sha256 of each file, manifest, published by a rename."""
    from lang_configs.schema import LanguageId
    from tasks.annotate.language import LANGUAGE
    from tasks.core.engines import make_engine
    from tasks.core.stage import Output, Step, Work, execute

    step = Step(LANGUAGE.stage, LanguageId(label="swh_Latn"), {"clean": Output("clean", "benchmark", shards)})
    execute(step, out, "benchmark", Work(make_engine("processes", workers)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--bundle", type=Path, default=data.DEFAULT_BUNDLE, help="folder of real text (LUGHA_BUNDLE)")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "lugha-benchmark")
    return parser.parse_args()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--stage"]:
        stage(Path(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[2]))
    else:
        main()
