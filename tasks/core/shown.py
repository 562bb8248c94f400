"""Text that others wrote, as it is shown: on a terminal, in a card, a plot, a page of Prefect. Nothing in it acts or hides.

Control characters move the cursor and rename windows, bidirectional ones reorder a line, invisible ones hide in a name; so what
others wrote goes through here where it is shown, and is kept as it is.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

from lang_configs.secrets import within

_REPLACED = "\ufffd"
_ENDS = re.compile("\r\n?|[\v\f\x1c-\x1e\x85\u2028\u2029]")
_JOINERS = "\u200c\u200d"
"""Non-joiner and joiner, which belong to the spelling of Persian, Kurdish, and the scripts of India."""

_HIDDEN = frozenset("\u115f\u1160\u3164\uffa0\u034f\u17b4\u17b5")
"""Letters and marks that are defined to be invisible."""
_NUMBER_SIGNS = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")
"""What Unicode calls a format and is seen all the same: signs of numbers and verses in Arabic, Syriac and Kaithi."""


def shown(text: str) -> str:
    """A text of one or several lines without what a terminal obeys and nobody sees.

    Line feeds and tabs stay, other ends of lines become line feeds; what is no character of a text (Unicode: Cc, Cs, Co, Cn)
    becomes U+FFFD. What has no width (Cf: bidirectional controls, zero-width spaces, tags; and letters that are defined to be
    invisible) is left out, but for joiners between two letters that may need them.
    """
    if text.isascii() and text.isprintable():
        return text
    text = _ENDS.sub("\n", text)
    return "".join(_one(text, place) for place in range(len(text)))


def shown_line(text: str) -> str:
    """As `shown`, in one line, with single blanks: a title or a name cannot look like another line of ours."""
    return " ".join(shown(text).split())


def shown_json(value: Any, indent: int = 1) -> str:
    """A JSON document that loses nothing: what `shown` would change is written with the escapes of JSON."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    if text.isascii() and "\x7f" not in text:
        return text
    return "".join(one if _one(text, place) == one else _escaped(one) for place, one in enumerate(text))


def shown_within(value: Any) -> Any:
    """A value of JSON with `shown` for each of its texts and keys."""
    return within(value, shown)


def _escaped(character: str) -> str:
    return json.dumps(character)[1:-1] if character > "\x7f" else f"\\u{ord(character):04x}"


def _one(text: str, place: int) -> str:
    character = text[place]
    if character.isprintable() or character in "\n\t":
        return "" if character in _HIDDEN else character
    kind = unicodedata.category(character)
    if kind == "Zs" or character in _NUMBER_SIGNS:
        return character
    if character in _JOINERS and 0 < place < len(text) - 1 and _joined(text[place - 1]) and _joined(text[place + 1]):
        return character
    return "" if kind == "Cf" else _REPLACED


def _joined(character: str) -> bool:
    return character > "\u024f" and unicodedata.category(character)[0] in "LM"
