"""robots.txt as RFC 9309 has it, with the sitemaps and the delay that many sites add."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tasks.crawl.site import rules as exclusion
from tasks.crawl.workers import OverrunError
from tasks.net.addresses import normalise

if TYPE_CHECKING:
    from tasks.crawl.site.parsing import Parser
    from tasks.net.fetch import Fetcher

PARSED_BYTES = 500 << 10
"""How much of a robots.txt is read (RFC 9309 section 2.5)."""

REDIRECTS = 5
"""How many redirects of robots.txt are followed (section 2.3.1.2)."""

VALID_SECONDS = 24 * 3600.0
"""How long a robots.txt may be used (section 2.4)."""

SITEMAPS = 1000
"""Most sitemaps of a robots.txt that are remembered; an index of them can name 50,000 more."""

LONGEST_DELAY = 600.0
"""A site that asks for more seconds between two pages is one that does not want to be crawled."""


@dataclass(frozen=True)
class Robots:
    """What one origin allows.

    `refusal` is the outcome of every page when nothing may be fetched; `unreachable` says that no answer came, which may
    be the fault of our own network.
    """

    rules: exclusion.Rules | None = None
    sitemaps: tuple[str, ...] = ()
    delay: float = 0.0
    refusal: str | None = None
    unreachable: bool = False
    read_at: float = field(default_factory=time.monotonic)

    def allows(self, url: str) -> bool:
        """Whether `url`, of this origin, may be fetched; robots.txt itself always may (RFC 9309 section 2.2.2)."""
        if urlsplit(url).path == "/robots.txt":
            return True
        return self.refusal is None and (self.rules is None or self.rules.allows(url))

    @property
    def expired(self) -> bool:
        return time.monotonic() - self.read_at > VALID_SECONDS


def parse(body: bytes, url: str = "") -> Robots:
    """The rules of a robots.txt that was fetched from `url`; whatever the bytes are, it never raises."""
    if len(body) > PARSED_BYTES:
        body = body[:PARSED_BYTES]
        body = body[: max(body.rfind(b"\n"), body.rfind(b"\r")) + 1]  # half a line could allow what the whole one forbids
    rules = exclusion.parse(body)
    named = (normalise(line, url) for line in rules.sitemaps[:SITEMAPS])
    sitemaps = tuple(dict.fromkeys(address for address in named if address))
    refusal = "crawl_delay_too_long" if rules.delay > LONGEST_DELAY else None
    return Robots(replace(rules, sitemaps=()), sitemaps, rules.delay, refusal)


async def read(fetcher: Fetcher, parser: Parser, site: str) -> Robots:
    """Fetch the rules of an origin.

    Status 4xx or too many redirects: everything is allowed (RFC 9309 section 2.3.1.3). 5xx or no answer, and 429, which
    says nothing of the file: nothing is (section 2.3.1.4).
    """
    url = f"{site}/robots.txt"
    for _ in range(REDIRECTS + 1):
        answer = await fetcher.get(url, PARSED_BYTES + 1, cut=True)
        if answer.status == 200 and answer.error is None:
            try:
                return await parser.ask(site, parse, answer.body, url)
            except OverrunError:
                return Robots(refusal="robots_unreadable")
        if answer.error == "refused":
            return Robots(refusal="refused")
        if answer.status in (0, 429) or answer.status >= 500:
            return Robots(refusal="robots_unreachable", unreachable=answer.status == 0)
        target = normalise(answer.headers["location"], url) if "location" in answer.headers else None
        if not 300 <= answer.status < 400 or target is None:
            break
        url = target
    return Robots()
