"""What goes wrong in one clear sentence."""

from __future__ import annotations


class StageError(Exception):
    """A stage cannot go on; the message is one clear sentence for the person who runs it."""
