from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml.html import document_fromstring

from tasks.crawl.pages.metadata import Metadata, metadata, parse_date

PROPERTIES = ["@graph", "author", "name", "datePublished", "license", "@id", "inLanguage"]
URL = "https://mfano.or.tz/habari/mvua/"


def read(head: str = "", body: str = "<p>Habari</p>", url: str = URL) -> Metadata:
    return metadata(document_fromstring(f"<html lang=sw><head>{head}</head><body>{body}</body></html>"), url)


def linked(data: object) -> str:
    return f'<script type="application/ld+json">{json.dumps(data)}</script>'


def test_article_of_schema_org() -> None:
    article = {
        "@type": "NewsArticle",
        "headline": "Mvua kubwa  Dodoma",
        "author": [{"@type": "Person", "name": "Asha Juma"}, {"name": "B"}],
        "datePublished": "2025-03-04T01:06:07+03:00",
        "dateModified": "2025-03-05",
        "inLanguage": {"@type": "Language", "name": "Kiswahili", "alternateName": "sw-TZ"},
        "license": {"@id": "https://creativecommons.org/licenses/by-sa/4.0/"},
    }
    assert read(
        linked({"@context": "https://schema.org", "@graph": [{"@type": "WebSite", "name": "Mfano"}, article]})
    ) == Metadata(
        title="Mvua kubwa Dodoma",
        author="Asha Juma",
        published_at=datetime(2025, 3, 3, 22, 6, 7, tzinfo=UTC),
        modified_at=datetime(2025, 3, 5, tzinfo=UTC),
        license="CC-BY-SA-4.0",
        language="sw-TZ",
    )


def test_meta_tags_and_links() -> None:
    head = """<title>Mvua | Mfano</title><meta property="og:title" content="Mvua kubwa">
    <meta name="Author" content=" Asha  Juma">
    <meta property="article:published_time" content="2025-03-04T01:06:07Z"><meta property="article:modified_time" content="x">
    <meta property="og:updated_time" content="2025-03-06T00:00:00Z"><link rel="canonical" href="/habari/mvua?utm_source=x">"""
    assert read(head) == Metadata(
        title="Mvua kubwa",
        author="Asha Juma",
        published_at=datetime(2025, 3, 4, 1, 6, 7, tzinfo=UTC),
        modified_at=datetime(2025, 3, 6, tzinfo=UTC),
        language="sw",
        canonical="https://mfano.or.tz/habari/mvua",
    )


@pytest.mark.parametrize(
    ("head", "body", "title"),
    [
        ("<title>Mvua | Mfano</title>", "<h1>Mvua <b>kubwa</b>¶</h1>", "Mvua kubwa"),
        ("<title>Mvua\n | Mfano</title>", "<h1>Mfano</h1><h1>Mvua</h1>", "Mvua | Mfano"),
        ("", "<p>Mvua</p>", None),
    ],
)
def test_title(head: str, body: str, title: str | None) -> None:
    assert read(head, body).title == title


@pytest.mark.parametrize(
    ("head", "body", "url", "published"),
    [
        ('<meta name="date" content="2025-03-04">', "", URL, "2025-03-04"),
        ("", '<time itemprop="datePublished" datetime="2025-03-04">jana</time><time datetime="2024-01-01">', URL, "2025-03-04"),
        ("", '<time datetime="2025-03-04">jana</time>', URL, "2025-03-04"),
        ("", '<time datetime="2025-03-04">jana</time><time datetime="2025-03-05">leo</time>', URL, None),
        ("", '<time class="updated" datetime="2025-03-04">jana</time>', URL, None),
        ("", "<p>Hakimiliki 2024</p>", "https://mfano.or.tz/2025/3/04/mvua", "2025-03-04"),
        ("", "<p>Hakimiliki 2024</p>", "https://mfano.or.tz/2025/13/04/mvua", None),
        ('<meta name="date" content="1970-01-01">', "", URL, None),
    ],
)
def test_publication_date(head: str, body: str, url: str, published: str | None) -> None:
    found = read(head, body or "<p>Habari</p>", url).published_at
    assert (found and found.date().isoformat()) == published


@pytest.mark.parametrize(
    ("written", "date"),
    [
        ("2025-03-04", datetime(2025, 3, 4, tzinfo=UTC)),
        ("2025-03-04T23:00:00-0500", datetime(2025, 3, 5, 4, tzinfo=UTC)),
        ("Tue, 04 Mar 2025 10:00:00 +0300", datetime(2025, 3, 4, 7, tzinfo=UTC)),
        ("2025/3/4 saa tatu", datetime(2025, 3, 4, tzinfo=UTC)),
        ("0001-01-01T00:00:00+03:00", None),
        ("2025-02-30", None),
        ("jana", None),
    ],
)
def test_dates_as_written(written: str, date: datetime | None) -> None:
    assert parse_date(written) == date


@given(st.text(max_size=40))
def test_no_date_raises(text: str) -> None:
    parse_date(text)


@settings(max_examples=100, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(PROPERTIES), inner),
    )
)
def test_no_linked_data_raises(data: object) -> None:
    read(linked(data))


def test_broken_linked_data_is_passed_over() -> None:
    broken = (
        '<script type="application/ld+json">{"author": </script><script type="application/ld+json">'
        + "[" * 100_000
        + "</script>"
    )
    assert read(broken + linked({"author": "Asha"})).author == "Asha"
