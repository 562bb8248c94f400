"""The state of a crawl in one SQLite file: every address met, what became of it, and the pages themselves.

Each page is one transaction, so that a crawl killed at any moment goes on with the next page.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tasks.crawl.addresses import Scope, origin
from tasks.crawl.fetch import Answer

KEPT = ("fetched", "not_modified")
"""Outcomes of pages whose body is kept."""

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
    fetched_at TEXT,                     -- UTC, when the body came
    body BLOB                            -- zlib
);
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
    content_type: str | None
    fetched_at: datetime
    body: bytes


class Frontier:
    """Opens, or makes, the state at `path` for a crawl of `scopes` with at most `max_pages` pages of each."""

    def __init__(self, path: Path, scopes: Sequence[Scope], max_pages: int) -> None:
        self._scopes = sorted(scopes, key=lambda scope: len(scope.folder), reverse=True)
        self._max_pages = max_pages
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)  # used by one at a time
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.executescript(_SCHEMA)

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

    def redirected(self, entry: Entry, target: str) -> None:
        """An address points to another one of the same site, which is fetched in its turn."""
        with self._database:
            self._database.execute("BEGIN")
            self.done(entry.url, "redirected", 301)
            if entry.is_sitemap:
                self.add_sitemaps([target], entry.site, entry.hops + 1)
            else:
                self._add([target], entry.hops + 1)

    def unchanged(self, url: str) -> None:
        """The server says that the kept page is still the current one."""
        self._database.execute("UPDATE addresses SET outcome = 'not_modified', status = 304 WHERE url = ?", [url])

    def fetched(self, url: str, answer: Answer, links: Iterable[str]) -> None:
        """Keep a page and remember the links on it."""
        with self._database:
            self._database.execute("BEGIN")
            self._database.execute(
                "UPDATE addresses SET outcome = 'fetched', status = ?, etag = ?, last_modified = ?, content_type = ?, "
                "fetched_at = ?, body = ? WHERE url = ?",
                [
                    answer.status,
                    answer.headers.get("etag"),
                    answer.headers.get("last-modified"),
                    answer.headers.get("content-type"),
                    datetime.now(UTC).isoformat(timespec="seconds"),
                    zlib.compress(answer.body),
                    url,
                ],
            )
            self._add(links, 0)

    def left_out(self, url: str, outcome: str, status: int, links: Iterable[str]) -> None:
        """A page whose publisher does not want it kept; its links may be followed."""
        with self._database:
            self._database.execute("BEGIN")
            self.done(url, outcome, status)
            self._add(links, 0)

    def sitemap_read(self, entry: Entry, pages: Iterable[str], further: Iterable[str]) -> None:
        """Remember what a sitemap lists."""
        with self._database:
            self._database.execute("BEGIN")
            self.done(entry.url, "read", 200)
            self.add_sitemaps(further, entry.site, entry.hops + 1)
            self._add(pages, 0)

    def end_waiting(self, site: str, outcome: str) -> None:
        """Give all waiting addresses of an origin one outcome."""
        self._database.execute("UPDATE addresses SET outcome = ? WHERE origin = ? AND outcome IS NULL", [outcome, site])

    def retry_failed(self) -> None:
        """Let the addresses wait again whose failure may pass: of the network, of the server, of its robots.txt."""
        self._database.execute(
            "UPDATE addresses SET outcome = NULL, status = NULL WHERE outcome IN ('failed', 'refused', 'robots_unreachable', "
            "'host_unreachable', 'http_429') OR outcome GLOB 'http_5*'"
        )

    def has_pages(self) -> bool:
        """Whether any page was kept."""
        return self._database.execute("SELECT 1 FROM addresses WHERE outcome IN (?, ?) LIMIT 1", KEPT).fetchone() is not None

    def renew(self, previous: Path) -> None:
        """Take over the addresses of another crawl, all waiting again, with the pages kept and their validators."""
        with closing(sqlite3.connect(previous)) as earlier:
            earlier.backup(self._database)
        self._database.execute("DELETE FROM crawl")
        self._database.execute("DELETE FROM holds")
        self._database.execute("UPDATE addresses SET outcome = NULL, status = NULL, hops = 0")

    def outcomes(self) -> Counter[str]:
        """How many addresses ended how; sitemaps count as `sitemap_...`."""
        rows = self._database.execute(
            "SELECT CASE is_sitemap WHEN 1 THEN 'sitemap_' || outcome ELSE outcome END, count(*) FROM addresses "
            "WHERE outcome IS NOT NULL GROUP BY 1 ORDER BY 1"
        )
        return Counter(dict(rows.fetchall()))

    def pages(self) -> Iterator[tuple[str, Stored]]:
        """Outcome and content of every kept page, in the order of the addresses."""
        rows = self._database.execute(
            "SELECT outcome, url, content_type, fetched_at, body FROM addresses "
            "WHERE outcome IN (?, ?) AND body IS NOT NULL ORDER BY url",
            KEPT,
        )
        for outcome, url, content_type, fetched_at, body in rows:
            yield outcome, Stored(url, content_type, datetime.fromisoformat(fetched_at), zlib.decompress(body))

    def _add(self, urls: Iterable[str], hops: int) -> None:
        wanted: dict[str, list[str]] = {}
        for url in urls:
            if scope := next((scope for scope in self._scopes if url in scope), None):
                wanted.setdefault(scope.start, []).append(url)
        for site, found in wanted.items():
            room = max(0, KNOWN_PER_PAGE * self._max_pages - self._count("site = ?", site))
            self._database.executemany(
                "INSERT OR IGNORE INTO addresses (url, origin, site, is_sitemap, hops) VALUES (?, ?, ?, 0, ?)",
                [(url, origin(url), site, hops) for url in found[:room]],
            )

    def _count(self, condition: str, site: str) -> int:
        return int(self._database.execute(f"SELECT count(*) FROM addresses WHERE {condition}", [site]).fetchone()[0])
