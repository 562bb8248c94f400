"""How the wikis of MediaWiki call the namespaces whose links show no text: files and categories."""

from __future__ import annotations

import functools
import re
import unicodedata
from pathlib import Path

TABLE = Path(__file__).with_name("namespaces.tsv")
"""Code of a Wikipedia, as in its address, and its own names and aliases; made by `tools/namespaces.py`."""

HIDDEN = frozenset({"file", "image", "media", "category"})
"""The names that every wiki knows."""

FALLBACKS = frozenset("ar az da de el es fa fi fr hi id it ka nb nl pl pt ro ru sv tr uk zh".split())
"""Languages whose messages stand in for those that others lack in MediaWiki: what is translated or older uses their names."""

_DIRECTION_MARKS = re.compile("[\u200e\u200f\u202a-\u202e]")


def folded(name: str) -> str:
    """A namespace's name as MediaWiki compares it: without case and marks of direction, `_` as a blank, in NFC."""
    lower = unicodedata.normalize("NFC", _DIRECTION_MARKS.sub("", name)).lower().replace("i\u0307", "i")  # of the Turkish İ
    return " ".join(lower.replace("_", " ").split())


@functools.cache
def hidden_names(code: str) -> frozenset[str]:
    """The folded names of the namespaces of files and categories that pages of the Wikipedia `code` (sw, zh-min-nan) use."""
    rows = (line.split("\t") for line in TABLE.read_text("utf-8").splitlines() if not line.startswith("#"))
    return HIDDEN.union(*(names.split("|") for language, names in rows if language in FALLBACKS or language == code))
