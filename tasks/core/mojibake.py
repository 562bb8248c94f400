"""Text in UTF-8 that was read as Latin-1 or Windows-1252 (`ngâ€™ombe`), and what it was meant to be."""

from __future__ import annotations

import re

CONTINUATIONS = "\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
"""UTF-8's continuation bytes, as Latin-1 or Windows-1252 shows them."""

_OTHER_SCRIPTS = "\u0370-\u1fff\u2c00-\uffff"
_SUSPECT = re.compile(f"[\u00c2-\u00f4][{CONTINUATIONS}]|(?<![{_OTHER_SCRIPTS}])[\u0080-\u009f](?![{_OTHER_SCRIPTS}])")
"""What UTF-8 read as Latin-1 or Windows-1252 looks like, or a character of Windows-1252 (an apostrophe, a dash) in Latin text;
inside an Ethiopic word it is what was left of a lost letter.
"""


def repair(text: str) -> str:
    """Undo a wrong decoding (`ngâ€™ombe`) with ftfy, in the lines that look like one; all others stay untouched.

    (ftfy: R. Speer, doi 10.5281/zenodo.2591652. It is slow, and judges each line on its own evidence.)
    """
    if not _SUSPECT.search(text):
        return text
    from ftfy import fix_encoding

    return "\n".join(fix_encoding(line) if _SUSPECT.search(line) else line for line in text.split("\n"))
