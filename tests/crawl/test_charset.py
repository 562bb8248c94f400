from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lang_configs.sources import FilesSource
from tasks.crawl.pages.charset import charset, decode, encoding_of
from tasks.crawl.sources.files import Files
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


TEXTS = {
    "yoruba": "Ọjọ́ dára púpọ̀, ẹ kú iṣẹ́ o.\nA ó padà wá lọ́la.\n",
    "amharic": "ለበለጠ መረጃ ይደውሉልን።\nነገ እንመለሳለን ጆሮ።\n",
    "swahili": "Habari za leo ndugu.\nTutarudi kesho.\n",
    "russian": "Это обычный русский текст про погоду и людей в городе.\n",
    "arabic": "هذا نص عربي عادي عن الطقس والناس في المدينة.\n",
    "chinese": "这是一个普通的中文文本，关于天气和人们。\n我们明天回来。\n",
}


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        *((name, encoding) for name in TEXTS for encoding in ("utf-8", "utf-16", "utf-32", "utf-8-sig")),
        *((name, f"utf-16-{end}") for name in ("yoruba", "amharic", "swahili", "russian") for end in ("le", "be")),
        *(("russian", name) for name in ("cp1251", "koi8-r")),
        *(("arabic", "cp1256"), ("chinese", "gb18030"), ("chinese", "big5")),
    ],
)
def test_a_plain_text_is_told_its_encoding(tmp_path: Path, text: str, encoding: str) -> None:
    due = TEXTS[text].replace("们", "人").replace("这", "是") if encoding == "big5" else TEXTS[text]
    data = due.encode(encoding, "ignore")
    due = data.decode(encoding)
    (tmp_path / "a.txt").write_bytes(data)
    report: Counter[str] = Counter()
    source = Files(FilesSource(paths=[str(tmp_path)], documents="file", license="CC0-1.0"))
    found = list(source.read(source.units()[0], report))
    assert [document.text for document in found] == [due.strip()]
    assert report["recoded_files"] == (not encoding.startswith("utf-8"))


def test_a_few_damaged_letters_change_no_encoding() -> None:
    assert encoding_of("Ọjọ́ dára".encode() + b"\xff\xfe\xe1") == "utf-8"
    assert encoding_of("ለበለጠ".encode()[:-1]) == "utf-8"
    assert encoding_of(b"a\0b") == "utf-8"
    assert encoding_of(bytes(5000)) == "utf-8"
