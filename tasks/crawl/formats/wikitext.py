"""Wikitext (MediaWiki's markup) to plain text: the prose and headings of an article, one paragraph a line."""

from __future__ import annotations

import re

from mwparserfromhell import parse
from mwparserfromhell.nodes import ExternalLink, Heading, HTMLEntity, Node, Tag, Template, Text, Wikilink
from mwparserfromhell.parser import ParserError
from mwparserfromhell.wikicode import Wikicode

from tasks.crawl.formats.namespaces import folded

DISAMBIGUATION = frozenset(
    [
        *("disambig", "disambiguation", "disamb", "dab", "hndis", "geodis", "begriffsklärung", "desambiguación"),
        *("desambiguação", "homonymie", "maana", "መንታ", "توضيح"),
    ]
)
"""Templates that mark disambiguation pages; Swahili's is Maana. Compare [[MediaWiki:Disambiguationspage]] of each wiki."""

_SHOWN = {"lang": "2", "nowrap": "1", "nobr": "1", "transliteration": "2"}
"""Templates that stand inside sentences, and the parameter that they show."""

_HIDDEN_TAGS = frozenset(
    [
        *("ref", "references", "table", "gallery", "math", "chem", "ce", "score", "timeline", "imagemap", "source", "style"),
        *("syntaxhighlight", "templatestyles", "mapframe", "maplink", "graph", "hiero", "inputbox", "categorytree"),
        *("indicator", "script"),
    ]
)
_OWN_LINE = frozenset(["br", "hr", "p", "div", "li", "dt", "dd", "blockquote", "poem"])
_MEDIA = re.compile(
    r"\.(?:jpe?g|png|gif|svg|tiff?|webp|xcf|pdf|djvu|og[gav]|opus|flac|wav|mp[34]|midi?|web[am]|mpe?g|stl)\s*\Z", re.I
)
_IMAGE_OPTION = re.compile(r"(?:\A|\|)\s*(?:thumb(?:nail)?|(?:en)?framed?|frameless|upright|\d*x?\d+\s*px)\s*(?=[=|]|\Z)", re.I)
"""What shows a file in any wiki, whatever its namespace is called there: the name's ending, and options of its display."""
_LANGUAGE_LINK = re.compile(r"(?:[a-z]{2,3}|simple|[a-z]{2,3}-[a-z-]+|[a-z]{2}-x-old)\s*:")
_HEADING = "\0"
"""Marks a heading line until those without text below are dropped; XML cannot hold it."""

_VARIANTS = re.compile(r"-\{((?:(?!-\{|\}-)[^\n])*+)\}-")
_VARIANT = re.compile(r"\s*(?:[^;:\n]*=>)?\s*([a-z]{2,3}(?:-[a-z]+)*)\s*:")
_NEXT_VARIANT = re.compile(r";(?=\s*(?:[^;:\n]*=>)?\s*[a-z]{2,3}(?:-[a-z]+)*\s*:)")
_SCRIPTS = {
    **dict.fromkeys(("zh-cn", "zh-sg", "zh-my"), "Hans"),
    **dict.fromkeys(("zh-tw", "zh-hk", "zh-mo"), "Hant"),
    **{"sr-ec": "Cyrl", "sr-el": "Latn", "kk-kz": "Cyrl", "kk-tr": "Latn", "kk-cn": "Arab", "tg": "Cyrl", "uz": "Latn"},
    **{"kk": "Cyrl", "iu": "Cans", "sr": "Cyrl", "sh": "Latn", "ku": "Latn", "shi": "Latn", "crh": "Latn", "ban": "Latn"},
}
"""Of variants whose code does not end in their script, as kk-cyrl does."""
_NESTED_VARIANTS = 8
_BROKEN = re.compile(r"\[\[|-\{|\}-|\]\]|\{\{|\}\}|\{\||\|\}|</?ref|^\s*[|!]", re.I)
_LEFT_TAG = re.compile(r"</?[a-zA-Z][^<>\n]{0,200}>")


def article(markup: str, hidden: frozenset[str], script: str | None = None) -> tuple[str, str]:
    """The plain text of an article and "", or "" and why there is none: `disambiguation`, `unparsable`, `no_text`.

    It may take minutes on an article made for that: to be run in a worker. See `plain_text`.
    """
    start = markup.rfind("<!--")
    if start >= 0 and markup.find("-->", start) < 0:  # hides the rest of the page, and costs the parser time without end
        closed = markup.rfind("-->")
        markup = markup[: markup.find("<!--", max(closed, 0))]
    try:
        code = parse(markup)
        if is_disambiguation(code):
            return "", "disambiguation"
        text = plain_text(code, hidden, script)
    except (ParserError, RecursionError, ValueError):
        return "", "unparsable"
    return text, "" if text else "no_text"


def is_disambiguation(code: Wikicode) -> bool:
    """Whether an article only lists the meanings of its title."""
    if "__DISAMBIG__" in code:
        return True
    return any(_template_name(template) in DISAMBIGUATION for template in code.ifilter_templates(recursive=False))


