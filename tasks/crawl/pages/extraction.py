"""Extraction of pages in worker processes, so that a page that takes too long is counted and the crawl goes on.

One page in some hundred thousand keeps an extractor busy for minutes or for ever (a paragraph of 100,000 <span>, a table
of as many rows) inside code that no signal interrupts: only the end of its process ends it. Workers are started when they
are needed, kept for the next page, and end with this process, however it ends.
"""

from __future__ import annotations

import atexit
import contextlib
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection, Pipe
from typing import TypeVar

from tasks.core.engines import available_cores
from tasks.core.errors import StageError
from tasks.core.paths import child_environment
from tasks.crawl.pages.html import Page

Item = TypeVar("Item")
Result = TypeVar("Result")

PAGE_SECONDS = 20.0
"""Wall-clock limit of one page; the slowest of 990 real news pages took 0.3 s."""

START_SECONDS = 300.0
"""Within which a worker must have started: the very first one on a machine compiles the kernels of language identification."""

PAGES_PER_WORKER = 5000
"""Pages after which a worker is replaced: lxml and trafilatura keep some memory of each."""

AHEAD = 8
"""Pages for each core that are read ahead of the slowest one: one that takes all of its time stops the others for a while."""


def page(
    html: bytes,
    url: str,
    content_type: str | None = None,
    languages: Collection[str] = (),
    limit: float = PAGE_SECONDS,
) -> Page | str:
    """What `html.page` gives, in a worker process, within `limit` seconds of wall-clock time.

    Reasons besides those of `html.page` are `extraction_timeout`, and `extraction_failed` where the process ended (out of
    memory, or a fault in a library). May be called from several threads: each has a worker of its own, and no more work
    at once than this process has cores. Raises StageError if a worker cannot be started.
    """
    with _WORKERS.one() as worker:
        return worker.page((html, url, content_type, tuple(languages)), limit)


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
    finally:
        pool.shutdown(cancel_futures=True)


class _Worker:
    """A process that extracts one page after the other. A plain child, since processes of an engine may be daemons."""

    def __init__(self) -> None:
        self._connection, theirs = Pipe()
        with theirs:
            command = [sys.executable, "-c", _CHILD, str(theirs.fileno())]
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], env=child_environment()
            )
        self.pages = 0
        try:
            if not self._connection.poll(START_SECONDS):
                raise EOFError
            self._connection.recv_bytes()
        except (EOFError, OSError) as error:
            self.end()
            raise StageError("a process to extract pages in could not be started; see the lines above for its error") from error

    def page(self, request: tuple[bytes, str, str | None, tuple[str, ...]], limit: float) -> Page | str:
        self.pages += 1
        try:
            self._connection.send(request)
            if self._connection.poll(limit):
                found: Page | str = self._connection.recv()
                return found
            self.end()
            return "extraction_timeout"
        except (EOFError, OSError):
            self.end()
            return "extraction_failed"
        except BaseException:  # stopped in the middle: the next page must not get the answer to this one
            self.end()
            raise

    @property
    def alive(self) -> bool:
        """Whether it can take a page: not ended here, nor by the system while it was idle."""
        return not self._connection.closed and self._process.poll() is None

    def end(self) -> None:
        self._connection.close()
        self._process.kill()
        self._process.wait()


class _Workers:
    """Workers that wait for a page."""

    def __init__(self) -> None:
        self._turns = threading.Semaphore(available_cores())
        self._idle: list[_Worker] = []

    @contextlib.contextmanager
    def one(self) -> Iterator[_Worker]:
        with self._turns:
            worker = self._waiting() or _Worker()
            try:
                yield worker
            finally:
                if worker.alive and worker.pages < PAGES_PER_WORKER:
                    self._idle.append(worker)
                else:
                    worker.end()

    def _waiting(self) -> _Worker | None:
        while self._idle:
            with contextlib.suppress(IndexError):  # another thread took the last one
                if (worker := self._idle.pop()).alive:
                    return worker
                worker.end()
        return None

    def end(self) -> None:
        while self._idle:
            self._idle.pop().end()


_WORKERS = _Workers()
atexit.register(_WORKERS.end)

_CHILD = "from tasks.crawl.pages.extraction import _serve; _serve()"


def _serve() -> None:
    """The life of a worker: until the other end of its connection is closed, by the end of the process or by its death."""
    import signal

    from tasks.crawl.pages import html

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    connection = Connection(int(sys.argv[1]))
    html.page(b"<p>Habari za leo</p>", "about:blank", None, ("swh_Latn",))  # what is loaded late counts for no page's time
    connection.send_bytes(b"ready")
    with contextlib.suppress(EOFError, OSError):
        while True:
            connection.send(html.page(*connection.recv()))
