"""The Creative Commons licence that a page states for itself, as an SPDX id (spdx.org/licenses).

A machine-readable statement counts first: rel=license (microformats), RDFa and microdata, meta tags (Dublin Core), JSON-LD
(schema.org). Without one, a link in the words of a licence notice does. A wrong permission is worse than none: several
different licences, or a link beside a picture, are no statement.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxml.html import HtmlElement

VERSIONS = ("1.0", "2.0", "2.5", "3.0", "4.0")

_ADDRESS = re.compile(r"(?:https?:)?//(?:www\.)?creativecommons\.org/(licenses|publicdomain)/([a-z-]+)/(\d\.\d)(?![\d.])")
_NAME = re.compile(r"\bcc[\s-]+(by(?:[\s-]+(?:nc|nd|sa))*)[\s-]+(?:v\.?\s?)?(\d\.\d)(?![\d.])")
_LONG_NAME = re.compile(
    r"(?:creative\s+commons|\bcc)[\s-]+(attribution(?:[\s-]+(?:non-?commercial|no-?deriv\w*|share-?alike))*)[\s-]+(\d\.\d)(?![\d.])"
)
_ZERO = re.compile(r"\bcc[\s-]?0[\s-]+(?:v\.?\s?)?1\.0(?![\d.])")
_SHORT = ((r"attribution", "by"), (r"non-?commercial", "nc"), (r"no-?deriv\w*", "nd"), (r"share-?alike", "sa"))
_RELATIONS = {"license", "dcterms.license"}
_PROPERTIES = {"license", "cc:license", "dct:license", "dcterms:license", "xhv:license", "dc:rights", "schema:license"}
_TAGS = {"license", "rights", "copyright", "dc.rights", "dc.rights.license", "dc.license", "dcterms.rights", "dcterms.license"}
_NOTICE = re.compile(r"licen[cs]|lizen[zc]|lisens|leseni|lasis|ፈቃድ|àṣẹ|creative\s+commons", re.I)
_PICTURE = re.compile(r"photo|picture|image|picha|hoto|foto|àwòrán|ፎቶ", re.I)
_BLOCKS = {"p", "div", "li", "td", "footer", "section", "aside", "small", "dd", "article", "main", "body"}
_NOTICE_CHARACTERS = 400
"""Text around a link that is looked at for the words of a notice."""


def license_id(stated: str) -> str | None:
    """SPDX id of a Creative Commons address or name ("CC BY-SA 4.0"); None for all else, and for a name without a version.

    Ports to a jurisdiction count as the licence that they port.
    """
    stated = stated.strip().lower()
    if match := _ADDRESS.match(stated):
        folder, kind, number = match.groups()
        if folder == "publicdomain":
            return {("zero", "1.0"): "CC0-1.0", ("mark", "1.0"): "CC-PDM-1.0"}.get((kind, number))
        return _spdx(kind.split("-"), number)
    if match := _NAME.search(stated):
        return _spdx(re.split(r"[\s-]+", match[1]), match[2])
    if match := _LONG_NAME.search(stated):
        return _spdx([short for long, short in _SHORT if re.search(long, match[1])], match[2])
    return "CC0-1.0" if _ZERO.search(stated) else None


def license_of(tree: HtmlElement, linked_data: Iterable[str] = ()) -> str | None:
    """The licence that a page states for itself; None if it states none, or several (then it is not known which).

    `linked_data` holds the values of `license` in the page's JSON-LD.
    """
    stated = {license_id(value) for value in (*_statements(tree), *linked_data)}
    if not stated:
        stated = set(_notices(tree))
    return stated.pop() if len(stated) == 1 else None


def _spdx(parts: list[str], number: str) -> str | None:
    known = set(parts) <= {"by", "nc", "nd", "sa"} and "by" in parts and not {"nd", "sa"} <= set(parts)
    if not known or number not in VERSIONS:
        return None
    return "-".join(["CC", *(part.upper() for part in ("by", "nc", "nd", "sa") if part in parts), number])


def _statements(tree: HtmlElement) -> Iterator[str]:
    """What the page's markup says is its licence. Of prose in a meta tag only what names a licence is a statement."""
    for element in tree.iter("a", "link", "area"):
        stated = _RELATIONS & set(_words(element, "rel")) or _PROPERTIES & set(_words(element, "property", "itemprop"))
        if stated:
            yield element.get("href") or ""
    for element in tree.iter("meta"):
        if (_TAGS | _PROPERTIES) & set(_words(element, "name", "property", "itemprop")):
            value = element.get("content") or ""
            if license_id(value):
                yield value


def _notices(tree: HtmlElement) -> Iterator[str]:
    """Licences that links name by their address or their text, where the words around say that it is a licence notice."""
    for link in tree.iter("a"):
        href = link.get("href") or ""
        found = license_id(href) if "creativecommons.org" in href else license_id(_text(link))
        if found and _is_notice(link):
            yield found


def _is_notice(link: HtmlElement) -> bool:
    block = None
    for ancestor in link.iterancestors():
        if ancestor.tag in ("figure", "figcaption", "picture"):
            return False
        if block is None and ancestor.tag in _BLOCKS:
            block = ancestor
    around = _text(block if block is not None else link)
    return bool(_NOTICE.search(around)) and not _PICTURE.search(around)


def _text(element: HtmlElement) -> str:
    return " ".join(element.text_content()[: 4 * _NOTICE_CHARACTERS].split())[:_NOTICE_CHARACTERS]


def _words(element: HtmlElement, *names: str) -> list[str]:
    return [word for name in names for word in (element.get(name) or "").lower().split()]
