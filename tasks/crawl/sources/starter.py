"""The starter site: pages that come with the package, served on loopback and crawled like any other site."""

from __future__ import annotations

import http.server
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from lang_configs.sources import StarterSource, WebSource
from tasks.core.documents import Document
from tasks.core.errors import StageError
from tasks.crawl.sources import Estimate, StreamSource, register
from tasks.crawl.sources.local_files import digest
from tasks.crawl.sources.web import Web

ORIGIN = "https://starter.lugha.example"
"""Where the site lives by name: ids of documents must not depend on the port it is served on."""


@register
class Starter(StreamSource[StarterSource]):
    """The packaged site, crawled with no delay."""

    model = StarterSource
    local = True

    @property
    def where(self) -> str:
        return str(site_folder(self.config))

    def identity(self, snapshot: str) -> str:
        return digest(sorted(path for path in site_folder(self.config).rglob("*") if path.is_file()))

    def estimate(self) -> Estimate:
        return Estimate(0, "files of this machine")

    def documents(self, state: Path, report: Counter[str]) -> Iterator[Document]:
        """Serve the site and crawl it; `report` and errors are those of `Web.documents`."""
        site = Web(WebSource(name=self.config.name, sites=[f"{ORIGIN}/"], delay=0))
        with serve(site_folder(self.config)) as base:
            for document in site.documents(state, report, allow_loopback=True, served_at={ORIGIN: base}):
                # the pages came with the package: when this machine read them is no property of theirs
                yield replace(document, fetched_at=None)


def site_folder(config: StarterSource) -> Path:
    """The folder of the packaged site; raises StageError if the package has none of this name."""
    import lang_configs

    folder = Path(lang_configs.__file__).parent / config.site
    if not folder.is_dir():
        raise StageError(f"crawl.{config.name}: the package has no site {config.site!r}")
    return folder


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
    disable_nagle_algorithm = True  # else each body waits 40 ms until the client says that its headers came

    def guess_type(self, path: Any) -> str:
        kind = super().guess_type(path)
        return f"{kind}; charset=utf-8" if kind.startswith("text/") or kind.endswith("xml") else kind

    def list_directory(self, path: Any) -> BytesIO | None:
        self.send_error(404)
        return None

    def log_message(self, format: str, *args: Any) -> None:
        pass
