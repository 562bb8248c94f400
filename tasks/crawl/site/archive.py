"""What a crawl of sites leaves beside its documents: the answers as WARC, and a record of every address.

warc/pages-00000.warc.gz   the answers kept, one gzip member each (WARC 1.1, ISO 28500)
addresses.jsonl.gz         what became of every address, and the versions of its text
"""

from __future__ import annotations

import gzip
import io
import json
import uuid
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

from tasks.core.files import replacing
from tasks.core.stage import Metrics
from tasks.crawl.site.state import CrawlState, Stored
from tasks.net.agent import user_agent

ADDRESSES = "addresses.jsonl.gz"
WARC = "warc"

SEGMENT_BYTES = 1 << 30
"""Size at which the next WARC file begins: what the standard recommends."""

_PROFILE = "http://netpreserve.org/warc/1.1/revisit/server-not-modified"
_CODED = ("content-encoding", "content-length", "transfer-encoding")


def write_warc(state: CrawlState, contact: str | None, folder: Path) -> Metrics:
    """Write the kept pages as WARC files into `folder`, the same bytes each time; returns the counts of the records.

    A page that this crawl fetched is a `response`. One of which the server said that it is unchanged is a `revisit`, which
    refers to the response in the files of an earlier crawl. Bodies are decompressed; the header fields of their encoding
    are kept as `X-Crawl-...` (as Common Crawl does). Repeating a write overwrites.
    """
    folder.mkdir(exist_ok=True)
    counts = {"warc_files": 0, "warc_responses": 0, "warc_revisits": 0}
    records = _records(state, counts)
    record = next(records, None)
    while record is not None:
        with replacing(folder / f"pages-{counts['warc_files']:05d}.warc.gz") as temporary, temporary.open("wb") as file:
            file.write(_information(counts["warc_files"], contact))
            while record is not None and file.tell() < SEGMENT_BYTES:
                file.write(record)
                record = next(records, None)
        counts["warc_files"] += 1
    return counts


def write_addresses(state: CrawlState, path: Path) -> None:
    """Write one line of JSON for each address, sorted: its outcome, validators, dates, wishes, and versions of its text."""
    with replacing(path) as temporary, temporary.open("wb") as raw, gzip.GzipFile("", "wb", mtime=0, fileobj=raw) as file:
        for address in state.addresses():
            row: dict[str, Any] = {name: value for name, value in address.items() if value not in (None, "")}
            if versions := state.versions(address["url"]):
                row["versions"] = [{"fetched_at": at, "id": identity.hex()} for at, identity in versions]
            file.write(json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n")


def _records(state: CrawlState, counts: dict[str, int]) -> Iterator[bytes]:
    for page in state.pages():
        if page.outcome == "fetched":
            counts["warc_responses"] += 1
            yield _response(page)
        elif page.outcome == "not_modified":
            counts["warc_revisits"] += 1
            yield _revisit(page)


def _response(page: Stored) -> bytes:
    lines = [f"X-Crawl-{name}: {value}" if name.lower() in _CODED else f"{name}: {value}" for name, value in page.headers]
    head = "\r\n".join([f"HTTP/1.1 200 {HTTPStatus.OK.phrase}", *lines, f"Content-Length: {len(page.body)}", "", ""])
    fields = {"WARC-Date": f"{page.fetched_at:%Y-%m-%dT%H:%M:%SZ}", "WARC-Target-URI": page.url}
    return _member("response", fields, "application/http; msgtype=response", head.encode("latin-1", "replace") + page.body)


def _revisit(page: Stored) -> bytes:
    fields = {
        "WARC-Date": f"{page.checked_at or page.fetched_at:%Y-%m-%dT%H:%M:%SZ}",
        "WARC-Target-URI": page.url,
        "WARC-Profile": _PROFILE,
        "WARC-Refers-To-Target-URI": page.url,
        "WARC-Refers-To-Date": f"{page.fetched_at:%Y-%m-%dT%H:%M:%SZ}",
    }
    head = f"HTTP/1.1 304 {HTTPStatus.NOT_MODIFIED.phrase}\r\n\r\n"
    return _member("revisit", fields, "application/http; msgtype=response", head.encode())


def _information(number: int, contact: str | None) -> bytes:
    """The record that opens a file; it has no date of its own, as the same crawl must give the same bytes."""
    lines = f"software: {user_agent(contact)}\r\nformat: WARC File Format 1.1\r\nrobots: obeyed (RFC 9309)\r\n"
    fields = {"WARC-Date": "1970-01-01T00:00:00Z", "WARC-Filename": f"pages-{number:05d}.warc.gz"}
    return _member("warcinfo", fields, "application/warc-fields", lines.encode())


def _member(kind: str, fields: dict[str, str], content_type: str, content: bytes) -> bytes:
    """One record as a gzip member of its own; its id depends on nothing but what it says."""
    from fastwarc.warc import WarcRecord, WarcRecordType

    identity = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([kind, fields]))
    record = WarcRecord()
    record.init_headers(getattr(WarcRecordType, kind), record_urn=f"uuid:{identity}".encode())
    for name, value in (fields | {"Content-Type": content_type}).items():
        record.headers[name] = value
    record.set_bytes_content(content)
    buffer = io.BytesIO()
    record.write(buffer, checksum_data=True)
    return gzip.compress(buffer.getvalue(), mtime=0)
