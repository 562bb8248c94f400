"""Articles of a Wikimedia dump (pages-articles XML), as plain text: Wikipedia and its sister projects."""

from __future__ import annotations

import bz2
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from urllib.parse import quote

from lxml.etree import XMLPullParser, XMLSyntaxError, _Element

from lang_configs.sources import WikipediaSource
from tasks.core.documents import Document
from tasks.core.errors import StageError
from tasks.crawl import workers
from tasks.crawl.batches import Cursor, resumable
from tasks.crawl.formats.namespaces import folded, hidden_names
from tasks.crawl.formats.wikitext import article
from tasks.crawl.sources import Estimate, StreamSource, register
from tasks.net.download import MissingError, download, read, size

LATEST = "https://dumps.wikimedia.org/{wiki}/latest/{wiki}-latest-pages-articles.xml.bz2"

ARTICLE_SECONDS = 20.0
"""Wall-clock limit of one article. Chosen, not measured."""

_BLOCK = 1 << 20
_PROJECTS = {  # ending of a database name -> domain; https://meta.wikimedia.org/wiki/Special:SiteMatrix
    "wiki": "wikipedia.org",
    "wiktionary": "wiktionary.org",
    "wikibooks": "wikibooks.org",
    "wikinews": "wikinews.org",
    "wikiquote": "wikiquote.org",
    "wikisource": "wikisource.org",
    "wikivoyage": "wikivoyage.org",
    "wikiversity": "wikiversity.org",
}


@register
class Wikipedia(StreamSource[WikipediaSource]):
    """A Wikimedia dump."""

    model = WikipediaSource

    @property
    def where(self) -> str:
        return self.config.dump or LATEST.format(wiki=self.config.wiki)

    def estimate(self) -> Estimate:
        """Bytes of the dump."""
        if _remote(self.where):
            return Estimate(size(self.where), f"dump {self.where}")
        _local(self.config, self.where)
        return Estimate(0, "a dump on this machine")

    def documents(self, state: Path, report: Counter[str]) -> Iterator[Document]:
        """Yield the articles of a dump in its order; `state` keeps the download and what was read, see `resumable`.

        `report` counts `documents`, and the pages left out: `other_namespace`, `redirect`, `disambiguation`, `no_text`,
        `unparsable`. A dump that ends too early counts as `dump_cut`, one that cannot be read on from some place as
        `dump_damaged`; what comes before is kept. `fetched_at` is the time of the download, unknown for a local file.
        Raises StageError when the dump cannot be fetched, does not exist, or holds no page at all.
        """
        dump = self._dump(state)
        yield from resumable(state / "articles", lambda cursor: _articles(self.config, dump, cursor), report)

    def _dump(self, state: Path) -> _Dump:
        if not _remote(self.where):
            return _Dump(self.where, _local(self.config, self.where), None)
        path = state / Path(self.where.partition("?")[0]).name[-100:]
        sha1 = partial(_published_sha1, self.where) if self.config.sha256 is None else None
        download(self.where, path, self.config.sha256, sha1=sha1)
        return _Dump(self.where, path, datetime.fromtimestamp(int(path.stat().st_mtime), UTC))


@dataclass(frozen=True)
class _Dump:
    """A dump on this machine; `fetched_at` is None unless it was downloaded from `address`."""

    address: str
    path: Path
    fetched_at: datetime | None


def _remote(address: str) -> bool:
    return re.match(r"https?://", address) is not None


def _local(config: WikipediaSource, address: str) -> Path:
    path = Path(address).expanduser()
    if not path.is_file():
        raise StageError(f"crawl.{config.name}: there is no dump {path}; correct the key dump, or leave it out for the latest")
    return path


def _published_sha1(address: str) -> str | None:
    """The SHA-1 of a dump in the list beside it, as dumps.wikimedia.org and its mirrors have one; None if there is no list."""
    match = re.fullmatch(r"(.*/)([a-z0-9_]+)-(latest|\d{8})-(\S+)", address)
    if match is None:
        return None
    folder, wiki, date, kind = match.groups()
    try:
        listed = read(f"{folder}{wiki}-{date}-sha1sums.txt").decode("ascii", "replace")
    except MissingError:
        return None
    # the list of `latest` names the files by their dates
    found = re.search(rf"^([0-9a-f]{{40}})  {wiki}-(?:\d{{8}}|latest)-{re.escape(kind)}$", listed, re.M)
    return found[1] if found else None


@dataclass(frozen=True)
class _Site:
    """What a dump says about its wiki before the first page."""

    base: str
    """Address of an article, without its title."""
    hidden: frozenset[str]
    """Names, folded, of the namespaces whose links show no text: files and categories."""


