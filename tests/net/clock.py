"""A clock for tests of rates and hours."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from tasks.net import link, rules


class Clock:
    """Time that passes only while somebody sleeps, and `tick` seconds with each look at it (one for each block)."""

    def __init__(self, start: datetime, tick: float = 0.0) -> None:
        self.start, self.tick, self.seconds = start, tick, 0.0

    def on_the_wall(self, monkeypatch: pytest.MonkeyPatch) -> Clock:
        """Let the rules of the line go by this clock."""
        monkeypatch.setattr(link, "time", self)
        monkeypatch.setattr(rules, "time", self)
        monkeypatch.setattr(rules, "datetime", type("Now", (), {"now": self.now, "combine": datetime.combine}))
        return self

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        self.seconds += self.tick
        return self.start + timedelta(seconds=self.seconds)
