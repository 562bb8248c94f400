from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tasks.core.engines import available_cores
from tasks.crawl.pages import extraction, html
from tasks.crawl.pages.html import Page
from tests.crawl.endless_page import ENDLESS
from tests.crawl.real_pages import real_pages

URL = "https://mfano.or.tz/habari/"
SWAHILI = (
    "Mvua kubwa imenyesha leo mjini Dodoma na maeneo ya jirani, na wakulima wamesema kwamba wanashukuru sana kwa sababu mazao "
    "yao yalikuwa yanakauka. Serikali ya mkoa imewataka wananchi wachukue tahadhari wanapovuka mito na mabonde."
)
ENGLISH = (
    "Heavy rain has fallen today in the town of Dodoma and the areas around it, and farmers said that they are very grateful "
    "because their crops were drying up. The regional government asked people to take care when they cross rivers and valleys."
)
MENU = "".join(
    f"<li><a href='/{word}'>{word} and more of the news about it</a></li>" for word in ("Sports", "Business", "Weather")
)


def made(text: str, around: str = "") -> bytes:
    return f"<html><body><ul>{around}</ul><main><article><p>{text}</p></article></main></body></html>".encode()


@pytest.mark.parametrize(
    ("page", "languages", "expected"),
    [
        (made(SWAHILI), ["swh_Latn"], "text"),
        (made(ENGLISH), ["swh_Latn"], "language_eng_Latn"),
        (made(ENGLISH), ["swh_Latn", "eng_Latn"], "text"),
        (made(ENGLISH), [], "text"),
        (made(ENGLISH), ["xyz_Latn"], "text"),
        (made(SWAHILI, MENU), ["swh_Latn"], "text"),
        (made(SWAHILI, MENU * 5), ["swh_Latn"], "text"),
        (made(ENGLISH * 3, "<li><a href='/'>Habari za michezo na siasa</a></li>"), ["swh_Latn"], "language_eng_Latn"),
        (b"<html><body><script>var a = 1</script></body></html>", ["swh_Latn"], "language_und_Zzzz"),
        (b"\xff\xfe\x00\xd8" * 50, ["swh_Latn"], "language_und_Zzzz"),
    ],
    ids=["wanted", "other", "one-of-two", "all", "unknown", "menu", "long-menu", "menu-only", "no-text", "no-characters"],
)
def test_only_pages_in_a_wanted_language_are_extracted(page: bytes, languages: list[str], expected: str) -> None:
    found = html.page(page, URL, "text/html; charset=utf-8", languages)
    assert (found if isinstance(found, str) else "text") == expected


def test_a_page_that_takes_too_long_is_counted_and_the_next_ones_are_read() -> None:
    assert extraction.page(ENDLESS, URL, limit=0.5) == "extraction_timeout"
    found = extraction.page(made(SWAHILI), URL)
    assert isinstance(found, Page)
    assert found == html.page(made(SWAHILI), URL)


def test_threads_get_the_answers_to_their_own_pages() -> None:
    def ask(number: int) -> Page | str:
        if number % 10 == 0:
            return extraction.page(ENDLESS, URL, limit=0.2)
        return extraction.page(made(f"{SWAHILI} Namba {number}."), URL, None, ["swh_Latn"])

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(ask, range(40)))
    for number, page in enumerate(found):
        if number % 10 == 0:
            assert page == "extraction_timeout"
        else:
            assert isinstance(page, Page)
            assert page.text.endswith(f"Namba {number}.")


def test_results_come_in_the_order_of_the_pages_and_few_are_read_ahead() -> None:
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    def ask(number: int) -> int:
        time.sleep(0.01 if number % 3 == 0 else 0)
        if number == 300:
            raise ValueError(number)
        return number

    found = extraction.in_order(ask, numbers())
    assert [next(found) for _ in range(300)] == list(range(300))
    assert len(taken) <= 300 + extraction.AHEAD * available_cores()
    with pytest.raises(ValueError, match="300"):
        next(found)
    assert len(taken) <= 301 + extraction.AHEAD * available_cores()
    assert list(extraction.in_order(str, [])) == []


def test_a_worker_that_dies_is_counted_and_replaced() -> None:
    extraction.page(made(SWAHILI), URL)
    before = [child for child in psutil.Process().children() if "_serve" in " ".join(child.cmdline())]
    results: list[Page | str] = []
    thread = threading.Thread(target=lambda: results.append(extraction.page(ENDLESS, URL, limit=60)))
    thread.start()
    time.sleep(0.5)  # it has the page by now, and the others are idle
    for worker in before:
        worker.kill()
    thread.join()
    for worker in before:
        with contextlib.suppress(ChildProcessError):  # the thread has seen to its own
            os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)  # a zombie may have threads that are not gone yet
    assert results == ["extraction_failed"]
    assert isinstance(extraction.page(made(SWAHILI), URL), Page)


def test_workers_end_with_the_process_that_started_them() -> None:
    program = (
        "import os, psutil; from tasks.crawl.pages import extraction; extraction.page(b'<p>Habari', 'http://a.b/');"
        "print(psutil.Process().children()[0].pid, flush=True); os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    worker = int(ended.stdout)
    for _ in range(100):
        if not psutil.pid_exists(worker) or psutil.Process(worker).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.1)
    pytest.fail("the worker outlives its parent")


@pytest.mark.slow
def test_no_page_whose_main_text_is_in_the_language_is_left_out(bundle: Path) -> None:
    from tasks.annotate.language import identify

    pages = real_pages(bundle)
    texts = [html.page(page["html"].encode(), page["url"]) for page in pages]
    labels = [found.label for found in identify([text.text if isinstance(text, Page) else "" for text in texts])]
    kept = [not isinstance(html.page(page["html"].encode(), page["url"], None, ["swh_Latn"]), str) for page in pages]
    wanted = [label == "swh_Latn" for label in labels]
    assert sum(wanted) > 100
    assert not [page["url"] for page, want, keep in zip(pages, wanted, kept, strict=True) if want and not keep]
    assert sum(kept) < 1.3 * sum(wanted)
