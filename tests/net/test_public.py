"""Downloads and the addresses of our own network: the host that a person named, and where servers redirect to."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpcore2
import pytest

from tasks.core.errors import StageError
from tasks.net import download as module
from tasks.net.download import download, size
from tests.crawl.loopback import serve
from tests.crawl.test_hostile_servers import inner_server

PUBLIC = "93.184.216.34"
REFUSAL = "redirects into our own network|Invalid URL in location header|Name or service not known"
SPELLINGS = (
    "http://127.0.0.1:{port}/x",
    "http://localhost:{port}/x",
    "http://127.1:{port}/x",
    "http://2130706433:{port}/x",
    "http://0x7f000001:{port}/x",
    "http://0177.0.0.1:{port}/x",
    "http://0.0.0.0:{port}/x",
    "http://[::1]:{port}/x",
    "http://[::ffff:127.0.0.1]:{port}/x",
    "http://[::]:{port}/x",
    "http://[64:ff9b::7f00:1]:{port}/x",
    "http://127.0.0.1.:{port}/x",
    "http://a@127.0.0.1:{port}/x",
    "http://ndani.example:{port}/x",
    "http://10.0.0.1:{port}/x",
    "http://192.168.1.1/x",
    "http://169.254.169.254/latest/meta-data/",
    "http://100.64.0.1/x",
    "http://{public}:22/x",
)


class Web:
    """A public host `wavuti.example` that answers with its locations in turn, the last one for ever ("": a file).

    Loopback stands for it.
    """

    def __init__(self) -> None:
        self.locations: list[str] = [""]
        self.resolved: list[str] = [PUBLIC]
        self.base = ""


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    world = Web()
    real_lookup, real_connect = socket.getaddrinfo, httpcore2.SyncBackend.connect_tcp

    def getaddrinfo(host: str, port: int, *rest: object, **options: object) -> object:
        if host == "wavuti.example":
            address = world.resolved.pop(0) if len(world.resolved) > 1 else world.resolved[0]
        else:
            address = "127.0.0.1" if host == "ndani.example" else host
        return real_lookup(address, port, *rest, **options)  # type: ignore[arg-type]

    def connect(self: object, host: str, port: int, *rest: object) -> object:
        return real_connect(self, "127.0.0.1" if host == PUBLIC else host, port, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "BACK_OFF", 0.001)
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(httpcore2.SyncBackend, "connect_tcp", connect)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            location = world.locations.pop(0) if len(world.locations) > 1 else world.locations[0]
            self.send_response(302 if location else 200)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Length", "0" if location else "6")
            self.end_headers()
            if self.command == "GET" and not location:
                self.wfile.write(b"habari")

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serve(Handler) as base:
        world.base = base.replace("127.0.0.1", "wavuti.example")
        yield world


@pytest.mark.parametrize("hops", [0, 2])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_redirect_leads_into_our_network(web: Web, tmp_path: Path, spelling: str, hops: int) -> None:
    with inner_server() as (port, callers):
        target = spelling.format(port=port, public=PUBLIC)
        web.locations = [*(f"{web.base}/{hop}" for hop in range(hops)), target]
        with pytest.raises(StageError, match=REFUSAL) as raised:
            download(f"{web.base}/dampo.bz2", tmp_path / "x")
        assert "\n" not in str(raised.value)
        web.locations = [target]
        with pytest.raises(StageError, match=REFUSAL):
            size(f"{web.base}/dampo.bz2")
        assert callers == []
    assert list(tmp_path.iterdir()) == []


def test_a_server_of_our_network_does_not_lead_to_another_one(web: Web, tmp_path: Path) -> None:
    base = web.base.replace("wavuti.example", "127.0.0.1")
    with inner_server() as (port, callers):
        web.locations = [f"http://127.0.0.1:{port}/"]
        with pytest.raises(StageError, match="redirects into our own network"):
            download(f"{base}/dampo.bz2", tmp_path / "x")
        assert callers == []


def test_a_name_that_is_bound_anew_during_a_download_gains_nothing(web: Web, tmp_path: Path) -> None:
    web.resolved = [PUBLIC, "127.0.0.1"]
    web.locations = [web.base.rpartition(":")[0] + "/"]  # another port, so another connection
    with pytest.raises(StageError, match="redirects into our own network"):
        download(f"{web.base}/dampo.bz2", tmp_path / "x")


@pytest.mark.parametrize("host", ["wavuti.example", "127.0.0.1", "ndani.example"])
def test_the_host_that_was_named_is_reached_wherever_it_is(web: Web, tmp_path: Path, host: str) -> None:
    base = web.base.replace("wavuti.example", host)
    web.locations = [f"{base}/pengine", ""]
    assert download(f"{base}/dampo.bz2", tmp_path / "x").read_bytes() == b"habari"
