"""What a page says about itself: title, author, dates, licence, language and canonical address.

Read from meta tags (Open Graph, Dublin Core, and what publishers made up), JSON-LD (schema.org), microdata and <time>, in
one pass each. Nothing is guessed from the text, as htmldate and trafilatura do in twice the time of the extraction itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from tasks.crawl.pages.licenses import license_of
from tasks.net.addresses import normalise

if TYPE_CHECKING:
    from lxml.html import HtmlElement

MAX_LINKED_DATA = 1 << 20
"""Most characters of one JSON-LD script that is read."""

EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
"""A page is not older than the Web: earlier dates are those of what it tells of, or the epoch of a clock."""

_PUBLISHED = (
    "article:published_time", "datepublished", "dc.date.issued", "dcterms.issued", "dcterms.created", "dc.date.created",
    "citation_publication_date", "parsely-pub-date", "sailthru.date", "publishdate", "publish_date", "pubdate",
    "published_time", "publication_date", "og:published_time", "article.published", "dc.date", "dcterms.date", "date",
)  # fmt: skip
_MODIFIED = (
    "article:modified_time",
    "og:updated_time",
    "datemodified",
    "dcterms.modified",
    "dc.date.modified",
    "last-modified",
)
_AUTHORS = ("author", "dc.creator", "dcterms.creator", "article:author", "parsely-author", "citation_author", "sailthru.author")
_TITLES = ("og:title", "twitter:title", "dc.title", "dcterms.title", "citation_title")
_IN_ADDRESS = re.compile(r"/((?:19|20)\d\d)/(0?[1-9]|1[0-2])/(0?[1-9]|[12]\d|3[01])(?=/|-|$)")
_WORDY_DATE = re.compile(r"^((?:19|20)\d\d)[-/.](\d{1,2})[-/.](\d{1,2})(?!\d)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """`license` is an SPDX id, dates are UTC, `language` is what the page claims (BCP 47); None for what it does not say."""

    title: str | None = None
    author: str | None = None
    published_at: datetime | None = None
    modified_at: datetime | None = None
    license: str | None = None
    language: str | None = None
    canonical: str | None = None


def metadata(tree: HtmlElement, url: str) -> Metadata:
    """The metadata of a parsed page; of several values for a thing the first of the most reliable kind."""
    tags = _tags(tree)
    data = list(_linked_data(tree))
    times = list(_times(tree))
    published = (
        *_first(tags, _PUBLISHED),
        *_values(data, "datePublished"),
        *(time for time, name in times if name == "published"),
    )
    modified = (*_first(tags, _MODIFIED), *_values(data, "dateModified"), *(time for time, kind in times if kind == "modified"))
    in_address = ["-".join(match.groups()) for match in [_IN_ADDRESS.search(url)] if match]
    return Metadata(
        title=_line((*_first(tags, _TITLES), *_values(data, "headline"), *_headings(tree))),
        author=_line(name for name in (*_first(tags, _AUTHORS), *_values(data, "author")) if "://" not in name),
        published_at=_earliest_valid((*published, *in_address)),
        modified_at=_earliest_valid(modified),
        license=license_of(tree, _values(data, "license")),
        language=_line((*_values(data, "inLanguage"), *_first(tags, ("inlanguage",)), tree.get("lang") or "")),
        canonical=_canonical(tree, url),
    )


def _tags(tree: HtmlElement) -> dict[str, str]:
    """The first value of each meta tag, by its name, property or itemprop in lower case."""
    found: dict[str, str] = {}
    for tag in tree.iter("meta"):
        name = (tag.get("property") or tag.get("name") or tag.get("itemprop") or tag.get("http-equiv") or "").strip().lower()
        if name and (content := (tag.get("content") or "").strip()):
            found.setdefault(name, content)
    return found


def _first(tags: dict[str, str], names: Iterable[str]) -> list[str]:
    return [tags[name] for name in names if name in tags]


def _linked_data(tree: HtmlElement) -> Iterator[dict[str, Any]]:
    """The objects of a page's JSON-LD about the page: those at the top of a script, in a list or in @graph."""
    for script in tree.iter("script"):
        if (script.get("type") or "").split(";")[0].strip().lower() != "application/ld+json":
            continue
        try:
            nodes = [json.loads((script.text or "")[:MAX_LINKED_DATA])]
        except (ValueError, RecursionError):
            continue
        for node in nodes:
            if isinstance(node, list):
                nodes += node
            elif isinstance(node, dict):
                yield node
                nodes += node["@graph"] if isinstance(node.get("@graph"), list) else []


def _values(data: list[dict[str, Any]], name: str) -> list[str]:
    """The values of a property as strings; of an object its name, code or address."""
    found = []
    for node in data:
        values = node.get(name)
        for value in values if isinstance(values, list) else [values]:
            if isinstance(value, dict):
                keys = ("url", "@id", "name") if name == "license" else ("alternateName", "name", "@id")
                value = next((value[key] for key in keys if isinstance(value.get(key), str)), None)
            if isinstance(value, str) and value.strip():
                found.append(value.strip())
    return found


def _times(tree: HtmlElement) -> Iterator[tuple[str, str]]:
    """Dates that say what they are (microdata, HTML 5.0's pubdate, hAtom), and the only date of a page that says nothing."""
    unsaid, said = set(), False
    for element in tree.iter("time", "abbr", "span", "meta"):
        value = element.get("datetime") or (element.get("title") if element.tag == "abbr" else element.get("content"))
        if not value:
            continue
        names = {*(element.get("itemprop") or "").lower().split(), *(element.get("class") or "").lower().split()}
        if names & {"datemodified", "updated"}:
            yield value, "modified"
            said = True
        elif "pubdate" in element.attrib or names & {"datepublished", "published", "entry-date"}:
            yield value, "published"
            said = True
        elif element.tag == "time":
            unsaid.add(value)
    if len(unsaid) == 1 and not said:
        yield unsaid.pop(), "published"


def _headings(tree: HtmlElement) -> Iterator[str]:
    """The only <h1> of the page, then its <title>."""
    headings = [text for heading in tree.iter("h1") if (text := heading.text_content().strip())]
    if len(headings) == 1:
        yield headings[0]
    for title in tree.iter("title"):
        yield title.text_content()


def _line(values: Iterable[str]) -> str | None:
    """The first value that is not empty, on one line, without the sign of a heading's own link."""
    return next((line for value in values if (line := " ".join(value.split()).rstrip("\uf0c1\u200b\xb6# "))), None)


def _earliest_valid(values: Iterable[str]) -> datetime | None:
    return next((moment for value in values if (moment := parse_date(value)) and moment >= EARLIEST), None)


def parse_date(value: str) -> datetime | None:
    """A date as pages write it for machines (ISO 8601, RFC 5322, or year, month and day first) in UTC; None for all else.

    One without a zone is taken as UTC.
    """
    moment = None
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        try:
            if match := _WORDY_DATE.match(value.strip()):
                moment = datetime(int(match[1]), int(match[2]), int(match[3]))
            else:
                moment = parsedate_to_datetime(value)
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _canonical(tree: HtmlElement, url: str) -> str | None:
    links = (link.get("href") or "" for link in tree.iter("link") if "canonical" in (link.get("rel") or "").lower().split())
    return next((address for link in links if link.strip() and (address := normalise(link, url))), None)
