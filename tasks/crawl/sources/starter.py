"""The starter site: pages that come with the package, served on loopback and crawled like any other site."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from lang_configs.sources import StarterSource, WebSource
from tasks.core.documents import Document
from tasks.crawl import site_folder
from tasks.crawl.sources import web

ORIGIN = "https://starter.lugha.example"
"""Where the site lives by name: ids of documents must not depend on the port it is served on."""


def documents(source: StarterSource, state: Path, report: web.Counts) -> Iterator[Document]:
    """Serve the starter site and crawl it with no delay; arguments and result are those of `web.documents`."""
    site = WebSource(name=source.name, sites=[f"{ORIGIN}/"], delay=0)
    with serve(site_folder(source)) as base:
        for document in web.documents(site, state, report, allow_loopback=True, served_at={ORIGIN: base}):
            # the pages came with the package: when this machine read them is no property of theirs
            yield replace(document, fetched_at=None)


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve the files of `folder` on a free port of 127.0.0.1 from a thread; gives the address, without a final slash."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Pages, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _Pages(http.server.SimpleHTTPRequestHandler):
    """Static files, quietly: text is UTF-8, and a folder without index.html is not listed."""

    protocol_version = "HTTP/1.1"

    def guess_type(self, path: Any) -> str:
        kind = super().guess_type(path)
        return f"{kind}; charset=utf-8" if kind.startswith("text/") or kind.endswith("xml") else kind

    def list_directory(self, path: Any) -> BytesIO | None:
        self.send_error(404)
        return None

    def log_message(self, format: str, *args: Any) -> None:
        pass
