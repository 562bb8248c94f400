"""Parsing of what servers send, for a crawl of many hosts: in workers, so that no page stops the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import TypeVar

from tasks.core.engines import available_cores
from tasks.crawl import workers

Result = TypeVar("Result")

PARSE_SECONDS = 10.0
"""Wall-clock limit of one page, sitemap, feed or robots.txt. Chosen, not measured."""


class Parser:
    """Use as `async with Parser() as parser`. Left by an error or by cancellation, it ends the workers that are busy.

    Files of different sites are parsed side by side. Sites of which one ran out of its time share one worker from then on:
    however many are made to stop us, all others have the rest.
    """

    def __init__(self) -> None:
        lanes = max(2, available_cores())
        self._threads = ThreadPoolExecutor(lanes)
        self._lanes, self._slow_lane = asyncio.Semaphore(lanes), asyncio.Semaphore(1)
        self._slow: set[str] = set()

    async def __aenter__(self) -> Parser:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is not None:
            workers.end()
        self._threads.shutdown(cancel_futures=True)

    async def ask(self, site: str, function: Callable[..., Result], *arguments: object) -> Result:
        """`function(*arguments)`, on what `site` sent, in a worker. Raises OverrunError where that takes too much."""
        if site in self._slow:
            async with self._slow_lane, self._lanes:
                return await self._ask(function, *arguments)
        async with self._lanes:
            try:
                return await self._ask(function, *arguments)
            except workers.OverrunError:
                self._slow.add(site)
                raise

    async def _ask(self, function: Callable[..., Result], *arguments: object) -> Result:
        work = partial(workers.ask, function, *arguments, limit=PARSE_SECONDS)
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
