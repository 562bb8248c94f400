from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.crawl.pages.charset import charset, decode
from tests.crawl.real_pages import real_pages

FRAGMENTS = [b"<meta ", b"charset", b"=", b'"', b"'", b">", b"<!--", b"utf-8", b"\xff\xfe", b"\x1b$)C", b"\xed\xa0\x80"]


@pytest.mark.parametrize("encoding", ["utf-8", "windows-1252", "utf-16", "windows-1250", "shift_jis", "iso-8859-15"])
def test_charset_of_the_header(encoding: str) -> None:
    text = "<!DOCTYPE html><title>Mvua kubwa</title><p>Bei ni juu " + ("€" if encoding == "iso-8859-15" else "leo")
    assert decode(text.encode(encoding), f'text/html; charset="{encoding.upper()}"') == text


@pytest.mark.parametrize(
    ("html", "content_type", "expected"),
    [
        (b"\xef\xbb\xbf<meta charset=windows-1252>", "text/html; charset=windows-1252", "utf-8"),
        ("<p>Habari".encode("utf-16"), "text/html; charset=utf-8", "utf-16-le"),
        (b"<meta charset=utf-8>caf\xe9", "text/html; charset=latin1", "cp1252"),
        (b'<meta http-equiv="Content-Type" content="text/html; charset=windows-1250">', "text/html", "cp1250"),
        (b"<!-- <meta charset=koi8-r> --><meta charset='windows-1252'>", None, "cp1252"),
        (b"<meta charset=utf-16>Habari", None, "utf-8"),
        (b"<meta charset=si-charset>Habari \xe2\x80\x99", "text/html; charset=hakuna", "utf-8"),
        (b" " * 1024 + b"<meta charset=koi8-r>Habari", None, "utf-8"),
        (b'<meta name=description content="charset=koi8-r"><meta charset=big5>', None, "big5"),
        (b'<meta content="a; charset=koi8-r" data-x=">" http-equiv=content-type>', None, "koi8-r"),
        (b"<meta/charset='x-user-defined'><meta charset=koi8-r>", None, "cp1252"),
        (b"<!-->", "text/html;\r\n charset='koi8-r'", "koi8-r"),
        ("<p>Mama alisema: “café” – bei ni £5, ng’ombe".encode("cp1252"), None, "cp1252"),
        (("<p>Все люди рождаются свободными и равными в своём достоинстве и правах. " * 3).encode("koi8-r"), None, "koi8-r"),
    ],
    ids=[
        "bom-first",
        "bom-utf-16",
        "header",
        "http-equiv",
        "comment",
        "meta-utf-16",
        "unknown-labels",
        "meta-too-late",
        "description",
        "content-first",
        "user-defined",
        "folded-header",
        "default",
        "detected",
    ],
)
def test_charset_order(html: bytes, content_type: str | None, expected: str) -> None:
    assert charset(html, content_type) == expected


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [b"<meta ", b"charset", b"=", b'"', b"'", b">", b"<!--", b"utf-8", b"\xff\xfe", b"\x1b$)C", b"\xed\xa0\x80"]
        )
    ),
    st.text(max_size=40),
)
def test_no_bytes_and_no_header_raise(parts: list[bytes], content_type: str) -> None:
    html = b"".join(parts)
    decode(html, content_type)
    decode(html, f"text/html; charset={content_type}")
    decode(html + bytes(range(256)))


def test_a_long_tag_does_not_take_long() -> None:
    assert charset(b"<meta " + b"=x" * 500) == "utf-8"


def test_charsets_of_real_pages(bundle: Path) -> None:
    pages = real_pages(bundle)
    guesses = []
    for page in pages:
        assert decode(page["html"].encode()) == page["html"]
    for page in pages[::10]:
        html = re.sub(r"(?i)\bcharset\s*=\s*[\"']?[\w-]+", "", page["html"])
        html += "<p>Alisema: “café naïve señor” – bei ni £5 hadi €10, ng’ombe wa Müller</p>"
        for encoding in ("utf-8", "windows-1252", "windows-1250", "iso-8859-1", "utf-16", "shift_jis"):
            data = html.encode(encoding, "ignore")
            text = data.decode("cp1252" if encoding == "iso-8859-1" else encoding)  # the label means this on the web
            assert decode(data, f"text/html; charset={encoding}") == text
            if encoding != "shift_jis":  # a Latin text in it has too little to tell
                guesses.append(decode(data) == text)
    assert sum(guesses) >= 0.95 * len(guesses)
