"""Crawls of a scripted site: what is followed, kept, cut off, refused, resumed and renewed."""

from __future__ import annotations

import asyncio
import gzip
import os
import signal
import socket
import subprocess
import sys
import time
import tracemalloc
import zlib
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lang_configs.sources import StarterSource, WebSource
from tasks.core.errors import StageError
from tasks.crawl.sources import starter
from tasks.crawl.sources.web import Web
from tasks.net import fetch
from tests import REPOSITORY
from tests.crawl.crawling import answers, crawl, paths
from tests.crawl.scripted_site import HTML, TRIED, Reply, Request, Site


def test_links_are_followed_within_the_scope_and_documents_come_sorted(site: Site, tmp_path: Path) -> None:
    site.page("/sw/", "b.html", "/sw/a.html?utm_source=x", "/en/", "https://nyingine.tz/sw/", "a.html#juu", "haipo.html")
    site.page("/sw/b.html", "c.html", head='<link rel="license" href="https://creativecommons.org/licenses/by/4.0/">')
    site.page("/sw/a.html")
    site.page("/sw/c.html")
    documents, report = crawl(site.source("/sw/", license="CC-BY-SA-4.0", contact="wahariri@example.org"), tmp_path)
    assert paths(documents, site) == ["/sw/", "/sw/a.html", "/sw/b.html", "/sw/c.html"]
    assert report == {"fetched": 4, "http_404": 1, "sitemap_http_404": 1}
    assert site.paths()[: len(TRIED)] == list(TRIED)
    assert site.pages() == ["/sw/", "/sw/b.html", "/sw/a.html", "/sw/haipo.html", "/sw/c.html"]
    assert [document.license for document in documents] == ["CC-BY-SA-4.0", "CC-BY-SA-4.0", "CC-BY-4.0", "CC-BY-SA-4.0"]
    assert documents[1].title == "Ukurasa /sw/a.html"
    assert "Mwanzo" not in documents[1].text and "Haki zote" not in documents[1].text
    assert documents[0].fetched_at is not None
    assert all(request.headers["user-agent"].startswith("lugha/") for request in site.log)
    assert all("(+wahariri@example.org)" in request.headers["user-agent"] for request in site.log)


def test_robots_txt_is_obeyed_and_sitemaps_are_read(site: Site, tmp_path: Path) -> None:
    site["/robots.txt"] = Reply(body=f"User-agent: *\nDisallow: /siri/\nSitemap: {site.base}/ramani.xml\n".encode())
    xml = {"Content-Type": "application/xml"}
    site["/ramani.xml"] = Reply(body=b"<sitemapindex><sitemap><loc>/1.xml.gz</loc></sitemap></sitemapindex>", headers=xml)
    urls = "<urlset><url><loc>/kisiwa</loc></url><url><loc>/siri/x</loc></url></urlset>"
    site["/1.xml.gz"] = Reply(body=gzip.compress(urls.encode()), headers={"Content-Type": "application/gzip"})
    site.page("/", "/siri/a", "/wazi")
    for path in ("/wazi", "/kisiwa", "/siri/a", "/siri/x"):
        site.page(path)
    documents, report = crawl(site.source(), tmp_path)
    assert paths(documents, site) == ["/", "/kisiwa", "/wazi"]
    assert report == {"fetched": 3, "disallowed_by_robots": 2, "sitemap_read": 2}
    assert not any(path.startswith("/siri/") for path in site.paths())


FEED = b"""<rss version="2.0"><channel><item><link>/sw/2026/mvua</link><pubDate>Sat, 21 Nov 2026 09:30:00 +0300</pubDate></item>
<item><link>/sw/2026/siri</link></item><item><link>https://nyingine.tz/a</link></item>
<item><link>/sw/zamani</link></item></channel></rss>"""


