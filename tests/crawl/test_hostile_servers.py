"""Servers that try to fill the memory, or to reach into our network through redirects."""

from __future__ import annotations

import gzip
import os
import socketserver
import subprocess
import sys
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpcore2
import pytest

from lang_configs.sources import WebSource
from tasks.crawl.sources.web import Web
from tests import REPOSITORY
from tests.crawl.scripted_site import HTML, TRIED, Reply, Site

BOMB_BYTES = 400 << 20
MOST = 64 << 20


def gzipped(blocks: Iterator[bytes]) -> bytes:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(squeeze.compress(block) for block in blocks) + squeeze.flush()


def brotlied(blocks: Iterator[bytes]) -> bytes:
    brotli = pytest.importorskip("brotli")
    squeeze = brotli.Compressor(quality=5)
    return b"".join(squeeze.process(block) for block in blocks) + squeeze.finish()


def zstandarded(blocks: Iterator[bytes]) -> bytes:
    import zstandard

    squeeze = zstandard.ZstdCompressor(level=19).compressobj()
    return b"".join(squeeze.compress(block) for block in blocks) + squeeze.flush()


def zeros() -> Iterator[bytes]:
    yield from (bytes(1 << 20) for _ in range(BOMB_BYTES >> 20))


def elements() -> Iterator[bytes]:
    yield b"<urlset>"
    yield from (b"<url><a></a></url>" * 60_000 for _ in range(BOMB_BYTES >> 20))


BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "gzip": ("gzip", lambda: gzipped(zeros())),
    "brotli": ("br", lambda: brotlied(zeros())),
    "zstd": ("zstd", lambda: zstandarded(zeros())),
    "gzip-in-gzip": ("gzip, gzip", lambda: gzip.compress(gzipped(zeros()))),
    "brotli-in-gzip": ("br, gzip", lambda: gzip.compress(brotlied(zeros()))),
}

# memory held after a page like any other, and its peak in the crawl of the trap, in KiB (Linux; see proc(5))
CRAWL = """
import re, sys
from collections import Counter
from pathlib import Path
from lang_configs.sources import WebSource
from tasks.crawl.sources.web import Web
def memory(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
def crawl(number):
    report = Counter()
    list(Web(WebSource(sites=[sys.argv[number]], delay=0)).documents(Path(sys.argv[1]) / str(number), report, True))
    return report
crawl(2)
Path("/proc/self/clear_refs").write_text("5")
before = memory("VmRSS")
report = crawl(3)
print(memory("VmHWM") - before, report["too_large"] + report["unknown_encoding"], report["fetched"])
"""

needs_proc = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="measures memory as Linux does")


def grown(site: Site, state: Path, path: str) -> tuple[int, int, int]:
    """Bytes by which the peak of memory grew, pages refused, and pages kept."""
    site.page("/sawa/")
    command = [sys.executable, "-c", CRAWL, str(state), f"{site.base}/sawa/", site.base + path]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    growth, refused, kept = (int(number) for number in result.stdout.split())
    growth <<= 10
    print(f"{path}: {growth / 2**20:+.1f} MiB")
    return growth, refused, kept


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_cut_off(site: Site, tmp_path: Path, name: str) -> None:
    encoding, pack = BOMBS[name]
    bomb = Reply(body=pack(), headers=HTML | {"Content-Encoding": encoding})
    site.page("/mtego/", "/mtego/bomu")
    site["/mtego/bomu"] = bomb
    growth, refused, kept = grown(site, tmp_path, "/mtego/")
    assert (refused, kept) == (1, 1)
    assert growth <= MOST


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("path", ["/robots.txt", "/sitemap.xml", "/ai.txt", "/.well-known/tdmrep.json"])
def test_bombs_among_the_files_that_are_tried_on_every_site(site: Site, tmp_path: Path, path: str) -> None:
    site.page("/mtego/")
    body = gzipped(elements()) if path == "/sitemap.xml" else gzipped(zeros())
    for encoding in ("gzip", "gzip, gzip"):
        packed = body if encoding == "gzip" else gzip.compress(body)
        site[path] = Reply(body=packed, headers={"Content-Type": "text/plain", "Content-Encoding": encoding})
        growth, _, kept = grown(site, tmp_path / encoding, "/mtego/")
        assert kept == 1
        assert growth <= MOST


@needs_proc
@pytest.mark.slow
def test_a_packed_sitemap_that_is_a_bomb(site: Site, tmp_path: Path) -> None:
    site.page("/mtego/")
    site["/sitemap.xml"] = Reply(body=gzipped(elements()), headers={"Content-Type": "application/gzip"})
    growth, _, kept = grown(site, tmp_path, "/mtego/")
    assert kept == 1
    assert growth <= MOST


def test_an_encoding_that_was_not_asked_for_is_no_page(site: Site, tmp_path: Path) -> None:
    site.page("/", "/a")
    site["/a"] = Reply(body=b"\x00imefungwa", headers=HTML | {"Content-Encoding": "compress"})
    report: Counter[str] = Counter()
    assert len(list(Web(site.source()).documents(tmp_path, report, True))) == 1
    assert report["unknown_encoding"] == 1


@contextmanager
def inner_server() -> Iterator[tuple[int, list[str]]]:
    """A service on loopback that is none of the web's business; gives its port and who connected."""
    callers: list[str] = []

    class Note(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            callers.append(self.client_address[0])

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Note) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.server_address[1], callers
        server.shutdown()


@pytest.mark.parametrize("path", ["/", "/a", *TRIED])
def test_redirects_into_our_network_are_not_followed(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    # the names of a public site resolve to a loopback address of its own, which stands for a public one
    async def getaddrinfo(self: object, host: str, port: int, **options: object) -> list[object]:
        address = {"mfano.example": "93.184.216.34"}.get(host, host if host[0].isdigit() else "127.0.0.1")
        return [(2, 1, 6, "", (address, port))]

    real = httpcore2.AnyIOBackend.connect_tcp

    async def to_site(self: object, host: str, port: int, *arguments: object) -> object:
        return await real(self, "127.0.0.1" if host == "93.184.216.34" else host, port, *arguments)

    monkeypatch.setattr("asyncio.base_events.BaseEventLoop.getaddrinfo", getaddrinfo)
    monkeypatch.setattr(httpcore2.AnyIOBackend, "connect_tcp", to_site)
    base = site.base.replace("127.0.0.1", "mfano.example")
    with inner_server() as (port, callers):
        site.page("/", "/a")
        for number, target in enumerate(
            (f"http://127.0.0.1:{port}/", f"http://ndani.example:{port}/", f"http://[::ffff:127.0.0.1]:{port}/")
        ):
            site[path] = Reply(302, headers={"Location": target})
            source = WebSource(sites=[f"{base}/"], delay=0)
            list(Web(source).documents(tmp_path / str(number), Counter(), False))
        assert callers == []
    assert path in site.paths()
