"""Tests mirror the tree: what `tasks/net/link.py` promises is tested in `tests/net/test_link.py`."""

from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
"""Where programs that a test starts find the code."""
