"""Quality signals side by side with datatrove's filters: `python tests/benchmarks/quality.py`.

Both tools run as whole processes (imports included), one after the other, on the corpus of `data_corpus.py` and on real
documents of several sources of the bundle. datatrove filters, ours measures every signal and then gives datatrove's verdict
by SQL. datatrove is slow and gets a part of the large corpus; its time grows linearly.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from data import DEFAULT_BUNDLE, HERE, Cost, install, measure
from data_corpus import build
from heading import heading, load

from tasks.clean import clean_text
from tasks.core.artifacts import Documents
from tasks.core.documents import Document, ShardWriter

PART = 500
"""Most documents of one source among the real ones."""


@dataclass(frozen=True)
class Texts:
    """The same documents as shards, as JSON lines, and what the stage `quality` takes their language to be."""

    name: str
    shards: Path
    jsonl: Path
    language: Path
    documents: int


def main() -> None:
    given = _arguments()
    given.scratch.mkdir(parents=True, exist_ok=True)
    python = install("datatrove", given.scratch / "venvs" / "datatrove")
    large = _prepared(given, given.documents)
    part, real = _prepared(given, min(given.documents, given.peer_documents)), real_texts(given.bundle, given.scratch)
    runs = given.scratch / "runs"
    own = [sys.executable, HERE / "quality_ours.py"]
    measure([*own, real.shards, real.language], runs / "quality-warm-up")  # compiles the kernels
    print(f"{heading()}\n", flush=True)
    one = measure([*own, large.shards, large.language], runs / "quality-ours-1")
    two = measure([*own, "--workers=2", large.shards, large.language], runs / "quality-ours-2")
    peer = measure([python, HERE / "peer_datatrove_quality.py", part.jsonl], runs / "quality-datatrove")
    print(table([("ours, 1 worker", large.documents, one), ("ours, 2 workers", large.documents, two),
                 ("datatrove 0.10.1, 1 worker", part.documents, peer)]), flush=True)  # fmt: skip
    measure([*own, part.shards, part.language], runs / "quality-ours-part")
    measure([python, HERE / "peer_datatrove_quality.py", real.jsonl], runs / "quality-datatrove-real")
    for texts, ours, theirs in (
        (part, "quality-ours-part", "quality-datatrove"),
        (real, "quality-warm-up", "quality-datatrove-real"),
    ):
        print("\n" + agreement(texts, runs / ours, runs / theirs), flush=True)
    print(f"\nload {load()} after")


def table(rows: list[tuple[str, int, Cost]]) -> str:
    """Markdown; the ratios are seconds per document over those of the first row."""
    lines = [["tool", "documents", "wall s", "docs/s", "ratio", "CPU s", "CPU ratio", "peak MB"], ["---"] * 8]
    _, base_documents, base = rows[0]
    for name, documents, cost in rows:
        scale = base_documents / documents
        lines.append([
            name, f"{documents:,}", f"{cost.wall:.1f}", f"{documents / cost.wall:,.0f}", f"{scale * cost.wall / base.wall:.1f}",
            f"{cost.processor:.1f}", f"{scale * cost.processor / base.processor:.1f}", f"{cost.memory / 1e6:.0f}",
        ])  # fmt: skip
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def agreement(texts: Texts, ours: Path, theirs: Path) -> str:
    """Share of documents with the same verdict, in all and by source; and datatrove's reasons where only it drops."""
    mine, reasons = set((ours / "dropped.txt").read_text().split("\n")), json.loads((theirs / "reasons.json").read_text())
    same: Counter[str] = Counter()
    total: Counter[str] = Counter()
    only: Counter[str] = Counter()
    with open(texts.jsonl, encoding="utf-8") as lines:
        for line in lines:
            url = json.loads(line)["url"]
            source = url.split("/")[2]
            agree = (url in mine) == (url in reasons)
            total[source] += 1
            same[source] += agree
            if not agree:
                only[f"only ours drops ({source})" if url in mine else f"only datatrove: {reasons[url]}"] += 1
    shares = ", ".join(f"{source} {same[source] / number:.3f} of {number:,}" for source, number in sorted(total.items()))
    return (
        f"{texts.name}: same verdict for {same.total() / total.total():.4f} of {total.total():,} documents; ours drops"
        f" {len(mine - {''}):,}, datatrove {len(reasons):,}\n{shares}\n{dict(only.most_common())}"
    )


def real_texts(bundle: Path, scratch: Path) -> Texts:
    """At most PART documents of each Swahili source of the bundle, cleaned, evenly from all of it."""
    folder = scratch / "quality-real"
    (folder / "shards").mkdir(parents=True, exist_ok=True)
    writer = ShardWriter(folder / "shards", "part")
    with open(folder / "documents.jsonl", "w", encoding="utf-8") as lines:
        for path in sorted((bundle / "raw" / "swahili").glob("*.jsonl.zst")):
            found = list(texts(path))
            for number in range(0, len(found), -(-len(found) // PART)):
                url = f"https://{path.name.split('.')[0]}/{number}"
                lines.write(json.dumps({"id": url, "url": url, "text": found[number]}, ensure_ascii=False) + "\n")
                writer.add(Document(found[number], "real", url))
    writer.close()
    return Texts("real documents", folder / "shards", folder / "documents.jsonl", _labels(folder), writer.documents)


def texts(path: Path) -> Iterator[str]:
    """The cleaned texts of a file of the bundle."""
    for line in zstandard.decompress(path.read_bytes(), max_output_size=1 << 31).decode().rstrip("\n").split("\n"):
        if text := clean_text(json.loads(line)["text"])[0]:
            yield text


def _prepared(given: argparse.Namespace, documents: int) -> Texts:
    corpus = build(given.bundle, given.scratch, documents)
    return Texts("benchmark corpus", corpus.shards, corpus.jsonl, _labels(corpus.folder), documents)


def _labels(folder: Path) -> Path:
    """All documents of `folder/shards` called Swahili."""
    (folder / "language").mkdir(exist_ok=True)
    for shard in Documents(folder / "shards").shards():
        ids = pq.read_table(shard, columns=["id"])
        ids = ids.append_column("label", pa.array(["swh_Latn"] * len(ids)))
        pq.write_table(ids.append_column("score", pa.array([1.0] * len(ids), pa.float32())), folder / "language" / shard.name)
    return folder / "language"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--peer-documents", type=int, default=5_000, help="documents of the large corpus for datatrove")
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE, help="folder of real text (LUGHA_BUNDLE)")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "lugha-benchmark")
    given = parser.parse_args()
    if not (given.bundle / "MANIFEST.json").is_file():
        parser.error(f"--bundle {given.bundle}: there is no MANIFEST.json")
    return given


if __name__ == "__main__":
    main()
