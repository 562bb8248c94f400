from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.crawl.site.robots import PARSED_BYTES, parse

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


def test_rules_expire_after_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = parse(b"")
    now = time.monotonic()
    assert not rules.expired
    monkeypatch.setattr("tasks.crawl.site.robots.time.monotonic", lambda: now + 25 * 3600)
    assert rules.expired
