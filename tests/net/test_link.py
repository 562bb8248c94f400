"""The rules of the line: no byte above the rate, no request outside the hours, none at all offline."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import datetime, timedelta
from pathlib import Path

import httpx2
import pytest
from pydantic import ValidationError

from flows.run.request import Request
from lang_configs.schema import Runtime
from lang_configs.sources import WebSource
from tasks.core.errors import StageError
from tasks.core.stage import Work
from tasks.crawl import crawl
from tasks.net import fetch, link, rules
from tasks.net.download import download
from tests.net.clock import Clock
from tests.net.range_server import DATA, SHA256, FileServer


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Sunday morning, 05:59:30."""
    return Clock(datetime(2026, 11, 1, 5, 59, 30), tick=1.0).on_the_wall(monkeypatch)


def test_a_rate_is_kept_over_all_connections(server: FileServer, tmp_path: Path, clock: Clock) -> None:
    rules.use(Runtime(max_rate="500k"))
    for number in range(3):
        download(f"{server.base}/dump.bin", tmp_path / f"{number}.bin", SHA256)
    waited = clock.seconds
    assert 3 * len(DATA) / 500_000 <= waited <= 1.5 * 3 * len(DATA) / 500_000 + 300

    async def asynchronous() -> bytes:
        async with httpx2.AsyncClient(event_hooks=link.async_hooks()) as client:
            return (await client.get(f"{server.base}/dump.bin")).content

    rules.use(Runtime(max_rate="2M"))
    clock.seconds = before = 0.0
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.seconds += seconds

    link.asyncio, real = type("Loop", (), {"sleep": staticmethod(sleep)}), link.asyncio  # type: ignore[assignment]
    try:
        assert asyncio.run(asynchronous()) == DATA
    finally:
        link.asyncio = real
    assert before + sum(slept) > 0.5


def test_a_rate_is_kept_by_a_real_clock(server: FileServer, tmp_path: Path) -> None:
    rules.use(Runtime(max_rate="4M"))
    started = time.monotonic()
    download(f"{server.base}/dump.bin", tmp_path / "dump.bin", SHA256)
    assert time.monotonic() - started >= len(DATA) / 4_000_000  # a bound that no fast machine can break


def test_hours_end_a_download_and_the_next_night_goes_on(
    server: FileServer, tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    rules.use(Runtime(hours="22:00-06:00", max_rate="50k"))  # half a minute is enough for a part of it
    with caplog.at_level(logging.WARNING, "lugha"):
        download(f"{server.base}/dump.bin", tmp_path / "dump.bin", SHA256)
    assert clock.start + timedelta(seconds=clock.seconds) > datetime(2026, 11, 1, 22)
    assert [record.getMessage() for record in caplog.records] == [
        "downloads wait until 2026-11-01 22:00 (runtime.hours: 22:00-06:00); "
        "Ctrl-C stops, and the same command goes on from here"
    ]
    first, second = (headers.get("range") for _, headers in server.requests)
    assert first is None
    assert second is not None


@pytest.mark.parametrize(
    ("hours", "moment", "is_open"),
    [
        ("22:00-06:00", "23:59", True),
        ("22:00-06:00", "00:00", True),
        ("22:00-06:00", "06:00", False),
        ("22:00-06:00", "21:59", False),
        ("08:00-17:30", "08:00", True),
        ("08:00-17:30", "17:30", False),
        ("08:00-17:30", "03:00", False),
        (None, "03:00", True),
    ],
)
def test_hours_may_pass_midnight(hours: str | None, moment: str, is_open: bool) -> None:
    rules.use(Runtime(hours=hours))
    try:
        assert rules._is_open(datetime.fromisoformat(f"2026-11-01T{moment}")) is is_open
    finally:
        rules.use(Runtime())


def test_offline_makes_no_connection(server: FileServer, tmp_path: Path) -> None:
    rules.use(Runtime(offline=True))
    with pytest.raises(StageError, match=r"dump\.bin: offline \(--offline, runtime\.offline or LUGHA_OFFLINE\)"):
        download(f"{server.base}/dump.bin", tmp_path / "dump.bin")
    with httpx2.Client(event_hooks=link.hooks()) as client, pytest.raises(StageError, match="offline"):
        client.get(f"{server.base}/dump.bin")
    with pytest.raises(StageError, match=r"https://example\.org/: offline"):
        crawl({}, WebSource(sites=["https://example.org/"]), tmp_path, Work())
    assert server.requests == []


def test_settings_of_the_machine_are_part_of_no_fingerprint_and_no_card(tmp_path: Path) -> None:
    plain = Request("swahili", preset="starter", workspace=tmp_path)
    capped = Request(
        "swahili", preset="starter", workspace=tmp_path, overrides=["runtime.hours=22:00-06:00"], max_rate="500k", offline=True
    )
    config, given = capped.resolve()
    assert (config.runtime.max_rate, config.runtime.offline, config.runtime.hours) == ("500k", True, "22:00-06:00")
    assert config.model_dump(exclude={"runtime"}) == plain.resolve()[0].model_dump(exclude={"runtime"})
    assert given.command == plain.resolve()[1].command


@pytest.mark.parametrize(
    ("rate", "due"), [("500k", 5e5), ("1.5M", 1.5e6), ("800", 800.0), ("0", None), ("k", None), ("5 MB", None), ("-3k", None)]
)
def test_rates(rate: str, due: float | None) -> None:
    if due is None:
        with pytest.raises(ValidationError):
            Runtime(max_rate=rate)
    else:
        assert rules.bytes_per_second(Runtime(max_rate=rate).max_rate) == due


@pytest.mark.parametrize("hours", ["22-06", "24:00-06:00", "22:00", "22:60-06:00"])
def test_hours_are_checked(hours: str) -> None:
    with pytest.raises(ValidationError):
        Runtime(hours=hours)


def test_the_rules_of_the_line_hold_for_web_crawls(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def once(self: fetch.Fetcher, url: str, *rest: object) -> fetch.Answer:
        asked.append(url)
        return fetch.Answer(url, 200)

    monkeypatch.setattr(fetch.Fetcher, "_once", once)
    monkeypatch.setattr(rules, "_line", rules._Line())

    async def get(on_the_line: bool) -> fetch.Answer:
        async with fetch.Fetcher(None, 0.0, on_the_line=on_the_line) as fetcher:
            return await fetcher.get("https://example.org/", 1000)

    rules.use(Runtime(offline=True))
    with pytest.raises(StageError, match="offline"):
        asyncio.run(get(True))
    assert asked == []
    assert asyncio.run(get(False)).status == 200
    rules.use(Runtime())
    assert asyncio.run(get(True)).status == 200
