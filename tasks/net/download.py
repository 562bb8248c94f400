"""Downloads over lines that break: resumed where they were cut, retried with patience, checked, and published by a rename."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import httpx2

from tasks.core.errors import StageError
from tasks.core.files import replacing, write_atomically
from tasks.core.files import sha256 as digest
from tasks.net import public
from tasks.net.agent import user_agent
from tasks.net.fetch import retry_after
from tasks.net.link import HoursOverError, hooks
from tasks.net.rules import refuse_offline

ATTEMPTS = 8
"""Failures in a row, with not one new byte in between, after which a download is given up."""

CONNECTS = 3
"""Failures in a row to connect at all after which it is given up: an unknown host does not come into being."""

BACK_OFF = 1.0
"""Seconds before the first retry; each further one waits twice as long."""

LONGEST_WAIT = 120.0
"""Most seconds between two attempts, whatever Retry-After asks for."""

BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses of a server that may answer later."""

T = TypeVar("T")


def download(
    url: str, path: Path, sha256: str | None = None, max_bytes: int | None = None, sha1: Callable[[], str | None] | None = None
) -> Path:
    """Fetch `url` into the file `path` and return it; a file that is there already, with this checksum, is not fetched again.

    `sha1` asks for the SHA-1 of a file whose publisher gives no other checksum; it is called once the file has come.

    A cut download goes on where it was (RFC 9110: Range with If-Range), also in a later process: what has come so far
    is kept beside `path`. `path` itself appears complete and checked, or not at all.
    Raises StageError when the host cannot be reached or refuses, when the file is larger than `max_bytes`, when its SHA-256
    is another one, and when connections are forbidden (`tasks.net.rules`, which also hold the rate and the hours).
    """
    if path.exists() and (sha256 is None or digest(path) == sha256):
        return path
    refuse_offline(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with http_client() as client:
        _patiently(url, lambda: _continue(client, url, part, max_bytes), lambda: _size(part))
    if sha256 is not None and (found := digest(part)) != sha256:
        _forget(part)
        raise StageError(
            f"{url}: the file has SHA-256 {found}, not {sha256}: it was changed or damaged; run again or correct the checksum"
        )
    if sha1 is not None and (due := sha1()) is not None:
        with part.open("rb") as file:
            found = hashlib.file_digest(file, "sha1").hexdigest()
        if found != due:
            _forget(part)
            raise StageError(f"{url}: the file has SHA-1 {found}, not {due} as its publisher says: it was damaged; run again")
    with replacing(path) as temporary:
        part.rename(temporary)
    _forget(part)
    return path


def read(url: str, max_bytes: int = 16 << 20) -> bytes:
    """A small file of the web. Raises StageError as `download` does; MissingError if there is none."""
    with TemporaryDirectory() as folder:
        return download(url, Path(folder) / "file", max_bytes=max_bytes).read_bytes()


def read_range(client: httpx2.Client, url: str, offset: int, length: int) -> bytes:
    """`length` bytes of `url` from `offset` on, retried with patience.

    Raises MissingError if there is no such file or range, and StageError as `download` does.
    """
    refuse_offline(url)
    headers = {"Range": f"bytes={offset}-{offset + length - 1}"}

    def attempt() -> bytes:
        with client.stream("GET", url, headers=headers) as response:
            _check(response, url)
            first, total = _content_range(response)
            if response.status_code != 206 or first != offset:
                raise StageError(f"{url}: the server does not answer requests for a range of bytes; use another base address")
            if total is not None and total < offset + length:
                raise MissingError(f"{url}: the file ends at byte {total:,}, before {offset + length:,}; check the address")
            body = bytearray()
            for block in response.iter_raw():
                body += block
                if len(body) > length:
                    raise httpx2.RemoteProtocolError("more bytes than asked for")
            if len(body) < length:
                raise httpx2.RemoteProtocolError("fewer bytes than asked for")
            return bytes(body)

    return _patiently(url, attempt)


def size(url: str) -> int | None:
    """How many bytes a download of `url` would bring, by a HEAD request; None if the server does not say.

    Raises StageError as `download` does.
    """

    def attempt() -> int | None:
        with client.stream("HEAD", url) as response:
            _check(response, url)
            length = response.headers.get("content-length", "")
            return int(length) if length.isascii() and length.isdigit() else None

    with http_client() as client:
        return _patiently(url, attempt)


def http_client() -> httpx2.Client:
    """A client that says who we are and asks for bytes as they are: a compressed answer cannot be resumed.

    It is for one server, that of its first request, which alone may be in our own network (`tasks.net.public`).
    """
    return httpx2.Client(
        headers={"User-Agent": user_agent(None), "Accept-Encoding": "identity"},
        timeout=httpx2.Timeout(60.0, connect=20.0),
        follow_redirects=True,
        max_redirects=10,
        transport=public.transport(),
        event_hooks=hooks(),
    )


class MissingError(StageError):
    """The server says that what was asked for does not exist."""


class _BusyError(Exception):
    """The server asks to come back later, after this many seconds (0: it does not say when)."""

    def __init__(self, status: int, seconds: float) -> None:
        super().__init__(f"HTTP status {status}")
        self.seconds = seconds


def _patiently(url: str, attempt: Callable[[], T], progress: Callable[[], int] = lambda: 0) -> T:
    """The result of `attempt`, repeated while it fails for a reason that may pass; new `progress` renews the patience."""
    failures, reached = 0, progress()
    while True:
        try:
            return attempt()
        except (httpx2.UnsupportedProtocol, httpx2.InvalidURL, UnicodeError) as error:  # the last: no name of a host
            raise StageError(f"{url}: this is no address that can be fetched ({error}); correct it in the config") from error
        except httpx2.TooManyRedirects as error:
            raise StageError(f"{url}: the server redirects in a circle; check the address") from error
        except HoursOverError:
            continue  # the next request waits for its hours
        except (httpx2.TransportError, _BusyError) as error:
            if public.refused(error):
                raise StageError(f"{url}: the server redirects into our own network ({error}); check the address") from error
            if (now := progress()) > reached:
                failures, reached = 0, now
            failures += 1
            connected = not isinstance(error, (httpx2.ConnectError, httpx2.ConnectTimeout))
            if failures >= (ATTEMPTS if connected else CONNECTS):
                why = str(error) or type(error).__name__
                raise StageError(
                    f"{url}: {'the download failed' if connected else 'the host cannot be reached'} after {failures} attempts "
                    f"({why}); check the network and run the same command again, what has come so far is kept"
                ) from error
            wait = max(error.seconds if isinstance(error, _BusyError) else 0.0, BACK_OFF * 2 ** (failures - 1))
            time.sleep(min(wait, LONGEST_WAIT))


def _continue(client: httpx2.Client, url: str, part: Path, max_bytes: int | None) -> None:
    """Fetch what `part` still lacks; returns when it is complete."""
    have, validator = _size(part), _validator(part, url)
    if have and not validator:  # nothing says that it is the same file still
        have = 0
    headers = {"Range": f"bytes={have}-", "If-Range": validator} if have else {}
    with client.stream("GET", url, headers=headers) as response:
        if response.status_code == 416 and have == _content_range(response)[1]:
            return
        if response.status_code == 416:
            _forget(part)
            raise httpx2.RemoteProtocolError("the server has a shorter file now")
        _check(response, url)
        if response.status_code != 206 or _content_range(response)[0] != have:
            if response.status_code == 206:
                _forget(part)
                raise httpx2.RemoteProtocolError("another range than was asked for")
            have = 0
            _note(part, url, response)
        length = response.headers.get("content-length")
        total = have + int(length) if length else None
        _check_size(url, part, total or 0, max_bytes)
        with part.open("r+b" if have else "wb") as file:
            file.truncate(have)
            file.seek(have)
            for block in response.iter_raw():
                file.write(block)
                have += len(block)
                _check_size(url, part, have, max_bytes)
    if total is not None and have < total:
        raise httpx2.RemoteProtocolError("the answer was cut")


def _check(response: httpx2.Response, url: str) -> None:
    """Raise unless the answer has a body that was asked for."""
    status = response.status_code
    if status in BUSY:
        raise _BusyError(status, retry_after(response.headers))
    if status in (401, 403):
        raise StageError(f"{url}: the server refuses access (HTTP status {status}); ask its owner, or use another address")
    if status in (404, 410, 416):
        raise MissingError(f"{url}: there is no such file (HTTP status {status}); check the address in the config")
    if status not in (200, 206):
        raise StageError(f"{url}: the server answers with HTTP status {status}; check the address in the config")


def _check_size(url: str, part: Path, size: int, max_bytes: int | None) -> None:
    if max_bytes is not None and size > max_bytes:
        _forget(part)
        raise StageError(f"{url}: the file is larger than the {max_bytes:,} bytes allowed; check the address")


def _content_range(response: httpx2.Response) -> tuple[int | None, int | None]:
    """First byte and length of the whole file as Content-Range (RFC 9110, 14.4) gives them."""
    match = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", response.headers.get("content-range", "").strip())
    first, total = match.groups() if match else (None, None)
    return (int(first) if first else None), (int(total) if total and total != "*" else None)


def _note(part: Path, url: str, response: httpx2.Response) -> None:
    """Remember what tells this version of the file from others: a strong ETag, else the date of its last change."""
    etag = response.headers.get("etag", "")
    validator = etag if etag.startswith('"') else response.headers.get("last-modified", "")
    part.unlink(missing_ok=True)  # before the note: old bytes must never stand beside a new validator
    write_atomically(_note_path(part), json.dumps({"url": url, "validator": validator}).encode())


def _validator(part: Path, url: str) -> str:
    try:
        note = json.loads(_note_path(part).read_bytes())
        return str(note["validator"]) if note["url"] == url else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _note_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note_path(part).unlink(missing_ok=True)


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0