def test_a_feed_as_a_site_gives_its_entries_with_their_dates(site: Site, tmp_path: Path) -> None:
    site["/robots.txt"] = Reply(body=b"User-agent: *\nDisallow: /sw/2026/siri\n")
    site["/sw/feed/"] = Reply(body=FEED, headers={"Content-Type": "application/rss+xml; charset=utf-8"})
    site.page("/sw/2026/mvua", "/sw/2026/nyingine")
    site["/sw/zamani"] = Reply(301, headers={"Location": "/sw/sasa"})
    site.page("/sw/sasa")
    documents, report = crawl(site.source("/sw/feed/"), tmp_path)
    assert paths(documents, site) == ["/sw/2026/mvua", "/sw/sasa"]
    assert documents[0].published_at == datetime(2026, 11, 21, 6, 30, tzinfo=UTC)
    expected = {"feed_read": 1, "fetched": 2, "redirected": 1, "disallowed_by_robots": 1, "sitemap_http_404": 1}
    assert report == expected


def test_feeds_that_a_start_page_announces_are_read(site: Site, tmp_path: Path) -> None:
    site.page("/sw/", head='<link rel="alternate" type="application/rss+xml" href="/feed.xml">')
    site["/feed.xml"] = Reply(body=FEED, headers={"Content-Type": "text/xml"})
    site.page("/sw/2026/mvua", head='<link rel="alternate" type="application/rss+xml" href="/maoni.xml">')
    documents, report = crawl(site.source("/sw/"), tmp_path)
    assert paths(documents, site) == ["/sw/", "/sw/2026/mvua"]
    assert report["feed_read"] == 1
    assert "/maoni.xml" not in site.paths()


def test_other_xml_is_no_page(site: Site, tmp_path: Path) -> None:
    site.page("/", "/data.xml")
    site["/data.xml"] = Reply(body=b"<data/>", headers={"Content-Type": "application/xml"})
    assert crawl(site.source(), tmp_path)[1]["wrong_type"] == 1
    assert crawl(site.source("/data.xml"), tmp_path / "2")[1]["wrong_type"] == 1


def test_redirects_within_the_scope_are_followed_once(site: Site, tmp_path: Path) -> None:
    site["/robots.txt"] = Reply(body=b"User-agent: *\nDisallow: /siri\n")
    site.page("/", "/zamani", "/sasa", "/nje", "/mtego", "/ndani-ya-siri", "/mnyororo/0", "/tupu")
    site["/zamani"] = Reply(301, headers={"Location": "/sasa"})
    site.page("/sasa")
    site["/nje"] = Reply(302, headers={"Location": "http://127.0.0.1:1/"})
    site["/mtego"] = Reply(302, headers={"Location": "/mtego2"})
    site["/mtego2"] = Reply(302, headers={"Location": "/mtego"})
    site["/ndani-ya-siri"] = Reply(307, headers={"Location": "/siri"})
    site["/tupu"] = Reply(302, headers={})
    for number in range(30):
        site[f"/mnyororo/{number}"] = Reply(308, headers={"Location": f"/mnyororo/{number + 1}"})
    documents, report = crawl(site.source(), tmp_path)
    assert paths(documents, site) == ["/", "/sasa"]
    assert report["redirect_out_of_scope"] == report["http_302"] == 1
    assert report["disallowed_by_robots"] == 1
    assert report["too_many_redirects"] == 1
    assert len(site.pages()) == len(set(site.pages()))
    assert site.pages()[-1] == "/mnyororo/10"


