"""What a crawl needs of a page before its text is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.crawl.pages.html import outline
from tasks.crawl.site import opt_outs
from tasks.crawl.site.listings import announced_feeds


@dataclass(frozen=True, slots=True)
class Survey:
    """What the crawl needs of a page before its text: where it points, what its publisher wishes, the feeds it announces."""

    links: tuple[str, ...]
    wishes: frozenset[str]
    feeds: tuple[str, ...]


def survey(html: bytes, url: str, content_type: str | None) -> Survey:
    """See `Survey`. It may take minutes on a page made for that."""
    seen = outline(html, url, content_type)
    return Survey(seen.links, opt_outs.of_page(html, seen.directives), announced_feeds(html, url))
