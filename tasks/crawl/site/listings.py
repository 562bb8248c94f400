"""Files in which a site lists its own pages: sitemaps, and RSS and Atom feeds."""

from __future__ import annotations

import email.utils
import html
import itertools
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tasks.crawl.pages.heads import tags
from tasks.net.addresses import normalise

LISTING_BYTES = 16 << 20
"""Largest answer that is read as a sitemap or a feed: what comes after it does not count."""

UNPACKED_BYTES = 50 << 20
"""How much of a packed sitemap is read (sitemaps.org: the largest that a sitemap may be)."""

ENTRIES = 50_000
"""Most addresses read from one listing (sitemaps.org)."""

FEED_TYPES = ("application/rss+xml", "application/atom+xml", "application/rdf+xml", "application/xml", "text/xml")
FEEDS = 5
"""Most feeds that one page may announce."""

_BLOCK = 1 << 20
_FIELD = 4000
"""Longest address or date, in characters."""
_PRINTED = 4096
_ROOT = re.compile(rb"<\?xml\s|<(?:\w+:)?(?:urlset|sitemapindex|rss|feed|RDF)[\s>]")
_FALSE_ENCODING = re.compile(rb"""\A<\?xml[^>]*encoding\s*=\s*["']utf-?16[^>]*\?>""", re.I)  # that line is in ASCII itself
_BARE = re.compile(rb"&(?!(?:#[0-9]+|#x[0-9a-fA-F]+|amp|lt|gt|quot|apos);)")
_LONGEST_REFERENCE = 10
_REFERENCE = re.compile(r"&\w+;")
_FEEDS = ("rss", "feed", "RDF")
_ENTRIES = ("url", "sitemap", "item", "entry")
_DATES = ("pubDate", "published", "date", "updated")
"""In RSS 2.0; in Atom; in RSS 1.0 (Dublin Core); and what Atom must have. The first that an entry has counts."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Addresses of pages with the date of publication that a feed states (UTC), and of further sitemaps."""

    pages: dict[str, datetime | None] = field(default_factory=dict)
    further: tuple[str, ...] = ()
    is_feed: bool = False


def listing(body: bytes, url: str) -> Listing:
    """Read a sitemap, an index of sitemaps (sitemaps.org), or a feed (RSS 0.9 to 2.0, Atom: RFC 4287), plain or gzip.

    Faults in the XML (a bare &, blank lines before its declaration, an end that is missing) are passed over as far as they can
    be; nothing is kept of the tree. Entities are not expanded, and nothing is loaded from elsewhere. A text with an address on
    each line is a sitemap too (sitemaps.org). Other XML, and other texts, give an empty listing.
    """
    from lxml import etree

    reader = _Reader(url)
    parser = etree.XMLParser(
        target=reader, resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, recover=True
    )
    blocks = _unpacked(body)
    first = _FALSE_ENCODING.sub(b"", _from_its_root(next(blocks, b"")))
    if not first.startswith((b"<", b"\xff\xfe", b"\xfe\xff")):
        return _addresses(itertools.chain([first], blocks), url)
    try:
        for block in _escaped(itertools.chain([first], blocks)):
            parser.feed(block)
            if reader.full:
                break
        else:
            parser.close()
    except (etree.XMLSyntaxError, AssertionError):  # lxml's: a document without an element
        pass
    return Listing(reader.pages, tuple(reader.further), reader.root in _FEEDS)


def _from_its_root(head: bytes) -> bytes:
    """Without what programs print before the XML: blank lines, byte order marks, warnings."""
    root = _ROOT.search(head[:_PRINTED])
    return head[root.start() :] if root else head.lstrip(b"\xef\xbb\xbf \t\r\n")


