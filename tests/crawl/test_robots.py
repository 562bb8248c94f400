from __future__ import annotations

import gzip
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.crawl.robots import PARSED_BYTES, parse, sitemap

HOST = "https://mfano.or.tz"


# The agent is `lugha`; the expectations are RFC 9309's.
@pytest.mark.parametrize(
    ("robots", "path", "allowed"),
    [
        pytest.param("User-agent: *\nDisallow: /a\nAllow: /a/b\n", "/a/b/c", True, id="longest-match-allows"),
        pytest.param("User-agent: *\nAllow: /a\nDisallow: /a/siri\n", "/a/siri/x", False, id="longest-match-disallows"),
        pytest.param("User-agent: *\nDisallow: /x\nAllow: /x\n", "/x", True, id="tie-allows"),
        pytest.param("User-agent: *\nDisallow: /*.pdf\n", "/hati/a.pdf", False, id="star"),
        pytest.param("User-agent: *\nDisallow: /*.php$\n", "/i.php", False, id="dollar-ends"),
        pytest.param("User-agent: *\nDisallow: /*.php$\n", "/i.php5", True, id="dollar-lets-longer-through"),
        pytest.param("User-agent: *\nDisallow: /\n\nUser-agent: lugha\nDisallow: /p\n", "/ok", True, id="own-group-wins"),
        pytest.param("User-agent: lugha\nDisallow: /p\n\nUser-agent: *\nDisallow: /\n", "/ok", True, id="own-group-first"),
        pytest.param(
            "User-agent: lugha\nDisallow: /a\n\nUser-agent: nyingine\nDisallow: /\n\nUser-agent: lugha\nDisallow: /b\n",
            "/b",
            False,
            id="groups-of-one-agent-are-merged",
        ),
        pytest.param("User-agent: LUGHA\nDisallow: /a\n", "/a", False, id="agent-in-capitals"),
        pytest.param("User-agent: lugha/1.0\nDisallow: /a\n", "/a", False, id="agent-with-version"),
        pytest.param("User-agent: lug\nDisallow: /\n", "/a", True, id="agent-is-no-prefix"),
        pytest.param("User-agent: a\nUser-agent: lugha\nDisallow: /z\n", "/z", False, id="group-of-two-agents"),
        pytest.param("User-agent: *\nDisallow:\n", "/yoyote", True, id="empty-disallow"),
        pytest.param("User-agent: *\n\nDisallow: /a\n", "/a", False, id="blank-line-in-group"),
        pytest.param("User-agent: a\nCrawl-delay: 5\nUser-agent: lugha\nDisallow: /q\n", "/q", False, id="other-line-in-group"),
        pytest.param("User-agent: *\nDisallow: /~x\n", "/%7Ex/a", False, id="escaped-tilde"),
        pytest.param("User-agent: *\nDisallow: /habari/é\n", "/habari/%C3%A9/1", False, id="utf-8-path"),
        pytest.param("User-agent: *\nDisallow: /a%2Fb\n", "/a/b", True, id="escaped-slash-is-no-slash"),
        pytest.param("\ufeffUser-agent: *\nDisallow: /a\n", "/a", False, id="byte-order-mark"),
        pytest.param("User-agent: * # wote\nDisallow: /a # hapana\n", "/a", False, id="comments"),
        pytest.param("User-agent: *\rDisallow: /a\r", "/a", False, id="carriage-returns"),
        pytest.param("User-agent: *\nDisallow: /s?q=\n", "/s?q=1", False, id="query"),
        pytest.param("User-agent: *\nDisallow: /\n", "/robots.txt", True, id="robots-itself"),
        pytest.param("User-agent: *\nSitemap: https://x/s.xml\nDisallow: /a\n", "/a", False, id="sitemap-in-group"),
        pytest.param("User-agent: *\nDisallow /a\nDisallow: /b\n", "/b", False, id="missing-colon"),
        pytest.param("<html><body>Hakuna</body></html>", "/a", True, id="html-instead"),
    ],
)
def test_rules_of_rfc_9309(robots: str, path: str, allowed: bool) -> None:
    assert parse(robots.encode()).allows(HOST + path) is allowed