def plain_text(code: Wikicode, hidden: frozenset[str], script: str | None = None) -> str:
    """The text that a reader sees, without templates, tables, references, files, categories and interlanguage links.

    `hidden` are the names, folded, of the namespaces whose links show nothing; `script` (Cyrl) is the one that is kept of
    words in several. A heading is a line of its own, and left out if no text follows it. Lines in which broken markup
    remains are dropped.
    """
    text = _one_variant(_render(code, hidden), script).replace("\xa0", " ")
    text = re.sub(r"__[^\W\d_]+__", "", text)  # switches such as __NOTOC__
    text = re.sub(r"\(\s*[,;:]?\s*\)", "", text)  # what a removed template leaves of "(…)"
    text = re.sub(r"[^\S\n]+(?=[,;.:)])|(?<=\()[^\S\n]+", "", text)
    lines = (_LEFT_TAG.sub("", line) for line in text.split("\n") if not _BROKEN.search(line))
    lines = (re.sub(r"[^\S\n]+", " ", line).strip() for line in lines)
    return "\n".join(_without_empty_sections([line for line in lines if line]))


def _one_variant(text: str, script: str | None) -> str:
    """Text without the marks of MediaWiki's language converter ([[mw:Writing systems/Syntax]]).

    `-{x}-` shows x; of `-{kk-cyrl:A;kk-latn:B}-` the variant in the script is kept, else the first; `-{T|...}-`,
    `-{H|...}-`, `-{D|...}-` and `-{-|...}-` are rules, which show nothing. The innermost come first.
    """

    def one(match: re.Match[str]) -> str:
        flags, bar, body = match[1].rpartition("|")
        if bar and {"T", "H", "D", "-"} & {flag.strip() for flag in flags.split(";")}:
            return ""
        if not _VARIANT.match(body):
            return body
        variants = [
            (_script(found[1]), part[found.end() :].strip().removesuffix(";").rstrip())
            for part in _NEXT_VARIANT.split(body)
            if (found := _VARIANT.match(part))
        ]
        return next((words for written, words in variants if written == script), variants[0][1])

    for _ in range(_NESTED_VARIANTS):
        text, found = _VARIANTS.subn(one, text)
        if not found:
            break
    return text


def _script(variant: str) -> str:
    return _SCRIPTS.get(variant) or variant.rpartition("-")[2].title()


def _render(code: Wikicode | None, hidden: frozenset[str]) -> str:
    return "".join(_node(node, hidden) for node in code.nodes) if code is not None else ""


def _node(node: Node, hidden: frozenset[str]) -> str:
    """What one node shows; comments, arguments and most templates show nothing."""
    if isinstance(node, Text):
        return str(node.value)
    if isinstance(node, Wikilink):
        return _link(node, hidden)
    if isinstance(node, Tag):
        return _tag(node, hidden)
    if isinstance(node, Template):
        return _template(node, hidden)
    if isinstance(node, HTMLEntity):
        return _entity(node)
    if isinstance(node, ExternalLink):
        return _render(node.title, hidden) if node.brackets else str(node.url)
    if isinstance(node, Heading):
        title = _render(node.title, hidden).replace("\n", " ").strip()
        return f"\n{_HEADING}{node.level}{title}\n"
    return ""


def _link(link: Wikilink, hidden: frozenset[str]) -> str:
    target = str(link.title).strip()
    prefix, colon, _ = target.partition(":")
    if colon and (prefix := folded(prefix)):  # with a colon in front it is an ordinary link
        shows_a_file = _MEDIA.search(target) or _IMAGE_OPTION.search(str(link.text or ""))
        if prefix in hidden or _LANGUAGE_LINK.match(target) or shows_a_file:
            return ""
    if link.text is not None:
        return _render(link.text, hidden)
    return _render(link.title, hidden).removeprefix(":").replace("_", " ")


def _tag(tag: Tag, hidden: frozenset[str]) -> str:
    name = str(tag.tag).strip().lower()
    if name in _HIDDEN_TAGS:
        return ""
    if name in _OWN_LINE:
        return f"\n{_render(tag.contents, hidden)}" + ("" if tag.wiki_markup else "\n")
    return _render(tag.contents, hidden)


def _template(template: Template, hidden: frozenset[str]) -> str:
    shown = _SHOWN.get(_template_name(template))
    return _render(template.get(shown).value, hidden) if shown and template.has(shown) else ""


def _template_name(template: Template) -> str:
    return str(template.name).strip().lower().replace("_", " ")


def _entity(entity: HTMLEntity) -> str:
    try:
        return str(entity.normalize() or "").replace(_HEADING, "")
    except (ValueError, OverflowError):  # a number that is no character
        return ""


def _without_empty_sections(lines: list[str]) -> list[str]:
    """Lines with the marks of headings removed, and headings dropped under which there is no text."""
    kept: list[str] = []
    below = 99  # level of the heading that follows; 0 once there is text, or one that is kept
    for line in reversed(lines):
        if not line.startswith(_HEADING):
            kept.append(line)
            below = 0
            continue
        level, title = int(line[1]), line[2:].strip()
        if below < 99 and (below == 0 or level < below) and title:
            kept.append(title)
            below = level
    return kept[::-1]
