"""Extraction of real pages beside trafilatura and resiliparse: F1 on labelled main text, and time.

    python tests/benchmarks/extraction.py BUNDLE

Labels are the main text of Swahili pages of the bundle: headings and text of the page itself, without menus, buttons, counters,
forms, contact lines and footers. Sixty pages (`extraction_labels.json`) were labelled block by block before any extractor had
run on them, by three readers who read five pages of each other's too (F1 of the words between two: .996); the mean is over
those that have main text. Forty others (`extraction_gold.json`, hashes of word 5-grams) were there while ours was made: what
it gets on them is not to be compared. Pages of one site are alike, so the interval of a difference is bootstrapped over
sites. No extractor has a language gate here: ours, which in a crawl drops other languages before it extracts, takes all too.
"""

from __future__ import annotations

import argparse
import base64
import json
import logging
import re
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from extraction_labels import labelled, main_text, pages
from heading import heading

from tasks.evaluate import bootstrap

GOLD = Path(__file__).with_name("extraction_gold.json")
Extractor = Callable[[dict[str, Any]], str]


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
    """Ours as a crawl for all languages calls it (without the process around it), and the peers."""
    import trafilatura
    from resiliparse.extract.html2text import extract_plain_text

    from tasks.crawl.pages import html

    def with_metadata(page: dict[str, Any]) -> str:
        found = trafilatura.bare_extraction(page["html"].encode(), with_metadata=True)
        return (found.text or "") if found else ""

    def ours(page: dict[str, Any]) -> str:
        found = html.page(page["html"].encode(), page["url"], "text/html; charset=utf-8", ())
        return "" if isinstance(found, str) else found.text

    return {
        "ours": ours,
        "trafilatura": lambda page: trafilatura.extract(page["html"].encode()) or "",
        "trafilatura, recall, no comments": lambda page: (
            trafilatura.extract(page["html"].encode(), favor_recall=True, include_comments=False) or ""
        ),
        "trafilatura, precision": lambda page: trafilatura.extract(page["html"].encode(), favor_precision=True) or "",
        "trafilatura, with metadata": with_metadata,
        "trafilatura, fast": lambda page: trafilatura.extract(page["html"].encode(), fast=True) or "",
        "resiliparse": lambda page: extract_plain_text(page["html"], main_content=True),
    }


def expected(found: Iterable[dict[str, Any]]) -> dict[str, np.ndarray]:
    """The hashes of the main text of the pages that were labelled blind and have any, by the id of the page."""
    labels = labelled()
    texts = {page["id"]: main_text(page) for page in found if page["id"] in labels}
    return {name: grams(text) for name, text in texts.items() if text}


def scores(found: Iterable[dict[str, Any]], labels: dict[str, np.ndarray], extract: Extractor) -> np.ndarray:
    """Precision, recall and F1 of each labelled page: float[pages, 3]."""
    return np.array([overlap(extract(page), labels[page["id"]]) for page in found if page["id"] in labels])


def difference(ours: np.ndarray, theirs: np.ndarray, sites: Sequence[str]) -> tuple[float, float]:
    """The 95 % interval of the mean difference of two systems on the same pages, whole sites being drawn."""
    sums = bootstrap.resample(bootstrap.by_document(np.stack([ours - theirs, np.ones_like(ours)], 1), sites), 10_000)
    return bootstrap.interval(sums[:, 0] / sums[:, 1])


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


def table(found: list[dict[str, Any]], labels: dict[str, np.ndarray], known: dict[str, Extractor]) -> str:
    """Markdown: precision, recall and F1, and ours less each in F1 with its interval."""
    sites = [page["site"] for page in found if page["id"] in labels]
    measured = {name: scores(found, labels, extract) for name, extract in known.items()}
    lines = ["| extractor | P | R | F1 | ours less it | 95 % over sites |", "|---|---:|---:|---:|---:|---:|"]
    for name, own in measured.items():
        low, high = difference(measured["ours"][:, 2], own[:, 2], sites)
        means = [f"{value:.3f}" for value in own.mean(0)]
        gap = ["", ""] if name == "ours" else [f"{(measured['ours'] - own)[:, 2].mean():+.3f}", f"{low:+.3f} to {high:+.3f}"]
        lines.append(f"| {' | '.join([name, *means, *gap])} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    found = pages(parser.parse_args().bundle)
    logging.disable(logging.CRITICAL)
    known, blind, seen = extractors(), expected(found), gold()
    empty = [page for page in found if page["id"] in labelled() and page["id"] not in blind]
    print(f"{heading()}\n\n{len(blind)} pages labelled blind\n\n{table(found, blind, known)}")
    print(f"\n{len(seen)} pages that were there while ours was made\n\n{table(found, seen, known)}")
    words = {name: sum(len(extract(page).split()) for page in empty) for name, extract in known.items()}
    said = ", ".join(f"{name} {count}" for name, count in words.items())
    print(f"\nWords extracted from {len(empty)} pages labelled blind that have no main text: {said}\n")
    print(f"{len(found)} pages, {sum(len(page['html']) for page in found) / 1e6:.1f} M characters")
    print("\n| extractor | CPU s | pages/s | ours is |\n|---|---:|---:|---:|")
    times = {name: seconds(found, extract) for name, extract in known.items()}
    for name, taken in times.items():
        print(f"| {name} | {taken:.2f} | {len(found) / taken:.0f} | {taken / times['ours']:.1f}x |")


if __name__ == "__main__":
    main()
