"""Engines map a function over the units of a stage (its shards): in this process, in worker processes, or on Dask.

An engine never changes what a stage writes, only how fast. Results come back in the order of the items.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from importlib.util import find_spec
from multiprocessing import active_children, get_context, parent_process, resource_tracker
from typing import Any, Protocol

from tasks.core.errors import StageError

Done = Callable[[int], None]


class Engine(Protocol):
    """Maps picklable functions over picklable items."""

    @property
    def workers(self) -> int:
        """How many items are worked on at once."""

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], done: Done) -> list[Any]:
        """Return `[function(item) for item in items]`; `done(index)` is called as each item ends.

        Every item is tried: the first exception is raised once the others have ended, so finished units stay finished.
        """

    def close(self) -> None:
        """End the workers, if there are any; the next `map` starts others."""


class Inline:
    """One item after the other in this process: for tests, debugging and machines with one core."""

    workers = 1

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], done: Done) -> list[Any]:
        results = []
        for index, item in enumerate(items):
            results.append(function(item))
            done(index)
        return results

    def close(self) -> None:
        pass


class Processes:
    """Worker processes, started by spawn: a fork would copy the locks of Arrow, DuckDB and torch threads.

    They are kept from one `map` to the next: starting one and importing what the stages need takes more than a second.
    """

    def __init__(self, workers: int = 0) -> None:
        self.workers = workers or available_cores()
        self._pool: ProcessPoolExecutor | None = None
        self._size = 0
        self._others: set[Any] = set()

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], done: Done) -> list[Any]:
        if self.workers == 1 or len(items) < 2:
            return Inline().map(function, items, done)
        try:
            with _signals_heard_afterwards():
                pool = self._started(min(self.workers, len(items)))
                futures = {pool.submit(function, item): index for index, item in enumerate(items)}
            return _gather(futures, done)
        except BrokenProcessPool as error:
            self.close()
            raise StageError(
                "a worker process was ended from outside, most often for want of memory; finished shards are kept: run the same"
                " command again, with fewer workers (--set runtime.workers=1)"
            ) from error
        except Exception:
            raise
        except BaseException:  # told to stop, and leaving the pool would first run all that is queued
            for worker in set(active_children()) - self._others:
                worker.terminate()
            self._pool = None
            raise

    def _started(self, workers: int) -> ProcessPoolExecutor:
        if self._pool is not None and self._size < workers:
            self.close()
        if self._pool is None:
            self._others, self._size = set(active_children()), workers
            self._pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_end_with_parent)
        return self._pool

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
        self._pool = None


@contextlib.contextmanager
def _signals_heard_afterwards() -> Iterator[None]:
    """Start workers as one act: a SIGINT or SIGTERM in its midst is answered at its end.

    An exception between two lines of `multiprocessing` leaves semaphores that nobody frees and objects without the attributes
    that their own finalizers read. And Ctrl-C reaches every process of a terminal: those started here leave it to this one,
    which ends them, without a word.
    """
    received: list[int] = []
    handled = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, lambda number, _frame: received.append(number)) for number in handled}
    try:
        resource_tracker.ensure_running()  # its start would allow the signal again
        allowed = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, allowed)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if received:
            signal.raise_signal(received[0])


def _end_with_parent() -> None:
    """Without this, a worker whose parent was killed waits for work for ever."""

    def watch() -> None:
        parent = parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class Dask:
    """A Dask cluster: a local one, or the scheduler at `address`.

    A cluster's machines share a file system, and have the same versions of this project and of what it needs installed.
    """

    def __init__(self, workers: int = 0, address: str | None = None) -> None:
        if find_spec("distributed") is None:
            raise StageError("runtime.engine dask needs a package that is not here: pip install distributed")
        self.address = address
        self._asked = workers or available_cores()
        self._client: Any = None

    @property
    def workers(self) -> int:
        """Threads of the cluster, which is what it is: one that was found at an address may have any number."""
        return sum(self._connected().nthreads().values()) or self._asked

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], done: Done) -> list[Any]:
        from cloudpickle import dumps
        from distributed import as_completed as dask_completed

        from lugha import call

        # a worker started by hand may find another's `tasks` before ours: it gets bytes, and lugha.call sees to its path first
        calls = [dumps(partial(function, item)) for item in items]
        futures = {future: i for i, future in enumerate(self._connected().map(call, calls, pure=False))}
        return _gather(futures, done, dask_completed)

    def _connected(self) -> Any:
        from distributed import Client

        if self._client is None:
            cluster = self.address or self._local_cluster()
            try:
                self._client = Client(cluster)
            except (OSError, ValueError) as error:
                raise StageError(
                    f"runtime.address {self.address}: no Dask scheduler answers there ({error}); start one by"
                    " `dask scheduler`, or correct the address (tcp://HOST:PORT)"
                ) from error
        return self._client

    def _local_cluster(self) -> Any:
        import dask.config
        from distributed import LocalCluster

        # Dask tells its workers in *this* process's environment to use one thread, and all that starts here later would obey:
        # training with one thread, and with other last bits than after any other engine
        with dask.config.set({"distributed.nanny.pre-spawn-environ": {}}):
            return LocalCluster(n_workers=self._asked, threads_per_worker=1, dashboard_address=None)

    def close(self) -> None:
        if self._client is not None:
            cluster = self._client.cluster
            self._client.close()
            if cluster is not None:
                cluster.close()
        self._client = None


def _gather(futures: dict[Any, int], done: Done, completed: Callable[[Any], Any] = as_completed) -> list[Any]:
    results: list[Any] = [None] * len(futures)
    errors: list[BaseException] = []
    for future in completed(futures):
        index = futures[future]
        try:
            results[index] = future.result()
        except Exception as error:  # gathered, and the first one raised below
            errors.append(error)
        else:
            done(index)
    if errors:
        raise errors[0]
    return results


def make_engine(kind: str, workers: int = 0, address: str | None = None) -> Engine:
    """The engine that the config's `runtime` section names; `workers=0` means one for each core this process may use."""
    if kind == "inline":
        return Inline()
    if kind == "processes":
        return Processes(workers)
    if kind == "dask":
        return Dask(workers, address)
    raise ValueError(f"runtime.engine {kind!r} is unknown: use inline, processes or dask")


def available_cores() -> int:
    """Cores this process may run on: a container or `taskset` may grant fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
