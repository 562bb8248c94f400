from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.crawl.pages.html import MAX_LINKS, Page, outline, page
from tasks.net.addresses import Scope, normalise
from tests.crawl.real_pages import real_pages

URL = "https://mfano.or.tz/habari/mvua/"
PAGE = """<!DOCTYPE html><html lang="sw"><head>{head}<title>Mvua kubwa Dodoma</title></head><body>
<header><p>Gazeti la Mfano</p><nav><a href="/">Mwanzo</a> <a href="/habari/">Habari zote</a></nav></header>
<main><article><h1>Mvua kubwa Dodoma</h1>
<p>Mvua kubwa imenyesha <b>leo</b> mjini Dodoma na maeneo ya jirani, wakulima wameshukuru.</p>
<p>Shule mbili zimefungwa kwa <a href="siku.html#tatu">siku tatu</a> ili watoto wasipate shida “njiani” — café.</p>
</article></main>
<footer><p>Simu ya gazeti <a rel="license" href="https://creativecommons.org/publicdomain/zero/1.0/">CC0</a></p></footer>
</body></html>"""


def test_main_text_without_navigation_header_and_footer() -> None:
    html = PAGE.format(head='<meta charset="utf-8">').encode()
    found = page(html, URL)
    assert isinstance(found, Page)
    assert found.text.split("\n") == [
        "Mvua kubwa Dodoma",
        "Mvua kubwa imenyesha leo mjini Dodoma na maeneo ya jirani, wakulima wameshukuru.",
        "Shule mbili zimefungwa kwa siku tatu ili watoto wasipate shida “njiani” — café.",
    ]
    assert found.title == "Mvua kubwa Dodoma"
    assert found.license == "CC0-1.0"
    assert outline(html, URL).links[:3] == ("https://mfano.or.tz/", "https://mfano.or.tz/habari/", f"{URL}siku.html")


def test_a_page_of_many_sections_keeps_them_all() -> None:
    words = "Mvua kubwa imenyesha leo mjini na maeneo ya jirani, wakulima wa sehemu hii wameshukuru sana kwa hilo."
    sections = "".join(f"<section><div><h3>Sehemu {n}</h3><div>{words} Namba {n}.</div></div></section>" for n in range(20))
    html = f"<html><body><main>{sections}<article><p>{words}</p></article></main></body></html>".encode()
    found = page(html, URL)
    assert isinstance(found, Page)
    assert sum(f"Namba {n}." in found.text for n in range(20)) >= 18


def test_outline_links_and_directives() -> None:
    html = b"""<head><base href="/sw/"><meta name="ROBOTS" content="NoIndex, follow"><meta name="lugha" content="noai">
    <meta name="googlebot" content="nosnippet"></head><a href=a>a</a><a href="../b?utm_source=x&p=1#c">b</a><a href="a">a</a>
    <a rel="external nofollow" href="c">c</a><a href="mailto:x@y.z">d</a><a href="javascript:1">e</a><a href="http://[bad">f</a>"""
    seen = outline(html, URL)
    assert seen.links == ("https://mfano.or.tz/sw/a", "https://mfano.or.tz/b?p=1")
    assert seen.directives == {"noindex", "follow", "noai"}


def test_a_page_of_nothing_but_links_is_not_followed_for_ever() -> None:
    html = b"".join(b"<a href=%d>x</a>" % number for number in range(20_000))
    assert len(outline(html, URL).links) == MAX_LINKS


@pytest.mark.parametrize(
    "html",
    [
        b"",
        b"\0" * 1000,
        b"<" * 50_000,
        b"<div>" * 20_000 + b"habari",
        b"\xff\xfe\x00\xd8",
        b'<?xml version="1.0" encoding="utf-16"?><html><p>Habari za leo</p></html>',
        b"<meta charset=iso-2022-kr><p>Habari za leo",
        b"<!DOCTYPE html><!-- " + b"-" * 10_000,
        b"<p>&#x110000;&#0;&#xD800;&bogus;</p>",
        b"%PDF-1.7\n%\xe2\xe3\xcf\xd3",
    ],
)
def test_hostile_pages_do_not_raise(html: bytes) -> None:
    outline(html, URL)
    found = page(html, URL, "text/html; charset=\r\nx")
    assert found == "no_text" or (isinstance(found, Page) and "\0" not in found.text)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([b"<p>", b"</p>", b"<a href=", b"\xff", b"'", b"<table>", b"Habari ", b"<!--", b"&#1", b"\n"])))
