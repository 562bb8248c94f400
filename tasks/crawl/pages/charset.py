"""Which encoding the bytes of a page are in, by the order of the standards that browsers follow.

HTML 13.2.3 (determining the character encoding) and the WHATWG Encoding Standard (labels).
"""

from __future__ import annotations

import codecs
import re
from email.message import Message
from functools import lru_cache

PRESCAN = 1024
"""Bytes in which a meta tag may declare the encoding (HTML 13.2.3.2)."""

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_WIDE_MARKS = ((codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"), *_MARKS[1:])
_ASCII = bytes(range(128))
_HIGH = bytes(range(128, 256))
DAMAGED_BYTES = 2
"""So few bytes that are not UTF-8 are damage and no other encoding."""
WHOLE = 20
"""So many whole letters for each damaged one tell UTF-8: pages are put together of pieces that were cut by bytes."""
PAIRED = 16
"""Bytes above ASCII of which text in pairs of bytes (Big5, GBK, EUC ...) is not UTF-8 by chance."""
_PAIRS = ("gb", "big5", "shift", "cp932", "cp949", "euc")
DETECTED = 64 << 10
"""Bytes of a file by which its encoding is told where nothing declares it."""
_WINDOWS_1252 = {byte: bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in range(0x80, 0xA0)}
_SEQUENCE = re.compile(rb"[\xc2-\xf4][\x80-\xbf]")
FEW = 0.1
"""Share of bytes (of letters, in a page) above ASCII below which they are marked letters of a text in Latin script."""
_NO_LETTERS = bytes(byte for byte in range(256) if not chr(byte).isascii() or not chr(byte).isalpha())
_TAG = re.compile(
    rb"""<!--(?:>|->|.*?(?:-->|\Z))                                    # a comment, also one that is not closed
    |<(?P<name>/?[a-z][^\s/>]*)(?P<attributes>(?:[^>"'=]|=\s*(?:"[^"]*"|'[^']*'|[^\s>"'][^\s>]*)?|["'])*)>?""",
    re.I | re.S | re.X,
)
_ATTRIBUTE = re.compile(rb"""([^\s/>=][^\s/>=]*)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"'][^\s>]*)))?""")
_IN_CONTENT = re.compile(r"""charset\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s;"']+))""", re.I)


def decode(html: bytes, content_type: str | None = None) -> str:
    """The page as text; bytes that its charset does not know become U+FFFD. Never raises."""
    if (name := charset(html, content_type)) == "cp1252":
        return windows_1252(html)
    return html.decode(name, "replace").removeprefix("\ufeff")


def charset(html: bytes, content_type: str | None = None) -> str:
    """Python's name of a page's encoding: by byte order mark, Content-Type header, meta tag, or detection.

    UTF-8 declared as anything else (servers say Latin-1 by default) is taken as UTF-8, unlike in browsers: the reader would see
    two letters for each that is marked, and no filter of languages would know the text. What is left undeclared is UTF-8 if it
    is, but for a few damaged letters, what a detector says if it is not in Latin script, and windows-1252, the default of the
    standard, else.
    """
    for mark, name in _MARKS:
        if html.startswith(mark):
            return name
    declared = codec(_of_header(content_type or ""))
    if declared is None and (declared := codec(_of_meta(html[:PRESCAN]))) and declared.startswith("utf-16"):
        return "utf-8"  # the tag could not have been read in UTF-16
    if declared is None:
        return _detected(html)
    if declared == "utf-8" or html.isascii() or (declared.startswith("utf-16") and b"\0" in html):
        return declared
    least = PAIRED if declared.startswith(_PAIRS) else 0
    return "utf-8" if len(html.translate(None, _ASCII)) >= least and _is_utf_8(html) else declared


def encoding_of(head: bytes) -> str:
    """Encoding of a plain text or of JSON lines by its first bytes: UTF-16 or UTF-32, UTF-8, else what is detected as in pages.

    UTF-8 with damage is UTF-8, as long as not more characters are damaged than whole.
    """
    if (name := wide_encoding(head)) is not None:
        return name
    bad, whole = _letters(head, False)
    return "utf-8" if bad <= max(whole, DAMAGED_BYTES) else _detected(head[:DETECTED])


def wide_encoding(head: bytes) -> str | None:
    """UTF-16 or UTF-32, with a mark or by the zeros in it: those of blanks and ends of lines stand at every second byte."""
    for mark, name in _WIDE_MARKS:
        if head.startswith(mark):
            return name
    places = [head[start:DETECTED:4].count(0) for start in range(4)]
    size, zeros = len(head[:DETECTED]) // 4, sum(places)
    if zeros < 3 or 50 * zeros < len(head[:DETECTED]):
        return None
    if zeros < 4 * size and (places[2] == places[3] == size or places[0] == places[1] == size):
        return "utf-32-le" if places[3] == size else "utf-32-be"
    even, odd = places[0] + places[2], places[1] + places[3]
    if 3 * min(even, odd) > max(even, odd):  # some letters end in a zero as well: U+0300, U+1300
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


def line_text(line: bytes) -> str:
    """A line of a plain text: UTF-8, with U+FFFD where that is damaged; windows-1252 where a few bytes are in no way UTF-8."""
    try:
        return line.decode()
    except UnicodeDecodeError:
        latin = not _SEQUENCE.search(line) and 3 * len(line.translate(None, _ASCII)) < len(line)
        return windows_1252(line) if latin else line.decode("utf-8", "replace")


def windows_1252(data: bytes) -> str:
    """The text in windows-1252 with all 256 bytes (WHATWG Encoding Standard: 81, 8D, 8F, 90 and 9D are U+0081 ...)."""
    return data.decode("latin-1").translate(_WINDOWS_1252)


def codec(label: str) -> str | None:
    """Python's codec for a label of the Encoding Standard, None if there is none."""
    from resiliparse.parse.encoding import map_encoding_to_html5

    label = label.strip().strip("\"'").lower()
    if label == "x-user-defined":
        return "cp1252"  # as the standard says of meta tags
    name = map_encoding_to_html5(label, False) if label.isascii() and label else None
    try:
        return codecs.lookup(name).name if name else None
    except LookupError:
        return None


@lru_cache(maxsize=1024)  # a server says the same of all its pages
def _of_header(content_type: str) -> str:
    header = Message()
    header["Content-Type"] = re.sub(r"[\r\n]+", " ", content_type)
    return str(header.get_param("charset") or "")


def _of_meta(start: bytes) -> str:
    """The label of the first meta tag that declares an encoding: `charset`, or `content` beside http-equiv=content-type."""
    for tag in _TAG.finditer(start):
        if (tag["name"] or b"").lower() != b"meta":
            continue
        values: dict[str, str] = {}
        for name, *value in _ATTRIBUTE.findall(tag["attributes"]):
            values.setdefault(name.decode("latin-1").lower(), b"".join(value).decode("latin-1"))
        if values.get("charset"):
            return values["charset"]
        if values.get("http-equiv", "").lower() == "content-type" and (found := _IN_CONTENT.search(values.get("content", ""))):
            return next(label for label in found.groups() if label is not None)
    return ""


def _is_utf_8(html: bytes) -> bool:
    """Whether it is UTF-8, with at most one damaged letter in `WHOLE`: hardly any other text is that by chance."""
    bad, whole = _letters(html, True)
    return WHOLE * bad <= whole


def _letters(data: bytes, is_all: bool) -> tuple[int, int]:
    """How many letters above ASCII are damaged when it is read as UTF-8, and how many are whole; if more follows, one that is
    cut off at the end is neither.
    """
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(data, is_all)
    bad = text.count("\ufffd")
    return bad, len(text) - bad - len(data.translate(None, _HIGH))


def _detected(html: bytes) -> str:
    from resiliparse.parse.encoding import detect_encoding

    if _is_utf_8(html):
        return "utf-8"
    text = re.sub(rb"<[^<>]*>", b"", html)
    high, letters = len(text.translate(None, _ASCII)), len(text.translate(None, _NO_LETTERS))
    # a few marked letters tell a detector nothing: then the standard's default, else (another script) detection
    return "cp1252" if high < FEW * (high + letters) else codec(detect_encoding(html) or "") or "cp1252"
