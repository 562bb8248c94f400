"""The tags of a page's head that stand for the page: `link` and `meta`, found without parsing the whole of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

HEAD_BYTES = 64 << 10
"""Only tags in the first bytes of a page count."""

_COMMENT = re.compile(rb"<!--.*?(?:-->|\Z)", re.DOTALL)
_ATTRIBUTE = re.compile(r"([a-z][a-z:-]*)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+))", re.IGNORECASE)


def tags(html: bytes, name: str) -> Iterator[dict[str, str]]:
    """The attributes, by name in lower case, of each `name` tag in the head of a page; commented ones do not count."""
    for match in re.finditer(rb"<%s\s([^<>]{1,2000})>" % name.encode(), _COMMENT.sub(b"", html[:HEAD_BYTES]), re.IGNORECASE):
        found = _ATTRIBUTE.findall(match[1].decode("utf-8", "replace"))
        yield {key.lower(): unescape(double or single or bare).strip() for key, double, single, bare in found}
