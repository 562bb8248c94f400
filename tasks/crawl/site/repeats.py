"""Traps, told by what their pages say: the same text under ever new addresses (sessions, endless paths, calendars).

Nothing is skipped for its address alone. A page with the text of another page of its site counts as `repeated`, not towards
`max_pages`; what is found on such pages, or on pages with the words of another and other numbers, waits until nothing else
does, and is left (`trap`) once `REPEATS` pages in a row were repeated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

import xxhash

REPEATS = 50
"""Pages in a row, found on repeated ones, that are repeated themselves: then nothing more is to be had there."""

DEEPEST = 20
"""Pages with the words of others that lead to each other, one behind the other: a calendar has no end."""

ALIKE = 200
"""Such pages under addresses that differ in their queries: a counter of visitors makes a new text of each session."""

_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, slots=True)
class Content:
    """Hashes of all that a reader sees of a page: of its text, and of the set of its words, without numbers."""

    text: bytes
    words: bytes


def content(text: str) -> Content | None:
    """What a page says; None of a page without a word: that is an image, a program, or leads elsewhere."""
    words = sorted(set(_WORD.findall(text)))
    if not words:
        return None
    text_digest, words_digest = (xxhash.xxh3_128_digest(" ".join(parts).encode()) for parts in (text.split(), words))
    return Content(text_digest, words_digest)


def shape(url: str) -> str | None:
    """Address without the values of its query, None if it has no query: what a session or a form makes many of."""
    parts = urlsplit(url)
    names = sorted({item.partition("=")[0] for item in re.split("[&;]", parts.query) if item})
    return f"{parts.path}?{'&'.join(names)}" if names else None
