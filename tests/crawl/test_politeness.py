"""robots.txt in all its forms, and the pace at which a host is asked."""

from __future__ import annotations

import asyncio
import itertools
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from tasks.core.errors import StageError
from tasks.net import fetch
from tests.crawl.crawling import answers, crawl, paths
from tests.crawl.scripted_site import Reply, Site, serve_script


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_no_robots_txt_allows_everything(site: Site, tmp_path: Path, status: int) -> None:
    site["/robots.txt"] = Reply(status)
    site.page("/")
    assert len(crawl(site.source(), tmp_path)[0]) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_robots_txt_that_fails_allows_nothing(site: Site, tmp_path: Path, status: int) -> None:
    site["/robots.txt"] = Reply(status)
    site.page("/")
    documents, report = crawl(site.source(), tmp_path)
    assert documents == []
    assert report == {"robots_unreachable": 1}
    assert site.pages() == []
    site["/robots.txt"] = Reply(404)  # it was not the site's last word
    assert len(crawl(site.source(), tmp_path)[0]) == 1


@pytest.mark.parametrize(("redirects", "obeyed"), [(5, True), (6, False)])
def test_five_redirects_of_robots_txt_are_followed(site: Site, tmp_path: Path, redirects: int, obeyed: bool) -> None:
    chain = ["/robots.txt", *(f"/r{number}.txt" for number in range(1, redirects + 1))]
    for here, there in itertools.pairwise(chain):
        site[here] = Reply(302, headers={"Location": there})
    site[chain[-1]] = Reply(body=b"User-agent: *\nDisallow: /\n")
    site.page("/")
    assert (crawl(site.source(), tmp_path)[1]["disallowed_by_robots"] == 1) is obeyed


def test_a_robots_txt_that_times_out_allows_nothing(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "REQUEST_SECONDS", 0.2)
    site["/robots.txt"] = Reply(body=b"User-agent: *\nAllow: /\n", pause=0.1)
    site.page("/")
    with pytest.raises(StageError, match="no site answers"):
        crawl(site.source(), tmp_path)
    assert set(site.paths()) == {"/robots.txt"}


def test_a_robots_txt_may_be_redirected_to_another_host(site: Site, tmp_path: Path) -> None:
    with serve_script() as other:
        other["/sheria.txt"] = Reply(body=b"User-agent: *\nDisallow: /siri\n")
        site["/robots.txt"] = Reply(301, headers={"Location": f"{other.base}/sheria.txt"})
        site.page("/", "/siri")
        site.page("/siri")
        documents, report = crawl(site.source(), tmp_path)
    assert paths(documents, site) == ["/"]
    assert report["disallowed_by_robots"] == 1


BINARY = bytes(range(256)) * 40


@pytest.mark.parametrize(
    ("body", "fetched"),
    [
        pytest.param(b"User-agent: *\nDisallow: /siri\n" + b"# maelezo\n" * 400_000, ["/"], id="huge"),
        pytest.param(b"# maelezo\n" * 400_000 + b"User-agent: *\nDisallow: /siri\n", ["/", "/siri"], id="rule-beyond-500-kib"),
        pytest.param(BINARY, ["/", "/siri"], id="binary"),
        pytest.param(BINARY + b"\nUser-agent: *\nDisallow: /siri\n" + BINARY, ["/"], id="rule-among-binary"),
        pytest.param(b"", ["/", "/siri"], id="empty"),
    ],
)
def test_strange_robots_txts(site: Site, tmp_path: Path, body: bytes, fetched: list[str]) -> None:
    site["/robots.txt"] = Reply(body=body, headers={"Content-Type": "application/octet-stream"})
    site.page("/", "/siri")
    site.page("/siri")
    assert paths(crawl(site.source(), tmp_path)[0], site) == fetched


def test_a_busy_host_is_asked_more_slowly_for_a_while(site: Site, tmp_path: Path) -> None:
    site.page("/", *(f"/{number}" for number in range(12)))
    for number in range(12):
        site.page(f"/{number}")
    page = site.routes["/2"]
    assert isinstance(page, Reply)
    site["/2"] = answers(Reply(429), Reply(429), page)
    crawl(site.source(delay=0.05), tmp_path)
    gaps = dict(zip(site.paths()[1:], (b.at - a.at for a, b in itertools.pairwise(site.log)), strict=True))
    assert gaps["/2"] >= 0.15  # after two refusals: the delay and its double
    assert gaps["/3"] >= 0.05 + 0.1 * fetch.RELIEF
    assert gaps["/4"] >= 0.05 + 0.1 * fetch.RELIEF**2


def test_a_wait_that_was_asked_for_outlives_the_process(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "ATTEMPTS", 1)
    site["/"] = Reply(503, headers={"Retry-After": "1"})
    holds: dict[str, float] = {}

    async def ask() -> None:
        async with fetch.Fetcher(None, 0.0, True, holds=dict(holds), on_hold=holds.__setitem__) as fetcher:
            await fetcher.get(f"{site.base}/", 1000)

    asyncio.run(ask())
    assert list(holds) == [site.base.removeprefix("http://")]
    asyncio.run(ask())
    first, second = site.log
    assert second.at - first.at >= 0.99


def test_http_and_https_of_a_host_share_its_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[float] = []

    async def once(self: fetch.Fetcher, url: str, *rest: object) -> fetch.Answer:
        starts.append(time.monotonic())
        return fetch.Answer(url, 200)

    monkeypatch.setattr(fetch.Fetcher, "_once", once)

    async def both() -> None:
        async with fetch.Fetcher(None, 0.2) as fetcher:
            await asyncio.gather(fetcher.get("http://m.tz/", 9), fetcher.get("https://m.tz/", 9))

    asyncio.run(both())
    assert starts[1] - starts[0] >= 0.2


def test_delay_and_crawl_delay_are_kept(site: Site, tmp_path: Path) -> None:
    site.page("/", "/a", "/b", "/c")
    for path in ("/a", "/b", "/c"):
        site.page(path)
    site["/robots.txt"] = Reply(body=b"User-agent: *\nCrawl-delay: 0.3\n")
    crawl(site.source(delay=0.1), tmp_path)
    times = [request.at for request in site.log]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert len(gaps) == 7
    assert min(gaps[:1]) >= 0.1
    assert min(gaps[1:]) >= 0.3


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_obeyed(site: Site, tmp_path: Path, status: int) -> None:
    site.page("/")
    good = site.routes["/"]
    assert isinstance(good, Reply)
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=-5), usegmt=True)
    busy = Reply(status, headers={"Retry-After": "1"})
    site["/"] = answers(busy, Reply(status, headers={"Retry-After": date}), good)
    documents, report = crawl(site.source(), tmp_path)
    assert report["fetched"] == len(documents) == 1
    first, second, _ = [request.at for request in site.log if request.path == "/"]
    assert second - first >= 1


def test_retry_after_has_a_limit_and_so_have_retries(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "LONGEST_WAIT", 0.05)
    site.page("/", "/a")
    site["/a"] = Reply(429, headers={"Retry-After": "86400"})
    assert crawl(site.source(), tmp_path)[1]["http_429"] == 1
    assert site.paths().count("/a") == fetch.ATTEMPTS
