from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lang_configs.sources import FilesSource
from tasks.clean.text import tidy
from tasks.crawl.pages import html
from tasks.crawl.pages.charset import charset, decode, encoding_of, windows_1252
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


PAGES = {
    "yor_Latn": "Ọmọ ilé ẹ̀kọ́ náà ń ka ìwé rẹ̀ lójoojúmọ́. Ìyá rẹ̀ sọ fún un pé kí ó má ṣe gbàgbé àṣà ilẹ̀ wa, tí à ń pè ní àwà",
    "amh_Ethi": "ለበለጠ መረጃ በስልክ ቁጥራችን ይደውሉልን። ገበሬዎች ዛሬ በቆሎ ወደ ገበያ አመጡ፤ ዝናቡም በጊዜው ጣለ ብለዋል ጆሮ ዳባ ልበስ",
    "hau_Latn": "Manoman ƙauyen sun girbe masara mai yawa a bana, kuma farashi ya ɗan ragu a kasuwa. ’Yan ƙasa sun yi murna.",
    "arb_Arab": "ذهب المزارعون إلى السوق صباح اليوم ومعهم محصول كبير، وقالوا إن الأمطار هطلت في وقتها هذا العام",
}
DECLARED = [
    *("iso-8859-1", "windows-1252", "iso-8859-15", "iso-8859-2", "us-ascii", "windows-1250", "windows-1251", "windows-1254"),
    *("windows-1256", "windows-874", "koi8-r", "gbk", "big5", "shift_jis", "euc-kr", "utf-16le"),
]


def html_of(text: str) -> str:
    return f"<html><head><title>x</title></head><body><p>{text}</p><p>{text}</p></body></html>"


@pytest.mark.parametrize("declared", DECLARED)
@pytest.mark.parametrize("language", PAGES)
def test_a_page_in_utf_8_is_read_so_whatever_it_declares(language: str, declared: str) -> None:
    text = PAGES[language]
    whole = html_of(text).encode()
    cut = whole + "ɓ".encode()[:1]
    for data in [whole] if language == "hau_Latn" else [whole, cut]:  # of eight marked letters in Hausa one is too many
        for source, header in (
            (data, f"text/html; charset={declared}"),
            (b"<meta charset=%s>" % declared.encode() + data, None),
        ):
            found = html.page(source, "https://mfano.example/", header, (language,))
            assert isinstance(found, html.Page), found
            assert tidy(found.text)[0] == f"{text}\n{text}"


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("read", [windows_1252, lambda data: data.decode("latin-1")], ids=["windows-1252", "latin-1"])
@pytest.mark.parametrize("language", PAGES)
def test_what_was_decoded_wrongly_before_is_repaired_before_it_is_judged(
    language: str, read: Callable[[bytes], str], times: int
) -> None:
    text = wrong = PAGES[language]
    for _ in range(times):
        wrong = read(wrong.encode())
    found = html.page(html_of(wrong).encode(), "https://mfano.example/", "text/html; charset=utf-8", (language,))
    assert isinstance(found, html.Page), found
    assert tidy(found.text)[0] == f"{text}\n{text}"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        *(("Mvua kubwa – café, señor, naïve, Müller: £5", name) for name in ("windows-1252", "iso-8859-1", "iso-8859-15")),
        *((TEXTS["russian"], name) for name in ("windows-1251", "koi8-r", "iso-8859-5")),
        (TEXTS["arabic"], "windows-1256"),
        *((TEXTS["chinese"], name) for name in ("gbk", "gb18030")),
        *(("ภาษาไทยเป็นภาษาราชการของประเทศ", name) for name in ("windows-874", "tis-620")),
        *(("日本語の文章です。天気がいい。", name) for name in ("shift_jis", "euc-jp")),
        ("한국어 문장입니다. 날씨가 좋다.", "euc-kr"),
        ("Všichni lidé rodí se svobodní a sobě rovní", "windows-1250"),
    ],
)
def test_what_is_declared_rightly_is_believed(text: str, encoding: str) -> None:
    python = {"tis-620": "tis_620", "windows-874": "cp874"}.get(encoding, encoding)
    data = html_of(text).encode(python, "ignore")
    assert decode(data, f"text/html; charset={encoding}") == data.decode(python)


def test_a_few_damaged_letters_change_no_encoding() -> None:
    assert encoding_of("Ọjọ́ dára".encode() + b"\xff\xfe\xe1") == "utf-8"
    assert encoding_of("ለበለጠ".encode()[:-1]) == "utf-8"
    assert encoding_of(b"a\0b") == "utf-8"
    assert encoding_of(bytes(5000)) == "utf-8"
