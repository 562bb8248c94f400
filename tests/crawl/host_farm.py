"""Ten hosts on loopback, one port each, whose pages link to each other and answer badly the first time they are asked."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler

from tests.crawl.loopback import serve

FAULTS = ("429", "503", "timeout", "cut", "slow", "loop", "moved")
HANG = 4.0
"""Seconds that a request which times out is left without an answer."""

ROBOTS = b"User-agent: *\nDisallow: /siri/\n"


@dataclass
class Visit:
    """One request as its host saw it, in seconds of `time.monotonic`; `whole`: a page left in full."""

    path: str
    at: float
    status: int = 0
    whole: bool = False
    retry_after: float = 0.0


class Host:
    """Pages /0.html ... in a binary tree; each links to a page that robots.txt forbids and to another host."""

    def __init__(self, number: int, pages: int, faulty: float) -> None:
        chance = random.Random(number)
        self.number, self.pages = number, pages
        self.faults = {f"/{page}.html": chance.choice(FAULTS) for page in range(1, pages) if chance.random() < faulty}
        self.base = ""
        self.neighbour = ""
        self.visits: list[Visit] = []
        self.asked: Counter[str] = Counter()

    @property
    def allowed(self) -> set[str]:
        """Paths of the pages that must be fetched."""
        return {f"/{page}.html" for page in range(self.pages)}

    def forget(self) -> None:
        self.visits, self.asked = [], Counter()

    def page(self, path: str) -> bytes:
        page = int(path.strip("/").removesuffix(".html"))
        targets = [f"/{child}.html" for child in (2 * page + 1, 2 * page + 2) if child < self.pages]
        targets = [f"/zamani{target}" if self.faults.get(target) == "moved" else target for target in targets]
        targets += [f"/siri/{page}.html", f"{self.neighbour}/siri/{page}.html", f"{path}?utm_source=kila-mahali#juu"]
        targets += [f"/mzunguko/{page}/a"] if self.faults.get(path) == "loop" else []
        links = " ".join(f'<a href="{target}">Soma zaidi</a>' for target in targets)
        text = f"Habari namba {page} ya kituo namba {self.number} inaeleza mavuno ya mahindi katika kijiji chetu. " * 3
        return f"<html><title>Habari {page}</title><body><main><p>{text}</p></main>{links}</body></html>".encode()


@contextmanager
def serve_farm(hosts: int, pages: int, faulty: float) -> Iterator[list[Host]]:
    """Serve `hosts` hosts of `pages` pages each, the share `faulty` of which is faulty."""
    with ExitStack() as stack:
        farm = [Host(number, pages, faulty) for number in range(hosts)]
        for host in farm:
            host.base = stack.enter_context(serve(_handler(host)))
        for host, neighbour in zip(farm, [*farm[1:], farm[0]], strict=True):
            host.neighbour = neighbour.base
        yield farm


def _handler(host: Host) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            visit = Visit(self.path, time.monotonic())
            host.visits.append(visit)
            host.asked[self.path] += 1
            try:
                self._answer(visit)
            except OSError:  # the crawler has hung up
                self.close_connection = True

        def _answer(self, visit: Visit) -> None:
            fault = host.faults.get(self.path) if host.asked[self.path] == 1 else None
            if self.path == "/robots.txt":
                self._send(visit, 200, ROBOTS, {"Content-Type": "text/plain"})
            elif self.path.startswith("/mzunguko/"):
                there = self.path[:-1] + ("b" if self.path.endswith("a") else "a")
                self._send(visit, 302, b"", {"Location": there})
            elif self.path.startswith("/zamani/"):
                self._send(visit, 301, b"", {"Location": self.path.removeprefix("/zamani")})
            elif self.path not in host.allowed:
                self._send(visit, 404, b"hakuna", {})
            elif fault == "429":
                visit.retry_after = 1.0
                self._send(visit, 429, b"", {"Retry-After": "1"})
            elif fault == "503":
                self._send(visit, 503, b"", {})
            elif fault == "timeout":
                self.close_connection = True
                time.sleep(HANG)
            else:
                self._send(visit, 200, host.page(self.path), {"Content-Type": "text/html; charset=utf-8"}, fault or "")

        def _send(self, visit: Visit, status: int, body: bytes, headers: dict[str, str], fault: str = "") -> None:
            visit.status = status
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(name, value)
            self.end_headers()
            if fault == "cut":
                self.wfile.write(body[: len(body) // 2])
                self.close_connection = True
                return
            for start in range(0, len(body), size := 20 if fault == "slow" else len(body) or 1):
                self.wfile.write(body[start : start + size])
                self.wfile.flush()
                time.sleep(0.01 if fault == "slow" else 0)
            visit.whole = status == 200

        def handle(self) -> None:
            with suppress(ConnectionError):  # the crawler was killed
                super().handle()

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
