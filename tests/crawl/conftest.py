from __future__ import annotations

from collections.abc import Iterator

import pytest
from range_server import DATA, FileServer, serve_files
from scripted_site import Site, serve_script

from lang_configs.sources import Crawl
from tasks.crawl import download, fetch, link


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(fetch, "BACK_OFF", 0.02)
    with serve_script() as scripted:
        yield scripted


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A file server with `dump.bin`, patience for tests, and the line as it is without any rules, before and after."""
    monkeypatch.setattr(download, "BACK_OFF", 0.001)
    monkeypatch.delenv("LUGHA_OFFLINE", raising=False)
    with serve_files() as files:
        files.files["dump.bin"] = DATA
        yield files
    link.use(Crawl())
