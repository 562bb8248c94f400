"""The additions of these tests: an annotator with a rule, and a source. (A task is in tests.evaluate.word_order, a model family
in tests.pretrain.olmo.) Nothing in the tree knows of them but through the public ways.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import pyarrow as pa
from pydantic import BaseModel

from lang_configs.sources import Name, SourceConfig
from tasks.annotate.annotator import Annotator, Rule
from tasks.core.artifacts import Annotations, Documents
from tasks.core.documents import Document, batches, write_table
from tasks.core.stage import Metrics, Stage, Work
from tasks.crawl.sources import Estimate, StreamSource, register


class Shouting(BaseModel):
    """Text in capitals."""

    max_capitals: float = 0.5

    def values(self) -> dict[str, float]:
        return {"max_capitals": self.max_capitals}


def shouting(inputs: Mapping[str, Path], config: Shouting, out: Path, work: Work) -> Metrics:
    """Annotate each document with `capitals`, the share of its letters that are capitals."""
    documents = Documents(inputs["clean"])
    found = work.units(_annotate, {shard.stem: str(shard) for shard in documents.shards()}, out)
    return {"documents": sum(unit["documents"] for unit in found.values())}


def _annotate(shard: str, out: Path) -> Metrics:
    rows = []
    for batch in batches(Path(shard), ["id", "text"]):
        for identity, text in zip(batch.column("id").to_pylist(), batch.column("text").to_pylist(), strict=True):
            letters = [character for character in text if character.isalpha()]
            rows.append({"id": identity, "capitals": sum(map(str.isupper, letters)) / max(1, len(letters))})
    schema = pa.schema([pa.field("id", pa.binary(16)), pa.field("capitals", pa.float32())])
    write_table(pa.Table.from_pylist(rows, schema), Annotations(out).shard(Path(shard).name))
    return {"documents": len(rows)}


SHOUTING = Annotator(
    Stage(
        "shouting",
        shouting,
        inputs={"clean": Documents},
        artifact=Annotations,
        headline=lambda metrics: f"{metrics['documents']} documents listened to",
    ),
    columns={"capitals": "capitals"},
    rules=(
        Rule(
            decision="shouting",
            signal="capitals",
            bound="at most",
            threshold="$max_capitals",
            words="share of capitals above {max_capitals}",
        ),
    ),
)


class ShelfSource(SourceConfig):
    """Texts in a folder, a file each."""

    type: Literal["shelf"] = "shelf"
    name: Name = "shelf"
    license: str | None = None
    folder: str


@register
class Shelf(StreamSource[ShelfSource]):
    """Texts in a folder, a file each."""

    model = ShelfSource

    @property
    def where(self) -> str:
        return self.config.folder

    def estimate(self) -> Estimate:
        return Estimate(0, f"{len(list(Path(self.config.folder).iterdir()))} texts of a shelf")

    def documents(self, state: Path, report: Counter[str]) -> Iterator[Document]:
        for path in sorted(Path(self.config.folder).iterdir()):
            report["taken_down"] += 1
            yield Document(path.read_text(encoding="utf-8"), self.config.name, f"shelf:{path.stem}", license="CC0-1.0")
