"""What a crawl of sites does next, and what became of each address: the growing part of its state."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tasks.crawl.site.listings import Listing
from tasks.crawl.site.state import LISTINGS, PAGES_PER_LISTING, VERSION, CrawlState
from tasks.net.addresses import Scope, origin
from tasks.net.fetch import Answer

_GONE = "'http_404', 'http_410', 'wrong_type', 'redirect_out_of_scope'"
_PASSING = (
    "outcome IN ('failed', 'refused', 'robots_unreachable', 'host_unreachable', 'host_silent', 'http_429') "
    "OR outcome GLOB 'http_5*'"
)

KNOWN_PER_PAGE = 10
"""Addresses remembered for each page that may be fetched: bounds what a site of endless links can fill the disk with."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An address that waits to be fetched; `etag` and `last_modified` are of the body that is kept of it, if any."""

    url: str
    site: str
    is_sitemap: bool
    hops: int
    etag: str | None
    last_modified: str | None
    has_body: bool


class Frontier(CrawlState):
    """Opens, or makes, the state at `path` for a crawl of `scopes` with at most `max_pages` pages of each."""

    def __init__(self, path: Path, scopes: Sequence[Scope], max_pages: int) -> None:
        super().__init__(path)
        self._scopes = sorted(scopes, key=lambda scope: len(scope.folder), reverse=True)
        self._by_origin: dict[str, list[Scope]] = {}
        for scope in self._scopes:
            self._by_origin.setdefault(scope.origin, []).append(scope)
        self._max_pages = max_pages

    def add(self, urls: Iterable[str], hops: int = 0) -> None:
        """Remember the addresses that lie within the sites, unless they are known."""
        with self._database:
            self._database.execute("BEGIN")
            self._add(urls, hops)

    def add_sitemaps(self, urls: Iterable[str], site: str, hops: int = 0) -> None:
        """Remember sitemaps of an origin; those elsewhere are left out, like pages outside of the sites."""
        most = KNOWN_PER_PAGE * (LISTINGS + self._max_pages // PAGES_PER_LISTING)
        room = max(0, most - self._count("is_sitemap AND origin = ?", site))
        rows = [(url, site, site, hops) for url in urls if origin(url) == site][:room]
        statement = "INSERT OR IGNORE INTO addresses (url, origin, site, is_sitemap, hops) VALUES (?, ?, ?, 1, ?)"
        self._database.executemany(statement, rows)

    def next(self, site: str) -> Entry | None:
        """The address of an origin to fetch next: sitemaps within their budget first, then pages in the order of discovery."""
        for kind in (0, 1) if self.is_over_budget(site) else (1, 0):
            row = self._database.execute(
                "SELECT url, site, is_sitemap, hops, etag, last_modified, body IS NOT NULL FROM addresses "
                "WHERE origin = ? AND outcome IS NULL AND is_sitemap = ? ORDER BY place LIMIT 1",
                [site, kind],
            ).fetchone()
            if row:
                return Entry(row[0], row[1], bool(row[2]), row[3], row[4], row[5], bool(row[6]))
        return None

    def is_full(self, site: str) -> bool:
        """Whether as many pages as allowed were asked for from a site; redirects do not count."""
        return self._count("site = ? AND status IS NOT NULL AND outcome != 'redirected'", site) >= self._max_pages

    def done(self, url: str, outcome: str, status: int | None = None) -> None:
        """An address has ended without a page."""
        self._database.execute(
            "UPDATE addresses SET outcome = ?, status = ?, etag = NULL, last_modified = NULL, body = NULL WHERE url = ?",
            [outcome, status, url],
        )

    def failed(self, url: str, outcome: str, status: int | None = None) -> None:
        """An address could not be had; if that may pass, the page of an earlier crawl stays."""
        with self._database:
            self._database.execute("BEGIN")
            self._failed(url, outcome, status)

    def redirected(self, entry: Entry, target: str) -> None:
        """An address points to another one of the same site, which is fetched in its turn."""
        with self._database:
            self._database.execute("BEGIN")
            self.done(entry.url, "redirected", 301)
            if entry.is_sitemap:
                self.add_sitemaps([target], entry.site, entry.hops + 1)
            else:
                self._add([target], entry.hops + 1, entry.site)

    def unchanged(self, entry: Entry) -> None:
        """The server says that what is known of an address is still current."""
        outcome = "not_modified" if entry.has_body or entry.is_sitemap else "feed_not_modified"
        self._database.execute(
            "UPDATE addresses SET outcome = ?, status = 304, checked_at = ? WHERE url = ?", [outcome, _now(), entry.url]
        )

    def fetched(self, url: str, answer: Answer, links: Iterable[str], opt_outs: Iterable[str] = ()) -> None:
        """Keep a page and remember the links on it."""
        with self._database:
            self._database.execute("BEGIN")
            self._database.execute(
                "UPDATE addresses SET outcome = 'fetched', status = ?, etag = ?, last_modified = ?, content_type = ?, "
                "headers = ?, fetched_at = ?, opt_outs = ?, body = ? WHERE url = ?",
                [
                    answer.status,
                    answer.headers.get("etag"),
                    answer.headers.get("last-modified"),
                    answer.headers.get("content-type"),
                    json.dumps(answer.headers.multi_items()),
                    _now(),
                    " ".join(sorted(opt_outs)),
                    zlib.compress(answer.body),
                    url,
                ],
            )
            self._add(links, 0)

    def left_out(self, url: str, outcome: str, status: int | None, links: Iterable[str], opt_outs: Iterable[str]) -> None:
        """A page whose publisher does not want it kept; its links may be followed."""
        with self._database:
            self._database.execute("BEGIN")
            self.done(url, outcome, status)
            self._database.execute("UPDATE addresses SET opt_outs = ? WHERE url = ?", [" ".join(sorted(opt_outs)), url])
            self._add(links, 0)

    def listing_read(self, entry: Entry, answer: Answer, listing: Listing, further: Iterable[str]) -> None:
        """Remember what a sitemap or a feed lists; a feed that is itself the start of a site may point above its folder."""
        with self._database:
            self._database.execute("BEGIN")
            self._database.execute(
                "UPDATE addresses SET outcome = ?, status = 200, etag = ?, last_modified = ?, body = NULL WHERE url = ?",
                [
                    "feed_read" if listing.is_feed else "read",
                    answer.headers.get("etag"),
                    answer.headers.get("last-modified"),
                    entry.url,
                ],
            )
            self.add_sitemaps(further, entry.site, entry.hops + 1)
            self._add(listing.pages, 0, None if entry.is_sitemap else entry.site)
            dates = [(date.isoformat(timespec="seconds"), url) for url, date in listing.pages.items() if date]
            self._database.executemany("UPDATE addresses SET published_at = ? WHERE url = ?", dates)

    def end_waiting(self, site: str, outcome: str) -> None:
        """Give all waiting addresses of an origin one outcome (they may be many: in one transaction)."""
        waiting = self._database.execute("SELECT url FROM addresses WHERE origin = ? AND outcome IS NULL", [site]).fetchall()
        with self._database:
            self._database.execute("BEGIN")
            for (url,) in waiting:
                self._failed(url, outcome, None)

    def retry_failed(self) -> None:
        """Let the addresses wait again whose failure may pass: of the network, of the server, of its robots.txt.

        Those that were asked for come after all others: ten of them in a row must not keep a crawl from the rest for ever.
        """
        again = f"WHERE (outcome = 'stale' OR {_PASSING})"
        with self._database:
            self._database.execute("BEGIN")
            last = self._database.execute("SELECT max(place) FROM addresses").fetchone()[0]
            self._database.execute(f"UPDATE addresses SET place = place + ? {again} AND status IS NOT NULL", [last])
            self._database.execute(f"UPDATE addresses SET outcome = NULL, status = NULL {again}")

    def renew(self, previous: Path) -> None:
        """Take over the addresses of another crawl, all waiting again, with the pages kept and their validators.

        Left behind are addresses outside of the sites of this crawl, and those that led nowhere and never gave a text: they
        come back if a page that changed points to them. Raises sqlite3.DatabaseError if `previous` is damaged.
        """
        with closing(sqlite3.connect(previous)) as earlier:
            if earlier.execute("PRAGMA user_version").fetchone()[0] != VERSION:
                raise sqlite3.DatabaseError("it was written by another version of this program")
            earlier.backup(self._database)
        starts = {scope.start: scope for scope in self._scopes}
        origins = {scope.origin for scope in self._scopes}
        with self._database:
            self._database.execute("BEGIN")
            identity = self.note("identity")
            self._database.execute("DELETE FROM crawl")
            self.set_note("base", identity or "null")
            self._database.execute("DELETE FROM holds")
            self._database.execute(
                f"DELETE FROM addresses WHERE outcome IN ({_GONE}) AND url NOT IN (SELECT url FROM versions)"
            )
            rows = self._database.execute("SELECT place, url, origin, site, is_sitemap FROM addresses").fetchall()
            sites: list[tuple[str | None, int]] = []
            for place, url, host, site, is_sitemap in rows:
                scope = next((scope for scope in self._scopes if url in scope), None)
                from_feed = site in starts and starts[site].origin == host
                known = host in origins if is_sitemap else scope or from_feed
                sites.append(((scope.start if scope and not is_sitemap else site) if known else None, place))
            self._database.executemany("DELETE FROM addresses WHERE place = ?", [(place,) for site, place in sites if not site])
            self._database.executemany("UPDATE addresses SET site = ? WHERE place = ?", [pair for pair in sites if pair[0]])
            self._database.execute("UPDATE addresses SET outcome = NULL, status = NULL, checked_at = NULL, hops = 0")

    def _failed(self, url: str, outcome: str, status: int | None) -> None:
        self._database.execute("UPDATE addresses SET outcome = ?, status = ? WHERE url = ?", [outcome, status, url])
        stale = f"UPDATE addresses SET outcome = 'stale' WHERE url = ? AND body IS NOT NULL AND ({_PASSING})"
        if not self._database.execute(stale, [url]).rowcount:
            self.done(url, outcome, status)

    def _add(self, urls: Iterable[str], hops: int, beyond: str | None = None) -> None:
        """`beyond`: the site for addresses that lie outside of all sites but on the origin of this one."""
        wanted: dict[str, list[str]] = {}
        for url in urls:
            if scope := next((scope for scope in self._by_origin.get(origin(url), ()) if url in scope), None):
                wanted.setdefault(scope.start, []).append(url)
            elif beyond and origin(url) == origin(beyond):
                wanted.setdefault(beyond, []).append(url)
        for site, found in wanted.items():
            room = max(0, KNOWN_PER_PAGE * self._max_pages - self._count("site = ?", site))
            self._database.executemany(
                "INSERT OR IGNORE INTO addresses (url, origin, site, is_sitemap, hops) VALUES (?, ?, ?, 0, ?)",
                [(url, origin(url), site, hops) for url in found[:room]],
            )

    def _count(self, condition: str, site: str) -> int:
        return int(self._database.execute(f"SELECT count(*) FROM addresses WHERE {condition}", [site]).fetchone()[0])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
