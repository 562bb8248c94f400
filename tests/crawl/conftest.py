from __future__ import annotations

from collections.abc import Iterator

import pytest

from tasks.net import fetch
from tests.crawl.scripted_site import Site, serve_script
from tests.net.conftest import server

__all__ = ["server"]


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(fetch, "BACK_OFF", 0.02)
    with serve_script() as scripted:
        yield scripted
