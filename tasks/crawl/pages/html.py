"""From the bytes of a web page to its text: charset, links, wishes of the publisher, language, main text and metadata."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING

from tasks.core.mojibake import repair
from tasks.crawl.pages.charset import decode
from tasks.crawl.pages.main_text import Shown, main_text
from tasks.crawl.pages.metadata import Metadata, metadata
from tasks.net.addresses import normalise
from tasks.net.agent import AGENT

if TYPE_CHECKING:
    from lxml.html import HtmlElement

MAX_LINKS = 5000

DEEPEST = 2000
"""Elements in elements; browsers end at 512 (Blink), extractors take the square of the time beyond, real pages reach 100."""

_REFRESH = re.compile(r"""\s*[\d.]*\s*[;,\s]\s*(?:url\s*=\s*)?(?:"([^"]+)"?|'([^']+)'?|([^\s"'].*))""", re.I | re.S)
_ELEMENT = re.compile(r"<(/?)([a-zA-Z][^\s/<>]*)[^<>]*?(/?)>")
_OPEN_ENDED = frozenset(
    "p li dt dd tr td th thead tbody tfoot colgroup option optgroup html head body area base br col embed hr img input link "
    "meta param source track wbr".split()
)

LEAST_SHARE = 0.2
"""Probability from which on the second language of a page counts: the model reads three pieces, so it is in one of them."""

LEAST_MAIN_TEXT = 60
"""Characters from which on a language can be told of what looks like the main text; less is a heading or a button."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Metadata):
    """What a corpus needs of a page: its main text, one paragraph a line, and what it says about itself."""

    text: str


@dataclass(frozen=True, slots=True)
class Outline:
    """What the crawler needs of a page: links in document order, and the directives of its robots meta tags."""

    links: tuple[str, ...] = ()
    directives: frozenset[str] = frozenset()


def page(html: bytes, url: str, content_type: str | None = None, languages: Collection[str] = ()) -> Page | str:
    """Main text and metadata of a page, or why there are none: `no_text`, or `language_<label>`. Never raises.

    `content_type` is the header of the answer that brought the page. With `languages` (labels such as swh_Latn) a page in
    which none of them is found is not extracted. It may take minutes on a page made for that, or made by a machine: see
    `tasks.crawl.pages.extraction`.
    """
    try:
        source = decode(html, content_type)
        if _is_too_deep(source):
            return "no_text"
        shown = Shown(source)
        if languages and (other := _other_language(shown, languages)):
            return f"language_{other}"
        tree = _parse(source)
        about = metadata(tree, url)  # before the text: to find that, the tree is cut
        text = main_text(shown, tree)
        return Page(text=text, **asdict(about)) if text else "no_text"
    except MemoryError:
        raise
    except Exception as error:  # pages are hostile, and the libraries below raise whatever they like on them
        logging.getLogger(__name__).debug("%s: %s: %s", url, type(error).__name__, error)
        return "no_text"


def outline(html: bytes, url: str, content_type: str | None = None) -> Outline:
    """Links and robots directives of a page, at a fraction of the cost of `page`; empty if it cannot be parsed."""
    try:
        tree = _parse(decode(html, content_type))
        return Outline(_links(tree, url), _directives(tree))
    except MemoryError:
        raise
    except Exception as error:  # as in page
        logging.getLogger(__name__).debug("%s: %s: %s", url, type(error).__name__, error)
        return Outline()


def _is_too_deep(source: str) -> bool:
    """Whether elements stand in each other more than `DEEPEST` deep, by those whose end is not left out by custom."""
    depth = 0
    for closing, name, itself in _ELEMENT.findall(source):
        if not itself and name.lower() not in _OPEN_ENDED:
            depth = max(0, depth - 1) if closing else depth + 1
            if depth > DEEPEST:
                return True
    return False


def _other_language(shown: Shown, languages: Collection[str]) -> str | None:
    """The language of a page in none of `languages`; None also where the model knows none of them.

    By all the text that a reader would see, repaired where it was decoded wrongly, as `clean` does. Where a wanted language is
    only the second in it, which is a page in that language between menus in another one as often as the reverse, what looks
    like the main text decides.
    """
    from tasks.annotate.language import PACKAGED
    from tasks.annotate.language.model import classifier

    wanted = set(languages).intersection(classifier(str(PACKAGED)).labels)
    if not wanted:
        return None
    everything, main = repair(shown.everything()), repair(shown.main)
    first, second = _two_languages(everything)
    if first in wanted:
        return None
    if second in wanted and len(main) >= LEAST_MAIN_TEXT:
        return None if wanted.intersection(_two_languages(main)) else first
    return first


def _two_languages(text: str) -> tuple[str, str]:
    """The best label of a text, and the second if it is likely enough."""
    from tasks.annotate.language import identify

    found = identify([text])[0]
    return found.label, found.runner_up if found.runner_up_score >= LEAST_SHARE else ""


def _parse(text: str) -> HtmlElement:
    from lxml.html import HTMLParser, document_fromstring

    # as bytes: lxml refuses text that carries an encoding declaration of its own
    data = text.replace("\0", "").encode("utf-8", "replace")
    return document_fromstring(data, parser=HTMLParser(encoding="utf-8", no_network=True, huge_tree=False))


def _links(tree: HtmlElement, url: str) -> tuple[str, ...]:
    """Normalised addresses that the page leads to or points a reader at, each once, without those marked rel=nofollow: where
    it is refreshed to, its frames, and its links.

    Only the first `MAX_LINKS` links of a page count: 5 MiB can hold half a million.
    """
    base = next((normalise(element.get("href"), url) for element in tree.iter("base") if element.get("href")), None) or url
    named = (
        element.get("href")
        for element in islice(tree.iter("a", "area"), MAX_LINKS)
        if element.get("href") and "nofollow" not in _words(element.get("rel"))
    )
    frames = (element.get("src") for element in islice(tree.iter("frame", "iframe"), MAX_LINKS) if element.get("src"))
    found = (normalise(address, base) for address in (*_refreshes(tree), *frames, *named))
    return tuple(dict.fromkeys(link for link in found if link))


def _refreshes(tree: HtmlElement) -> Iterator[str]:
    """Where `<meta http-equiv=refresh content="0; url=...">` leads (HTML 4.2.5.3: blanks and quotation marks are free)."""
    for tag in tree.iter("meta"):
        if (tag.get("http-equiv") or "").strip().lower() == "refresh" and (match := _REFRESH.match(tag.get("content") or "")):
            yield match[1] or match[2] or match[3]


def _directives(tree: HtmlElement) -> frozenset[str]:
    """Directives of `<meta name="robots">` and of the tag that names this crawler, in lower case."""
    tags = (tag for tag in tree.iter("meta") if (tag.get("name") or "").strip().lower() in ("robots", AGENT))
    return frozenset(word for tag in tags for word in re.split(r"[\s,]+", (tag.get("content") or "").lower()) if word)


def _words(value: str | None) -> list[str]:
    return (value or "").lower().split()
