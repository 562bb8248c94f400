"""What a source will fetch, asked of the servers without downloading it: sizes by HEAD, the Hub's metadata, an index."""

from __future__ import annotations

from dataclasses import dataclass

from lang_configs.sources import (
    CommonCrawlSource,
    FilesSource,
    HubSource,
    Source,
    StarterSource,
    WarcSource,
    WebSource,
    WikipediaSource,
)
from tasks.core.errors import StageError
from tasks.net.rules import is_offline


@dataclass(frozen=True)
class Estimate:
    """Bytes that come over the line (None: unknown), and in words what they are or why they are not known."""

    bytes: int | None
    what: str


def estimate(source: Source) -> Estimate:
    """What the crawl of a source fetches. Asks servers, unless offline; never raises for what they answer."""
    if isinstance(source, FilesSource | WarcSource | StarterSource):
        return Estimate(0, "files of this machine")
    if isinstance(source, WebSource):
        pages = len(source.sites) * source.max_pages
        return Estimate(None, f"at most {pages:,} pages, of unknown size, of {len(source.sites)} sites")
    try:
        return Estimate(*_ask(source))
    except StageError as error:
        return Estimate(None, "unknown: offline" if is_offline() else f"unknown: {error}")


def _ask(source: WikipediaSource | HubSource | CommonCrawlSource) -> tuple[int | None, str]:
    if isinstance(source, WikipediaSource):
        from tasks.crawl.sources import wikipedia

        return wikipedia.estimate(source)
    if isinstance(source, HubSource):
        from tasks.crawl.sources import hub

        return hub.estimate(source)
    from tasks.crawl.sources import common_crawl

    return common_crawl.estimate(source)
