"""Pages from WARC files (ISO 28500), plain or packed: responses, resources, and the texts of WET files."""

from __future__ import annotations

import io
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lang_configs.sources import WarcSource
from tasks.core.documents import Document
from tasks.crawl.formats.packed import End, Loss, record, unpack
from tasks.crawl.pages import extraction
from tasks.crawl.sources import register
from tasks.crawl.sources.local_files import LocalFiles, name_of

if TYPE_CHECKING:
    from fastwarc.warc import WarcRecord

ENDINGS = (".warc", ".warc.gz", ".warc.zst", ".wet", ".wet.gz")

LARGEST_RECORD = 32 << 20
"""Most bytes of a record, unpacked; larger ones are no pages."""

LARGEST_PAGE = 8 << 20
"""Most bytes of a page after the transfer and content encodings of HTTP are undone."""

_HTML = ("text/html", "application/xhtml+xml")
_LENGTH = re.compile(rb"\r?\nContent-Length[ \t]*:[ \t]*(\d{1,15})[ \t]*\r?\n", re.I)
_GZIP = b"\x1f\x8b"
_MARKUP = re.compile(rb"(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?[\s\0]*<")
"""What pages begin with."""
_BEGIN = re.compile(rb"(?:\A|\n)(?=WARC/\d)")


@register
class Warc(LocalFiles[WarcSource]):
    """Pages from WARC files."""

    model = WarcSource
    endings = ENDINGS

    @property
    def paths(self) -> list[str]:
        return self.config.paths

    def read(self, unit: str, report: Counter[str]) -> Iterator[Document]:
        """Documents of one WARC file, whatever is wrong with it.

        `report` counts `documents` and the `records` read, those without a page (`no_page`: requests, revisits and their like;
        `not_found`: a status other than 200; `not_html`, `too_large`, the reasons of `extraction.page`), and what is lost:
        `lost_records`, and `lost_bytes` of the file. A damaged member counts as one record, as the standard wants it;
        `lost_more` says how often it may have been more, because members of this file hold several. (gzip checks itself; plain
        and Zstandard files may not: there a wrong block digest or length shows the damage, and nothing does in the header of a
        record.)
        """
        path, lost = Path(unit), report["lost_records"]
        for data in _records(path, report):
            report["records"] += 1
            result = _document(data, self.config)
            if isinstance(result, str):
                report[result] += 1
                report["lost_records"] += result == "damaged_records"
            else:
                report["documents"] += 1
                yield result
        if here := report["lost_records"] - lost:
            report[f"lost_records: {name_of(path)}"] += here
        if not report["lost_records"]:
            del report["lost_records"]


def _records(path: Path, report: Counter[str]) -> Iterator[bytes]:
    """The records of a file, each whole: header, content and the two line ends after it."""
    splitter = _Splitter(report)
    for part in unpack(path, lambda head: head.startswith(b"WARC/")):
        if isinstance(part, bytes):
            yield from splitter.feed(part)
        elif isinstance(part, End):
            yield from splitter.end()
        else:
            record(part, report)
            splitter.loss(part)


class _Splitter:
    """Cuts a stream into records by their Content-Length, and finds the next record where that is wrong."""

    def __init__(self, report: Counter[str]) -> None:
        self._report = report
        self._rest = b""
        self._searching = False
        self._in_member = 0
        self._several = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        data, at = self._rest + data, 0
        if self._searching:
            match = _BEGIN.search(data)
            if match is None:
                self._rest = data[-8:]
                return
            at, self._searching = match.end(), False
        while found := self._one(data, at, False):
            begin, end = found
            at = end
            if begin < end:
                self._in_member += 1
                yield data[begin:end]
        self._rest = data[at:]
        if len(self._rest) > LARGEST_RECORD:
            self._report["too_large"] += 1
            self._rest, self._searching = b"", True
            self._in_member += 1

    def end(self) -> Iterator[bytes]:
        """The member ended well: what is left in it is a record without the line ends after it, or is broken."""
        data, at = self._rest, 0
        while not self._searching and (found := self._one(data, at, True)):
            begin, at = found
            if begin < at:
                self._in_member += 1
                yield data[begin:at]
        if data[at:].strip(b"\0 \r\n\t") and not self._searching:
            self._report["lost_records"] += 1
        self._several |= self._in_member > 1
        self._reset()

    def loss(self, loss: Loss) -> None:
        """Bytes are missing after what was fed."""
        if not loss.cut or self._rest.strip() or not self._in_member:
            self._report["lost_records"] += loss.members - self._searching
        if self._several or self._in_member > 1:
            self._report["lost_more"] += 1
        self._reset()

    def _reset(self) -> None:
        self._rest, self._searching, self._in_member = b"", False, 0

    def _one(self, data: bytes, at: int, final: bool) -> tuple[int, int] | None:
        """Begin and end of the next record from `at` on, or of nothing (begin = end) where damage was passed over.

        None: there is not enough data. `final`: no more will come.
        """
        while data[at : at + 1] in (b"\r", b"\n"):
            at += 1
        if not data.startswith(b"WARC/", at):
            if len(data) - at < 5 and not final:
                return None
            return self._resynchronised(data, at, final)
        head = data.find(b"\r\n\r\n", at, at + (64 << 10))
        if head < 0:
            if not final and len(data) - at < 64 << 10:
                return None
            return self._resynchronised(data, at + 5, final)
        length = _LENGTH.search(data, at, head + 2)
        if length is None:
            return self._resynchronised(data, head, final)
        end = head + 4 + int(length[1])
        if end + 4 > len(data) and not final:
            return None
        if end <= len(data) and data[end : end + 4] in (b"\r\n\r\n", b"\r\n", b""):
            return at, min(end + 4, len(data))
        return self._resynchronised(data, head, final)

    def _resynchronised(self, data: bytes, at: int, final: bool) -> tuple[int, int] | None:
        """A record is lost: go on where the next one begins."""
        if match := _BEGIN.search(data, at):
            self._report["lost_records"] += 1
            return match.end(), match.end()
        return None


