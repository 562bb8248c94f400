"""Traps: endless addresses with the same content must not keep a crawl from the pages of a site."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tasks.crawl.sources.web import Web
from tests.crawl.crawling import crawl, paths
from tests.crawl.scripted_site import TRIED, Reply, Request, Route, Site

NAMES = ["moja", "mbili", "tatu", "nne", "tano", "sita", "saba", "nane", "tisa", "kumi"]
MONTHS = [
    "Januari",
    "Februari",
    "Machi",
    "Aprili",
    "Mei",
    "Juni",
    "Julai",
    "Agosti",
    "Septemba",
    "Oktoba",
    "Novemba",
    "Desemba",
]
REAL = {"/", *(f"/{name}" for name in NAMES)}
Answer = Callable[[str], Reply]


class _Everywhere(dict[str, Route]):
    """One function answers at every address."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def get(self, path: str, default: Route) -> Route:  # type: ignore[override]
        return default if path in TRIED else lambda request: self.answer(request.path)


def page(text: str, *links: str) -> Reply:
    menu = " ".join(f'<a href="{link}">Soma zaidi</a>' for link in links)
    story = f"Wakulima wa kijiji cha Mtoni wamevuna mahindi mengi. {text}"
    return Reply(body=f"<html><title>Mtoni</title><nav>{menu}</nav><p>{story}</p><footer>Haki zote</footer></html>".encode())


def story(path: str, *further: str) -> Reply:
    """One of the ten stories of a site, which link to each other."""
    name = path.strip("/") or "mwanzo"
    return page(f"Hadithi ya {name}.", *(f"/{name}" for name in NAMES), *further) if path in REAL else Reply(404)


def token() -> Answer:
    numbers = itertools.count(1)

    def answer(address: str) -> Reply:
        path = urlsplit(address).path
        links = [f"/{name}?tk={next(numbers):08x}" for name in NAMES]
        return page(f"Hadithi ya {path.strip('/') or 'mwanzo'}.", *links) if path in REAL else Reply(404)

    return answer


def token_in_the_path() -> Answer:
    numbers = itertools.count(1)

    def answer(address: str) -> Reply:
        name = address.rpartition("/")[2]
        links = [f"/{next(numbers):08x}/{name}" for name in NAMES]
        return page(f"Hadithi ya {name or 'mwanzo'}.", *links) if f"/{name}" in REAL else Reply(404)

    return answer


def endless_path(shown: bool) -> Answer:
    def answer(path: str) -> Reply:
        folders = path.strip("/").split("/")
        if {"a", "b"}.issuperset(folders):
            return page(f"Uko hapa: {' '.join(folders)}" if shown else "Uko hapa.", "a/", "b/" if not shown else "a/", "/kumi")
        return story(path, "a/")

    return answer


