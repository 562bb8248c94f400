"""One polite request at a time to each host: pauses, retries, limits on time and size, and no address inside our network."""

from __future__ import annotations

import asyncio
import email.utils
import ipaddress
import socket
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpcore2
import httpx2

from tasks.net import link
from tasks.net.addresses import origin
from tasks.net.agent import user_agent

ATTEMPTS = 4
"""Requests made for one address before it counts as failed."""

BACK_OFF = 2.0
"""Seconds before the first retry; each further one waits twice as long."""

LONGEST_WAIT = 300.0
"""Most seconds between two requests to a host, whatever Retry-After asks for and however often it was too busy."""

LONGEST_HOLD = 600.0
"""Most seconds that a wait kept from an earlier process may last, whatever the clock did in between."""

RELIEF = 0.8
"""What each good answer leaves of the seconds that a host's 429s and 503s have added to its delay."""

REQUEST_SECONDS = 60.0
"""Most seconds from the request to the last byte of the answer: ends a server that sends one byte a second."""

_BUSY = frozenset({429, 503})
_RETRIED = _BUSY | {500, 502, 504}
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


@dataclass(slots=True)
class _Pace:
    """When a host may be asked next. `delay` is what we promised it, `strain` what it showed to need beyond; in seconds."""

    delay: float
    strain: float = 0.0
    ready_at: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def answered(self, answer: Answer, attempt: int) -> float:
        """Set the time of the next request and return how far away it is.

        The strain is doubled by each 429 or 503 and shrinks with each good answer.
        """
        if answer.status in _BUSY:
            self.strain = min(max(2 * self.strain, self.delay), LONGEST_WAIT)
        elif answer.error != "failed":
            self.strain *= RELIEF
        wait = self.delay + self.strain
        if answer.status in _BUSY or (_passing(answer) and attempt < ATTEMPTS - 1):
            wait = max(wait, min(max(retry_after(answer.headers), BACK_OFF * 2**attempt), LONGEST_WAIT))
        self.ready_at = time.monotonic() + wait
        return wait


