"""What publishers say about the use of their pages beyond robots.txt: in headers, in the pages, and for a whole site.

Wishes, by the names that the configuration uses: `noindex`, `nofollow` (robots meta tag and X-Robots-Tag), `noai`,
`noimageai` (the same places, after DeviantArt), `tdm` (the TDM Reservation Protocol of the W3C community group: header, meta
tag, /.well-known/tdmrep.json), `ai_txt` (/ai.txt, after Spawning: the syntax of robots.txt). A wish found in one place counts,
whatever the other places say.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasks.crawl.pages.heads import tags
from tasks.crawl.site.rules import Rules, parse, rules
from tasks.crawl.workers import OverrunError
from tasks.net.agent import AGENT

if TYPE_CHECKING:
    import httpx2

    from tasks.crawl.site.parsing import Parser
    from tasks.crawl.site.robots import Robots
    from tasks.net.fetch import Fetcher

REFUSALS = ("noindex", "noai", "noimageai", "tdm", "ai_txt")
"""Wishes that keep a page out of the corpus if they are obeyed; a page with several is counted under the first."""

FILE_BYTES = 500 << 10
"""How much of ai.txt and tdmrep.json is read."""

_DIRECTIVES = frozenset({"noindex", "nofollow", "noai", "noimageai"})
_TDM = "tdm-reservation"


@dataclass(frozen=True)
class SiteWishes:
    """What the files of an origin say of its pages; None: there is no such file."""

    tdm: Rules | None = None
    ai: Rules | None = None

    def against(self, url: str) -> frozenset[str]:
        """The wishes that speak against the use of one page."""
        rules = (("tdm", self.tdm), ("ai_txt", self.ai))
        return frozenset(name for name, rule in rules if rule is not None and not rule.allows(url))


async def read(fetcher: Fetcher, parser: Parser, site: str, allowed: Robots) -> SiteWishes:
    """Fetch ai.txt and tdmrep.json of an origin, where robots.txt allows it; what cannot be had says nothing.

    A file that takes too long to read is taken for a no to everything.
    """
    found: list[Rules | None] = []
    for path, read_rules in (("/.well-known/tdmrep.json", reservations), ("/ai.txt", usage)):
        body = b""
        if allowed.allows(f"{site}{path}"):
            answer = await fetcher.get(f"{site}{path}", FILE_BYTES, cut=True)
            body = answer.body if answer.error is None else b""
        try:
            found.append(await parser.ask(site, read_rules, body) if body else None)
        except OverrunError:
            found.append(rules([("/", False)]))
    return SiteWishes(*found)


def reservations(body: bytes) -> Rules | None:
    """The rules of a tdmrep.json: the longest `location` that fits a path decides, `*` and `$` as in robots.txt."""
    try:
        entries: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entries, list):
        return None
    lines = []
    for entry in entries:
        location = entry.get("location") if isinstance(entry, dict) else None
        if isinstance(location, str) and location.startswith(("/", "*")):
            reserved = str(entry.get(_TDM)).strip() == "1"
            lines.append(("".join(location.split()), not reserved))
    return rules(lines) if lines else None


def usage(body: bytes) -> Rules | None:
    """The rules of an ai.txt; a page of HTML in its place has none."""
    text = body.decode("utf-8-sig", "replace")
    return parse(body) if "user-agent" in text.lower() and not text.lstrip().startswith("<") else None


def of_answer(headers: httpx2.Headers) -> frozenset[str]:
    """The wishes in the headers of an answer."""
    found = _named(header_directives(headers.get_list("x-robots-tag")))
    return found | {"tdm"} if headers.get(_TDM, "").strip() == "1" else found


def of_page(html: bytes, directives: Iterable[str]) -> frozenset[str]:
    """The wishes in a page, whose robots meta tags hold `directives`."""
    reserved = any(tag.get("name", "").lower() == _TDM and tag.get("content") == "1" for tag in tags(html, "meta"))
    return _named(directives) | ({"tdm"} if reserved else frozenset())


def header_directives(lines: Iterable[str]) -> frozenset[str]:
    """Directives of X-Robots-Tag headers that are meant for all crawlers or for this one, in lower case.

    A crawler's name and a colon in front of directives address them, up to the next name or the end of the line.
    """
    found: set[str] = set()
    for line in lines:
        ours = True
        for item in line.lower().split(","):
            name, colon, rest = item.partition(":")
            if colon and not name.strip().startswith(("unavailable_after", "max-")):
                ours, item = name.strip() == AGENT, rest
            if ours:
                found.add(item.strip())
    return frozenset(found)


def _named(directives: Iterable[str]) -> frozenset[str]:
    words = frozenset(directives)
    return (words | {"noindex", "nofollow"} if "none" in words else words) & _DIRECTIVES