def calendar(address: str) -> Answer:
    def link(month: int) -> str:
        return address.format(month // 12, month % 12 + 1)

    def answer(path: str) -> Reply:
        if path in REAL:
            return story(path, link(2026 * 12))
        year, month = (int(part) for part in "".join(c if c.isdigit() else " " for c in path).split())
        number = year * 12 + month - 1
        return page(
            f"{MONTHS[month - 1]} {year}: hakuna tukio. {' '.join(map(str, range(1, 29)))}", link(number + 1), link(number - 1)
        )

    return answer


TRAPS: dict[str, Answer] = {
    "a session that nobody knows": token(),
    "a session in the path": token_in_the_path(),
    "endless folders": endless_path(False),
    "endless folders that are shown": endless_path(True),
    "a calendar by path": calendar("/kalenda/{}/{}/"),
    "a calendar by query": calendar("/kalenda?y={}&m={}"),
}


@pytest.mark.parametrize("name", TRAPS)
def test_a_trap_does_not_use_up_the_pages_of_a_site(site: Site, tmp_path: Path, name: str) -> None:
    site.routes = _Everywhere(TRAPS[name])
    found, report = crawl(site.source(max_pages=150), tmp_path)
    stories = [text for document in found if "Hadithi" in (text := document.text)]
    assert len(stories) == len(set(stories)) == len(REAL)
    assert report["repeated"] >= 50
    assert report["trap"] > 0
    assert report["fetched"] < 100
    assert "over_max_pages" not in report


@pytest.mark.parametrize("name", [name for name in TRAPS if "session" not in name])
def test_pages_are_asked_for_before_what_lies_behind_a_trap(site: Site, tmp_path: Path, name: str) -> None:
    site.routes = _Everywhere(TRAPS[name])
    found, _ = crawl(site.source(max_pages=40), tmp_path)
    assert set(paths(found, site)) >= REAL


def test_a_counter_of_visitors_makes_no_new_pages_without_end(site: Site, tmp_path: Path) -> None:
    visits = itertools.count(1)

    def answer(address: str) -> Reply:
        name = urlsplit(address).path.strip("/") or "mwanzo"
        number = next(visits)
        return page(f"Hadithi ya {name}. Wageni: {number}", *(f"/{name}?v={number}" for name in NAMES))

    site.routes = _Everywhere(answer)
    found, report = crawl(site.source(max_pages=1000), tmp_path)
    assert {name for document in found for name in NAMES if f"ya {name}." in document.text} == set(NAMES)
    assert report["fetched"] < 500
    assert report["trap"] > 0


@pytest.mark.parametrize("form", ["/{}", "/?id={}", "/habari/{}/"])
def test_pages_that_differ_in_a_number_are_pages(site: Site, tmp_path: Path, form: str) -> None:
    for number in range(120):
        further = [form.format(child) for child in (3 * number, 3 * number + 1, 3 * number + 2) if number < child < 120]
        site[form.format(number)] = page(f"Matokeo ya mechi {number}: mabao {number % 5}", *further)
    site["/"] = page("Mwanzo", *(form.format(number) for number in range(3)))
    found, report = crawl(site.source(max_pages=1000), tmp_path)
    assert len(found) == report["fetched"] == 121
    assert "repeated" not in report


def test_what_only_repeated_pages_lead_to_is_fetched_last(site: Site, tmp_path: Path) -> None:
    """Shells that programs fill, and pages of a moment, say the same and lead to different stories."""
    site["/"] = page("Mwanzo", *(f"/nenda/{name}" for name in NAMES), "/mwisho")
    site["/mwisho"] = page("Mwisho")
    for name in NAMES:
        site[f"/nenda/{name}"] = page("Subiri kidogo", f"/{name}")
        site[f"/{name}"] = story(f"/{name}")
    found, report = crawl(site.source(max_pages=13), tmp_path)
    assert set(paths(found, site)) == {"/", "/mwisho", "/nenda/moja", *REAL}
    assert report["repeated"] == 9
    assert site.pages().index("/mwisho") < site.pages().index("/kumi")


def test_a_crawl_that_is_renewed_asks_for_no_repeated_page(site: Site, tmp_path: Path) -> None:
    def answer(request: Request) -> Reply:
        if "if-none-match" in request.headers:
            return Reply(304)
        links = ("/moja", "/moja?a=1", "/moja?a=2") if request.path == "/" else ()
        told = page("Mwanzo" if links else "Hadithi ya moja.", *links)
        return Reply(body=told.body, headers=told.headers | {"ETag": '"1"'})

    for path in ("/", "/moja", "/moja?a=1", "/moja?a=2"):
        site[path] = answer
    source = site.source()
    first, report = crawl(source, tmp_path / "first")
    assert (len(first), report["repeated"]) == (2, 2)
    Web(source).begin(tmp_path / "second", tmp_path / "first")
    site.log.clear()
    again, report = crawl(source, tmp_path / "second")
    assert [document.id for document in again] == [document.id for document in first]
    assert (report["not_modified"], site.pages()) == (2, ["/", "/moja"])
