"""Worker processes for whatever parses what others wrote, so that a page made to stop us is counted and the crawl goes on.

One page in some hundred thousand keeps a parser busy for minutes or for ever (an element of 50,000 attributes, a paragraph of
100,000 <span>, a table of as many rows) inside code that no signal interrupts: only the end of its process ends it. Workers
are started when they are needed, kept for the next page, and end with this process, however it ends and whatever they do.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, Pipe
from typing import Any, TypeVar

from tasks.core.engines import available_cores
from tasks.core.errors import StageError
from tasks.core.paths import child_environment

Result = TypeVar("Result")

START_SECONDS = 300.0
"""Within which a worker must have started: the very first one on a machine compiles the kernels of language identification."""

CALLS_PER_WORKER = 5000
"""Calls after which a worker is replaced: lxml and trafilatura keep some memory of each page."""

WORKER_BYTES = 2 << 30
"""Most memory that a worker may write to (RLIMIT_DATA, where the system keeps it). Chosen, not measured."""

GRACE = 5.0
"""Seconds after the limit of a call at which the system ends a worker that nobody else has ended."""


class OverrunError(Exception):
    """A call did not come to its end: `reason` is `timeout`, or `failed` where its process ended or it raised."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def ask(function: Callable[..., Result], *arguments: object, limit: float) -> Result:
    """`function(*arguments)` in a worker, within `limit` seconds of wall-clock time and `WORKER_BYTES` of memory.

    The function is found by its name in its module; arguments and result are pickled. May be called from several threads:
    each has a worker of its own, and no more work at once than this process has cores (two at least: one may be held up).
    Raises OverrunError, and StageError if a worker cannot be started.
    """
    with _WORKERS.one() as worker:
        answer: Result = next(worker.answers((function, arguments, limit, False)))
        return answer


def stream(function: Callable[..., Iterator[Result]], *arguments: object, limit: float) -> Iterator[Result]:
    """What `function(*arguments)` yields, one after the other, as `ask` does; `limit` is that of each.

    It waits for nobody's turn: several may be open in one thread, and whoever reads them asks for other things meanwhile.
    """
    with _WORKERS.one(in_turn=False) as worker:
        yield from worker.answers((function, arguments, limit, True))


def end() -> None:
    """End all workers, also those at work: for a process that was told to stop."""
    _WORKERS.end()


class _Worker:
    """A process that answers one call after the other. A plain child, since processes of an engine may be daemons."""

    def __init__(self) -> None:
        self._connection, theirs = Pipe()
        life, self._life = os.pipe()
        try:
            with theirs:
                handles = [theirs.fileno(), life]
                command = [sys.executable, "-c", _CHILD, *map(str, handles)]
                self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=handles, env=child_environment())
        finally:
            os.close(life)
        self.calls = 0
        try:
            if not self._connection.poll(START_SECONDS):
                raise EOFError
            self._connection.recv_bytes()
        except BaseException as error:
            self.end()
            if not isinstance(error, EOFError | OSError):
                raise
            raise StageError("a process to read pages in could not be started; see the lines above for its error") from error

    def answers(self, call: tuple[Callable[..., Any], tuple[object, ...], float, bool]) -> Iterator[Any]:
        """The one answer to a call, or all that a stream yields."""
        self.calls += 1
        *_, limit, streamed = call
        try:
            self._connection.send(call)
            while True:
                if not self._connection.poll(limit):
                    raise OverrunError("timeout")
                kind, answer = self._connection.recv()
                if kind == "failed":
                    raise OverrunError("failed")
                if kind == "ended":
                    return
                if not streamed:
                    break
                yield answer
        except (EOFError, OSError) as error:
            self.end()
            raise OverrunError("failed") from error
        except OverrunError as overrun:
            if overrun.reason == "timeout" or streamed:
                self.end()
            raise
        except BaseException:  # stopped in the middle: the next call must not get the answer to this one
            self.end()
            raise
        yield answer

    @property
    def alive(self) -> bool:
        """Whether it can take a call: not ended here, nor by the system while it was idle."""
        return not self._connection.closed and self._process.poll() is None

    def kill(self) -> None:
        """End the process while another thread waits for its answer; that one then gets none, and calls `end`."""
        self._process.kill()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        if not self._connection.closed:
            self._connection.close()
            os.close(self._life)


class _Workers:
    """Workers at work, and those that wait for a call."""

    def __init__(self) -> None:
        self._turns = threading.Semaphore(max(2, available_cores()))
        self._idle: list[_Worker] = []
        self._busy: set[_Worker] = set()

    @contextlib.contextmanager
    def one(self, in_turn: bool = True) -> Iterator[_Worker]:
        with self._turns if in_turn else contextlib.nullcontext():
            worker = self._waiting() or _Worker()
            self._busy.add(worker)
            try:
                yield worker
            finally:
                self._busy.discard(worker)
                if worker.alive and worker.calls < CALLS_PER_WORKER:
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
        for worker in list(self._busy):
            worker.kill()
        while self._idle:
            with contextlib.suppress(IndexError):
                self._idle.pop().end()


_WORKERS = _Workers()
atexit.register(_WORKERS.end)

_CHILD = "from tasks.crawl.workers import _serve; _serve()"


def _serve() -> None:
    """The life of a worker: until the other end of its connection is closed, by the end of the process or by its death."""
    import signal

    from tasks.crawl.pages import html

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    connection = Connection(int(sys.argv[1]))
    _end_with(int(sys.argv[2]))
    html.page(b"<p>Habari za leo</p>", "about:blank", None, ("swh_Latn",))  # what is loaded late counts for no page's time
    _limit_memory()
    connection.send_bytes(b"ready")
    with contextlib.suppress(EOFError, OSError):
        while True:
            _answer(connection, *connection.recv())


def _answer(
    connection: Connection, function: Callable[..., Any], arguments: tuple[object, ...], limit: float, streamed: bool
) -> None:
    import signal

    try:
        results = iter(function(*arguments)) if streamed else None
        while True:
            signal.setitimer(signal.ITIMER_REAL, limit + GRACE)  # its default action ends the process in the midst of C code
            try:
                answer = next(results) if results is not None else function(*arguments)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            connection.send(("answer", answer))
            if not streamed:
                return
    except StopIteration:
        connection.send(("ended", None))
    except MemoryError:
        os._exit(1)  # what else is left half done nobody knows
    except (EOFError, ConnectionError):
        raise
    except Exception as error:  # what parsers raise on hostile input is theirs to choose
        logging.getLogger(__name__).debug("%s: %s: %s", function, type(error).__name__, error)
        connection.send(("failed", None))


def _end_with(life: int) -> None:
    """End this process when nobody has the other end of the pipe `life` open any more, in the midst of C code too.

    The system then sends SIGIO (fcntl(2): O_ASYNC), whose default action is to end the process; no byte is ever written.
    """
    import fcntl
    import select
    import signal

    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(life, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
    poll = select.poll()
    poll.register(life, select.POLLIN)
    if poll.poll(0):  # it died before
        os._exit(1)


def _limit_memory() -> None:
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    least = WORKER_BYTES if most == resource.RLIM_INFINITY else min(WORKER_BYTES, most)
    resource.setrlimit(resource.RLIMIT_DATA, (least, most))
