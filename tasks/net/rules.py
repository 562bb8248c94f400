"""What the line to the outside may be used for: whether at all, at what hours, and how fast. One set of rules a process.

They are settings of a machine and its contract, and say nothing of what is fetched: no fingerprint holds them. Clients keep
them through `tasks.net.link`. This module imports little: every worker of an engine takes the rules over (`for_workers`).
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from datetime import time as time_of_day
from functools import partial
from typing import TYPE_CHECKING

from tasks.core.errors import StageError

if TYPE_CHECKING:
    from lang_configs.schema import Runtime

OFFLINE = "LUGHA_OFFLINE"
"""Environment variable: when it is set to anything but 0, no connection is made, whatever the config says."""

LOOK = 60.0
"""Seconds between two looks at the clock while the hours are waited for: a laptop may sleep, and clocks are set."""


@dataclass(frozen=True)
class Rules:
    """`bytes_per_second`: of all connections of this process together; `hours`: first and last moment, in local time."""

    offline: bool = False
    bytes_per_second: float | None = None
    hours: tuple[time_of_day, time_of_day] | None = None


class _Line:
    """The rules, and when the line is free again."""

    def __init__(self) -> None:
        self.rules = Rules()
        self.lock = threading.Lock()
        self.free_at = 0.0
        self.told = ""


_line = _Line()


def use(settings: Runtime) -> None:
    """Let these settings (`offline`, `max_rate`, `hours`) hold in this process from now on, in place of those before."""
    hours = None
    if settings.hours is not None:
        first, last = (time_of_day.fromisoformat(end) for end in settings.hours.split("-"))
        hours = first, last
    _adopt(Rules(settings.offline, bytes_per_second(settings.max_rate), hours))


def for_workers() -> Callable[[int], None]:
    """What makes the rules of this process hold in a worker: to be called there with the number of workers at work.

    Each gets its share of the rate, so that all of them together keep to it.
    """
    return partial(_share, replace(_line.rules, offline=is_offline()))


def _share(rules: Rules, workers: int) -> None:
    rate = rules.bytes_per_second
    _adopt(replace(rules, bytes_per_second=None if rate is None else rate / workers))


def _adopt(rules: Rules) -> None:
    with _line.lock:
        if rules != _line.rules:  # a worker adopts them before each of its units, and what has come before still counts
            _line.rules, _line.free_at = rules, 0.0


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
            f"{what}: offline (--offline, runtime.offline or {OFFLINE}), so nothing is fetched; "
            "allow connections, or name a local file in the config"
        )


def account(size: int) -> float:
    """Seconds to wait after `size` bytes have come, so that all connections together keep to the rate."""
    rate = _line.rules.bytes_per_second
    if rate is None:
        return 0.0
    with _line.lock:
        now = time.monotonic()
        _line.free_at = max(_line.free_at, now) + size / rate
        return _line.free_at - now


def is_open() -> bool:
    """Whether something may be fetched at this hour."""
    return _is_open(datetime.now())


def until_open() -> float:
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
            f"downloads wait until {opens:%Y-%m-%d %H:%M} (runtime.hours: {first:%H:%M}-{last:%H:%M}); "
            "Ctrl-C stops, and the same command goes on from here"
        )
    return min(LOOK, (opens - now).total_seconds())


def _is_open(now: datetime) -> bool:
    if _line.rules.hours is None:
        return True
    first, last = _line.rules.hours
    clock = now.time()
    return first <= clock < last if first < last else clock >= first or clock < last
