"""Addresses that name the visitor: they are those of the page."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tasks.net.addresses import normalise
from tests.crawl.crawling import crawl, paths
from tests.crawl.scripted_site import HTML, Reply, Request, Site

KEY = "0123456789abcdef0123456789abcdef"
PAGE = "https://mfano.or.tz/a"


@pytest.mark.parametrize(
    ("address", "page"),
    [
        *((f"{PAGE}?{name}={KEY}", PAGE) for name in ("sid", "SID", "s", "sess", "session", "session_id", "sessid")),
        *((f"{PAGE}?{name}={KEY}", PAGE) for name in ("XTCsid", "ci_session", "MoodleSession", "SESSID", "vbsid")),
        *((f"{PAGE}?{name}=ab12", PAGE) for name in ("PHPSESSID", "jsessionid", "osCsid", "zenid", "ASPSESSIONIDQWERTY")),
        (f"{PAGE}?CFID=12&CFTOKEN=345", PAGE),
        (f"{PAGE}?b=1&PHPSESSID=x&c=2", f"{PAGE}?b=1&c=2"),
        (f"{PAGE}?b=1;jsessionid=x;c=2", f"{PAGE}?b=1;c=2"),
        (f"{PAGE}?b=1&sid={KEY}", f"{PAGE}?b=1"),
        (f"{PAGE};jsessionid={KEY}?b=1", f"{PAGE}?b=1"),
        (f"https://mfano.or.tz/(S({KEY[:24]}))/a", PAGE),
        *((f"{PAGE}?{same}", f"{PAGE}?{same}") for same in ("sid=12", "session=2024", "s=habari", "b=1;c=2", "b=1&", "c=&d")),
        (f"{PAGE}?id={KEY}", f"{PAGE}?id={KEY}"),
    ],
)
def test_a_session_is_part_of_no_address(address: str, page: str) -> None:
    assert normalise(address) == page


@pytest.mark.parametrize(
    "link", ["{}?PHPSESSID={:032x}", "{};jsessionid={:032X}", "{}?sid={:032x}", "{}?x=1;MoodleSession={:032x}"]
)
def test_three_pages_are_three_pages_whatever_sessions_are_begun(site: Site, tmp_path: Path, link: str) -> None:
    sessions = itertools.count(1)

    def answer(request: Request) -> Reply:
        links = " ".join(f'<a href="{link.format(path, next(sessions))}">soma</a>' for path in ("/", "/a", "/b"))
        text = f"Wakulima wa kijiji cha Mtoni wamevuna mahindi mengi mwaka huu. Ukurasa {request.path}."
        return Reply(body=f"<html><body>{links}<p>{text}</p></body></html>".encode(), headers=HTML)

    query = "?x=1" if "x=1" in link else ""
    for path in ("/", *(f"{path}{query}" for path in ("/", "/a", "/b"))):
        site[path] = answer
    found, _ = crawl(site.source(max_pages=20), tmp_path)
    assert set(paths(found, site)) == {"/", *(f"{path}{query}" for path in ("/", "/a", "/b"))}
