"""The state of a crawl in one SQLite file: every address met, what became of it, and the pages themselves.

Each page is one transaction, so that a crawl killed at any moment goes on with the next page.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.crawl.site.listings import Listing
from tasks.net.addresses import Scope, origin
from tasks.net.fetch import Answer

KEPT = ("fetched", "not_modified", "stale")
"""Outcomes of pages whose body is kept; `stale`: that of an earlier crawl, because the page could not be had this time."""

VERSION = 2
"""Of the tables below; a state with other tables is not read."""

_GONE = "'http_404', 'http_410', 'wrong_type', 'redirect_out_of_scope'"
_PASSING = "outcome IN ('failed', 'refused', 'robots_unreachable', 'host_unreachable', 'http_429') OR outcome GLOB 'http_5*'"

KNOWN_PER_PAGE = 10
"""Addresses remembered for each page that may be fetched: bounds what a site of endless links can fill the disk with."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS crawl (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS addresses (
    place INTEGER PRIMARY KEY,           -- in order of discovery: the order of fetching within a site
    url TEXT NOT NULL UNIQUE,
    origin TEXT NOT NULL,
    site TEXT NOT NULL,                  -- start address of the site; for a sitemap its origin
    is_sitemap INTEGER NOT NULL,
    hops INTEGER NOT NULL DEFAULT 0,     -- redirects, or sitemap indexes, on the way here
    outcome TEXT,                        -- NULL: waiting
    status INTEGER,
    etag TEXT,
    last_modified TEXT,
    content_type TEXT,
    headers TEXT,                        -- of the answer with the body: JSON, pairs
    fetched_at TEXT,                     -- UTC, when the body came
    checked_at TEXT,                     -- UTC, when the server said that it is still the current one
    published_at TEXT,                   -- UTC, as a feed says
    opt_outs TEXT,                       -- wishes of the publisher found with the page, separated by spaces
    body BLOB                            -- zlib
);
CREATE TABLE IF NOT EXISTS versions (    -- of the text of a page, over all crawls
    url TEXT NOT NULL, fetched_at TEXT NOT NULL, id BLOB NOT NULL, PRIMARY KEY (url, fetched_at)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS holds (host TEXT PRIMARY KEY, until REAL NOT NULL);  -- Unix time
CREATE INDEX IF NOT EXISTS waiting ON addresses (origin, outcome, is_sitemap DESC, place);
CREATE INDEX IF NOT EXISTS by_site ON addresses (site, status, outcome);
"""


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


@dataclass(frozen=True, slots=True)
class Stored:
    """A page as it was fetched."""

    url: str
    outcome: str
    content_type: str | None
    headers: list[tuple[str, str]]
    fetched_at: datetime
    checked_at: datetime | None
    published_at: datetime | None
    body: bytes


class Frontier:
    """Opens, or makes, the state at `path` for a crawl of `scopes` with at most `max_pages` pages of each."""

    def __init__(self, path: Path, scopes: Sequence[Scope], max_pages: int) -> None:
        self._scopes = sorted(scopes, key=lambda scope: len(scope.folder), reverse=True)
        self._max_pages = max_pages
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)  # used by one at a time
        if self._database.execute("PRAGMA user_version").fetchone()[0] not in (0, VERSION):
            raise sqlite3.DatabaseError("it was written by another version of this program")
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.executescript(f"{_SCHEMA}PRAGMA user_version = {VERSION};")

    def close(self) -> None:
        self._database.close()

    def note(self, key: str) -> str | None:
        """A remark about the whole crawl."""
        row = self._database.execute("SELECT value FROM crawl WHERE key = ?", [key]).fetchone()
        return row[0] if row else None

    @property
    def begun(self) -> bool:
        """Whether this crawl knows any address yet."""
        return self._database.execute("SELECT 1 FROM addresses LIMIT 1").fetchone() is not None

    def set_note(self, key: str, value: str) -> None:
        self._database.execute("INSERT OR REPLACE INTO crawl VALUES (?, ?)", [key, value])

    def hold(self, host: str, until: float) -> None:
        """Remember that a host must not be asked again before a Unix time."""
        self._database.execute("INSERT OR REPLACE INTO holds VALUES (?, ?)", [host, until])

    def holds(self) -> dict[str, float]:
        """Until when which host must be left alone; times may have passed."""
        return dict(self._database.execute("SELECT host, until FROM holds").fetchall())

    def add(self, urls: Iterable[str], hops: int = 0) -> None:
        """Remember the addresses that lie within the sites, unless they are known."""
        with self._database:
            self._database.execute("BEGIN")
            self._add(urls, hops)

    def add_sitemaps(self, urls: Iterable[str], site: str, hops: int = 0) -> None:
        """Remember sitemaps of an origin; those elsewhere are left out, like pages outside of the sites."""
        rows = [(url, site, site, hops) for url in urls if origin(url) == site]
        statement = "INSERT OR IGNORE INTO addresses (url, origin, site, is_sitemap, hops) VALUES (?, ?, ?, 1, ?)"
        self._database.executemany(statement, rows)

    def next(self, site: str) -> Entry | None:
        """The address of an origin to fetch next: sitemaps first, then pages in the order of their discovery."""
        row = self._database.execute(
            "SELECT url, site, is_sitemap, hops, etag, last_modified, body IS NOT NULL FROM addresses "
            "WHERE origin = ? AND outcome IS NULL ORDER BY is_sitemap DESC, place LIMIT 1",
            [site],
        ).fetchone()
        return Entry(row[0], row[1], bool(row[2]), row[3], row[4], row[5], bool(row[6])) if row else None

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
            self._database.execute("UPDATE addresses SET outcome = ?, status = ? WHERE url = ?", [outcome, status, url])
            stale = f"UPDATE addresses SET outcome = 'stale' WHERE url = ? AND body IS NOT NULL AND ({_PASSING})"
            if not self._database.execute(stale, [url]).rowcount:
                self.done(url, outcome, status)

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
        """Give all waiting addresses of an origin one outcome."""
        waiting = self._database.execute("SELECT url FROM addresses WHERE origin = ? AND outcome IS NULL", [site]).fetchall()
        for (url,) in waiting:
            self.failed(url, outcome)

    def retry_failed(self) -> None:
        """Let the addresses wait again whose failure may pass: of the network, of the server, of its robots.txt."""
        self._database.execute(f"UPDATE addresses SET outcome = NULL, status = NULL WHERE outcome = 'stale' OR {_PASSING}")

    def has_pages(self) -> bool:
        """Whether any page was kept."""
        places = ", ".join("?" * len(KEPT))
        query = f"SELECT 1 FROM addresses WHERE outcome IN ({places}) LIMIT 1"
        return self._database.execute(query, KEPT).fetchone() is not None

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

    def copy_to(self, path: Path) -> None:
        """Write the state, whole and in one file, to `path`."""
        with closing(sqlite3.connect(path)) as copy:
            self._database.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")

    def add_versions(self, versions: Iterable[tuple[str, datetime, bytes]]) -> None:
        """Record address, time of fetching and id of texts; one that is still the page's latest is no new version."""
        with self._database:
            self._database.execute("BEGIN")
            self._database.executemany(
                "INSERT OR IGNORE INTO versions SELECT :url, :at, :id WHERE :id IS NOT "
                "(SELECT id FROM versions WHERE url = :url ORDER BY fetched_at DESC LIMIT 1)",
                [{"url": url, "at": at.isoformat(timespec="seconds"), "id": identity} for url, at, identity in versions],
            )

    def versions(self, url: str) -> list[tuple[str, bytes]]:
        """Time of fetching and document id of every known version of a page's text, oldest first."""
        query = "SELECT fetched_at, id FROM versions WHERE url = ? ORDER BY fetched_at"
        return self._database.execute(query, [url]).fetchall()

    def addresses(self) -> Iterator[dict[str, Any]]:
        """All that is known of each address but its body, in their order."""
        names = "url", "outcome", "status", "etag", "last_modified", "fetched_at", "checked_at", "published_at", "opt_outs"
        for row in self._database.execute(f"SELECT {', '.join(names)} FROM addresses ORDER BY url"):
            yield dict(zip(names, row, strict=True))

    def outcomes(self) -> Counter[str]:
        """How many addresses ended how; sitemaps count as `sitemap_...`."""
        rows = self._database.execute(
            "SELECT CASE WHEN is_sitemap AND outcome NOT GLOB 'feed_*' THEN 'sitemap_' || outcome ELSE outcome END, count(*) "
            "FROM addresses "
            "WHERE outcome IS NOT NULL GROUP BY 1 ORDER BY 1"
        )
        return Counter(dict(rows.fetchall()))

    def kept_despite(self) -> Counter[str]:
        """How many kept pages carry which wish of their publisher."""
        query = f"SELECT opt_outs FROM addresses WHERE outcome IN ({', '.join('?' * len(KEPT))}) AND opt_outs != ''"
        return Counter(wish for (wishes,) in self._database.execute(query, KEPT) for wish in wishes.split())

    def opt_outs(self, url: str) -> frozenset[str]:
        """The wishes that were found with a page."""
        row = self._database.execute("SELECT opt_outs FROM addresses WHERE url = ?", [url]).fetchone()
        return frozenset((row[0] or "").split()) if row else frozenset()

    def pages(self) -> Iterator[Stored]:
        """Every kept page, in the order of the addresses."""
        rows = self._database.execute(
            "SELECT url, outcome, content_type, headers, fetched_at, checked_at, published_at, body FROM addresses "
            f"WHERE outcome IN ({', '.join('?' * len(KEPT))}) AND body IS NOT NULL ORDER BY url",
            KEPT,
        )
        for url, outcome, content_type, headers, fetched_at, checked_at, published_at, body in rows:
            yield Stored(
                url,
                outcome,
                content_type,
                [(name, value) for name, value in json.loads(headers)],
                datetime.fromisoformat(fetched_at),
                datetime.fromisoformat(checked_at) if checked_at else None,
                datetime.fromisoformat(published_at) if published_at else None,
                zlib.decompress(body),
            )

    def _add(self, urls: Iterable[str], hops: int, beyond: str | None = None) -> None:
        """`beyond`: the site for addresses that lie outside of all sites but on the origin of this one."""
        wanted: dict[str, list[str]] = {}
        for url in urls:
            if scope := next((scope for scope in self._scopes if url in scope), None):
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
