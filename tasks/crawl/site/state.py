"""The state of a crawl in one SQLite file: every address met, what became of it, and the pages themselves.

Each page is one transaction, so that a crawl killed at any moment goes on with the next page.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

KEPT = ("fetched", "not_modified", "stale")
"""Outcomes of pages whose body is kept; `stale`: that of an earlier crawl, because the page could not be had this time."""

VERSION = 2
"""Of the tables below; a state with other tables is not read."""

LISTINGS = 20
PAGES_PER_LISTING = 2
"""Sitemaps and feeds asked for at once, and pages asked for before each further one: see `CrawlState.is_over_budget`."""

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
CREATE INDEX IF NOT EXISTS asked ON addresses (origin, is_sitemap) WHERE status IS NOT NULL;
"""


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


class CrawlState:
    """Opens, or makes, the state at `path`. Here is what can be asked of it; how it grows is the `Frontier`'s."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)  # used by one at a time
        if self._database.execute("PRAGMA user_version").fetchone()[0] not in (0, VERSION):
            raise sqlite3.DatabaseError("it was written by another version of this program")
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.executescript(f"{_SCHEMA}PRAGMA user_version = {VERSION};")

    def close(self) -> None:
        self._database.close()

    @property
    def begun(self) -> bool:
        """Whether this crawl knows any address yet."""
        return self._database.execute("SELECT 1 FROM addresses LIMIT 1").fetchone() is not None

    def note(self, key: str) -> str | None:
        """A remark about the whole crawl."""
        row = self._database.execute("SELECT value FROM crawl WHERE key = ?", [key]).fetchone()
        return row[0] if row else None

    def set_note(self, key: str, value: str) -> None:
        self._database.execute("INSERT OR REPLACE INTO crawl VALUES (?, ?)", [key, value])

    def holds(self) -> dict[str, float]:
        """Until when which host must be left alone; times may have passed."""
        return dict(self._database.execute("SELECT host, until FROM holds").fetchall())

    def hold(self, host: str, until: float) -> None:
        """Remember that a host must not be asked again before a Unix time."""
        self._database.execute("INSERT OR REPLACE INTO holds VALUES (?, ?)", [host, until])

    def has_pages(self) -> bool:
        """Whether any page was kept."""
        places = ", ".join("?" * len(KEPT))
        query = f"SELECT 1 FROM addresses WHERE outcome IN ({places}) LIMIT 1"
        return self._database.execute(query, KEPT).fetchone() is not None

    def is_over_budget(self, site: str) -> bool:
        """Whether no sitemap or feed of an origin may be asked for until more pages were: `LISTINGS`, and one for each
        `PAGES_PER_LISTING` pages.

        A sitemap may list 50,000 pages and a feed has some ten. Whoever lists fewer than two pages a file is better known by
        the links, and indexes that lead to ever new indexes (or 30,000 sitemaps in robots.txt) must not be asked for alone.
        """
        asked = "SELECT count(*) FROM addresses WHERE origin = ? AND is_sitemap = ? AND status IS NOT NULL"
        listings, pages = (self._database.execute(asked, [site, kind]).fetchone()[0] for kind in (1, 0))
        return bool(listings >= LISTINGS + pages // PAGES_PER_LISTING)

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

    def addresses(self) -> Iterator[dict[str, Any]]:
        """All that is known of each address but its body, in their order."""
        names = "url", "outcome", "status", "etag", "last_modified", "fetched_at", "checked_at", "published_at", "opt_outs"
        for row in self._database.execute(f"SELECT {', '.join(names)} FROM addresses ORDER BY url"):
            yield dict(zip(names, row, strict=True))

    def versions(self, url: str) -> list[tuple[str, bytes]]:
        """Time of fetching and document id of every known version of a page's text, oldest first."""
        query = "SELECT fetched_at, id FROM versions WHERE url = ? ORDER BY fetched_at"
        return self._database.execute(query, [url]).fetchall()

    def add_versions(self, versions: Iterable[tuple[str, datetime, bytes]]) -> None:
        """Record address, time of fetching and id of texts; one that is still the page's latest is no new version."""
        with self._database:
            self._database.execute("BEGIN")
            self._database.executemany(
                "INSERT OR IGNORE INTO versions SELECT :url, :at, :id WHERE :id IS NOT "
                "(SELECT id FROM versions WHERE url = :url ORDER BY fetched_at DESC LIMIT 1)",
                [{"url": url, "at": at.isoformat(timespec="seconds"), "id": identity} for url, at, identity in versions],
            )

    def copy_to(self, path: Path) -> None:
        """Write the state, whole and in one file, to `path`."""
        with closing(sqlite3.connect(path)) as copy:
            self._database.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
