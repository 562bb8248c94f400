from __future__ import annotations

import gzip
import tracemalloc
from datetime import UTC, datetime

import pytest

from tasks.crawl.site.listings import announced_feeds, listing

HOST = "https://mfano.or.tz"


def addresses(body: bytes, url: str) -> tuple[list[str], list[str]]:
    found = listing(body, url)
    return list(found.pages), list(found.further)


URLSET = '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{}</urlset>'


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_sitemap_pages(pack: type[bytes]) -> None:
    image = "<i:image xmlns:i='urn:i'><i:loc>/picha.jpg</i:loc></i:image>"
    body = URLSET.format(f"<url><loc> {HOST}/a </loc>{image}</url><url><loc>/b?x=1&amp;y=2</loc></url>").encode()
    assert addresses(pack(body), f"{HOST}/sitemap.xml") == ([f"{HOST}/a", f"{HOST}/b?x=1&y=2"], [])


def test_sitemap_index() -> None:
    body = b"<sitemapindex><sitemap><loc>/s1.xml</loc></sitemap><sitemap><loc>/s2.xml.gz</loc></sitemap></sitemapindex>"
    assert addresses(body, f"{HOST}/sitemap.xml") == ([], [f"{HOST}/s1.xml", f"{HOST}/s2.xml.gz"])


def test_a_cut_sitemap_counts_up_to_the_cut() -> None:
    body = URLSET.format("<url><loc>/a</loc></url><url><loc>/b</loc></url>").encode()
    assert addresses(body[:-30], f"{HOST}/") == ([f"{HOST}/a"], [])
    assert addresses(gzip.compress(body)[:5], f"{HOST}/") == ([], [])
    assert addresses(b"\x00\xff not xml", f"{HOST}/") == ([], [])


def test_entities_are_neither_expanded_nor_loaded() -> None:
    bomb = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    body = f'<!DOCTYPE u [<!ENTITY l0 "haha"><!ENTITY f SYSTEM "file:///etc/passwd">{bomb}]>'
    body += URLSET.format("<url><loc>/wazi</loc></url><url><loc>/&l11;</loc></url><url><loc>/&f;</loc></url>")
    tracemalloc.start()
    pages, _ = addresses(body.encode(), f"{HOST}/")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert pages[0] == f"{HOST}/wazi"
    assert not any("haha" in page or "root" in page for page in pages)
    assert peak < 16 << 20


def pages_and_peak(body: bytes) -> tuple[list[str], int]:
    """The pages that a sitemap names, and the most bytes that were in use while it was read."""
    tracemalloc.start()
    pages, _ = addresses(body, f"{HOST}/")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return pages, peak


def test_a_gzip_bomb_is_unpacked_only_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.crawl.site.listings.UNPACKED_BYTES", 1 << 20)
    body = gzip.compress(URLSET.format("<url><loc>/a</loc></url>" + " " * (64 << 20)).encode())
    pages, peak = pages_and_peak(body)
    assert pages == [f"{HOST}/a"]
    assert peak < 8 << 20


def test_many_elements_that_say_nothing_fill_no_memory() -> None:
    body = gzip.compress(b"<urlset>" + b"<a/><url><b><loc>/x</loc></b></url>" * 500_000 + b"<url><loc>/a</loc></url></urlset>")
    pages, peak = pages_and_peak(body)
    assert pages == [f"{HOST}/a"]
    assert peak < 8 << 20


RSS = f"""<?xml version="1.0" encoding="UTF-8"?>
<rss version="2.0" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:atom="http://www.w3.org/2005/Atom"><channel>
<title>Habari</title><link>{HOST}/</link><atom:link href="{HOST}/feed/" rel="self" type="application/rss+xml"/>
<image><url>{HOST}/nembo.png</url><link>{HOST}/</link></image>
<item><title>Mvua</title><link> {HOST}/mvua?utm_source=rss </link><pubDate>Sat, 21 Nov 2026 09:30:00 +0300</pubDate></item>
<item><title>Jua</title><link>{HOST}/jua</link><dc:date>2026-11-20T08:00:00Z</dc:date></item>
<item><title>Upepo</title><link>/upepo</link><pubDate>jana jioni</pubDate></item><item><title>Bila kiungo</title></item>
</channel></rss>""".encode()
ATOM = f"""<feed xmlns="http://www.w3.org/2005/Atom"><title>Habari</title><link href="{HOST}/"/>
<updated>2026-11-21T00:00:00Z</updated>
<entry><link rel="edit" href="/hariri/1"/><link rel="alternate" href="/mvua"/><updated>2026-11-21T07:00:00Z</updated>
<published>2026-11-21T06:30:00Z</published></entry>
<entry><link href="/jua"/><updated>2026-11-20T08:00:00Z</updated></entry>
<entry><link href="/upepo"/></entry></feed>""".encode()
RDF = f"""<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/"
 xmlns:dc="http://purl.org/dc/elements/1.1/"><channel rdf:about="{HOST}/"><link>{HOST}/</link></channel>
<item><link>{HOST}/mvua</link><dc:date>2026-11-21T06:30:00+00:00</dc:date></item><item><link>{HOST}/jua</link>
<dc:date>2026-11-20T08:00:00</dc:date></item><item><link>{HOST}/upepo</link></item></rdf:RDF>""".encode()


