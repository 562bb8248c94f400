"""The rules of the line reach the workers of every engine, which share its rate among them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from lang_configs.schema import Runtime
from tasks.core.engines import Engine, Inline, make_engine
from tasks.core.errors import StageError
from tasks.core.stage import Work
from tasks.crawl import crawl
from tasks.net import rules
from tests.crawl.letters import LettersSource
from tests.net.range_server import DATA, FileServer
from tests.pipeline import rows

WORKERS = 2
BEFORE_THE_NIGHT = datetime(2026, 11, 1, 21, 59, 30)


@pytest.fixture(scope="module", params=["processes", "dask"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    engine = make_engine(request.param, WORKERS)
    yield engine
    engine.close()


@pytest.fixture
def source(server: FileServer) -> LettersSource:
    server.files = {f"{number}.txt": DATA for number in range(3)}
    return LettersSource(addresses=[f"{server.base}/{name}" for name in server.files], clock=BEFORE_THE_NIGHT)


def waited(source: LettersSource, out: Path, engine: Engine, runtime: Runtime) -> list[float]:
    """Seconds that the download of each file took by its worker's clock, under these rules."""
    rules.use(runtime)
    out.mkdir()
    crawl({}, source, out, Work(engine, prepare=rules.for_workers()))
    return [float(row["title"]) for row in rows(out)]


def test_without_rules_nothing_waits(source: LettersSource, tmp_path: Path, engine: Engine) -> None:
    assert waited(source, tmp_path / "out", engine, Runtime()) == [0.0, 0.0, 0.0]


def test_offline_no_worker_makes_a_connection(
    source: LettersSource, tmp_path: Path, engine: Engine, server: FileServer
) -> None:
    with pytest.raises(StageError, match=rf"{server.base}/\d.txt: offline \(--offline, runtime.offline"):
        waited(source, tmp_path / "out", engine, Runtime(offline=True))
    assert server.requests == []
    assert len(waited(source, tmp_path / "again", engine, Runtime())) == 3


def test_workers_wait_for_the_hours(source: LettersSource, tmp_path: Path, engine: Engine) -> None:
    assert min(waited(source, tmp_path / "out", engine, Runtime(hours="22:00-06:00"))) >= 30.0


def test_workers_share_the_rate(source: LettersSource, tmp_path: Path, engine: Engine) -> None:
    share = 1_000_000 / WORKERS
    assert min(waited(source, tmp_path / "out", engine, Runtime(max_rate="1M"))) >= 0.99 * len(DATA) / share


def test_one_worker_has_the_whole_rate(source: LettersSource, tmp_path: Path, engine: Engine) -> None:
    alone = source.model_copy(update={"addresses": source.addresses[:1]})
    for one, rate in ((engine, 1_000_000), (Inline(), 2_000_000)):
        seconds = waited(alone, tmp_path / f"{rate}", one, Runtime(max_rate=f"{rate}"))
        assert seconds == [pytest.approx(len(DATA) / rate, rel=0.01)]
