"""One polite request at a time to each host: pauses, retries, limits on time and size, and no address inside our network."""

from __future__ import annotations

import asyncio
import email.utils
import ipaddress
import socket
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import httpcore2
import httpx2

from tasks.crawl.addresses import origin
from tasks.crawl.html import AGENT

ATTEMPTS = 4
"""Requests made for one address before it counts as failed."""

BACK_OFF = 2.0
"""Seconds before the first retry; each further one waits twice as long."""

LONGEST_WAIT = 300.0
"""Most seconds between two attempts, whatever Retry-After asks for."""

REQUEST_SECONDS = 60.0
"""Most seconds from the request to the last byte of the answer: ends a server that sends one byte a second."""

_RETRIED = frozenset({429, 500, 502, 503, 504})
_TIMEOUT = httpx2.Timeout(20.0, connect=10.0)
_FAILURES = (
    *(httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError, UnicodeError),
    *(httpcore2.NetworkError, httpcore2.TimeoutException, httpcore2.ProtocolError, httpcore2.UnsupportedProtocol),
)
# The lists of ipaddress differ between Python releases, and pass addresses that embed an IPv4 address.
_NOT_PUBLIC = [
    ipaddress.ip_network(network)
    for network in ("192.0.0.0/24", "192.88.99.0/24", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")
]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered. `status` is 0 when it did not; `error` names why there is no body although one was due."""

    url: str
    status: int = 0
    headers: httpx2.Headers = field(default_factory=httpx2.Headers)
    body: bytes = b""
    error: str | None = None


class Fetcher:
    """An HTTP client for crawling; use as `async with Fetcher(...) as fetcher`.

    `delay`: seconds between the end of a request and the start of the next to the same origin; `slow_down` raises it for one.
    `served_at`: origin -> the address that its requests are sent to (as `curl --connect-to`), for a site not on the web.
    """

    def __init__(
        self, contact: str | None, delay: float, allow_loopback: bool = False, served_at: Mapping[str, str] | None = None
    ) -> None:
        self._pauses: defaultdict[str, float] = defaultdict(lambda: delay)
        self._ends: dict[str, float] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._served_at = served_at or {}
        self._client = httpx2.AsyncClient(
            transport=_Transport(_PublicOnly(allow_loopback)),
            headers={"User-Agent": user_agent(contact), "Accept": "text/html,application/xhtml+xml,*/*;q=0.1"},
            timeout=_TIMEOUT,
            trust_env=False,
            follow_redirects=False,
        )

    async def __aenter__(self) -> Fetcher:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    def slow_down(self, site: str, delay: float) -> None:
        """Keep at least `delay` seconds between requests to an origin from now on."""
        self._pauses[site] = max(self._pauses[site], delay)

    async def get(
        self, url: str, max_bytes: int, types: Iterable[str] = (), headers: Mapping[str, str] | None = None, cut: bool = False
    ) -> Answer:
        """One GET, without following redirects; repeated after errors of the network, 429 and 5xx.

        Of a 200 the body comes back, decompressed, if its media type is one of `types` (empty: any). A body above
        `max_bytes` gives the error `too_large`, or is cut there if `cut`. Other errors: `wrong_type`, `failed`, `refused`
        (the address is not public). Never raises on what a server does.
        """
        for attempt in range(ATTEMPTS):
            async with self._turn(origin(url)):
                answer = await self._once(url, max_bytes, frozenset(types), headers or {}, cut)
            again = answer.error == "failed" or answer.status in _RETRIED
            if not again or attempt == ATTEMPTS - 1:
                break
            wait = max(retry_after(answer.headers), BACK_OFF * 2**attempt)
            await asyncio.sleep(min(wait, LONGEST_WAIT))
        return answer

    @asynccontextmanager
    async def _turn(self, site: str) -> AsyncIterator[None]:
        async with self._locks[site]:
            if site in self._ends:
                await asyncio.sleep(max(0.0, self._ends[site] + self._pauses[site] - time.monotonic()))
            try:
                yield
            finally:
                self._ends[site] = time.monotonic()

    async def _once(self, url: str, max_bytes: int, types: frozenset[str], headers: Mapping[str, str], cut: bool) -> Answer:
        site = origin(url)
        target = self._served_at.get(site, site) + url[len(site) :]
        try:
            async with asyncio.timeout(REQUEST_SECONDS), self._client.stream("GET", target, headers=dict(headers)) as response:
                body, error = b"", None
                if response.status_code == 200:
                    body, error = await _body(response, max_bytes, types, cut)
                return Answer(url, response.status_code, response.headers, body, error)
        except AddressRefused:
            return Answer(url, error="refused")
        except _FAILURES:  # TimeoutError is an OSError
            return Answer(url, error="failed")
        finally:
            self._client.cookies.clear()  # an answer must not depend on which pages came before it


def user_agent(contact: str | None) -> str:
    """How the crawler introduces itself: product, version and, if there is one, where its owner can be asked to stop."""
    try:
        number = version(AGENT)
    except PackageNotFoundError:  # run from a checkout that was not installed
        number = "0"
    return f"{AGENT}/{number} (+{contact})" if contact else f"{AGENT}/{number}"


async def _body(response: httpx2.Response, max_bytes: int, types: frozenset[str], cut: bool) -> tuple[bytes, str | None]:
    """The decompressed body and the error; httpx2 inflates at most 1 MiB at a time, so that a bomb is noticed early."""
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if types and media_type not in types:
        return b"", "wrong_type"
    length = response.headers.get("content-length", "")
    if not cut and length.isascii() and length.isdigit() and int(length[:20]) > max_bytes:
        return b"", "too_large"
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > max_bytes:
            return (bytes(body[:max_bytes]), None) if cut else (b"", "too_large")
    return bytes(body), None


def retry_after(headers: httpx2.Headers) -> float:
    """Seconds that Retry-After (RFC 9110, 10.2.3) asks for, as a number or as a date; 0 if it does not."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit() and len(value) < 10:
        return float(value)
    try:
        return max(0.0, (email.utils.parsedate_to_datetime(value).astimezone(UTC) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return 0.0


class AddressRefused(httpcore2.ConnectError):
    """A host name that resolves to no public address, or a port of another protocol."""


def is_public(address: str, allow_loopback: bool = False) -> bool:
    """Whether an IP address may be connected to: globally reachable, not multicast, not a tunnel to an IPv4 address."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if ip.is_loopback:
        return allow_loopback
    return ip.is_global and not ip.is_multicast and not any(ip.version == n.version and ip in n for n in _NOT_PUBLIC)


class _PublicOnly(httpcore2.AsyncNetworkBackend):
    """Connects to the very address that was checked: an answer of DNS that changes in between gains nothing."""

    def __init__(self, allow_loopback: bool) -> None:
        self._allow_loopback = allow_loopback
        self._sockets = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        if port not in (80, 443) and port < 1024:  # ports of mail, shells and file servers
            raise AddressRefused(f"port {port} is not one of the web")
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not (public := [address for address in addresses if is_public(address, self._allow_loopback)]):
            raise AddressRefused(f"{host} has no public address: {addresses}")
        for address in public:
            try:
                return await self._sockets.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if address == public[-1]:
                    raise
        raise AssertionError("unreachable")

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore2.AsyncNetworkStream:
        raise AddressRefused("unix sockets are not part of the web")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Transport(httpx2.AsyncBaseTransport):
    """httpx2 over a connection pool whose network backend is ours; httpx2's own transport takes none."""

    def __init__(self, backend: httpcore2.AsyncNetworkBackend) -> None:
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=httpx2.create_ssl_context(trust_env=False), network_backend=backend, keepalive_expiry=30.0
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        url = request.url
        answer = await self._pool.handle_async_request(
            httpcore2.Request(
                method=request.method,
                url=httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                extensions=request.extensions,
            )
        )
        return httpx2.Response(answer.status, headers=answer.headers, stream=_Stream(answer), extensions=answer.extensions)

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Stream(httpx2.AsyncByteStream):
    def __init__(self, answer: httpcore2.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._answer.aiter_stream():
            yield piece

    async def aclose(self) -> None:
        await self._answer.aclose()