def _escaped(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The blocks with each & that begins no reference of XML written as one; in CDATA too, see `_Reader._add`."""
    rest = b""
    for block in blocks:
        data = rest + block
        cut = len(data) if (last := data.rfind(b"&", -_LONGEST_REFERENCE)) < 0 else last
        yield _BARE.sub(b"&amp;", data[:cut])
        rest = data[cut:]
    yield _BARE.sub(b"&amp;", rest)


def _addresses(blocks: Iterable[bytes], url: str) -> Listing:
    """Those of a text sitemap: one whose lines, but for a few, are addresses with their scheme."""
    lines = [line.strip() for line in b"".join(blocks).decode("utf-8", "replace").splitlines() if line.strip()]
    found = [normalise(line, url) for line in lines[:ENTRIES] if line.lower().startswith(("http://", "https://"))]
    pages = dict.fromkeys(address for address in found if address)
    return Listing(pages) if 2 * len(pages) >= min(len(lines), ENTRIES) else Listing()


def announced_feeds(page: bytes, url: str) -> tuple[str, ...]:
    """Addresses of the feeds that a page announces in its head (`<link rel="alternate">`)."""
    found = (
        normalise(link["href"], url)
        for link in tags(page, "link")
        if "alternate" in link.get("rel", "").lower().split()
        and link.get("type", "").lower() in FEED_TYPES[:3]
        and link.get("href")
    )
    return tuple(dict.fromkeys(feed for feed in found if feed))[:FEEDS]


class _Reader:
    """What lxml tells of the elements as it meets them: no tree is built, whatever the file holds."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.pages: dict[str, datetime | None] = {}
        self.further: list[str] = []
        self.root = ""
        self._depth = 0
        self._entry: tuple[str, int] | None = None  # name and depth
        self._fields: dict[str, str] = {}
        self._text: list[str] | None = None
        self._length = 0

    @property
    def full(self) -> bool:
        return len(self.pages) + len(self.further) >= ENTRIES

    def start(self, tag: str, attributes: Any) -> None:
        name = tag.rpartition("}")[2]
        self._depth += 1
        self.root = self.root or name
        if self._entry is None:
            if name in _ENTRIES:
                self._entry, self._fields = (name, self._depth), {}
        elif self._depth == self._entry[1] + 1:
            self._text, self._length = [], 0
            if name == "link" and attributes.get("rel", "alternate") == "alternate" and attributes.get("href"):
                self._fields.setdefault("link", attributes["href"])

    def data(self, text: str) -> None:
        if self._text is not None and self._length <= _FIELD:
            self._text.append(text)
            self._length += len(text)

    def end(self, tag: str) -> None:
        name = tag.rpartition("}")[2]
        if self._entry is not None:
            if self._depth == self._entry[1] + 1 and self._text is not None:
                if text := "".join(self._text).strip():
                    self._fields.setdefault(name, text)
                self._text = None
            elif self._depth == self._entry[1]:
                self._add(self._entry[0])
                self._entry = None
        self._depth -= 1

    def close(self) -> None:
        pass

    def _add(self, kind: str) -> None:
        address = self._fields.get("loc" if kind in ("url", "sitemap") else "link")
        address = _REFERENCE.sub(lambda found: html.unescape(found[0]), address or "")
        target = normalise(address, self.url) if address else None
        if target is None or self.full:
            return
        if kind == "sitemap":
            self.further.append(target)
        else:
            dated = next((self._fields[name] for name in _DATES if name in self._fields), "") if kind != "url" else ""
            self.pages.setdefault(target, _date(dated))


def _date(text: str) -> datetime | None:
    """A date as RSS (RFC 822) or Atom (RFC 3339) writes it, in UTC; one without a zone is taken as UTC."""
    for read in (datetime.fromisoformat, email.utils.parsedate_to_datetime):
        try:
            moment = read(text)
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        except (ValueError, TypeError, OverflowError, IndexError):
            continue
    return None


def _unpacked(body: bytes) -> Iterator[bytes]:
    """The body block by block; a gzip file as far as it is whole and not above the limit."""
    if not body.startswith(b"\x1f\x8b"):
        yield from (body[start : start + _BLOCK] for start in range(0, len(body), _BLOCK))
        return
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
    total = 0
    data = body
    while data and not inflate.eof and total < UNPACKED_BYTES:
        try:
            block = inflate.decompress(data, _BLOCK)
        except zlib.error:
            return
        total += len(block)
        yield block
        data = inflate.unconsumed_tail
