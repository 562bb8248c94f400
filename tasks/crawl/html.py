"""From the bytes of a web page to its text: charset, links, wishes of the publisher, main text, licence and date."""

from __future__ import annotations

import logging
import re
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING

from tasks.crawl.addresses import normalise
from tasks.crawl.charset import decode
from tasks.crawl.metadata import Metadata, metadata

if TYPE_CHECKING:
    from lxml.html import HtmlElement

AGENT = "lugha"
"""Product token: the name by which robots.txt, meta tags and X-Robots-Tag address this crawler."""

MAX_LINKS = 5000

_BOILERPLATE = [
    "//nav",
    "//*[@role='navigation' or @role='contentinfo' or @role='banner']",
    "//footer",
    "//header[not(ancestor::main or ancestor::article)]",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Metadata):
    """What a corpus needs of a page. `text` has one paragraph a line; `links` are addresses in document order."""

    text: str
    links: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outline:
    """What the crawler needs of a page: links in document order, and the directives of its robots meta tags."""

    links: tuple[str, ...] = ()
    directives: frozenset[str] = frozenset()


def extract(html: bytes, url: str, content_type: str | None = None) -> Page | None:
    """Main text and metadata of a page; None if it cannot be parsed or holds no text. Never raises on hostile input.

    `content_type` is the header of the answer that brought the page. Main text by trafilatura (Barbaresi, ACL 2021),
    with navigation, page headers and footers taken out first: on short pages its fallback would return them.
    """
    import trafilatura

    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)  # it warns of every page without text
    try:
        tree = _parse(decode(html, content_type))
        links, about = _links(tree, url), metadata(tree, url)
        document = trafilatura.bare_extraction(tree, fast=True, include_comments=False, prune_xpath=_BOILERPLATE)
        if document is None or isinstance(document, dict) or not (text := _lines(document.text or "")):
            return None
        return Page(text=text, links=links, **asdict(about))
    except Exception as error:  # pages are hostile, and the libraries below raise whatever they like on them
        logging.getLogger(__name__).debug("%s: %s: %s", url, type(error).__name__, error)
        return None


def outline(html: bytes, url: str, content_type: str | None = None) -> Outline:
    """Links and robots directives of a page, at a fraction of the cost of `extract`; empty if it cannot be parsed."""
    try:
        tree = _parse(decode(html, content_type))
        return Outline(_links(tree, url), _directives(tree))
    except Exception as error:  # as in extract
        logging.getLogger(__name__).debug("%s: %s: %s", url, type(error).__name__, error)
        return Outline()


def _parse(text: str) -> HtmlElement:
    from lxml.html import HTMLParser, document_fromstring

    # as bytes: lxml refuses text that carries an encoding declaration of its own
    data = text.replace("\0", "").encode("utf-8", "replace")
    return document_fromstring(data, parser=HTMLParser(encoding="utf-8", no_network=True, huge_tree=False))


def _links(tree: HtmlElement, url: str) -> tuple[str, ...]:
    """Normalised addresses that the page points a reader at, each once, without those marked rel=nofollow.

    Only the first `MAX_LINKS` links of a page count: 5 MiB can hold half a million.
    """
    base = next((normalise(element.get("href"), url) for element in tree.iter("base") if element.get("href")), None) or url
    found = (
        normalise(element.get("href"), base)
        for element in islice(tree.iter("a", "area"), MAX_LINKS)
        if element.get("href") and "nofollow" not in _words(element.get("rel"))
    )
    return tuple(dict.fromkeys(link for link in found if link))


def _directives(tree: HtmlElement) -> frozenset[str]:
    """Directives of `<meta name="robots">` and of the tag that names this crawler, in lower case."""
    tags = (tag for tag in tree.iter("meta") if (tag.get("name") or "").strip().lower() in ("robots", AGENT))
    return frozenset(word for tag in tags for word in re.split(r"[\s,]+", (tag.get("content") or "").lower()) if word)


def _words(value: str | None) -> list[str]:
    return (value or "").lower().split()


def _lines(text: str) -> str:
    """One paragraph a line: no trailing white space, no empty lines."""
    return "\n".join(line for line in (line.strip() for line in text.splitlines()) if line)
