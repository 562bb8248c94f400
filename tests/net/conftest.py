from __future__ import annotations

from collections.abc import Iterator

import pytest

from lang_configs.schema import Runtime
from tasks.net import download, rules
from tests.net.range_server import DATA, FileServer, serve_files


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A file server with `dump.bin`, patience for tests, and the line as it is without any rules, before and after."""
    monkeypatch.setattr(download, "BACK_OFF", 0.001)
    monkeypatch.delenv("LUGHA_OFFLINE", raising=False)
    with serve_files() as files:
        files.files["dump.bin"] = DATA
        yield files
    rules.use(Runtime())
