"""How much may come out of a file: more than any text, and less than what a file made for it unfolds to."""

from __future__ import annotations

from pathlib import Path

RATIO = 200
"""Bytes that each byte of a file may give. Chosen between text and a deflate bomb, which gives about 1,000."""

ALWAYS = 256 << 20
"""Bytes that every file may give, however small it is."""


def most_bytes(path: Path) -> int:
    """Bytes of text, and rows, after which no more is read of a file."""
    return max(ALWAYS, RATIO * path.stat().st_size)
