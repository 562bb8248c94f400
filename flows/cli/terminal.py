"""The one place that writes on the terminal: whatever is said goes through here, also what the loggers of the tasks say."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from lang_configs.secrets import within, without_secrets
from tasks.core.shown import shown, shown_line


def say(text: str = "", file: TextIO | None = None, end: str = "\n") -> None:
    """Print lines of ours; what others wrote in them cannot act on the terminal."""
    print(shown(text), end=end, file=file or sys.stdout, flush=True)


def legible(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document for `say`: each text in it is one line, so that none looks like a line of ours, but for `text` itself."""
    return {key: shown(value) if key == "text" else within(value, shown_line) for key, value in document.items()}


class Warnings(logging.Handler):
    """Says what loggers warn of, on the error output."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say one record, in one line if it has no traceback."""
        try:
            text = without_secrets(self.format(record))
            say(text if record.exc_info else shown_line(text), sys.stderr)
        except Exception:
            self.handleError(record)
