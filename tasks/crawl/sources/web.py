"""Web sites, crawled politely: robots.txt, sitemaps, links within the sites, and a state that survives a kill."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from lang_configs.sources import WebSource
from tasks.core.documents import Document
from tasks.core.errors import StageError
from tasks.core.files import replacing, sha256
from tasks.core.stage import Metrics
from tasks.crawl.pages import extraction
from tasks.crawl.pages.html import Page
from tasks.crawl.site import archive, opt_outs, robots
from tasks.crawl.site.frontier import Entry, Frontier
from tasks.crawl.site.listings import FEED_TYPES, LISTING_BYTES, listing
from tasks.crawl.site.parsing import Parser
from tasks.crawl.site.state import Stored
from tasks.crawl.site.survey import survey
from tasks.crawl.sources import STATE, Estimate, StreamSource, register
from tasks.crawl.workers import OverrunError
from tasks.net.addresses import Scope, normalise, origin
from tasks.net.fetch import Answer, Fetcher, media_type
from tasks.net.rules import refuse_offline

Counts = Counter[str]
"""How many addresses ended how: `fetched` (a document), `not_modified` (a document, unchanged since the crawl before),
`stale` (a document of the crawl before, because the page could not be had), `no_text`, `language_<label>` (a page in another
language than the wanted ones), `extraction_timeout` and `extraction_failed` (a page or a listing that took too long to read,
or too much memory), `host_unreachable`, `host_silent` (see `SILENCES`), `over_budget` (see `CrawlState.is_over_budget`),
`http_<status>`, `disallowed_by_robots`, `redirected`, `too_large`, `noindex`, `noai`, `tdm`, ... ; every address met counts
once."""

HTML_TYPES = ("text/html", "application/xhtml+xml")
REDIRECTS = 10
SITEMAP_DEPTH = 5
HOSTS_AT_ONCE = 16
GIVE_UP = 10
"""Pages in a row without an answer after which a host is asked for its robots.txt again: without that it is out of reach."""
SILENCES = 3
"""How often that may happen before the rest of its pages are left: each costs minutes of waiting, of us and of the host."""

log = logging.getLogger("lugha")


@register
class Web(StreamSource[WebSource]):
    """Web sites, crawled politely."""

    model = WebSource

    @property
    def where(self) -> str:
        return ", ".join(self.config.sites[:3])

    def estimate(self) -> Estimate:
        """A bound: nobody knows the size of a page before it has come."""
        sites = len(self.config.sites)
        return Estimate(None, f"at most {sites * self.config.max_pages:,} pages, of unknown size, of {sites} sites")

    def begin(self, state: Path, cache: Path | None) -> None:
        """Begin in `state` a crawl that knows the pages of the one in `cache`: unchanged pages will not be sent again.

        Does nothing where there is no earlier crawl, or where the one in `state` has begun.
        """
        source = self.config
        refuse_offline(source.sites[0])
        if cache is None or not _file(cache, source).exists() or _file(state, source).exists():
            return
        state.mkdir(parents=True, exist_ok=True)
        try:
            with replacing(_file(state, source)) as temporary:
                frontier = Frontier(temporary, _scopes(source), source.max_pages)
                try:
                    frontier.renew(_file(cache, source))
                finally:
                    frontier.close()
        except sqlite3.DatabaseError as error:
            log.warning("crawl.%s: the earlier crawl cannot be used, all pages are fetched again (%s)", source.name, error)

    def documents(
        self,
        state: Path,
        report: Counts,
        allow_loopback: bool = False,
        served_at: Mapping[str, str] | None = None,
    ) -> Iterator[Document]:
        """Crawl the sites of `source` and yield a document for each page with text, in the order of their addresses.

        The crawl lives in `state`: killed, it goes on where it was; ended, it is not repeated (`begin` makes the next).
        `report` is filled with the outcomes at the end. `served_at`: see `Fetcher`. Raises StageError if no site can be
        reached, or if the state is damaged; a page can raise nothing.
        """
        source = self.config
        state.mkdir(parents=True, exist_ok=True)
        path = _file(state, source)
        try:
            frontier = Frontier(path, _scopes(source), source.max_pages)
            try:
                _crawl(source, frontier, allow_loopback, served_at or {})
                report.update(frontier.outcomes())
                ignored = (item for item in frontier.kept_despite().items() if item[0] not in source.opt_outs)
                report.update({f"kept_despite_{wish}": number for wish, number in ignored})
                versions = []
                for page, content in extraction.in_order(partial(_extracted, source.languages or ()), frontier.pages()):
                    if isinstance(content, str):
                        report[page.outcome] -= 1
                        report[content] += 1
                        continue
                    document = Document(
                        text=content.text,
                        source=source.name,
                        url=page.url,
                        title=content.title,
                        license=content.license or source.license,
                        fetched_at=page.fetched_at,
                        published_at=page.published_at or content.published_at,
                    )
                    versions.append((page.url, page.fetched_at, document.id))
                    yield document
                frontier.add_versions(versions)
            finally:
                frontier.close()
        except sqlite3.DatabaseError as error:
            raise StageError(f"{path}: the state of the crawl cannot be used ({error}); delete it to crawl again") from error

    def conclude(self, out: Path, cache: Path | None) -> Metrics:
        """Write what the ended crawl leaves in `out` beside its documents, and keep its state in `cache` for `begin`.

        Returns the counts of the WARC records (see `archive`) and `base`: the crawl that this one renewed, by the time of its
        end and the SHA-256 of its record of addresses; null if there was none.
        """
        source = self.config
        frontier = Frontier(_file(out / STATE, source), _scopes(source), source.max_pages)
        try:
            metrics: Metrics = archive.write_warc(frontier, source.contact, out / archive.WARC) if source.keep_warc else {}
            archive.write_addresses(frontier, out / archive.ADDRESSES)
            frontier.set_note(
                "identity", json.dumps({"addresses": sha256(out / archive.ADDRESSES), "ended": frontier.note("end")})
            )
            if cache is not None:
                cache.mkdir(parents=True, exist_ok=True)
                with replacing(_file(cache, source)) as temporary:
                    frontier.copy_to(temporary)
            base = frontier.note("base")
            return metrics | {"base": json.loads(base) if base else None}
        finally:
            frontier.close()


def _extracted(languages: Collection[str], page: Stored) -> tuple[Stored, Page | str]:
    return page, extraction.page(page.body, page.url, page.content_type, languages)


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

    failures: dict[str, str] = {}

    async def run() -> list[bool]:
        turns = asyncio.Semaphore(HOSTS_AT_ONCE)
        if not source.contact and not allow_loopback:
            log.warning("crawl.%s: set `contact` to an address of yours, so that site owners know whom to ask", source.name)
        holds, hold = frontier.holds(), frontier.hold
        here = bool(served_at)  # the starter site never leaves this machine
        async with (
            Fetcher(source.contact, source.delay, allow_loopback, served_at, begun, holds, hold, not here) as fetcher,
            Parser() as parser,
        ):

            async def one(host: _Host) -> bool:
                async with turns:
                    return await host.crawl()

            answered = await asyncio.gather(*(one(_Host(site, source, frontier, fetcher, parser)) for site in origins))
            failures.update(fetcher.failures)
            return answered

    reached = _wait_for(run)
    if not any(reached):
        since = "any more" if frontier.has_pages() else "at all"
        causes = "; ".join(dict.fromkeys(failures[site] for site in origins if site in failures))[:400]
        named = ", ".join(origins[:3]) + (f": {causes}" if causes else "")
        raise StageError(
            f"source {source.name!r}: no site answers {since} ({named}); "
            "check the addresses and the network, then run the same command again: pages already fetched are kept"
        )
    for site, answered in zip(origins, reached, strict=True):
        if not answered:
            frontier.end_waiting(site, "host_unreachable")
    if frontier.has_pages():  # a crawl that brought nothing is tried again
        frontier.set_note("end", datetime.now(UTC).isoformat(timespec="seconds"))
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

    def __init__(self, site: str, source: WebSource, frontier: Frontier, fetcher: Fetcher, parser: Parser) -> None:
        self.site, self.source, self.frontier, self.fetcher, self.parser = site, source, frontier, fetcher, parser
        self.starts = {scope.start for scope in _scopes(source)}
        self.wishes = opt_outs.SiteWishes()
        self.silent = self.silences = 0

    async def crawl(self) -> bool:
        """Whether the host could be reached; if not, addresses are left waiting."""
        rules: robots.Robots | None = None
        while entry := self.frontier.next(self.site):
            if self.silent >= GIVE_UP:
                rules, self.silent, self.silences = None, 0, self.silences + 1
            if rules is None or rules.expired:
                rules = await robots.read(self.fetcher, self.parser, self.site)
                if rules.unreachable:
                    return False
                self.fetcher.slow_down(self.site, rules.delay)
                if rules.refusal is None:
                    self.frontier.add_sitemaps(rules.sitemaps or [f"{self.site}/sitemap.xml"], self.site)
                    self.wishes = await opt_outs.read(self.fetcher, self.parser, self.site, rules)
                continue
            wishes = self.wishes.against(entry.url)
            if rules.refusal:
                self.frontier.end_waiting(self.site, rules.refusal)
            elif self.silences >= SILENCES:
                self.frontier.end_waiting(self.site, "host_silent")
            elif not rules.allows(entry.url):
                self.frontier.done(entry.url, "disallowed_by_robots")
            elif refusal := self._refusal(wishes):
                self.frontier.left_out(entry.url, refusal, None, (), wishes)
            elif not entry.is_sitemap and self.frontier.is_full(entry.site):
                self.frontier.done(entry.url, "over_max_pages")
            elif entry.is_sitemap and self.frontier.is_over_budget(self.site):
                self.frontier.end_waiting(self.site, "over_budget")  # no page waits: see Frontier.next
            else:
                await self._visit(entry)
            await asyncio.sleep(0)  # what asks no server gives the other hosts their turn all the same
        return True

    async def _visit(self, entry: Entry) -> None:
        """Fetch one address and write down what became of it."""
        if entry.is_sitemap:
            answer = await self.fetcher.get(entry.url, LISTING_BYTES, (), _conditions(entry), cut=True)
        else:
            types = HTML_TYPES + FEED_TYPES if entry.url in self.starts or entry.hops else HTML_TYPES
            answer = await self.fetcher.get(entry.url, self.source.max_bytes, types, _conditions(entry))
        self.silent = self.silent + 1 if answer.error == "failed" else 0
        if answer.status in (301, 302, 303, 307, 308):
            self._redirect(entry, answer)
        elif answer.error is not None:
            self.frontier.failed(entry.url, answer.error, answer.status)
        elif answer.status == 304 and (entry.etag or entry.last_modified):
            self._unchanged(entry, answer)
        elif answer.status != 200:
            self.frontier.failed(entry.url, f"http_{answer.status}", answer.status)
        else:
            try:
                await self._read(entry, answer)
            except OverrunError as overrun:
                self.frontier.done(entry.url, f"extraction_{overrun.reason}", answer.status)

    async def _read(self, entry: Entry, answer: Answer) -> None:
        """Keep what came: a page, or what a sitemap or a feed lists. Raises OverrunError if it cannot be parsed in time."""
        if not entry.is_sitemap and media_type(answer) not in FEED_TYPES:
            await self._page(entry, answer)
            return
        listed = await self.parser.ask(self.site, listing, answer.body, entry.url)
        if not (entry.is_sitemap or listed.is_feed or listed.pages):
            self.frontier.done(entry.url, "wrong_type", answer.status)
        else:
            self.frontier.listing_read(entry, answer, listed, listed.further if entry.hops < SITEMAP_DEPTH else ())

    def _redirect(self, entry: Entry, answer: Answer) -> None:
        """Let the target wait for its turn; there robots.txt and the limits are asked as for any other address."""
        if not (location := answer.headers.get("location")):
            self.frontier.done(entry.url, f"http_{answer.status}", answer.status)
            return
        target = normalise(location, entry.url)
        if target is None or not self._inside(entry, target):
            self.frontier.done(entry.url, "redirect_out_of_scope", answer.status)
            if entry.url in self.starts and target:
                log.warning("crawl.%s: %s has moved to %s; list that address instead", self.source.name, entry.url, target)
        elif entry.hops >= REDIRECTS:
            self.frontier.done(entry.url, "too_many_redirects", answer.status)
        else:
            self.frontier.redirected(entry, target)

    def _inside(self, entry: Entry, target: str) -> bool:
        if entry.is_sitemap or not any(entry.url in scope for scope in _scopes(self.source)):  # a page that a feed named
            return origin(target) == self.site
        return any(target in scope for scope in _scopes(self.source))

    def _unchanged(self, entry: Entry, answer: Answer) -> None:
        """Keep what is known of an address, unless its publisher does not want that (any more)."""
        wishes = self.frontier.opt_outs(entry.url) | opt_outs.of_answer(answer.headers) | self.wishes.against(entry.url)
        if entry.has_body and (refusal := self._refusal(wishes)):
            self.frontier.left_out(entry.url, refusal, answer.status, (), wishes)
        else:
            self.frontier.unchanged(entry)

    async def _page(self, entry: Entry, answer: Answer) -> None:
        """Keep a page, and go where it points, unless its publisher asks not to."""
        seen = await self.parser.ask(self.site, survey, answer.body, entry.url, answer.headers.get("content-type"))
        wishes = opt_outs.of_answer(answer.headers) | seen.wishes | self.wishes.against(entry.url)
        links = () if "nofollow" in wishes and "nofollow" in self.source.opt_outs else seen.links
        if entry.url in self.starts:
            self.frontier.add_sitemaps([feed for feed in seen.feeds if origin(feed) == self.site], self.site)
        if refusal := self._refusal(wishes):
            self.frontier.left_out(entry.url, refusal, answer.status, links, wishes)
        else:
            self.frontier.fetched(entry.url, answer, links, wishes)

    def _refusal(self, wishes: frozenset[str]) -> str | None:
        """The wish that keeps a page out."""
        return next((wish for wish in opt_outs.REFUSALS if wish in wishes and wish in self.source.opt_outs), None)


def _conditions(entry: Entry) -> dict[str, str]:
    """Headers that ask for the page only if it is not the one that is known (RFC 9110 section 13)."""
    pairs = (("If-None-Match", entry.etag), ("If-Modified-Since", entry.last_modified))
    return {name: value for name, value in pairs if value}