def test_no_mixture_of_markup_raises(parts: list[bytes]) -> None:
    html = b"".join(parts)
    outline(html, URL)
    page(html, URL)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("HTTP://Mfano.OR.tz:80/a/../b/./c#x", "http://mfano.or.tz/b/c"),
        ("https://mfano.or.tz", "https://mfano.or.tz/"),
        ("/%7ea%2fb%c3%a9?q=é&utm_medium=x&r=%41", "https://mfano.or.tz/~a%2Fb%C3%A9?q=%C3%A9&r=A"),
        ("//nyingine.ke:8080/x y", "https://nyingine.ke:8080/x%20y"),
        ("https://mtu:siri@mfano.or.tz/a", "https://mfano.or.tz/a"),
        ("https://[2001:DB8::1]/", "https://[2001:db8::1]/"),
        ("?p=2", f"{URL}?p=2"),
        ("ftp://mfano.or.tz/", None),
        ("http://mfano.or.tz:99999/", None),
        ("http://a b/", None),
        ("http://" + "a" * 3000, None),
    ],
)
def test_normalise(address: str, expected: str | None) -> None:
    assert normalise(address, URL) == expected


@given(st.text(max_size=60))
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalise(text, URL)
    assert once is None or normalise(once) == once


@pytest.mark.parametrize(
    ("site", "inside", "outside"),
    [
        ("https://m.tz", ["https://m.tz/", "https://m.tz/a?b"], ["http://m.tz/", "https://m.tz:8443/", "https://a.m.tz/"]),
        ("https://m.tz/sw/", ["https://m.tz/sw/a", "https://m.tz/sw/"], ["https://m.tz/", "https://m.tz/swa/a"]),
        ("https://m.tz/sw/index.html", ["https://m.tz/sw/a"], ["https://m.tz/en/"]),
        ("https://m.tz/sw", ["https://m.tz/sw", "https://m.tz/sw/a"], ["https://m.tz/swa", "https://m.tz/"]),
    ],
)
def test_scope(site: str, inside: list[str], outside: list[str]) -> None:
    scope = Scope.below(site)
    assert all(url in scope for url in inside)
    assert not any(url in scope for url in outside)


@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_text_of_real_pages(bundle: Path, step: int) -> None:
    pages = real_pages(bundle)[::step]
    texts = 0
    for given_page in pages:
        html, url = given_page["html"].encode(), given_page["url"]
        outline(html, url)
        texts += isinstance(page(html, url, "text/html; charset=utf-8"), Page)
    assert texts > 0.8 * len(pages)  # the others hold a menu only, or nothing before scripts run


@pytest.mark.parametrize(
    ("markup", "links"),
    [
        ('<meta http-equiv="refresh" content="0; url=/sw/">', ["/sw/"]),
        ("<META HTTP-EQUIV=Refresh CONTENT=\"5;URL='/sw/'\">", ["/sw/"]),
        ("<meta http-equiv=refresh content=0,/sw/>", ["/sw/"]),
        ('<noscript><meta http-equiv="refresh" content="1; url=sw"></noscript>', ["/x/sw"]),
        ("<meta http-equiv=refresh content=30>", []),
        ('<meta http-equiv="refresh" content="0; url=javascript:nenda()">', []),
        ("<frameset><frame src=orodha.html><frame src='/habari.html'></frameset>", ["/x/orodha.html", "/habari.html"]),
        ("<iframe src=/ndani></iframe><a href=nje>nje</a>", ["/ndani", "/x/nje"]),
        ("<base href=/k/><frameset><frame src=a></frameset>", ["/k/a"]),
    ],
)
def test_pages_that_lead_elsewhere_without_a_link(markup: str, links: list[str]) -> None:
    assert outline(markup.encode(), "https://mfano.or.tz/x/").links == tuple(f"https://mfano.or.tz{link}" for link in links)
