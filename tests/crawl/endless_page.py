"""A page that only the time limit ends."""

from __future__ import annotations

ENDLESS = b"<html><body><article><p>" + b"<a href=/><span>habari</span></a> " * 100_000
"""trafilatura 2.1 takes minutes for this, in C code that no signal interrupts; it is asked because all of it is links."""
