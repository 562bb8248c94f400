"""Pages of the bundle as numbered blocks of text, from which a reader tells the main text before any extractor has run.

    python tests/benchmarks/extraction_labels.py BUNDLE           the ids of the chosen pages
    python tests/benchmarks/extraction_labels.py BUNDLE ID        one page as blocks, each with the elements that it lies in

Main text: headings and text of the page itself, without menus, buttons, counters, forms, contact lines and footers. The labels
(`extraction_labels.json`) are ranges of block numbers and the hash of the page that they are of; the text is not ours to
publish, and whoever has the bundle sees it again by this program. Blocks are what lies between two tags of block elements:
of the page as it came, without a thought to what an extractor makes of it.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import lxml.html
import xxhash
import zstandard

LABELS = Path(__file__).with_name("extraction_labels.json")
FIRST = Path(__file__).with_name("extraction_gold.json")
PER_SITE, PAGES, LONGEST = 8, 60, 2_500
"""Most pages of a site, pages in all, and most words of a page."""
SEED = 20261130
INLINE = set("a abbr b bdi bdo cite code data dfn em font i kbd mark q s samp small span strong sub sup time u var wbr".split())
"""Elements that do not end a block (HTML Living Standard 4.5, and what is like them)."""
UNSEEN = {"script", "style", "noscript", "template", "svg", "head", "title"}
NEAREST = 4
"""Elements around a block that are shown."""


class Block(NamedTuple):
    """A run of text, and the elements that it lies in, from the outside."""

    where: str
    text: str


def pages(bundle: Path) -> list[dict[str, Any]]:
    """The real pages of the data bundle: `id`, `url`, `html` and what its maker noted."""
    with zstandard.open(bundle / "html" / "pages.jsonl.zst", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def chosen(bundle: Path) -> list[dict[str, Any]]:
    """The pages to label: Swahili by the count of its frequent words, none of the first 40, PER_SITE of a site at most."""
    first = set(json.loads(FIRST.read_text()))
    sites = defaultdict(list)
    for page in pages(bundle):
        swahili = page["sw_stopwords"] >= 10 and page["sw_stopwords"] > 2 * page["en_stopwords"]
        if swahili and page["id"] not in first and page["visible_words"] <= LONGEST:
            sites[page["site"]].append(page)
    chance = random.Random(SEED)
    drawn = [page for _, found in sorted(sites.items()) for page in chance.sample(found, min(PER_SITE, len(found)))]
    return sorted(chance.sample(drawn, min(PAGES, len(drawn))), key=lambda page: str(page["id"]))


def blocks(html: str) -> list[Block]:
    """The text of a page in the order of the document, one block for each run between tags that are not INLINE."""
    found: list[Block] = []
    words: list[str] = []
    where = ""

    def end() -> None:
        if text := " ".join("".join(words).split()):
            found.append(Block(where, text))
        words.clear()

    def walk(element: Any, path: list[str]) -> None:
        nonlocal where
        if not isinstance(element.tag, str) or element.tag in UNSEEN:
            return
        block = element.tag not in INLINE
        inside = [*path, _named(element)] if block else path
        if block:
            end()
            where = " ".join(inside[-NEAREST:])
        words.append(element.text or "")
        for child in element:
            walk(child, inside)
            words.append(child.tail or "")
        if block:
            end()
            where = " ".join(path[-NEAREST:])

    walk(lxml.html.fromstring(html.encode(), parser=lxml.html.HTMLParser(encoding="utf-8")), [])
    return found


def _named(element: Any) -> str:
    name = element.get("id") or element.get("class") or ""
    return f"{element.tag}.{name.split()[0]}" if name.split() else str(element.tag)


def labelled() -> dict[str, dict[str, Any]]:
    """By the id of a page: `html`, the xxh3-64 of the page, and `main`, the first and last numbers of runs of blocks."""
    found: dict[str, dict[str, Any]] = json.loads(LABELS.read_text())
    return found


def main_text(page: dict[str, Any]) -> str:
    """The main text of a labelled page; raises ValueError if the page is not the one that was labelled."""
    label = labelled()[page["id"]]
    if fingerprint(page) != label["html"]:
        raise ValueError(f"{page['id']}: this is another page than the one that was labelled; label it anew")
    found = blocks(page["html"])
    return "\n".join(block.text for first, last in label["main"] for block in found[first : last + 1])


def fingerprint(page: dict[str, Any]) -> str:
    """Of the page's bytes."""
    return xxhash.xxh3_64_hexdigest(page["html"].encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("page", nargs="?")
    given = parser.parse_args()
    for page in chosen(given.bundle):
        if given.page is None:
            print(page["id"], fingerprint(page), page["site"], page["visible_words"])
        elif page["id"] == given.page:
            print(page["url"])
            for number, block in enumerate(blocks(page["html"])):
                print(f"{number} [{block.where}] {block.text}")


if __name__ == "__main__":
    main()
