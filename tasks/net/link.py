"""How clients keep the rules of the line: hooks for httpx2, so that no request and no byte goes past `tasks.net.rules`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx2

from tasks.net.rules import account, is_open, refuse_offline, until_open


class HoursOverError(httpx2.TransportError):
    """The hours in which something may be fetched ended while a body came in; the rest can be asked for later."""


def admit(what: str) -> None:
    """Return once the address `what` may be fetched: at once, or when the hours have come. Raises StageError offline."""
    refuse_offline(what)
    while wait := until_open():
        time.sleep(wait)


async def admit_async(what: str) -> None:
    """`admit` for a coroutine. To be awaited outside of any limit on the time of a request: it may last all day."""
    refuse_offline(what)
    while wait := until_open():
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
            if wait := _wait_after(block):
                time.sleep(wait)
            yield block

    def close(self) -> None:
        self._stream.close()


class _AsyncPaced(httpx2.AsyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for block in self._stream:
            if wait := _wait_after(block):
                await asyncio.sleep(wait)
            yield block

    async def aclose(self) -> None:
        await self._stream.aclose()


def _wait_after(block: bytes) -> float:
    if not is_open():
        raise HoursOverError("the hours of runtime.hours are over")
    return account(len(block))
