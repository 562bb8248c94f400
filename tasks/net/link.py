"""The line to the outside: whether it may be used, at what hours, and how fast. One set of rules for the whole process.

Every client that fetches carries `hooks()` (httpx2's event hooks), so that no request and no byte goes past the rules.
They are settings of a machine and its contract, and say nothing of what is fetched: no fingerprint holds them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from datetime import time as time_of_day
from typing import Any

import httpx2

from lang_configs.sources import Crawl
from tasks.core.errors import StageError

OFFLINE = "LUGHA_OFFLINE"
"""Environment variable: when it is set to anything but 0, no connection is made, whatever the config says."""

LOOK = 60.0
"""Seconds between two looks at the clock while the hours are waited for: a laptop may sleep, and clocks are set."""


class HoursOverError(httpx2.TransportError):
    """The hours in which something may be fetched ended while a body came in; the rest can be asked for later."""


@dataclass(frozen=True)
class _Rules:
    offline: bool = False
    bytes_per_second: float | None = None
    hours: tuple[time_of_day, time_of_day] | None = None


class _Line:
    """The rules, and when the line is free again."""

    def __init__(self) -> None:
        self.rules = _Rules()
        self.lock = threading.Lock()
        self.free_at = 0.0
        self.told = ""


_line = _Line()


def use(settings: Crawl) -> None:
    """Let these settings (`offline`, `max_rate`, `hours`) hold in this process from now on, in place of those before."""
    hours = None
    if settings.hours is not None:
        first, last = (time_of_day.fromisoformat(end) for end in settings.hours.split("-"))
        hours = first, last
    with _line.lock:
        _line.rules = _Rules(settings.offline, bytes_per_second(settings.max_rate), hours)
        _line.free_at = 0.0


def bytes_per_second(rate: str | None) -> float | None:
    """`500k` as 500,000 and `1.5M` as 1,500,000 bytes per second."""
    if rate is None:
        return None
    return float(rate.rstrip("kM")) * {"k": 1e3, "M": 1e6}.get(rate[-1], 1.0)


def is_offline() -> bool:
    """Whether no connection may be made."""
    return _line.rules.offline or os.environ.get(OFFLINE, "0") not in ("", "0")


def refuse_offline(what: str) -> None:
    """Raise StageError if no connection may be made; `what` is the address that would be fetched."""
    if is_offline():
        raise StageError(
            f"{what}: offline (--offline, crawl.offline or {OFFLINE}), so nothing is fetched; "
            "allow connections, or name a local file in the config"
        )


def admit(what: str) -> None:
    """Return once the address `what` may be fetched: at once, or when the hours have come. Raises StageError offline."""
    refuse_offline(what)
    while wait := _until_open():
        time.sleep(wait)


async def admit_async(what: str) -> None:
    """`admit` for a coroutine. To be awaited outside of any limit on the time of a request: it may last all day."""
    refuse_offline(what)
    while wait := _until_open():
        await asyncio.sleep(wait)


def hooks() -> dict[str, list[Callable[..., Any]]]:
    """Event hooks for an `httpx2.Client`: a request waits for the hours or is refused, a body comes at the rate.

    A body that is still coming when the hours end breaks off with HoursOverError, a TransportError.
    """

    def before(request: httpx2.Request) -> None:
        admit(str(request.url))

    def after(response: httpx2.Response) -> None:
        response.stream = _Paced(response.stream)

    return {"request": [before], "response": [after]}


def async_hooks() -> dict[str, list[Callable[..., Any]]]:
    """`hooks` for an `httpx2.AsyncClient`."""

    async def before(request: httpx2.Request) -> None:
        await admit_async(str(request.url))

    async def after(response: httpx2.Response) -> None:
        response.stream = _AsyncPaced(response.stream)

    return {"request": [before], "response": [after]}


class _Paced(httpx2.SyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        for block in self._stream:
            if wait := _account(len(block)):
                time.sleep(wait)
            yield block

    def close(self) -> None:
        self._stream.close()


class _AsyncPaced(httpx2.AsyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for block in self._stream:
            if wait := _account(len(block)):
                await asyncio.sleep(wait)
            yield block

    async def aclose(self) -> None:
        await self._stream.aclose()


def _account(size: int) -> float:
    """Seconds to wait after `size` bytes have come, so that all connections together keep to the rate."""
    if not _is_open(datetime.now()):
        raise HoursOverError("the hours of crawl.hours are over")
    rate = _line.rules.bytes_per_second
    if rate is None:
        return 0.0
    with _line.lock:
        now = time.monotonic()
        _line.free_at = max(_line.free_at, now) + size / rate
        return _line.free_at - now


def _is_open(now: datetime) -> bool:
    if _line.rules.hours is None:
        return True
    first, last = _line.rules.hours
    clock = now.time()
    return first <= clock < last if first < last else clock >= first or clock < last


def _until_open() -> float:
    """Seconds to wait before another look at the hours; 0: now. Says once that, and until when, is waited."""
    now = datetime.now()
    if _is_open(now) or _line.rules.hours is None:
        return 0.0
    first, last = _line.rules.hours
    opens = datetime.combine(now.date(), first)
    opens += timedelta(days=opens <= now)
    with _line.lock:
        told, _line.told = _line.told, f"{opens}"
    if told != f"{opens}":
        logging.getLogger("lugha").warning(
            f"downloads wait until {opens:%Y-%m-%d %H:%M} (crawl.hours: {first:%H:%M}-{last:%H:%M}); "
            "Ctrl-C stops, and the same command goes on from here"
        )
    return min(LOOK, (opens - now).total_seconds())
