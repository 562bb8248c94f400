"""Answers that break HTTP or HTML, byte by byte: one page of a site gives them, the others are read all the same."""

from __future__ import annotations

import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lang_configs.sources import WebSource
from tasks.net import fetch
from tests.crawl.crawling import crawl

TEXT = b"<p>Wakulima wa kijiji hiki wamevuna mahindi mengi msimu huu wa mvua, na bei sokoni imeshuka.</p>"
HTML = b"Content-Type: text/html; charset=utf-8\r\n"


def page(body: bytes, headers: bytes = HTML) -> bytes:
    return b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (headers, len(body), body)


def moved(location: bytes) -> bytes:
    return b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % location


def forever(block: bytes, pause: float = 0.05) -> Iterator[bytes]:
    while True:
        yield block
        time.sleep(pause)


def links(number: int, form: str = "<a href='/x%d'>a</a>") -> bytes:
    return TEXT + "".join(form % n for n in range(number)).encode()


Answer = bytes | Callable[[], Iterator[bytes]]
ANSWERS: dict[str, Answer] = {
    "nothing": b"",
    "rubbish": bytes(range(256)) * 40,
    "no-status": b"habari\r\n\r\n",
    "status-of-letters": b"HTTP/1.1 abc OK\r\n\r\n",
    "status-999": b"HTTP/1.1 999 No\r\nContent-Length: 0\r\n\r\n",
    "status-0": b"HTTP/1.1 000 No\r\nContent-Length: 0\r\n\r\n",
    "informational-for-ever": lambda: forever(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "early-hints-for-ever": lambda: forever(b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "headers-for-ever": lambda: forever(b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 50),
    "header-lines-for-ever": lambda: (b"HTTP/1.1 200 OK\r\n" if not n else b"X-%d: a\r\n" % n for n in range(10**7)),
    "header-without-end": lambda: (b"HTTP/1.1 200 OK\r\nX-A: " if not n else b"a" * 4096 for n in range(10**6)),
    "giant-header": page(TEXT, HTML + b"X-A: " + b"a" * (1 << 20) + b"\r\n"),
    "giant-cookies": page(TEXT, HTML + b"".join(b"Set-Cookie: a%d=%b\r\n" % (n, b"x" * 3000) for n in range(30))),
    "nul-in-header": page(TEXT, HTML + b"X-A: \0\r\n"),
    "line-feeds-in-header": page(TEXT, HTML + b"X-A: a\n\n b\r\n"),
    "content-length-negative": b"HTTP/1.1 200 OK\r\n" + HTML + b"Content-Length: -5\r\n\r\n" + TEXT,
    "content-length-huge": b"HTTP/1.1 200 OK\r\n" + HTML + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n" + TEXT,
    "content-length-too-long": b"HTTP/1.1 200 OK\r\n" + HTML + b"Content-Length: 5000\r\n\r\n" + TEXT,
    "content-length-too-short": b"HTTP/1.1 200 OK\r\n" + HTML + b"Content-Length: 5\r\n\r\n" + TEXT,
    "content-length-twice": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" + HTML + b"Content-Length: 50\r\n\r\n" + TEXT,
    "chunk-of-letters": b"HTTP/1.1 200 OK\r\n" + HTML + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "chunk-huge": b"HTTP/1.1 200 OK\r\n" + HTML + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n" + TEXT,
    "body-drop-by-drop": lambda: (page(b" " * 10**6)[:90] if not n else forever_wait(b" ") for n in range(10**6)),
    "gzip-that-is-none": page(TEXT, HTML + b"Content-Encoding: gzip\r\n"),
    "encodings-a-hundred": page(TEXT, HTML + b"Content-Encoding: " + b", ".join([b"gzip"] * 100) + b"\r\n"),
    "location-nul": moved(b"/a\0b"),
    "location-control": moved(b"/a\x01\x7f\x1bb"),
    "location-line-feed": moved(b"/a\n b"),
    "location-rubbish": moved(bytes(range(128, 256))),
    "location-javascript": moved(b"javascript:alert(1)"),
    "location-file": moved(b"file:///etc/passwd"),
    "location-port": moved(b"http://mfano:99999/"),
    "location-bracket": moved(b"http://[::1"),
    "location-giant": moved(b"/" + b"a" * 60_000),
    "location-itself": moved(b"/mtego"),
    "location-empty": moved(b""),
    "charset-unknown": page(TEXT, b"Content-Type: text/html; charset=hakuna\r\n"),
    "charset-of-python": page(TEXT, b"Content-Type: text/html; charset=zlib_codec\r\n"),
    "charset-giant": page(TEXT, b"Content-Type: text/html; charset=" + b"a" * 30_000 + b"\r\n"),
    "charset-utf-7": page(b"+ADw-p+AD4-" + TEXT, b"Content-Type: text/html; charset=utf-7\r\n"),
    "nul-bytes": page(b"\0" * 500_000 + TEXT),
    "base-giant": page(b"<base href='http://a/" + b"a" * 500_000 + b"'>" + links(2000, "<a href='x%d'>a</a>")),
    "links-100,000": page(links(100_000)),
    "links-idn": page(links(3000, "<a href='http://" + "ü" * 200 + "%d.example/'>a</a>")),
    "links-long": page(links(200, "<a href='/" + "a" * 5000 + "%d'>a</a>")),
    "metas-100,000": page(b"<head>" + b"<meta name=robots content=noai>" * 100_000 + TEXT),
    "nesting": page(b"<div>" * 100_000 + TEXT),
    "tables": page(b"<table><tr><td>" * 3000 + TEXT),
    "comment-open": page(b"<!--" * 100_000 + TEXT),
    "entities": page(b"<p>" + b"&amp;" * 300_000),
    "json-ld-deep": page(b"<script type='application/ld+json'>" + b"[" * 300_000 + b"</script>" + TEXT),
    "robots-tag-giant": page(TEXT, HTML + b"X-Robots-Tag: " + b"noai: a, " * 5000 + b"\r\n"),
    "retry-after-giant": b"HTTP/1.1 503 No\r\nRetry-After: " + b"9" * 20_000 + b"\r\nContent-Length: 0\r\n\r\n",
    "etag-giant": page(TEXT, HTML + b"ETag: " + b"a" * 50_000 + b"\r\n"),
}


def forever_wait(block: bytes) -> bytes:
    time.sleep(0.05)
    return block


@contextmanager
def serve(answer: Answer) -> Iterator[str]:
    """A site with a start page, the trap, and a page behind it in the order of the links."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            try:
                path = self.rfile.readline().split(b" ")[1]
                while self.rfile.readline() not in (b"\r\n", b"\n", b""):
                    pass
                self._answer(path)
            except (OSError, IndexError):  # the crawler has hung up
                pass

        def _answer(self, path: bytes) -> None:
            if path == b"/":
                self.wfile.write(page(TEXT + b"<a href='/mtego'>a</a> <a href='/mwisho'>b</a>"))
            elif path == b"/mwisho":
                self.wfile.write(page(TEXT + b"<p>Huu ni ukurasa wa mwisho wa tovuti hii ya habari za kijiji.</p>"))
            elif path != b"/mtego":
                self.wfile.write(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")
            else:
                for piece in (answer,) if isinstance(answer, bytes) else answer():
                    self.wfile.write(piece)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads, block_on_close, allow_reuse_address = True, False, True

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("name", ANSWERS)
def test_the_rest_of_a_site_is_read_whatever_one_page_answers(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "ATTEMPTS", 1)
    monkeypatch.setattr(fetch, "REQUEST_SECONDS", 2.0)
    monkeypatch.setattr(fetch, "LONGEST_WAIT", 0.1)
    with serve(ANSWERS[name]) as address:
        documents, report = crawl(WebSource(sites=[address], delay=0, max_pages=4), tmp_path)
    found = {str(document.url).removeprefix(address) for document in documents}
    assert {"", "mwisho"} <= found
    assert report.total() >= 3  # the trap has its outcome
