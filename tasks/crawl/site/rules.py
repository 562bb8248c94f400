"""The rules of a robots.txt for this crawler: what RFC 9309 says of lines, groups and paths, in time linear in the file.

Written here and not taken from a library, because both what a rule means to us and what a hostile file costs must be sure:
Protego keeps all groups of all agents (500 kB of agents that share their rules took it 240 s and 3.2 GB), compares agents by
their beginnings and splits lines at characters that are no line ends; its patterns backtrack.
"""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlsplit

from tasks.net.agent import AGENT

_LINE_ENDS = re.compile(r"\r\n?|\n")
_BLANKS = " \t\v\f"
_AFTER_TOKEN = re.compile(r"[^A-Za-z_-].*", re.DOTALL)
_KEYS = {
    **dict.fromkeys(("user-agent", "useragent", "user agent"), "agent"),
    **dict.fromkeys(("disallow", "dissallow", "dissalow", "disalow", "diasllow", "disallaw"), "disallow"),
    **dict.fromkeys(("sitemap", "site-map"), "sitemap"),
    "allow": "allow",
    "crawl-delay": "delay",
}
"""Names of lines in lower case, with the misspellings that Google's parser reads as what they mean."""

_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})|[^\x21-\x7e]|%")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_IN_QUERY = _UNRESERVED | frozenset(":/?@!'(),;[]")
"""Characters that mean the same escaped and not: everywhere, and in a query (the second example of RFC 9309, 2.2.2)."""


class Pattern(NamedTuple):
    """The path of one rule: what stands between its asterisks, and whether a path must end with it (`$`)."""

    parts: tuple[str, ...]
    ends: bool

    def matches(self, path: str) -> bool:
        """Whether a path begins with it. Each part at its first place: no other choice can fit where this one does not."""
        first, *rest = self.parts
        if not path.startswith(first):
            return False
        if not rest:
            return not self.ends or path == first
        at = len(first)
        *middle, last = rest
        for part in middle:
            if (at := path.find(part, at)) < 0:
                return False
            at += len(part)
        return path.find(last, at) >= 0 if not self.ends else len(path) - len(last) >= at and path.endswith(last)


@dataclass(frozen=True)
class Rules:
    """`patterns`: whether each allows, the longest first. `delay`: seconds (Crawl-delay); `sitemaps`: as they stand there."""

    patterns: tuple[tuple[Pattern, bool], ...] = ()
    delay: float = 0.0
    sitemaps: tuple[str, ...] = ()

    def allows(self, url: str) -> bool:
        """Whether an address may be fetched: by the longest rule that fits, by `Allow` if two are as long, else yes."""
        parts = urlsplit(url)
        path = _verbatim(escaped((parts.path or "/") + (f"?{parts.query}" if "?" in url else "")).replace("*", "%2A"))
        return next((allow for pattern, allow in self.patterns if pattern.matches(path)), True)


def rules(lines: Iterable[tuple[str, bool]], delay: float = 0.0, sitemaps: Iterable[str] = ()) -> Rules:
    """Rules from paths, with `*` and `$`, and whether each allows; an empty path is no rule."""
    ordered = sorted({(escaped(path), allow) for path, allow in lines if path}, key=lambda rule: (-len(rule[0]), not rule[1]))
    return Rules(tuple((_pattern(path), allow) for path, allow in ordered), delay, tuple(dict.fromkeys(sitemaps)))


def parse(body: bytes) -> Rules:
    """The rules of a robots.txt for this crawler: those of its own groups, together, or those for `*`. Never raises.

    Only what concerns it is kept, so that time and memory are linear in the file.
    """
    ours: dict[bool, list[tuple[str, bool]]] = {True: [], False: []}  # by whether the group names this crawler
    delays: dict[bool, float] = {True: 0.0, False: 0.0}
    sitemaps: list[str] = []
    named: set[bool] = set()  # of the group that is being read
    specific = in_rules = False
    for key, value in _lines(_text(body)):
        if key == "sitemap":
            sitemaps.append(value)
        elif key == "agent":
            value = value.strip()  # of other blanks too: what names us and what names all must not be missed
            if in_rules:
                named, in_rules = set(), False
            if value == "*" or (value[:1] == "*" and value[1:2].isspace()):
                named.add(False)
            elif _AFTER_TOKEN.sub("", value).lower() == AGENT:
                named.add(True)
                specific = True
        else:
            in_rules = in_rules or key != "delay"
            for group in named:
                if key == "delay":
                    delays[group] = max(delays[group], _seconds(value))
                else:
                    ours[group].append((value, key == "allow"))
    return rules(ours[specific], delays[specific], sitemaps)


def _text(body: bytes) -> str:
    """UTF-8, also where it follows a part of its byte order mark; UTF-16 where such a mark says so. NUL is no character."""
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        if body.startswith(mark):
            return body[2:].decode(encoding, "replace").replace("\0", "")
    for length in (3, 2, 1):
        if body.startswith(codecs.BOM_UTF8[:length]):
            body = body[length:]
            break
    return body.replace(b"\0", b"").decode("utf-8", "replace")


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """Kind and value of each line that means something; lines end with CR, LF or both, and with nothing else."""
    at = 0
    while at < len(text):
        end = _LINE_ENDS.search(text, at)
        line = text[at : end.start() if end else len(text)].partition("#")[0]
        at = end.end() if end else len(text)
        name, colon, value = line.partition(":")
        if not colon:
            words = line.split()
            if len(words) != 2:
                continue
            name, value = words
        if kind := _KEYS.get(name.strip().lower()):
            yield kind, value.strip(_BLANKS)


def escaped(path: str) -> str:
    """A path, or the pattern of one, in one spelling (RFC 9309, 2.2.2): escapes in capitals, and only where they matter."""
    before, mark, query = path.partition("?")
    return _escaped(before, _UNRESERVED) + mark + _escaped(query, _IN_QUERY)


def _escaped(text: str, plain: frozenset[str]) -> str:
    def one(match: re.Match[str]) -> str:
        if match[1] is None:
            return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "replace"))
        character = chr(int(match[1], 16))
        return character if character in plain else match[0].upper()

    return _ESCAPE.sub(one, text)


def _pattern(path: str) -> Pattern:
    ends = path.endswith("$")
    first, *rest = _verbatim(path.removesuffix("$")).split("*")
    inner = [part for part in rest[:-1] if part]
    return Pattern((first, *inner, *rest[-1:]), ends)


def _verbatim(path: str) -> str:
    """With the special sign escaped where it is none (RFC 9309, 2.2.3): `%24` in a rule means `$` in an address."""
    return path.replace("$", "%24")


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        return 0.0
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0
