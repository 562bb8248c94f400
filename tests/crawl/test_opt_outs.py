from __future__ import annotations

import json
from pathlib import Path

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.crawl.pages.html import outline
from tasks.crawl.site.opt_outs import of_answer, of_page, reservations, usage
from tests.crawl.scripted_site import Reply, Site
from tests.crawl.test_web import crawl, paths

HOST = "https://mfano.or.tz"


@pytest.mark.parametrize(
    ("headers", "wishes"),
    [
        ({}, set()),
        ({"X-Robots-Tag": "noai, noimageai"}, {"noai", "noimageai"}),
        ({"X-Robots-Tag": "none"}, {"noindex", "nofollow"}),
        ({"X-Robots-Tag": "googlebot: noindex, nofollow"}, set()),
        ({"X-Robots-Tag": "googlebot: noindex, lugha: noai"}, {"noai"}),
        ({"X-Robots-Tag": "unavailable_after: 25 Jun 2010 15:00:00 PST, NOINDEX"}, {"noindex"}),
        ({"TDM-Reservation": "1", "TDM-Policy": "https://mfano.or.tz/sera.json"}, {"tdm"}),
        ({"TDM-Reservation": "0"}, set()),
    ],
)
def test_headers(headers: dict[str, str], wishes: set[str]) -> None:
    assert of_answer(httpx2.Headers(headers)) == wishes


@pytest.mark.parametrize(
    ("head", "wishes"),
    [
        ('<meta name="robots" content="NoAI, noimageai">', {"noai", "noimageai"}),
        ('<meta content="none" name="ROBOTS">', {"noindex", "nofollow"}),
        ('<meta name="gptbot" content="noindex">', set()),
        ("<META NAME='tdm-reservation' CONTENT=1>", {"tdm"}),
        ('<meta name="tdm-reservation" content="0">', set()),
        ('<!-- <meta name="tdm-reservation" content="1"> -->', set()),
    ],
)
def test_pages(head: str, wishes: set[str]) -> None:
    page = f"<html><head>{head}</head><body><p>Habari</p></body></html>".encode()
    assert of_page(page, outline(page, HOST).directives) == wishes


def test_the_longest_location_of_a_tdmrep_decides() -> None:
    rules = reservations(
        json.dumps(
            [
                {"location": "/", "tdm-reservation": 1, "tdm-policy": f"{HOST}/sera.json"},
                {"location": "/wazi/*", "tdm-reservation": 0},
                {"location": "/*.pdf$", "tdm-reservation": 1},
            ]
        ).encode()
    )
    assert rules is not None
    allowed = [path for path in ("/", "/a", "/wazi/a", "/wazi/a.pdf") if rules.allows(HOST + path)]
    assert allowed == ["/wazi/a", "/wazi/a.pdf"]


@pytest.mark.parametrize("body", [b"", b"<html>hakuna</html>", b"{}", b"[1, {}, null]", b"[" * 100_000, b'[{"location": 3}]'])
def test_what_is_no_tdmrep_reserves_nothing(body: bytes) -> None:
    assert reservations(body) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_an_ai_txt(body: bytes) -> None:
    rules = usage(b"User-Agent: *\n" + body)
    assert rules is None or rules.allows(f"{HOST}/") in (True, False)


AI = b"# Spawning AI\nUser-Agent: *\nDisallow: /sanaa/\nDisallow: *.txt\nAllow: /\n"


def wishful(site: Site) -> None:
    site["/ai.txt"] = Reply(body=AI, headers={"Content-Type": "text/plain"})
    tdm = [{"location": "/maktaba/", "tdm-reservation": 1}]
    site["/.well-known/tdmrep.json"] = Reply(body=json.dumps(tdm).encode(), headers={"Content-Type": "application/json"})
    pages = ("/sanaa/a", "/maktaba/b", "/noai", "/noimageai", "/tdm", "/noindex", "/nofollow")
    site.page("/", *pages)
    for path in pages:
        site.page(path)
    site.page("/noai", X_Robots_Tag="noai")
    site.page("/noimageai", head='<meta name="robots" content="noimageai">')
    site.page("/tdm", tdm_reservation="1")
    site.page("/noindex", head='<meta name="robots" content="noindex">')
    site.page("/nofollow", "/ndani", head='<meta name="robots" content="nofollow">')
    site.page("/ndani")


def test_wishes_are_obeyed_and_counted_by_reason(site: Site, tmp_path: Path) -> None:
    wishful(site)
    documents, report = crawl(site.source(), tmp_path)
    assert paths(documents, site) == ["/", "/nofollow", "/noimageai"]
    assert report == {
        **{"fetched": 3, "noai": 1, "tdm": 2, "ai_txt": 1, "noindex": 1},
        **{"kept_despite_noimageai": 1, "sitemap_http_404": 1},
    }
    assert not {"/sanaa/a", "/maktaba/b"} & set(site.paths())  # known beforehand


def test_wishes_that_are_not_obeyed_are_recorded(site: Site, tmp_path: Path) -> None:
    wishful(site)
    documents, report = crawl(site.source(opt_outs=["noimageai"]), tmp_path)
    expected = ["/", "/maktaba/b", "/ndani", "/noai", "/nofollow", "/noindex", "/sanaa/a", "/tdm"]
    assert paths(documents, site) == expected
    assert {name: count for name, count in report.items() if name != "sitemap_http_404"} == {
        **{"fetched": 8, "noimageai": 1, "kept_despite_noai": 1, "kept_despite_tdm": 2},
        **{"kept_despite_ai_txt": 1, "kept_despite_noindex": 1, "kept_despite_nofollow": 1},
    }


def test_robots_txt_also_hides_the_files_of_wishes(site: Site, tmp_path: Path) -> None:
    wishful(site)
    site["/robots.txt"] = Reply(body=b"User-agent: *\nDisallow: /ai.txt\nDisallow: /.well-known/\n")
    crawl(site.source(), tmp_path)
    assert not {"/ai.txt", "/.well-known/tdmrep.json"} & set(site.paths())
