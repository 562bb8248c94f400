"""Where a download may be redirected to: public addresses, and the host that the person named, wherever that is.

A dump may lie on a mirror in one's own network; a server of the web must not send us there (SSRF: OWASP A10:2021).
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable
from typing import Any
from urllib.request import getproxies

import httpcore2
import httpx2

from tasks.net import fetch


def transport() -> httpx2.HTTPTransport | None:
    """A transport for one client, whose first request is for the host that the person named.

    None where a proxy of the environment is used: it makes the connections then, and its rules hold.
    """
    return None if getproxies().keys() - {"no"} else _Transport()


def refused(error: BaseException) -> bool:
    """Whether a failure is that of an address that must not be connected to."""
    return isinstance(error, fetch.AddressRefused) or isinstance(error.__cause__, fetch.AddressRefused)


class _Transport(httpx2.HTTPTransport):
    """httpx2's own, over a connection pool whose network backend is ours."""

    def __init__(self) -> None:
        super().__init__()
        self._backend = _PublicOrNamed()
        self._pool = httpcore2.ConnectionPool(ssl_context=httpx2.create_ssl_context(), network_backend=self._backend)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        port = request.url.port or (443 if request.url.scheme == "https" else 80)
        self._backend.name(request.url.raw_host.decode("ascii"), port)
        return super().handle_request(request)


class _PublicOrNamed(httpcore2.NetworkBackend):
    """Connects to the very address that was checked: an answer of DNS that changes in between gains nothing.

    The host that was named first may be one of our own network, at its port and those of the web, if it was so from the
    beginning: a name that leads to the web first and to us later has been bound anew.
    """

    def __init__(self) -> None:
        self._sockets = httpcore2.SyncBackend()
        self._lock = threading.Lock()
        self._named: tuple[str, int] | None = None
        self._inside: bool | None = None

    def name(self, host: str, port: int) -> None:
        with self._lock:
            self._named = self._named or (host, port)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore2.ConnectError(str(error)) from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        allowed = addresses if self._is_inside(host, port, addresses) else self._public(host, port, addresses)
        for address in allowed:
            try:
                return self._sockets.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if address == allowed[-1]:
                    raise
        raise AssertionError("unreachable")

    def _is_inside(self, host: str, port: int, addresses: list[str]) -> bool:
        if self._named is None or host != self._named[0] or port not in (self._named[1], 80, 443):
            return False
        with self._lock:
            if self._inside is None:
                self._inside = not any(map(fetch.is_public, addresses))
            return self._inside

    def _public(self, host: str, port: int, addresses: list[str]) -> list[str]:
        if (host, port) != self._named:
            fetch.check_port(port)
        return fetch.public_addresses(host, addresses)

    def sleep(self, seconds: float) -> None:
        self._sockets.sleep(seconds)
