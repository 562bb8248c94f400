"""How often a site is asked for what is no page, and what becomes of pages that give no answer."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tasks.core.errors import StageError
from tasks.crawl.site.state import LISTINGS, PAGES_PER_LISTING
from tasks.crawl.sources.web import GIVE_UP, SILENCES
from tasks.net import fetch
from tests.crawl.crawling import crawl, paths
from tests.crawl.scripted_site import TRIED, Reply, Request, Site

XML = {"Content-Type": "application/xml"}


def index(*addresses: str) -> bytes:
    entries = "".join(f"<sitemap><loc>{address}</loc></sitemap>" for address in addresses)
    return f"<sitemapindex>{entries}</sitemapindex>".encode()


class Endless(dict[str, object]):
    """Routes in which every unknown path that begins with `/ramani` is an index of two or more further ones."""

    def __init__(self, routes: dict[str, object], width: int) -> None:
        super().__init__(routes)
        self._numbers, self._width = itertools.count(), width

    def get(self, path: str, default: object = None) -> object:
        if not path.startswith("/ramani"):
            return super().get(path, default)
        return Reply(body=index(*(f"/ramani{next(self._numbers)}.xml" for _ in range(self._width))), headers=XML)


@pytest.mark.parametrize("kind", ["index-of-indexes", "wide-index", "30,000-in-robots", "redirects", "errors"])
@pytest.mark.parametrize("pages", [1, 5])
def test_listings_have_a_budget(site: Site, tmp_path: Path, kind: str, pages: int) -> None:
    site.page("/", *(f"/{number}" for number in range(10)))
    for number in range(10):
        site.page(f"/{number}")
    site["/robots.txt"] = Reply(body=b"Sitemap: /ramani.xml\n")
    if kind == "30,000-in-robots":
        site["/robots.txt"] = Reply(body=b"".join(b"Sitemap: /%d.xml\n" % number for number in range(30_000)))
    elif kind in ("index-of-indexes", "wide-index"):
        site.routes = Endless(site.routes, 2 if kind == "index-of-indexes" else 2000)  # type: ignore[assignment]
    else:
        site["/ramani.xml"] = Reply(body=index(*(f"/s{number}.xml" for number in range(1000))), headers=XML)
        for number in range(1000):
            site[f"/s{number}.xml"] = Reply(302, headers={"Location": "/mwisho"}) if kind == "redirects" else Reply(404)
    documents, report = crawl(site.source(max_pages=pages), tmp_path)
    assert len(documents) == pages
    others = [path for path in site.paths() if path.endswith(".xml") or path in TRIED]
    assert len(others) <= 3 + LISTINGS + pages // PAGES_PER_LISTING
    assert report["sitemap_over_budget"] > 0


def test_listings_beyond_the_first_take_turns_with_pages(site: Site, tmp_path: Path) -> None:
    count = LISTINGS + 10
    site["/robots.txt"] = Reply(body=b"".join(b"Sitemap: /%d.xml\n" % number for number in range(count)))
    for number in range(count):
        entries = f"<url><loc>/a{number}</loc></url><url><loc>/b{number}</loc></url>"
        site[f"/{number}.xml"] = Reply(body=f"<urlset>{entries}</urlset>".encode(), headers=XML)
        site.page(f"/a{number}")
        site.page(f"/b{number}")
    site.page("/")
    documents, report = crawl(site.source(), tmp_path)
    assert len(documents) == 2 * count + 1
    assert report["sitemap_read"] == count
    order = ["s" if path.endswith(".xml") else "p" for path in site.paths() if path not in TRIED]
    assert "".join(order).startswith("s" * LISTINGS + "pps" * 10)


def hanging(site: Site, number: int) -> list[str]:
    """Pages that hang up before they answer."""
    for path in (found := [f"/kimya{n}" for n in range(number)]):
        site[path] = Reply(body=b"x" * 100, cut=True)
    return found


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "ATTEMPTS", 1)


def test_ten_pages_without_an_answer_do_not_hide_the_others(site: Site, tmp_path: Path) -> None:
    site.page("/", *hanging(site, GIVE_UP), "/a", "/b")
    site.page("/a")
    site.page("/b")
    documents, report = crawl(site.source(), tmp_path)
    assert paths(documents, site) == ["/", "/a", "/b"]
    assert report["failed"] == GIVE_UP
    assert site.paths().count("/robots.txt") == 2  # asked whether the host is still there


def test_a_host_of_such_pages_is_left_after_some_of_them(site: Site, tmp_path: Path) -> None:
    site.page("/", *hanging(site, 100))
    documents, report = crawl(site.source(), tmp_path)
    assert paths(documents, site) == ["/"]
    assert report["failed"] == GIVE_UP * SILENCES
    assert report["host_silent"] == 100 - GIVE_UP * SILENCES


def test_a_host_that_falls_silent_is_named_so_and_tried_again(site: Site, tmp_path: Path) -> None:
    site.page("/", *hanging(site, GIVE_UP), "/a")
    site.page("/a")
    rules = iter([Reply(404), Reply(body=b"x", cut=True)])

    def robots(_: Request) -> Reply:
        return next(rules, Reply(404))

    site["/robots.txt"] = robots
    with pytest.raises(StageError, match="no site answers any more"):
        crawl(site.source(), tmp_path)
    before = len(site.log)
    documents, report = crawl(site.source(), tmp_path)
    assert paths(documents, site) == ["/", "/a"]
    assert report["failed"] == GIVE_UP
    asked = [request.path for request in site.log[before:] if request.path not in TRIED]
    assert asked[0] == "/a"  # what was never asked for comes first
