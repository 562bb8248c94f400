"""From the bytes of a web page to its text: charset, links, wishes of the publisher, main text, licence and date."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

from tasks.crawl.addresses import normalise
from tasks.crawl.charset import decode

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
_DATES = {"original_date": True, "extensive_search": False, "outputformat": "%Y-%m-%dT%H:%M:%S%z"}


@dataclass(frozen=True, slots=True)
class Page:
    """What a corpus needs of a page. `text` has one paragraph a line; `license` is an SPDX id; `published_at` is UTC."""

    text: str
    title: str | None
    license: str | None
    published_at: datetime | None
    links: tuple[str, ...]


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
        links, license_id = _links(tree, url), _license(tree)
        document = trafilatura.bare_extraction(
            tree,
            url=url,
            fast=True,
            include_comments=False,
            with_metadata=True,
            prune_xpath=_BOILERPLATE,
            date_extraction_params=dict(_DATES),
        )
        if document is None or isinstance(document, dict) or not (text := _lines(document.text or "")):
            return None
        return Page(text, " ".join((document.title or "").split()) or None, license_id, _date(document.date), links)
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


def license_id(url: str) -> str | None:
    """SPDX id of a Creative Commons address; ports to a jurisdiction count as the licence that they port."""
    match = re.match(r"https?://(?:www\.)?creativecommons\.org/(licenses|publicdomain)/([a-z-]+)/(\d\.\d)", url.lower())
    if match is None:
        return None
    folder, kind, number = match.groups()
    if folder == "publicdomain":
        return {"zero": f"CC0-{number}", "mark": f"CC-PDM-{number}"}.get(kind)
    parts = set(kind.split("-"))
    if parts <= {"by", "nc", "nd", "sa"} and "by" in parts:
        return "-".join(["CC", *(part.upper() for part in ("by", "nc", "nd", "sa") if part in parts), number])
    return None


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


def _license(tree: HtmlElement) -> str | None:
    """The licence that the page states for itself; None if it states none, or several (then it is not known which)."""
    links = (element for element in tree.iter("a", "link", "area") if "license" in _words(element.get("rel")))
    found = {license_id(element.get("href") or "") for element in links}
    return found.pop() if len(found) == 1 else None


def _words(value: str | None) -> list[str]:
    return (value or "").lower().split()


def _lines(text: str) -> str:
    """One paragraph a line: no trailing white space, no empty lines."""
    return "\n".join(line for line in (line.strip() for line in text.splitlines()) if line)


def _date(date: str | None) -> datetime | None:
    """A date as htmldate writes it, in UTC; one without a zone is taken as UTC."""
    try:
        moment = datetime.fromisoformat(date or "")
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
