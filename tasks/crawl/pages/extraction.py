"""Extraction of pages in worker processes, so that a page that takes too long is counted and the crawl goes on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from tasks.core.engines import available_cores
from tasks.crawl import workers
from tasks.crawl.pages.html import Page
from tasks.crawl.pages.html import page as page_here

Item = TypeVar("Item")
Result = TypeVar("Result")

PAGE_SECONDS = 20.0
"""Wall-clock limit of one page; the slowest of 990 real news pages took 0.3 s."""

AHEAD = 8
"""Pages for each core that are read ahead of the slowest one: one that takes all of its time stops the others for a while."""


def page(
    html: bytes,
    url: str,
    content_type: str | None = None,
    languages: Collection[str] = (),
    limit: float = PAGE_SECONDS,
) -> Page | str:
    """What `html.page` gives, in a worker process (see `tasks.crawl.workers`), within `limit` seconds of wall-clock time.

    Reasons besides those of `html.page` are `extraction_timeout`, and `extraction_failed` where the process ended (out of
    memory, or a fault in a library). Raises StageError if a worker cannot be started.
    """
    try:
        return workers.ask(page_here, html, url, content_type, tuple(languages), limit=limit)
    except workers.OverrunError as overrun:
        return f"extraction_{overrun.reason}"


def in_order(ask: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """`ask(item)` of each item, in their order, for functions that wait for `page`: as many at once as there are cores.

    Items are taken in the calling thread, a few ahead. What `ask` raises is raised at the place of its result.
    """
    cores = available_cores()
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(cores)
    try:
        for item in items:
            waiting.append(pool.submit(ask, item))
            if len(waiting) == AHEAD * cores:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except (KeyboardInterrupt, SystemExit):
        workers.end()  # else the pages at work would be waited for
        raise
    finally:
        pool.shutdown(cancel_futures=True)
