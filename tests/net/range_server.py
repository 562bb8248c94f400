"""A file server on loopback that speaks ranges (RFC 9110) and fails as told: cuts the line, or answers with an error first."""

from __future__ import annotations

import hashlib
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from tests.crawl.loopback import serve

DATA = random.Random(7).randbytes(2_000_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
"""Of `DATA`, which the fixture `server` has as `dump.bin`."""


class FileServer:
    def __init__(self) -> None:
        self.base = ""
        self.files: dict[str, bytes] = {}
        self.errors: defaultdict[str, list[int]] = defaultdict(list)
        """Path -> statuses to answer with before the file."""
        self.cut: Callable[[int], int | None] = lambda length: None
        """Length of a body -> number of bytes after which the line is cut."""
        self.ranges = True
        self.validators = True
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.sent = 0


@contextmanager
def serve_files() -> Iterator[FileServer]:
    files = FileServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.lstrip("/")
            files.requests.append((path, {name.lower(): value for name, value in self.headers.items()}))
            if files.errors[path]:
                return self._answer(files.errors[path].pop(0), {"Retry-After": "0"}, b"")
            if path not in files.files:
                return self._answer(404, {}, b"hakuna")
            return self._file(files.files[path])

        def do_HEAD(self) -> None:
            self.do_GET()

        def _file(self, data: bytes) -> None:
            etag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
            headers = {"ETag": etag} if files.validators else {}
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if not asked or not files.ranges or self.headers.get("If-Range", etag) != etag:
                return self._answer(200, headers, data)
            first, last = int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)
            if first >= len(data):
                return self._answer(416, headers | {"Content-Range": f"bytes */{len(data)}"}, b"")
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            return self._answer(206, headers, data[first : last + 1])

        def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "HEAD":
                return
            cut = files.cut(len(body)) if status in (200, 206) else None
            self.wfile.write(body[:cut])
            files.sent += len(body[:cut])
            self.close_connection = cut is not None

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serve(Handler) as files.base:
        yield files