@pytest.mark.parametrize("body", [RSS, ATOM, RDF], ids=["rss", "atom", "rdf"])
def test_entries_of_a_feed_with_their_dates(body: bytes) -> None:
    found = listing(body, f"{HOST}/feed/")
    assert found.is_feed and not found.further
    assert found.pages == {
        f"{HOST}/mvua": datetime(2026, 11, 21, 6, 30, tzinfo=UTC),
        f"{HOST}/jua": datetime(2026, 11, 20, 8, tzinfo=UTC),
        f"{HOST}/upepo": None,
    }


def test_feeds_that_a_page_announces() -> None:
    page = b"""<html><head><!-- <link rel="alternate" type="application/rss+xml" href="/zamani.xml"> -->
    <link rel="stylesheet" href="/a.css"><link rel="alternate" hreflang="sw" href="/sw/">
    <LINK type='application/rss+xml' title="Habari &gt; zote" HREF='/feed/?a=1&amp;b=2' rel='alternate'>
    <link rel=alternate type=application/atom+xml href=atom.xml></head>"""
    assert announced_feeds(page, f"{HOST}/sw/") == (f"{HOST}/feed/?a=1&b=2", f"{HOST}/sw/atom.xml")


ENTRY = "<url><loc>https://mfano.or.tz/%s</loc></url>"
DECLARED = '<?xml version="1.0" encoding="UTF-8"?>'


def sitemap(*entries: str) -> str:
    return f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{"".join(ENTRY % entry for entry in entries)}</urlset>'


@pytest.mark.parametrize(
    ("body", "pages"),
    [
        (DECLARED + sitemap("a?x=1&y=2", "b"), ["a?x=1&y=2", "b"]),
        (DECLARED + sitemap("a?x=1&amp;y=2", "b"), ["a?x=1&y=2", "b"]),
        (sitemap("<![CDATA[a?x=1&y=2]]>"), ["a?x=1&y=2"]),
        (sitemap("caf&eacute;", "b"), ["caf%C3%A9", "b"]),
        ("\n \ufeff\n" + DECLARED + sitemap("a"), ["a"]),
        ("\ufeff" + DECLARED + sitemap("a"), ["a"]),
        ("Warning: undefined index in /www/ramani.php on line 7\n" + DECLARED + sitemap("a"), ["a"]),
        (DECLARED + DECLARED + sitemap("a"), ["a"]),
        (DECLARED.replace("UTF-8", "UTF-16") + sitemap("a"), ["a"]),
        (sitemap("a", "b")[: -len("</urlset>")], ["a", "b"]),
        (sitemap("a", "b")[:-30], ["a"]),
        (sitemap("a\x0bb", "c"), ["ab", "c"]),
        (sitemap("a", "b").replace("</loc>", "</loc><image:loc>c</image:loc>", 1), ["a", "b"]),
        ("https://mfano.or.tz/a\r\nhttps://mfano.or.tz/b\n", ["a", "b"]),
        ("\ufeffhttps://mfano.or.tz/a", ["a"]),
        ("Habari za leo\nhttps://mfano.or.tz/a\nna nyingine\nza kesho", []),
        ("<!DOCTYPE html><html><body><a href='a'>Ukurasa haupo</a></body></html>", []),
        ("", []),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_sitemap_with_a_small_fault_is_read(body: str, pages: list[str], packed: bool) -> None:
    data = gzip.compress(body.encode()) if packed else body.encode()
    assert [*listing(data, "https://mfano.or.tz/sitemap.xml").pages] == [f"https://mfano.or.tz/{page}" for page in pages]


def test_a_reference_between_two_blocks_is_whole() -> None:
    for shift in range(12):
        body = DECLARED + " " * ((1 << 20) - len(DECLARED) - 90 - shift) + sitemap("a?x=1&amp;y=2&z=3")
        assert [*listing(body.encode(), "https://mfano.or.tz/").pages] == ["https://mfano.or.tz/a?x=1&y=2&z=3"]
