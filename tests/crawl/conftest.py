from __future__ import annotations

from collections.abc import Iterator

import pytest
from scripted_site import Site, serve_script

from tasks.crawl import fetch


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(fetch, "BACK_OFF", 0.02)
    with serve_script() as scripted:
        yield scripted