def test_a_site_that_has_moved_is_named_with_its_new_address(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site["/"] = Reply(301, headers={"Location": "https://mpya.example/"})
    assert crawl(site.source(), tmp_path)[1]["redirect_out_of_scope"] == 1
    assert f"{site.base}/ has moved to https://mpya.example/" in caplog.text


def test_pages_that_must_not_be_kept(site: Site, tmp_path: Path) -> None:
    site.page("/", "/noindex", "/none", "/noai", "/nofollow", "/wengine")
    site.page("/noindex", "/a", head='<meta name="robots" content="noindex">')
    site.page("/none", "/b", X_Robots_Tag="none")
    site.page("/noai", X_Robots_Tag="lugha: noai")
    site.page("/nofollow", "/c", head='<meta name="lugha" content="nofollow">')
    site.page("/wengine", X_Robots_Tag="googlebot: noindex, noai")
    for path in ("/a", "/b", "/c"):
        site.page(path)
    documents, report = crawl(site.source(), tmp_path)
    assert paths(documents, site) == ["/", "/a", "/nofollow", "/wengine"]
    assert (report["noindex"], report["noai"]) == (2, 1)
    assert b"Ukurasa /noindex" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_wrong_types_and_pages_without_text(site: Site, tmp_path: Path) -> None:
    site.page("/", "/picha", "/pdf", "/bila", "/xhtml", "/tupu")
    page = site.routes["/"]
    assert isinstance(page, Reply)
    for path, kind in {
        "/picha": "image/png",
        "/pdf": "application/pdf",
        "/xhtml": "Application/XHTML+xml; charset=utf-8",
    }.items():
        site[path] = Reply(body=page.body, headers={"Content-Type": kind})
    site["/bila"] = Reply(body=page.body, headers={})
    site["/tupu"] = Reply(body=b"<html><body><script>1</script></body></html>")
    documents, report = crawl(site.source(), tmp_path)
    assert paths(documents, site) == ["/", "/xhtml"]
    assert report == {"fetched": 2, "wrong_type": 3, "no_text": 1, "sitemap_http_404": 1}


def test_large_pages_and_bombs_are_cut_off(site: Site, tmp_path: Path) -> None:
    site.page("/", "/kubwa", "/bomu", "/bomu2", "/sawa")
    site["/kubwa"] = Reply(body=b"a" * 300_000)
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(squeeze.compress(bytes(1 << 20)) for _ in range(200)) + squeeze.flush()
    site["/bomu"] = Reply(body=bomb, headers=HTML | {"Content-Encoding": "gzip"})
    site["/bomu2"] = Reply(body=gzip.compress(bomb), headers=HTML | {"Content-Encoding": "gzip, gzip"})
    site.page("/sawa", text="Habari ndefu. " * 3_000)
    tracemalloc.start()
    documents, report = crawl(site.source(max_bytes=100_000), tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert paths(documents, site) == ["/", "/sawa"]
    assert report["too_large"] == 3
    assert peak < 32 << 20


def test_a_slow_body_ends_at_the_limit(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "REQUEST_SECONDS", 0.3)
    monkeypatch.setattr(fetch, "ATTEMPTS", 2)
    site.page("/", "/polepole")
    site["/polepole"] = Reply(body=b"<p>" * 1000, pause=0.02)
    documents, report = crawl(site.source(), tmp_path)
    assert report["failed"] == 1
    assert paths(documents, site) == ["/"]


def test_a_page_cut_short_is_fetched_again(site: Site, tmp_path: Path) -> None:
    site.page("/")
    page = site.routes["/"]
    assert isinstance(page, Reply)
    site["/"] = answers(Reply(body=page.body, cut=True), page)
    documents, _ = crawl(site.source(), tmp_path)
    assert documents[0].text.endswith("jirani.")
    assert site.pages() == ["/", "/"]


def test_no_more_than_max_pages(site: Site, tmp_path: Path) -> None:
    def endless(request: Request) -> Reply:
        site.page(request.path, *(f"{request.path.rstrip('/')}/{number}" for number in range(30)))
        reply = site.routes.pop(request.path)
        assert isinstance(reply, Reply)
        for number in range(30):
            site[f"{request.path.rstrip('/')}/{number}"] = endless
        return reply

    site["/"] = endless
    documents, report = crawl(site.source(max_pages=5), tmp_path)
    assert len(documents) == report["fetched"] == 5
    assert len(site.pages()) == 5
    assert report["over_max_pages"] == 45


HOSTILE = [
    *("http://127.0.0.1/", "http://localhost/", "http://169.254.169.254/latest/meta-data/", "http://[::1]/"),
    *("http://[::ffff:127.0.0.1]/", "http://10.0.0.5/", "http://0.0.0.0/", "http://2130706433/", "http://0x7f.1/"),
    *("http://127.1/", "http://example.org:22/", "http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/", "http://100.64.0.1/"),
]


@pytest.mark.parametrize("url", HOSTILE)
def test_addresses_that_are_not_public_are_refused(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import httpcore2

    async def connect(*arguments: object, **options: object) -> None:
        raise AssertionError(f"connected: {arguments}")

    monkeypatch.setattr(httpcore2.AnyIOBackend, "connect_tcp", connect)
    documents, report = crawl(WebSource(sites=[url], delay=0), tmp_path, allow_loopback=False)
    assert documents == []
    assert report == {"refused": 1}


def test_loopback_is_refused_by_the_resolved_address(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site.page("/")
    resolved: list[str] = []

    async def getaddrinfo(self: object, host: str, port: int, **options: object) -> list[object]:
        resolved.append(host)  # the name is public when it is checked, and would be private when asked again
        address = "127.0.0.1" if len(resolved) % 2 else "93.184.216.34"
        return [(2, 1, 6, "", (address, port))]

    monkeypatch.setattr("asyncio.base_events.BaseEventLoop.getaddrinfo", getaddrinfo)
    source = WebSource(sites=[site.base.replace("127.0.0.1", "mfano.example")], delay=0)
    assert crawl(source, tmp_path, allow_loopback=False)[1] == {"refused": 1}
    assert resolved == ["mfano.example"]
    assert site.log == []


def test_a_site_that_never_answers_is_an_error_that_a_second_run_repairs(site: Site, tmp_path: Path) -> None:
    source = site.source()
    site["/robots.txt"] = Reply(body=b"x", headers={"Transfer-Encoding": "nusu nusu"})
    with pytest.raises(StageError, match=r"no site answers at all \(http://127\.0\.0\.1:\d+: Only Transfer-Encoding"):
        crawl(source, tmp_path)
    del site.routes["/robots.txt"]
    site.page("/")
    assert len(crawl(source, tmp_path)[0]) == 1


def test_the_cause_of_silence_is_said(site: Site, tmp_path: Path) -> None:
    source = WebSource(sites=[site.base.replace("http:", "https:")], delay=0)  # it speaks no TLS
    with pytest.raises(StageError, match=r"no site answers at all \(https://[^)]*: .*SSL"):
        crawl(source, tmp_path)


def test_one_dead_site_does_not_stop_the_others(site: Site, tmp_path: Path) -> None:
    site.page("/")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        source = WebSource(sites=[f"http://127.0.0.1:{closed.getsockname()[1]}/", site.base], delay=0)
    documents, report = crawl(source, tmp_path)
    assert len(documents) == 1
    assert report["host_unreachable"] == 1


def test_an_ended_crawl_is_not_repeated_and_gives_the_same_documents(site: Site, tmp_path: Path) -> None:
    site.page("/", "/b", "/a")
    site.page("/a")
    site.page("/b")
    first = crawl(site.source(), tmp_path)
    requests = len(site.log)
    assert crawl(site.source(), tmp_path) == first
    assert len(site.log) == requests
    again, _ = crawl(site.source(), tmp_path / "tena")
    assert [(d.id, d.text, d.url, d.title) for d in again] == [(d.id, d.text, d.url, d.title) for d in first[0]]


def test_renewal_asks_only_for_what_changed(site: Site, tmp_path: Path) -> None:
    def tagged(path: str, mark: str, *links: str) -> None:
        site.page(path, *links, text=f"Toleo la {mark} la habari hii lina maelezo ya kutosha.", ETag=f'"{mark}"')
        page = site.routes[path]
        assert isinstance(page, Reply)
        site[path] = lambda request: Reply(304) if request.headers.get("if-none-match") == f'"{mark}"' else page

    tagged("/", "kwanza", "/a", "/b")
    tagged("/a", "kwanza")
    tagged("/b", "kwanza")
    old, _ = crawl(site.source(), tmp_path / "1")
    tagged("/a", "pili", "/c")
    site.page("/c")
    site["/b"] = Reply(410)
    Web(site.source()).begin(tmp_path / "2", tmp_path / "1")
    new, report = crawl(site.source(), tmp_path / "2")
    assert report == {"not_modified": 1, "fetched": 2, "http_410": 1, "sitemap_http_404": 1}
    assert paths(new, site) == ["/", "/a", "/c"]
    assert new[0] == old[0]
    assert "pili" in new[1].text
    assert crawl(site.source(), tmp_path / "1")[0] == old


def test_a_damaged_state_is_one_clear_sentence(site: Site, tmp_path: Path) -> None:
    (tmp_path / "web.sqlite").write_bytes(b"si hifadhidata" * 1000)
    with pytest.raises(StageError, match=r"web\.sqlite.*delete it"):
        crawl(site.source(), tmp_path)


CRAWL = """
import sys
from collections import Counter
from pathlib import Path
from lang_configs.sources import WebSource
from tasks.crawl.sources.web import Web
source = WebSource(sites=[sys.argv[1]], delay=0.01)
print(*sorted(d.id.hex() for d in Web(source).documents(Path(sys.argv[2]), Counter(), True)))
"""


def test_a_killed_crawl_goes_on_where_it_was(site: Site, tmp_path: Path) -> None:
    number = 40
    for page in range(number):
        site.page(f"/{page}" if page else "/", f"/{page * 2 + 1}", f"/{page * 2 + 2}", text=f"Habari namba {page} ya leo. " * 9)
    command = [sys.executable, "-c", CRAWL, f"{site.base}/", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    in_flight = []
    for goal in (10, 25):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        while len(site.pages()) < goal:
            assert process.poll() is None
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        in_flight.append(site.pages()[-1])
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert len(set(result.stdout.split())) == number
    twice = {path for path, times in Counter(site.pages()).items() if times > 1}
    assert twice <= set(in_flight)
    alone, _ = crawl(site.source(), tmp_path / "bila-kuuawa")
    assert result.stdout.split() == sorted(document.id.hex() for document in alone)


def test_inside_a_running_event_loop(site: Site, tmp_path: Path) -> None:
    async def notebook() -> int:
        return len(crawl(site.source(), tmp_path)[0])

    site.page("/")
    assert asyncio.run(notebook()) == 1


def test_the_starter_site_has_the_same_addresses_on_every_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "site"
    (folder / "habari").mkdir(parents=True)
    (folder / "faragha").mkdir()
    page = "<html><body><nav>Mwanzo</nav><main><article><h1>{0}</h1><p>Ng’ombe wa {0} wako salama.</p></article></main>{1}"
    links = '<a href="/habari">a</a><a href="/faragha/">b</a><a href="https://starter.lugha.example/pili.html">c</a>'
    (folder / "index.html").write_text(page.format("kwanza", links), encoding="utf-8")
    for name in ("habari/index.html", "faragha/index.html", "pili.html", "tatu.html"):
        (folder / name).write_text(page.format(name, ""), encoding="utf-8")
    (folder / "robots.txt").write_text(
        "User-agent: *\nDisallow: /faragha/\nSitemap: https://starter.lugha.example/sitemap.xml\n"
    )
    (folder / "sitemap.xml").write_text("<urlset><url><loc>https://starter.lugha.example/tatu.html</loc></url></urlset>")
    monkeypatch.setattr(starter, "site_folder", lambda source: folder)
    runs = []
    for state in ("a", "b"):
        report: Counter[str] = Counter()
        runs.append(list(starter.Starter(StarterSource()).documents(tmp_path / state, report)))
        assert +report == {"fetched": 4, "redirected": 1, "disallowed_by_robots": 1, "sitemap_read": 1}
    first, second = runs
    assert [document.url for document in first] == [
        f"https://starter.lugha.example/{path}" for path in ("", "habari/", "pili.html", "tatu.html")
    ]
    assert [document.id for document in first] == [document.id for document in second]
    assert "Ng’ombe" in first[0].text