def _articles(source: WikipediaSource, dump: _Dump, cursor: Cursor) -> Iterator[Document | str]:
    site, done, number = _site(_default_base(source.wiki)), cursor.get("pages", 0), 0
    try:
        for element in _elements(dump.path):
            if element.tag.endswith("siteinfo"):
                site = _read_site(element, site)
                continue
            number += 1
            if number > done:  # parsing XML again is cheap beside parsing wikitext
                result = _article(element, site, source, dump.fetched_at)
                cursor["pages"] = number
                yield result
    except _BrokenError as broken:
        if number == 0:
            if dump.fetched_at is not None:  # perhaps a page of an access point that asks for a login: the next run asks again
                dump.path.unlink(missing_ok=True)
            raise StageError(
                f"{dump.address}: this is no dump of a wiki ({broken}); "
                f"crawl.{source.name} needs pages-articles, .xml or .xml.bz2"
            ) from broken
        yield broken.reason


class _BrokenError(Exception):
    """Nothing more can be read of a dump."""

    def __init__(self, reason: str, detail: object) -> None:
        super().__init__(str(detail))
        self.reason = reason


def _elements(path: Path) -> Iterator[_Element]:
    """The `siteinfo` and `page` elements of a dump, each freed after use; raises _BrokenError where reading ends too early."""
    # no entity is expanded, no DTD loaded, and libxml2's limits on depth and size stay on: a dump may be hostile
    parser = XMLPullParser(
        events=("end",),
        tag=("{*}siteinfo", "{*}page", "{*}mediawiki"),
        resolve_entities=False,
        no_network=True,
        huge_tree=False,
    )
    broken: _BrokenError | None = None
    complete = False
    blocks = _blocks(path)
    while broken is None and not complete:
        try:
            parser.feed(next(blocks))
        except StopIteration:
            broken = _BrokenError("dump_cut", "it ends too early")
        except EOFError as error:
            broken = _BrokenError("dump_cut", error)
        except (OSError, ValueError, XMLSyntaxError) as error:
            broken = _BrokenError("dump_damaged", error)
        for _, element in parser.read_events():
            if element.tag.endswith("mediawiki"):
                complete = True
                continue
            yield element
            _free(element)
    if broken is not None:
        raise broken


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        compressed = file.read(3) == b"BZh"
        file.seek(0)
        stream = bz2.BZ2File(file) if compressed else file
        while block := stream.read1(_BLOCK):
            yield block
        if file.read(1):  # BZ2File takes what it cannot read between two streams for the end
            raise OSError("the compressed data is damaged")


def _free(element: _Element) -> None:
    element.clear()
    parent = element.getparent()
    if parent is not None:
        while element.getprevious() is not None:
            del parent[0]


def _site(base: str) -> _Site:
    code = re.match(r"https?://([^./]+)", base)
    return _Site(base, hidden_names(code[1] if code else ""))


def _read_site(element: _Element, site: _Site) -> _Site:
    """The wiki's own names of its namespaces of files (-2, 6) and categories (14), and the address of its articles."""
    spaces = element.iterfind("{*}namespaces/{*}namespace")
    names = {folded(space.text) for space in spaces if space.get("key") in ("-2", "6", "14") and space.text}
    base = re.match(r"https?://[^/\s]+(?=/)", element.findtext("{*}base") or "")
    known = _site(f"{base[0]}/wiki/") if base else site
    return _Site(known.base, known.hidden | names)


def _article(page: _Element, site: _Site, source: WikipediaSource, fetched_at: datetime | None) -> Document | str:
    """The article of one `page` element, or why there is none."""
    revision = page.find("{*}revision[last()]")
    title = (page.findtext("{*}title") or "").strip()
    if page.findtext("{*}ns") != "0":
        return "other_namespace"
    if page.find("{*}redirect") is not None:
        return "redirect"
    if revision is None or (revision.findtext("{*}model") or "wikitext") != "wikitext":
        return "no_text"
    try:
        text, reason = workers.ask(
            article, revision.findtext("{*}text") or "", site.hidden, source.script, limit=ARTICLE_SECONDS
        )
    except workers.OverrunError:
        return "unparsable"
    if reason:
        return reason
    return Document(
        text=text,
        source=source.name,
        url=site.base + quote(title.replace(" ", "_"), safe="/:;@$!*(),~"),  # as MediaWiki's wfUrlencode
        title=title,
        license=source.license,
        fetched_at=fetched_at,
        published_at=_moment(revision.findtext("{*}timestamp")),
    )


def _moment(timestamp: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(timestamp or "").astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _default_base(wiki: str) -> str:
    for ending in sorted(_PROJECTS, key=len, reverse=True):
        if wiki.endswith(ending):
            return f"https://{wiki.removesuffix(ending).replace('_', '-')}.{_PROJECTS[ending]}/wiki/"
    return f"https://{wiki}/wiki/"
