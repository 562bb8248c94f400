"""The crawler against many hosts at once that are slow, busy, or broken, undisturbed and killed again and again."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from tests import REPOSITORY
from tests.crawl.host_farm import Host, serve_farm

DELAY = 0.15
CLOCKS = 0.002
"""Seconds by which two threads of the server may disagree on when a request came."""

# the crawler's own patience at a tenth, like the delay
CRAWL = """
import sys
from collections import Counter
from pathlib import Path
from lang_configs.sources import WebSource
from tasks.crawl.sources.web import Web
from tasks.net import fetch
fetch.BACK_OFF, fetch.REQUEST_SECONDS = 0.2, 1.0
source = WebSource(sites=sys.argv[3:], delay=float(sys.argv[2]))
found = {f"{document.id.hex()} {document.url}" for document in Web(source).documents(Path(sys.argv[1]), Counter(), True)}
print(*sorted(found), sep="\\n")
"""


def command(state: Path, farm: list[Host]) -> list[str]:
    return [sys.executable, "-c", CRAWL, str(state), str(DELAY), *(f"{host.base}/0.html" for host in farm)]


ENVIRONMENT = os.environ | {"PYTHONPATH": str(REPOSITORY)}


def finish(state: Path, farm: list[Host]) -> set[str]:
    run = subprocess.run(command(state, farm), env=ENVIRONMENT, capture_output=True, text=True, check=True)
    return set(run.stdout.splitlines())


def gaps(host: Host) -> Iterator[float]:
    times = sorted(visit.at for visit in host.visits)
    yield from (later - earlier for earlier, later in itertools.pairwise(times))


def check_manners(farm: list[Host], unread: Collection[float] = ()) -> None:
    """`unread`: when those requests came whose answers a killed crawler may not have read."""
    for host in farm:
        assert min(gaps(host)) >= DELAY - CLOCKS
        assert not [visit.path for visit in host.visits if visit.path.startswith("/siri/")]
        visits = itertools.pairwise(host.visits)
        busy = [(visit, later) for visit, later in visits if visit.retry_after and visit.at not in unread]
        assert all(later.at - visit.at >= visit.retry_after - CLOCKS for visit, later in busy)


def whole(host: Host) -> Counter[str]:
    return Counter(visit.path for visit in host.visits if visit.whole and visit.path in host.allowed)


@pytest.mark.slow
def test_ten_hosts_of_a_hundred_pages(tmp_path: Path) -> None:
    with serve_farm(10, 100, faulty=0.12) as farm:
        undisturbed = finish(tmp_path / "nzima", farm)
        assert len(undisturbed) == 1000
        check_manners(farm)
        for host in farm:
            assert whole(host) == Counter(dict.fromkeys(host.allowed, 1))
        first = min(host.visits[0].at for host in farm)
        took = max(host.visits[-1].at for host in farm) - first
        bounds = [DELAY * (len(host.visits) - 1) + sum(visit.retry_after for visit in host.visits) for host in farm]
        # a figure to read (`pytest -s`), not to assert: it is also the machine's
        print(f"{took:.1f} s; politeness alone asks for {max(bounds):.1f} s ({took / max(bounds):.2f})")

        for host in farm:
            host.forget()
        in_flight: dict[str, set[str]] = {host.base: set() for host in farm}
        unread: set[float] = set()
        for goal in (100, 300, 500, 700, 900):
            process = subprocess.Popen(command(tmp_path / "iliyouawa", farm), env=ENVIRONMENT, stdout=subprocess.DEVNULL)
            while sum(len(host.visits) for host in farm) < goal:
                assert process.poll() is None
                time.sleep(0.005)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            for host in farm:
                in_flight[host.base] |= {visit.path for visit in host.visits[-1:]}
                unread |= {visit.at for visit in host.visits[-1:]}
        assert finish(tmp_path / "iliyouawa", farm) == undisturbed
        check_manners(farm, unread)
        for host in farm:
            delivered = whole(host)
            assert delivered.keys() == host.allowed
            assert {path for path, times in delivered.items() if times > 1} <= in_flight[host.base]