def _document(data: bytes, source: WarcSource) -> Document | str:
    """The document in one record, or why there is none."""
    from fastwarc.warc import WarcRecordType

    try:
        found = _opened(data, "none")
        if found is None or ((found.headers.get("WARC-Block-Digest") or "").startswith("sha1:") and not _digest_holds(data)):
            return "damaged_records"
        if found.record_type == WarcRecordType.conversion:
            return _converted(found, source)
        if found.record_type not in (WarcRecordType.response, WarcRecordType.resource):
            return "no_page"
        return _page(found, data, source)
    except _DAMAGE:
        return "damaged_records"


_Decoded = Literal["all", "content", "transfer", "none"]
_ORDER: tuple[_Decoded, ...] = ("all", "content", "transfer", "none")
_DAMAGE = (OSError, ValueError, RuntimeError, EOFError)


def _opened(data: bytes, decode: _Decoded) -> WarcRecord | None:
    """The first record; `decode` says which encodings of HTTP its reader undoes: none, transfer, content or all."""
    from fastwarc.warc import ArchiveIterator

    return next(iter(ArchiveIterator(io.BytesIO(data), auto_decode=decode, stream_detect=False)), None)


def page_of(data: bytes) -> bytes:
    """The body of a record of HTTP as a browser would have it, at most one byte above `LARGEST_PAGE`.

    Archives keep the headers of encodings that they have undone, and servers name some that they do not use: where the bytes
    are not encoded as the headers say, those that are a page as they stand are taken. Raises OSError if none are.
    """
    reason: Exception | None = None
    for decode in _ORDER:
        try:
            found = _opened(data, decode)
            body = found.reader.read(LARGEST_PAGE + 1) if found is not None else b""
        except _DAMAGE as error:
            reason = reason or error
            continue
        body = _inflated(body, bare=decode == "none")
        if (decode == "all" and not body.startswith(_GZIP)) or _MARKUP.match(body):
            return body
    raise OSError("the body is damaged") from reason


def _inflated(body: bytes, bare: bool) -> bytes:
    """What is packed with gzip without its header saying so; if `bare`, also what is deflated without zlib's header."""
    if _MARKUP.match(body) or not (bare or body.startswith(_GZIP)):
        return body
    try:
        return zlib.decompressobj(31 if body.startswith(_GZIP) else -15).decompress(body, LARGEST_PAGE + 1) or body
    except zlib.error:
        return body


def _digest_holds(data: bytes) -> bool:
    from fastwarc.warc import ArchiveIterator

    return any(True for _ in ArchiveIterator(io.BytesIO(data), parse_http=False, verify_digests=True, stream_detect=False))


def _page(found: WarcRecord, data: bytes, source: WarcSource) -> Document | str:
    if found.is_http:
        if not found.is_http_parsed or found.http_headers.status_code != 200:
            return "not_found"
        content_type = found.http_headers.get("Content-Type")
    else:
        content_type = found.headers.get("Content-Type")
    if (content_type or "text/html").partition(";")[0].strip().lower() not in _HTML:
        return "not_html"
    body = page_of(data)
    if len(body) > LARGEST_PAGE:
        return "too_large"
    url = _url(found)
    page = extraction.page(body, url or "", content_type, source.languages or ())
    if isinstance(page, str):
        return page
    return Document(
        text=page.text,
        source=source.name,
        url=url,
        title=page.title,
        license=page.license or source.license,
        fetched_at=_date(found),
        published_at=page.published_at,
    )


def _converted(found: WarcRecord, source: WarcSource) -> Document | str:
    """Text that somebody took from a page, as in Common Crawl's WET files."""
    text = found.reader.read(LARGEST_PAGE).decode("utf-8", "replace").strip()
    if not text:
        return "no_text"
    return Document(text=text, source=source.name, url=_url(found), license=source.license, fetched_at=_date(found))


def _url(found: WarcRecord) -> str | None:
    return (found.headers.get("WARC-Target-URI") or "").strip("<> \t").replace("\0", "") or None


def _date(found: WarcRecord) -> datetime | None:
    try:
        moment = datetime.fromisoformat(found.headers.get("WARC-Date") or "")
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
