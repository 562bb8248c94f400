"""What measured thresholds do to real text among ever more junk: `python tests/benchmarks/thresholds.py`.

Real Swahili of the bundle (news, translated news in blocks, stories, scripture, a web collection) is mixed with junk: what
real pages of the bundle hold beside their paragraphs (menus, lists of links, tables, footers), and the kinds of
`tests/junk.py`, no two documents alike. The language is taken for granted, and copies are not looked for: both would take out
junk before.
Thresholds are the stock ones, measured on the mix itself, and so is the usage of the language. A document of the
junk or of the text counts as it was meant, good sentences in a footer or word salad in a collection notwithstanding.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import zstandard
from data import DEFAULT_BUNDLE
from extraction_labels import pages
from heading import heading
from quality import texts

from tasks.annotate.quality import QualitySignals, quality
from tasks.clean import clean_text
from tasks.core.documents import Document
from tasks.select import select
from tests.junk import variety
from tests.pipeline import rows, run, write_documents
from tests.select.judged import config, world_of

WHOLE = ("CONTAMINATED_masakhanews_dev_test", "masakhanews_fewshot_train", "african_storybook", "bible_nt_cc0")
COLLECTION, TRANSLATED = "maneno_yetu", "lafand_mt_train"
BLOCK_LINES, LONGEST = 20, 6_000
"""Lines of the translated news that make a document; characters of the collection's texts, some of which are whole books."""
FURNITURE_LINES, FURNITURE_WORDS = 60, 30


class Text(NamedTuple):
    """A document: `junk` or `text`, and of which kind."""

    source: str
    kind: str
    text: str


class Outcome(NamedTuple):
    """Shares by kind of what was kept of text and dropped of junk, and how the thresholds were found."""

    kept: dict[str, float]
    dropped: dict[str, float]
    found: Counter[str]
    text: float
    junk: float


def real(bundle: Path, number: int) -> list[Text]:
    """So many documents of real text, all kinds mixed, always the same."""
    folder = bundle / "raw" / "swahili"
    lines = "\n".join(texts(folder / f"{TRANSLATED}.jsonl.zst")).split("\n")
    blocks = ["\n".join(lines[start : start + BLOCK_LINES]) for start in range(0, len(lines), BLOCK_LINES)]
    found = [Text("text", TRANSLATED, block) for block in blocks]
    found += [Text("text", name, text) for name in WHOLE for text in texts(folder / f"{name}.jsonl.zst")]
    with zstandard.open(folder / f"{COLLECTION}.jsonl.zst", "rt", encoding="utf-8") as rows:
        collection = [clean_text(json.loads(row)["text"])[0] for row in itertools.islice(rows, 0, 20_000, 30)]
    found += [Text("text", COLLECTION, text[:LONGEST]) for text in collection if text]
    return random.Random(3).sample(found, min(number, len(found)))


def junk(bundle: Path, number: int) -> list[Text]:
    """So many documents of junk, a quarter of them of real pages, no two alike."""
    furniture = [Text("junk", "page furniture", text) for text in _furniture(bundle)]
    different = {text: kind for kind, text in itertools.islice(variety(), 2 * number)}
    made = [Text("junk", kind, text) for text, kind in different.items()]
    chance = random.Random(4)
    chosen = chance.sample(furniture, min(number // 4, len(furniture)))
    return chosen + chance.sample(made, number - len(chosen))


def _furniture(bundle: Path) -> Iterator[str]:
    import lxml.html

    for page in pages(bundle):
        tree = lxml.html.fromstring(page["html"].encode(), parser=lxml.html.HTMLParser(encoding="utf-8"))
        for element in tree.xpath("//script|//style|//noscript|//p|//article"):
            element.drop_tree()
        lines = [line for piece in tree.itertext() if (line := " ".join(piece.split()))]
        for start in range(0, len(lines), FURNITURE_LINES):
            if len(" ".join(block := lines[start : start + FURNITURE_LINES]).split()) >= FURNITURE_WORDS:
                yield "\n".join(block)


def judge(documents: Sequence[Text], folder: Path) -> Outcome:
    """Measure and decide by the stages `quality` and `select`."""
    shutil.rmtree(folder, ignore_errors=True)
    mixed = random.Random(5).sample(documents, len(documents))
    inputs = world_of(write_documents(folder / "clean", [Document(one.text, one.source, one.kind) for one in mixed]), folder)
    run(quality, folder / "quality", QualitySignals(label="swh_Latn"), inputs)
    metrics = run(select, folder / "select", config(), inputs | {"quality": folder / "quality"})
    decided = rows(folder / "select")
    shares = {source: _shares([row for row in decided if row["source"] == source]) for source in ("text", "junk")}
    found = Counter(threshold["how"] for threshold in metrics["thresholds"] if threshold["how"] != "config")
    kept, dropped = shares["text"], {kind: 1 - share for kind, share in shares["junk"].items()}
    means = [_share([row for row in decided if row["source"] == source]) for source in ("text", "junk")]
    return Outcome(kept, dropped, found, means[0], 1 - means[1])


def _shares(rows: Sequence[dict[str, str]]) -> dict[str, float]:
    return {kind: _share([row for row in rows if row["url"] == kind]) for kind in sorted({row["url"] for row in rows})}


def _share(rows: Sequence[dict[str, str]]) -> float:
    return sum(row["decision"] == "keep" for row in rows) / max(1, len(rows))


def mix(bundle: Path, share: float, number: int) -> list[Text]:
    """So many documents, this share of them junk."""
    return real(bundle, number - round(share * number)) + junk(bundle, round(share * number))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=4000, help="documents of each mix")
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE, help="folder of real text (LUGHA_BUNDLE)")
    given = parser.parse_args()
    print(f"{heading()}\n\n| junk | thresholds | text kept | junk dropped | worst kinds |\n|---:|---|---:|---:|---|")
    for share in (0.0, 0.2, 0.4, 0.6):
        with tempfile.TemporaryDirectory() as folder:
            found = judge(mix(given.bundle, share, given.documents), Path(folder) / "mix")
        how = ", ".join(f"{number} {name}" for name, number in found.found.most_common())
        worst = sorted({**found.kept, **found.dropped}.items(), key=lambda item: item[1])[:4]
        cells = [f"{share:.0%}", how, f"{found.text:.3f}", f"{found.junk:.3f}" if share else ""]
        print(f"| {' | '.join(cells)} | {', '.join(f'{name} {value:.2f}' for name, value in worst)} |", flush=True)


if __name__ == "__main__":
    main()
