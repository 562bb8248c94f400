"""Characters and layout of a text: wrong decodings, HTML leftovers, Unicode, scripts, white space."""

from __future__ import annotations

import functools
import html
import re
import unicodedata

from tasks.clean.signs import (
    ALL,
    COMPOSE,
    ENTITY,
    INVISIBLE,
    LAYOUT,
    LINE_ENDS,
    MARKUP,
    ODD_SPACES,
    PRESENTATION,
    SCRIPT,
    SUSPECT,
    ZERO_WIDTH_SPACE,
)
from tasks.core.characters import southeast
from tasks.core.mojibake import repair

_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-fA-F]{1,6}|[a-zA-Z]\w{1,30});")
_LINE_ENDS = re.compile(f"\r\n|[{LINE_ENDS}]")
_ODD_SPACES = re.compile(f"[{ODD_SPACES}]+")
_RUNS = re.compile(r" {2,}")
_BREAKS = re.compile(r" ?\n ?(?:\n ?)+")
_INVISIBLE = re.compile(f"[{INVISIBLE}]")
_ZERO_WIDTH = re.compile(f"(?<=[{southeast()}])({ZERO_WIDTH_SPACE}){ZERO_WIDTH_SPACE}*(?=[{southeast()}])|{ZERO_WIDTH_SPACE}+")
"""One that sets off words (the group), or any other."""

_CODE = r"(?P<code>```[\s\S]*?(?:```|\Z)|`[^`\n]{1,500}`)"


def _outside_code(pattern: str) -> re.Pattern[str]:
    """The pattern, or code in Markdown's fences and backquotes: a match of the latter is kept, and no line begins after it."""
    return re.compile(f"{_CODE}|{pattern}", re.MULTILINE | re.IGNORECASE)


_COMMENT = _outside_code(r"<!--")
_LONGEST_COMMENT = 5000
_BLOCKS = "p|br|hr|div|h[1-6]|ul|ol|li|dl|dt|dd|table|thead|tbody|tr|blockquote|pre|section|article|header|footer|figure|center"
_INLINE = "b|i|u|s|em|strong|small|big|sub|sup|strike|del|ins|tt|cite|abbr|td|th|figcaption|iframe|nobr|wbr"
_ATTRIBUTES = r"(?:\s+[\w:-]+\s*=\s*(?:\"[^\"<>]*\"|'[^'<>]*'|[^\s<>\"']+))"
_BLOCK = _outside_code(rf"</?(?:{_BLOCKS}){_ATTRIBUTES}*\s*/?>")
_TAG = _outside_code(rf"</?(?:{_INLINE}){_ATTRIBUTES}*\s*/?>|</?(?:a|img|font|span){_ATTRIBUTES}+\s*/?>|</(?:a|font|span)>")
_DIRECTIVE = _outside_code(
    r"^[ \t]*@(?:end)?(?:foreach|forelse|for|while|if|elseif|else|unless|section|extends|yield|include|auth|guest|csrf|php)"
    r"(?:[ \t]*\(.*\))?[ \t]*(?:\n|$)"
)
_EXPRESSION = _outside_code(r"^[^`\n]{0,80}\{\{\s*\$[^{}`\n]{1,200}\}\}[^`\n]{0,80}(?:\n|$)")
"""A line of a Laravel Blade template around a variable that nobody filled in."""

_PRESENTATION = re.compile(f"[{PRESENTATION}]+")
_ARABIC = "\u0620-\u063f\u0641-\u065f\u066e-\u06d3"
_TATWEEL = re.compile(f"(?<=[{_ARABIC}])\u0640+(?=[{_ARABIC}])")
_ETHIOPIC = "\u1200-\u135f\u1380-\u138f\u2d80-\u2ddf"
_WORD_SPACE = re.compile(f"(?<=[{_ETHIOPIC}])\u1361(?=[{_ETHIOPIC}])")
_OTHER_WORD_SPACE = re.compile("(?<![0-9\u1369-\u137c])\u1361|\u1361(?![0-9\u1369-\u137c])")


def tidy(text: str, signs: int = ALL) -> tuple[str, bool, int]:
    """The text in NFC with plain white space; whether its encoding was repaired; how many tags and templates were removed.

    HTML entities are resolved, comments and tags removed, invisible characters too; runs of blanks become one blank, of
    empty lines one empty line. `signs` (see `tasks.clean.signs`) says which rules may have anything to do.
    """
    repaired, removed, before = False, 0, text
    if signs & SUSPECT:
        text = repair(text)
        repaired = text != before
    if signs & LAYOUT or text != before:
        text = _visible(text)
    if signs & ENTITY or text != before:
        text = _ENTITY.sub(lambda match: html.unescape(match.group()), text)
    if text != before:
        text, signs = _visible(text), ALL
    if signs & MARKUP:
        text, removed = without_markup(text)
    if signs & SCRIPT:
        text = plain_letters(text)
    if signs & COMPOSE or text != before:
        text = unicodedata.normalize("NFC", text)
    if signs & LAYOUT or text != before:
        text = _RUNS.sub(" ", _ODD_SPACES.sub(" ", text))
        text = _BREAKS.sub("\n\n", text).replace(" \n", "\n").replace("\n ", "\n").strip(" \n")
    return text, repaired, removed


def _visible(text: str) -> str:
    """The text with plain line ends and without invisible characters, but for those that its spelling needs."""
    text = _INVISIBLE.sub("", _LINE_ENDS.sub("\n", text))
    return _ZERO_WIDTH.sub(r"\1", text) if ZERO_WIDTH_SPACE in text else text


def without_markup(text: str) -> tuple[str, int]:
    """The text without HTML comments, tags of known elements and lines of Blade templates, and how many there were.

    Code in Markdown's fences and backquotes stays, and so do `<unk>`, `<branch>`, `a < b` and `<3`.
    """
    text, total = _without_comments(text)

    def replace(match: re.Match[str], instead: str) -> str:
        nonlocal total
        if match["code"]:
            return match.group()
        total += 1
        return instead

    for pattern, instead in ((_BLOCK, "\n"), (_TAG, ""), (_DIRECTIVE, ""), (_EXPRESSION, "")):
        text = pattern.sub(functools.partial(replace, instead=instead), text)
    return text, total


def _without_comments(text: str) -> tuple[str, int]:
    """The text without its HTML comments, and how many there were; in linear time, however many of them are not closed."""
    kept: list[str] = []
    at = position = found = 0
    end = -1
    while match := _COMMENT.search(text, position):
        position = match.end()
        if match["code"]:
            continue
        if end < position and (end := text.find("-->", position)) < 0:
            break
        if end - position <= _LONGEST_COMMENT:
            kept.append(text[at : match.start()])
            at = position = end + len("-->")
            found += 1
    return "".join([*kept, text[at:]]), found


def plain_letters(text: str) -> str:
    """Letters instead of their positional forms and ligatures, no tatweel inside a word, blanks between Ethiopic words.

    U+1361, twice, is a full stop on keyboards without one. Between two letters it is a word space, which modern text writes
    as a blank; in a text where that is its main use, so it is everywhere but in numbers. With a blank after it, it is a comma
    (Tigrinya) or a colon and stays.
    """
    text = _PRESENTATION.sub(lambda match: unicodedata.normalize("NFKC", match.group()), text)
    text = _TATWEEL.sub("", text)
    if "\u1361" in text:
        text, tight = _WORD_SPACE.subn(" ", text.replace("\u1361\u1361", "\u1362"))
        if tight > text.count("\u1361"):
            text = _OTHER_WORD_SPACE.sub(" ", text)
    return text