class Fetcher:
    """An HTTP client for crawling; use as `async with Fetcher(...) as fetcher`.

    `delay`: seconds between the end of a request and the start of the next to the same host; `slow_down` raises it for one.
    `served_at`: origin -> the address that its requests are sent to (as `curl --connect-to`), for a site not on the web.
    `resumed`: another process may have asked the same hosts a moment ago, so that the delay comes before the first request.
    `holds`: host -> when it may be asked again (seconds of `time.time`), as `on_hold` was told by that process: it is told of
    every wait that is longer than `delay`.
    `on_the_line`: whether `tasks.net.rules` hold; not for what never leaves this machine.
    """

    def __init__(
        self,
        contact: str | None,
        delay: float,
        allow_loopback: bool = False,
        served_at: Mapping[str, str] | None = None,
        resumed: bool = False,
        holds: Mapping[str, float] | None = None,
        on_hold: Callable[[str, float], None] = lambda host, until: None,
        on_the_line: bool = True,
    ) -> None:
        now, wall = time.monotonic(), time.time()
        first = now + delay if resumed else 0.0
        self._paces: defaultdict[str, _Pace] = defaultdict(lambda: _Pace(delay, ready_at=first))
        for host, until in (holds or {}).items():
            self._paces[host].ready_at = max(first, now + min(until - wall, LONGEST_HOLD))
        self._delay, self._on_hold = delay, on_hold
        self._served_at = served_at or {}
        self.failures: dict[str, str] = {}
        """Origin -> what the last request that failed died of."""
        self._on_the_line = on_the_line
        self._client = httpx2.AsyncClient(
            transport=_Transport(_PublicOnly(allow_loopback)),
            headers={"User-Agent": user_agent(contact), "Accept": "text/html,application/xhtml+xml,*/*;q=0.1"},
            timeout=_TIMEOUT,
            trust_env=False,
            follow_redirects=False,
            event_hooks=link.async_hooks() if on_the_line else None,
        )

    async def __aenter__(self) -> Fetcher:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    def slow_down(self, site: str, delay: float) -> None:
        """Keep at least `delay` seconds between requests to the host of an origin from now on."""
        pace = self._paces[_host(site)]
        pace.ready_at += max(0.0, delay - pace.delay)
        pace.delay = max(pace.delay, delay)

    async def get(
        self, url: str, max_bytes: int, types: Iterable[str] = (), headers: Mapping[str, str] | None = None, cut: bool = False
    ) -> Answer:
        """One GET, without following redirects; repeated after errors of the network, 429 and 5xx.

        Of a 200 the body comes back, decompressed, if its media type is one of `types` (empty: any). A body above
        `max_bytes` gives the error `too_large`, or is cut there if `cut`. Other errors: `wrong_type`, `failed`,
        `unknown_encoding` (one we did not ask for), `refused` (the address is not public). Never raises on what a server does;
        raises StageError when offline.
        """
        pace = self._paces[host := _host(url)]
        for attempt in range(ATTEMPTS):
            async with pace.lock:
                await asyncio.sleep(max(0.0, pace.ready_at - time.monotonic()))
                answer = Answer(url, error="failed")
                if self._on_the_line:  # before the clock of the request starts: this may wait for the night
                    await link.admit_async(url)
                try:
                    answer = await self._once(url, max_bytes, frozenset(types), headers or {}, cut)
                finally:
                    if (wait := pace.answered(answer, attempt)) > self._delay:
                        self._on_hold(host, time.time() + wait)
            if not _passing(answer):
                break
        return answer

    async def _once(self, url: str, max_bytes: int, types: frozenset[str], headers: Mapping[str, str], cut: bool) -> Answer:
        site = origin(url)
        target = self._served_at.get(site, site) + url[len(site) :]
        try:
            async with asyncio.timeout(REQUEST_SECONDS), self._client.stream("GET", target, headers=dict(headers)) as response:
                body, error = b"", None
                if response.status_code == 200:
                    body, error = await _body(response, max_bytes, types, cut, self._client.headers["accept-encoding"])
                return Answer(url, response.status_code, response.headers, body, error)
        except AddressRefused:
            return Answer(url, error="refused")
        except _FAILURES as failure:  # TimeoutError is an OSError
            self.failures[site] = " ".join(str(failure).split())[:200] or type(failure).__name__
            return Answer(url, error="failed")
        finally:
            self._client.cookies.clear()  # an answer must not depend on which pages came before it


def _passing(answer: Answer) -> bool:
    """Whether the failure may be over in a while."""
    return answer.error == "failed" or answer.status in _RETRIED


def _host(url: str) -> str:
    """What the delay is kept for: the machine that both http and https of a name lead to; other ports are other servers."""
    return origin(url).partition("://")[2]


def media_type(answer: Answer | httpx2.Response) -> str:
    """What the server says that the body is, in lower case and without parameters."""
    return answer.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _body(
    response: httpx2.Response, max_bytes: int, types: frozenset[str], cut: bool, accepted: str
) -> tuple[bytes, str | None]:
    """The decompressed body and the error; httpx2 inflates at most 1 MiB at a time, so that a bomb is noticed early."""
    if types and media_type(response) not in types:
        return b"", "wrong_type"
    codings = {coding.strip().lower() for line in response.headers.get_list("content-encoding") for coding in line.split(",")}
    if codings - {"", "identity", *accepted.replace(" ", "").split(",")}:  # httpx2 would give the packed bytes as the body
        return b"", "unknown_encoding"
    length = response.headers.get("content-length", "")
    if not cut and length.isascii() and length.isdigit() and int(length[:20]) > max_bytes:
        return b"", "too_large"
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > max_bytes:
            del body[max_bytes:]
            return (bytes(body), None) if cut else (b"", "too_large")
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


def check_port(port: int) -> None:
    """Raise AddressRefused for a port that is not of the web: those of mail, shells and file servers lie below 1024."""
    if port not in (80, 443) and port < 1024:
        raise AddressRefused(f"port {port} is not one of the web")


def public_addresses(host: str, addresses: Sequence[str], allow_loopback: bool = False) -> list[str]:
    """Those of a host's addresses that may be connected to; raises AddressRefused where there is none."""
    if not (public := [address for address in addresses if is_public(address, allow_loopback)]):
        raise AddressRefused(f"{host} has no public address: {addresses}")
    return public


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
        check_port(port)
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        public = public_addresses(host, addresses, self._allow_loopback)
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
