"""Extraction of real pages beside plain trafilatura: F1 on labelled main text, and time on a crawl of mixed languages.

    python tests/benchmarks/extraction.py BUNDLE

The labels (`extraction_gold.json`) are the main text of 40 mainly Swahili pages of the bundle, marked block by block by a
person: headings and text of the page itself, without menus, buttons, counters, forms, contact lines and footers. The text
is not ours to publish; kept are the 32-bit hashes of its word 5-grams, which is all that F1 needs.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import logging
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

GOLD = Path(__file__).with_name("extraction_gold.json")
WANTED = ("swh_Latn",)
Extractor = Callable[[dict[str, Any]], str]


def pages(bundle: Path) -> list[dict[str, Any]]:
    """The real pages of the data bundle: `id`, `url`, `html` and what its maker noted."""
    import zstandard

    with open(bundle / "html" / "pages.jsonl.zst", "rb") as handle:
        return [json.loads(line) for line in io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(handle))]


def grams(text: str, words: int = 5) -> np.ndarray:
    """The sorted 32-bit hashes of the word 5-grams of a text (of all words, if they are fewer), in lower case."""
    found = re.findall(r"\w+", text.casefold())
    runs = {" ".join(found[i : i + words]) for i in range(max(1, len(found) - words + 1))} if found else set()
    return np.unique(np.array([xxhash.xxh3_64_intdigest(run.encode()) & 0xFFFFFFFF for run in runs], np.uint32))


def gold() -> dict[str, np.ndarray]:
    """The hashes of the labelled main text by the id of the page."""
    return {name: np.frombuffer(base64.b64decode(data), "<u4") for name, data in json.loads(GOLD.read_text()).items()}


def overlap(text: str, expected: np.ndarray) -> tuple[float, float, float]:
    """Precision, recall and F1 of an extracted text against the labelled one, on sets of word 5-grams."""
    found = grams(text)
    both = len(np.intersect1d(found, expected))
    precision, recall = both / max(1, len(found)), both / len(expected)
    return precision, recall, 2 * precision * recall / (precision + recall) if both else 0.0


def extractors() -> dict[str, Extractor]:
    """Ours as a crawl for Swahili calls it (without the process around it), and plain trafilatura."""
    import trafilatura
    from resiliparse.extract.html2text import extract_plain_text

    from tasks.crawl.pages import html

    def with_metadata(page: dict[str, Any]) -> str:
        found = trafilatura.bare_extraction(page["html"].encode(), with_metadata=True)
        return (found.text or "") if found else ""

    def ours(page: dict[str, Any]) -> str:
        found = html.page(page["html"].encode(), page["url"], "text/html; charset=utf-8", WANTED)
        return "" if isinstance(found, str) else found.text

    return {
        "ours": ours,
        "trafilatura": lambda page: trafilatura.extract(page["html"].encode()) or "",
        "trafilatura, with metadata": with_metadata,
        "trafilatura, fast": lambda page: trafilatura.extract(page["html"].encode(), fast=True) or "",
        "resiliparse": lambda page: extract_plain_text(page["html"], main_content=True),
    }


def quality(found: Iterable[dict[str, Any]], extract: Extractor) -> tuple[float, float, float]:
    """Means of precision, recall and F1 over the labelled pages."""
    labels = gold()
    scores = [overlap(extract(page), labels[page["id"]]) for page in found if page["id"] in labels]
    precision, recall, f1 = (statistics.fmean(column) for column in zip(*scores, strict=True))
    return precision, recall, f1


def seconds(found: list[dict[str, Any]], extract: Extractor, repeats: int = 3) -> float:
    """CPU seconds for all pages, the best of some times; one page before warms up what is loaded late."""
    extract(found[0])
    times = []
    for _ in range(repeats):
        begin = time.process_time()
        for page in found:
            extract(page)
        times.append(time.process_time() - begin)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    found = pages(parser.parse_args().bundle)
    logging.disable(logging.CRITICAL)
    known = extractors()
    times = {name: seconds(found, extract) for name, extract in known.items()}
    print(f"{len(found)} pages, {sum(len(page['html']) for page in found) / 1e6:.1f} M characters, one core")
    print(f"F1 on {len(gold())} labelled pages")
    print(f"{'extractor':28} {'CPU s':>7} {'pages/s':>8} {'ours is':>8} {'P':>6} {'R':>6} {'F1':>6}")
    for name, extract in known.items():
        rates = f"{times[name]:7.2f} {len(found) / times[name]:8.0f} {times[name] / times['ours']:7.1f}x"
        print(f"{name:28} {rates} " + " ".join(f"{score:6.3f}" for score in quality(found, extract)))
    from tasks.crawl.pages import html

    results = [html.page(page["html"].encode(), page["url"], None, WANTED) for page in found]
    outcomes = Counter(result if isinstance(result, str) else "extracted" for result in results)
    print(", ".join(f"{name} {count}" for name, count in outcomes.most_common()))


if __name__ == "__main__":
    main()
