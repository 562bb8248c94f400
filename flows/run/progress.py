"""Progress of a stage: a bar with rate and remaining time on a terminal, one line a minute anywhere else."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

from tasks.core.stage import Progress

LINE_EVERY = 60.0
"""Seconds between two lines where there is no terminal."""


@contextlib.contextmanager
def watch(label: str) -> Iterator[Progress]:
    """Open the report of one stage; the Progress it gives takes (done, total or 0 when unknown, unit)."""
    with _bar(label) if sys.stderr.isatty() else _lines(label) as progress:
        yield progress


@contextlib.contextmanager
def _bar(label: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = [
        SpinnerColumn(),
        TextColumn("{task.description:<22}"),
        BarColumn(30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]} {task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    ]
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task(label, total=None, unit="", rate="")
        started, first = time.monotonic(), -1.0

        def progress(done: float, total: float, unit: str) -> None:
            nonlocal first
            first = done if first < 0 else first
            seconds = time.monotonic() - started
            rate = f"({(done - first) / seconds:,.0f}/s)" if seconds > 1 and done > first else ""
            bars.update(bar, completed=int(done), total=int(total) or None, unit=unit, rate=rate)

        yield progress


@contextlib.contextmanager
def _lines(label: str) -> Iterator[Progress]:
    started = last = time.monotonic()

    def progress(done: float, total: float, unit: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < LINE_EVERY:
            return
        last = now
        share = f" of {total:,.0f} ({100 * done / total:.0f} %)" if total else ""
        left = f", about {(now - started) * (total - done) / done:,.0f} s left" if total and done else ""
        print(f"{label}: {done:,.0f}{share} {unit} after {now - started:,.0f} s{left}", file=sys.stderr, flush=True)

    yield progress