def test_delay_and_sitemaps() -> None:
    rules = parse(b"Sitemap: /ramani.xml\nUser-agent: *\nCrawl-delay: 3.5\nSitemap: https://m.tz/a.xml\n", f"{HOST}/robots.txt")
    assert rules.delay == 3.5
    assert rules.sitemaps == (f"{HOST}/ramani.xml", "https://m.tz/a.xml")


def test_a_delay_of_days_refuses_the_crawl() -> None:
    assert not parse(b"User-agent: *\nCrawl-delay: 86400\n").allows(f"{HOST}/a")


def test_only_the_first_500_kib_count_and_half_a_line_does_not() -> None:
    rules = b"User-agent: *\nDisallow: /kwanza\n"
    filler = b"#" * (PARSED_BYTES - len(rules) - len(b"\nAllow: /kwanza/wa")) + b"\n"
    body = rules + filler + b"Allow: /kwanza/wazi\nDisallow: /mwisho\n"
    assert not parse(body).allows(f"{HOST}/kwanza/wa")
    assert parse(body).allows(f"{HOST}/mwisho")


@given(st.binary(max_size=300))
def test_any_bytes_are_a_robots_txt(body: bytes) -> None:
    assert parse(b"User-agent: *\n" + body).allows(f"{HOST}/robots.txt")


URLSET = '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{}</urlset>'


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_sitemap_pages(pack: type[bytes]) -> None:
    image = "<i:image xmlns:i='urn:i'><i:loc>/picha.jpg</i:loc></i:image>"
    body = URLSET.format(f"<url><loc> {HOST}/a </loc>{image}</url><url><loc>/b?x=1&amp;y=2</loc></url>").encode()
    assert sitemap(pack(body), f"{HOST}/sitemap.xml") == ([f"{HOST}/a", f"{HOST}/b?x=1&y=2"], [])


def test_sitemap_index() -> None:
    body = b"<sitemapindex><sitemap><loc>/s1.xml</loc></sitemap><sitemap><loc>/s2.xml.gz</loc></sitemap></sitemapindex>"
    assert sitemap(body, f"{HOST}/sitemap.xml") == ([], [f"{HOST}/s1.xml", f"{HOST}/s2.xml.gz"])


def test_a_cut_sitemap_counts_up_to_the_cut() -> None:
    body = URLSET.format("<url><loc>/a</loc></url><url><loc>/b</loc></url>").encode()
    assert sitemap(body[:-30], f"{HOST}/") == ([f"{HOST}/a"], [])
    assert sitemap(gzip.compress(body)[:5], f"{HOST}/") == ([], [])
    assert sitemap(b"\x00\xff not xml", f"{HOST}/") == ([], [])


def test_entities_are_neither_expanded_nor_loaded() -> None:
    bomb = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    body = f'<!DOCTYPE u [<!ENTITY l0 "haha"><!ENTITY f SYSTEM "file:///etc/passwd">{bomb}]>'
    body += URLSET.format("<url><loc>/wazi</loc></url><url><loc>/&l11;</loc></url><url><loc>/&f;</loc></url>")
    tracemalloc.start()
    pages, _ = sitemap(body.encode(), f"{HOST}/")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert pages[0] == f"{HOST}/wazi"
    assert not any("haha" in page or "root" in page for page in pages)
    assert peak < 16 << 20


def test_a_gzip_bomb_is_unpacked_only_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.crawl.robots.SITEMAP_BYTES", 1 << 20)
    body = gzip.compress(URLSET.format("<url><loc>/a</loc></url>" + " " * (64 << 20)).encode())
    tracemalloc.start()
    pages, _ = sitemap(body, f"{HOST}/")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert pages == [f"{HOST}/a"]
    assert peak < 8 << 20


def test_rules_expire_after_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = parse(b"")
    now = time.monotonic()
    assert not rules.expired
    monkeypatch.setattr("tasks.crawl.robots.time.monotonic", lambda: now + 25 * 3600)
    assert rules.expired
