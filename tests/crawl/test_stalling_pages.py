"""Pages that keep a parser busy, and hosts that send nothing else: counted, while all other hosts go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from lang_configs.sources import WebSource
from tasks.crawl import workers
from tasks.crawl.site import parsing
from tasks.crawl.sources.web import Web
from tests import REPOSITORY
from tests.crawl.crawling import crawl, paths
from tests.crawl.scripted_site import Reply, Site, serve_script

ATTRIBUTES = b"<html><body><p " + b" ".join(b"a%d" % number for number in range(60_000)) + b">Habari</p></body></html>"
"""libxml2 compares each attribute of an element with all before it: 428 kB take it half a minute."""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    workers.ask(len, b"", limit=60)  # the first worker has started, which takes long on a busy machine
    monkeypatch.setattr(parsing, "PARSE_SECONDS", 2.0)


@pytest.mark.usefixtures("impatient")
def test_a_page_that_stalls_the_parser_is_counted_and_the_crawl_goes_on(site: Site, tmp_path: Path) -> None:
    site.page("/", "/mtego", "/b")
    site["/mtego"] = Reply(body=ATTRIBUTES)
    site.page("/b")
    documents, report = crawl(site.source(), tmp_path)
    assert paths(documents, site) == ["/", "/b"]
    assert report == {"fetched": 2, "extraction_timeout": 1, "sitemap_http_404": 1}


@pytest.fixture
def sites() -> Iterator[list[Site]]:
    with ExitStack() as stack:
        yield [stack.enter_context(serve_script()) for _ in range(4)]


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
def test_hosts_of_such_pages_do_not_slow_the_others(sites: list[Site], tmp_path: Path) -> None:
    good, *bad = sites
    good.page("/", *(f"/{number}" for number in range(40)))
    for number in range(40):
        good.page(f"/{number}")
    for site in bad:
        site.page("/", "/0", "/1", "/2", "/3")
        for number in range(4):
            site[f"/{number}"] = Reply(body=ATTRIBUTES)
    source = WebSource(sites=[f"{site.base}/" for site in sites], delay=0)
    report: Counter[str] = Counter()
    assert len(list(Web(source).documents(tmp_path, report, True))) == 44
    assert report["extraction_timeout"] == 12
    ended = [site.log[-1].at for site in bad]
    assert sum(good.log[-1].at < moment for moment in ended) >= 1  # they share one worker after their first page


@pytest.mark.parametrize("kind", ["memory", "raises", "exits"])
def test_what_ends_a_worker_is_an_outcome(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function, argument = {"memory": (bytes, 3 << 30), "raises": (int, "moja"), "exits": (os._exit, 3)}[kind]
    with pytest.raises(workers.OverrunError) as raised:
        workers.ask(function, argument, limit=60)  # type: ignore[arg-type]
    assert raised.value.reason == "failed"
    assert workers.ask(len, b"ab", limit=60) == 2


BUSY = """
import threading, time
import psutil
from tasks.crawl import workers
from tasks.crawl.pages import extraction
from tests.crawl.endless_page import ENDLESS
workers.ask(len, b"", limit=300)
child = psutil.Process().children()[0]
begun = child.cpu_times().user
threading.Thread(target=extraction.page, args=(ENDLESS, "http://a.b/"), kwargs={"limit": 1000}, daemon=True).start()
while child.cpu_times().user < begun + 0.5:
    time.sleep(0.02)
print(child.pid, flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_busy_workers_end_with_the_process_that_started_them(name: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen([sys.executable, "-c", BUSY], env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        worker = psutil.Process(int(process.stdout.readline()))
        os.kill(process.pid, getattr(signal, name))
    gone, _ = psutil.wait_procs([worker], timeout=5)
    if not gone:
        assert worker.status() == psutil.STATUS_ZOMBIE


CRAWL = """
import sys
import time
from collections import Counter
from pathlib import Path
from lang_configs.sources import WebSource
from tasks.crawl.sources.web import Web
list(Web(WebSource(sites=[sys.argv[1]], delay=0)).documents(Path(sys.argv[2]), Counter(), True))
"""


@pytest.mark.slow
def test_ctrl_c_is_heard_while_a_page_stalls_a_parser(site: Site, tmp_path: Path) -> None:
    site.page("/", "/mtego")
    site["/mtego"] = Reply(body=ATTRIBUTES)
    program = CRAWL.replace("import sys\n", "import sys\nfrom tasks.crawl.site import parsing\nparsing.PARSE_SECONDS = 600.0\n")
    command = [sys.executable, "-c", program, f"{site.base}/", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
        while "/mtego" not in site.paths():
            assert process.poll() is None
            time.sleep(0.05)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)  # as the crawler promises
    assert process.returncode != 0
