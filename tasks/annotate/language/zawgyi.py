"""Burmese in Zawgyi: a font encoding that uses the code points of Unicode's Myanmar block for other letters, in another order.

It looks right in its own font alone, and a model would learn it as a second spelling of the language. It shows itself by what
no spelling in Unicode has, in whichever language of the script: signs that have no letter to stand on. (The order is that of
the Unicode Standard, 16.3; `myanmar-tools` tells the two apart by a model of such sequences. A text is refused and not
converted: what a converter makes of mixed text is wrong in places that nobody sees.)
"""

from __future__ import annotations

import re

ZAWGYI = "Qaag"
"""Code of Zawgyi in place of a script's: ISO 15924 keeps it for private use, CLDR uses it so."""
LEAST_SIGNS = 2
"""Such signs in a text: one may be a slip of the keyboard."""
LEAST_SHARE = 0.01
"""Of the characters of the script. Zawgyi has .04 to .15, Burmese, Mon and Shan in Unicode none at all."""

_LETTERS = (
    "\u1000-\u1021\u1023-\u102a\u103f\u104e\u1050-\u1055\u105a-\u105d\u1061\u1065\u1066\u106e-\u1070\u1075-\u1081\u108e"
    "\ua9e0-\ua9e4\ua9e7-\ua9ef\ua9fa-\ua9fe\uaa60-\uaa6f\uaa71-\uaa76\uaa7a\uaa7e\uaa7f"
)
_OF_THE_SCRIPT = re.compile("[\u1000-\u109f\ua9e0-\ua9fe\uaa60-\uaa7f]")
_IMPOSSIBLE = re.compile(
    "(?<=\\s)[\u1031\u103b-\u103e]"  # a vowel or a medial that begins a word
    "|(?<=[\u102b-\u1030\u1032\u1036-\u1038])\u1031"  # or a syllable
    f"|\u1039(?=[^{_LETTERS}])"  # a stacked letter that is none
)


def is_zawgyi(text: str) -> bool:
    """Whether a text, or the normalised windows of one, is in Zawgyi."""
    signs = len(_IMPOSSIBLE.findall(text))
    return signs >= LEAST_SIGNS and signs >= LEAST_SHARE * len(_OF_THE_SCRIPT.findall(text))
