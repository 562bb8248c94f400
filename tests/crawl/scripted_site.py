"""A web server on loopback that a test scripts path by path, and that remembers every request."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from lang_configs.sources import WebSource
from tests.crawl.loopback import serve

TRIED = ("/robots.txt", "/.well-known/tdmrep.json", "/ai.txt", "/sitemap.xml")
HTML = {"Content-Type": "text/html; charset=utf-8"}


@dataclass(frozen=True)
class Request:
    path: str
    at: float
    headers: dict[str, str]


@dataclass
class Reply:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=lambda: dict(HTML))
    pause: float = 0.0
    """Seconds after each byte of the body."""
    cut: bool = False
    """Hang up after half of the body."""


Route = Reply | Callable[[Request], Reply]


class Site:
    """`site[path] = Reply(...)` or a function of the request; other paths answer 404."""

    def __init__(self) -> None:
        self.routes: dict[str, Route] = {}
        self.log: list[Request] = []
        self.base = ""

    def __setitem__(self, path: str, route: Route) -> None:
        self.routes[path] = route

    def page(self, path: str, *links: str, text: str = "", head: str = "", **headers: str) -> None:
        """A page in Swahili about its own path, with links."""
        anchors = " ".join(f'<a href="{link}">Soma {number}</a>' for number, link in enumerate(links))
        body = (
            f"<html><head><title>Ukurasa {path}</title>{head}</head><body><nav>Mwanzo Habari {anchors}</nav><main><article>"
            f"<h1>Ukurasa {path}</h1><p>{text or 'Wakulima wa kijiji hiki wamevuna mahindi mengi msimu huu wa mvua.'}</p>"
            f"<p>Habari hii inahusu {path} na maeneo ya jirani.</p></article></main><footer>Haki zote</footer></body></html>"
        )
        self[path] = Reply(
            body=body.encode(), headers=HTML | {name.replace("_", "-"): value for name, value in headers.items()}
        )

    def paths(self) -> list[str]:
        return [request.path for request in self.log]

    def pages(self) -> list[str]:
        """Paths asked for, without the files that are tried on every site."""
        return [path for path in self.paths() if path not in TRIED]

    def source(self, start: str = "/", **settings: object) -> WebSource:
        return WebSource.model_validate({"sites": [self.base + start], "delay": 0} | settings)


@contextmanager
def serve_script() -> Iterator[Site]:
    """Serve a site without pages, to which the test adds them."""
    scripted = Site()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            request = Request(self.path, time.monotonic(), {name.lower(): value for name, value in self.headers.items()})
            scripted.log.append(request)
            route = scripted.routes.get(self.path, Reply(404, b"hakuna"))
            reply = route if isinstance(route, Reply) else route(request)
            try:
                self._send(reply)
            except OSError:  # the crawler has hung up
                self.close_connection = True

        def _send(self, reply: Reply) -> None:
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if reply.status != 304:
                self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            if reply.cut:
                self.wfile.write(reply.body[: len(reply.body) // 2])
                self.close_connection = True
                return
            for piece in [reply.body[i : i + 1] for i in range(len(reply.body))] if reply.pause else [reply.body]:
                self.wfile.write(piece)
                self.wfile.flush()
                time.sleep(reply.pause)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serve(Handler) as scripted.base:
        yield scripted
