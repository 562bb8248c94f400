"""Web sites, crawled politely: robots.txt, sitemaps, links within the sites, and a state that survives a kill."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lang_configs.schema import WebSource
from tasks.crawl import robots
from tasks.crawl.addresses import Scope, normalise, origin
from tasks.crawl.fetch import Answer, Fetcher
from tasks.crawl.frontier import Entry, Frontier
from tasks.crawl.html import AGENT, extract, outline
from tasks.documents import Document
from tasks.stage import StageError, replacing

Counts = Counter[str]
"""How many addresses ended how: `fetched` (a document), `not_modified` (a document, unchanged), `no_text`,
`http_<status>`, `disallowed_by_robots`, `redirected`, `too_large`, ... ; every address met counts once."""

HTML_TYPES = ("text/html", "application/xhtml+xml")
REDIRECTS = 10
SITEMAP_DEPTH = 5
HOSTS_AT_ONCE = 16
GIVE_UP = 10
"""Pages in a row without an answer after which a host counts as out of reach."""

log = logging.getLogger("lugha")


def documents(
    source: WebSource,
    state: Path,
    report: Counts,
    allow_loopback: bool = False,
    served_at: Mapping[str, str] | None = None,
) -> Iterator[Document]:
    """Crawl the sites of `source` and yield a document for each page with text, in the order of their addresses.

    The crawl lives in `state`: killed, it goes on where it was; ended, it is not repeated (`renew` begins the next).
    `report` is filled with the outcomes at the end. `served_at`: see `Fetcher`. Raises StageError if no site can be
    reached, or if the state is damaged; a page can raise nothing.
    """
    state.mkdir(parents=True, exist_ok=True)
    path = _file(state, source)
    try:
        frontier = Frontier(path, _scopes(source), source.max_pages)
        try:
            _crawl(source, frontier, allow_loopback, served_at or {})
            report.update(frontier.outcomes())
            for outcome, page in frontier.pages():
                content = extract(page.body, page.url, page.content_type)
                if content is None:
                    report[outcome] -= 1
                    report["no_text"] += 1
                    continue
                yield Document(
                    text=content.text,
                    source=source.name,
                    url=page.url,
                    title=content.title,
                    license=content.license or source.license,
                    fetched_at=page.fetched_at,
                    published_at=content.published_at,
                )
        finally:
            frontier.close()
    except sqlite3.DatabaseError as error:
        raise StageError(f"{path}: the state of the crawl cannot be used ({error}); delete it to crawl again") from error


def renew(source: WebSource, previous: Path, state: Path) -> None:
    """Begin in `state` a crawl that knows the pages of the one in `previous`: unchanged pages will not be sent again."""
    if not _file(previous, source).exists() or _file(state, source).exists():
        return
    state.mkdir(parents=True, exist_ok=True)
    with replacing(_file(state, source)) as temporary:
        frontier = Frontier(temporary, _scopes(source), source.max_pages)
        frontier.renew(_file(previous, source))
        frontier.close()


def _file(state: Path, source: WebSource) -> Path:
    return state / f"{source.name}.sqlite"


def _scopes(source: WebSource) -> list[Scope]:
    try:
        return [Scope.below(site) for site in source.sites]
    except ValueError as error:
        raise StageError(f"source {source.name!r}: {error}") from error


def _crawl(source: WebSource, frontier: Frontier, allow_loopback: bool, served_at: Mapping[str, str]) -> None:
    """Fetch what is waiting, all hosts at once; nothing is fetched if this very crawl has ended before."""
    wanted = source.model_dump_json(include={"sites", "max_pages", "max_bytes"})
    if frontier.note("ended") == wanted:
        return
    scopes = _scopes(source)
    begun = frontier.begun
    frontier.retry_failed()
    frontier.add(scope.start for scope in scopes)
    origins = list(dict.fromkeys(scope.origin for scope in scopes))

    async def run() -> list[bool]:
        turns = asyncio.Semaphore(HOSTS_AT_ONCE)
        if not source.contact and not allow_loopback:
            log.warning("crawl.%s: set `contact` to an address of yours, so that site owners know whom to ask", source.name)
        holds, hold = frontier.holds(), frontier.hold
        async with Fetcher(source.contact, source.delay, allow_loopback, served_at, begun, holds, hold) as fetcher:

            async def one(site: str) -> bool:
                async with turns:
                    return await _Host(site, source, frontier, fetcher).crawl()

            return await asyncio.gather(*map(one, origins))

    reached = _wait_for(run)
    if not any(reached):
        raise StageError(
            f"source {source.name!r}: no site answers ({', '.join(origins[:3])}); check the addresses and the network, "
            "then run the same command again: pages already fetched are kept"
        )
    for site, answered in zip(origins, reached, strict=True):
        if not answered:
            frontier.end_waiting(site, "host_unreachable")
    if frontier.has_pages():  # a crawl that brought nothing is tried again
        frontier.set_note("ended", wanted)


def _wait_for(run: Callable[[], Coroutine[Any, Any, list[bool]]]) -> list[bool]:
    """Run to the end, also inside a notebook, whose thread has an event loop already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(run())
    executor = ThreadPoolExecutor(1)
    try:
        return executor.submit(lambda: asyncio.run(run())).result()
    finally:
        executor.shutdown(wait=False)


