"""One crawl of a scripted site, and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from lang_configs.sources import WebSource
from tasks.core.documents import Document
from tasks.crawl.sources.web import Web
from tests.crawl.scripted_site import Reply, Request, Site


def crawl(source: WebSource, state: Path, allow_loopback: bool = True) -> tuple[list[Document], Counter[str]]:
    report: Counter[str] = Counter()
    return list(Web(source).documents(state, report, allow_loopback)), +report


def paths(documents: list[Document], site: Site) -> list[str]:
    return [str(document.url).removeprefix(site.base) for document in documents]


def answers(*replies: Reply) -> Callable[[Request], Reply]:
    """The replies one after the other; the last one for ever."""
    rest = list(replies)
    return lambda request: rest.pop(0) if len(rest) > 1 else rest[0]