class _Host:
    """The crawl of one origin: one request at a time, until nothing waits."""

    def __init__(self, site: str, source: WebSource, frontier: Frontier, fetcher: Fetcher) -> None:
        self.site, self.source, self.frontier, self.fetcher = site, source, frontier, fetcher
        self.silent = 0

    async def crawl(self) -> bool:
        """Whether the host could be reached; if not, addresses are left waiting."""
        rules: robots.Robots | None = None
        while entry := self.frontier.next(self.site):
            if rules is None or rules.expired:
                rules = await robots.read(self.fetcher, self.site)
                if rules.unreachable:
                    return False
                self.fetcher.slow_down(self.site, rules.delay)
                if rules.refusal is None:
                    self.frontier.add_sitemaps(rules.sitemaps or [f"{self.site}/sitemap.xml"], self.site)
                continue
            if rules.refusal:
                self.frontier.end_waiting(self.site, rules.refusal)
            elif not rules.allows(entry.url):
                self.frontier.done(entry.url, "disallowed_by_robots")
            elif not entry.is_sitemap and self.frontier.is_full(entry.site):
                self.frontier.done(entry.url, "over_max_pages")
            elif not await self._visit(entry):
                return False
        return True

    async def _visit(self, entry: Entry) -> bool:
        """Fetch one address and write down what became of it; False if the host has fallen silent."""
        if entry.is_sitemap:
            answer = await self.fetcher.get(entry.url, robots.SITEMAP_BYTES)
        else:
            answer = await self.fetcher.get(entry.url, self.source.max_bytes, HTML_TYPES, _conditions(entry))
        self.silent = self.silent + 1 if answer.error == "failed" else 0
        if self.silent >= GIVE_UP:
            return False
        if answer.status in (301, 302, 303, 307, 308):
            self._redirect(entry, answer)
        elif answer.error is not None:
            self.frontier.done(entry.url, answer.error, answer.status)
        elif answer.status == 304 and entry.has_body:
            self.frontier.unchanged(entry.url)
        elif answer.status != 200:
            self.frontier.done(entry.url, f"http_{answer.status}", answer.status)
        elif entry.is_sitemap:
            pages, further = robots.sitemap(answer.body, entry.url)
            self.frontier.sitemap_read(entry, pages, further if entry.hops < SITEMAP_DEPTH else ())
        else:
            self._page(entry, answer)
        return True

    def _redirect(self, entry: Entry, answer: Answer) -> None:
        """Let the target wait for its turn; there robots.txt and the limits are asked as for any other address."""
        if not (location := answer.headers.get("location")):
            self.frontier.done(entry.url, f"http_{answer.status}", answer.status)
            return
        target = normalise(location, entry.url)
        if target is None or not self._inside(entry, target):
            self.frontier.done(entry.url, "redirect_out_of_scope", answer.status)
        elif entry.hops >= REDIRECTS:
            self.frontier.done(entry.url, "too_many_redirects", answer.status)
        else:
            self.frontier.redirected(entry, target)

    def _inside(self, entry: Entry, target: str) -> bool:
        if entry.is_sitemap:
            return origin(target) == self.site
        return any(target in scope for scope in _scopes(self.source))

    def _page(self, entry: Entry, answer: Answer) -> None:
        """Keep a page, and go where it points, unless its publisher asks not to."""
        seen = outline(answer.body, entry.url, answer.headers.get("content-type"))
        directives = seen.directives | header_directives(answer.headers.get_list("x-robots-tag"))
        links = () if directives & {"nofollow", "none"} else seen.links
        if directives & {"noindex", "none"}:
            self.frontier.left_out(entry.url, "noindex", answer.status, links)
        elif "noai" in directives:
            self.frontier.left_out(entry.url, "noai", answer.status, links)
        else:
            self.frontier.fetched(entry.url, answer, links)


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


def _conditions(entry: Entry) -> dict[str, str]:
    """Headers that ask for the page only if it is not the one that is kept (RFC 9110 section 13)."""
    if not entry.has_body:
        return {}
    pairs = (("If-None-Match", entry.etag), ("If-Modified-Since", entry.last_modified))
    return {name: value for name, value in pairs if value}
