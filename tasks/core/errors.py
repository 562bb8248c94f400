"""What goes wrong in one clear sentence, and the exit code that says of which kind it was.

A mistake in a configuration or on the command line is a `lang_configs.ConfigError` (2); what keeps a stage from going on, or
is not there, a StageError (1). All else is a fault of this program, whose traceback is worth reading.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

from lang_configs import ConfigError
from lang_configs.secrets import without_secrets
from tasks.core.files import FULL, is_full
from tasks.core.shown import shown_line

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the number of SIGINT, as shells have it."""
TERMINATED = 143
"""Exit code after SIGTERM."""


class StageError(Exception):
    """A stage cannot go on; the message is one clear sentence for the person who runs it."""

    exit_code = 1

    def __init__(self, sentence: str) -> None:
        super().__init__(without_secrets(sentence))


_CURES = {
    errno.EACCES: "this needs the right to read and write there; change it, or name another place",
    errno.EPERM: "this needs the right to read and write there; change it, or name another place",
    errno.EROFS: "name a place that can be written to",
    errno.EEXIST: "there is a file where a folder must be; move it, or name another place",
    errno.ENOTDIR: "there is a file where a folder must be; move it, or name another place",
    errno.EISDIR: "there is a folder where a file must be; move it, or name another place",
    errno.ENAMETOOLONG: "shorten it",
    errno.EIO: "the disk gives errors; check it, and run the same command again",
    errno.ENOSPC: "free some space and run the same command again, finished work is kept",
    errno.EDQUOT: "free some space and run the same command again, finished work is kept",
    errno.EMFILE: "allow more with `ulimit -n 4096`, and run the same command again",
}


def known(error: BaseException) -> tuple[str, int] | None:
    """The sentence for an error that a person can cause and cure, and the exit code; None for a fault of this program."""
    if isinstance(error, ConfigError):
        return str(error), error.exit_code
    if isinstance(error, StageError):
        return shown_line(str(error)), error.exit_code
    # a lock that a library makes reports its own waiting as an OSError without a number
    if isinstance(error, OSError) and error.errno in _CURES and error.filename is not None:
        return (
            f"{shown_line(_readable(error.filename))}: {(error.strerror or '').lower()}; {_CURES[error.errno]}",
            StageError.exit_code,
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE):
        return f"{(error.strerror or '').lower()}; {_CURES[error.errno]}", StageError.exit_code
    return None


@contextlib.contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Say what libraries do not of a stage that works in `folder`: that it was stopped, or that the disk is full.

    Raises KeyboardInterrupt where DuckDB, which answers signals itself, makes a RuntimeError of it, and StageError for
    whatever a full disk makes a library raise.
    """
    try:
        yield
    except Exception as error:
        if was_interrupted(error):
            raise KeyboardInterrupt from error
        if not (any(cause.errno in FULL for cause in _chain(error) if isinstance(cause, OSError)) or is_full(folder)):
            raise
        free = shutil.disk_usage(folder).free / 1e6
        raise StageError(
            f"{folder.parent}: the disk is full ({free:.0f} MB free); free some space and run the same command again, "
            "finished work is kept"
        ) from error


def was_interrupted(error: BaseException) -> bool:
    """Whether a signal came while a library was at work that makes an error of its own of it.

    DuckDB answers signals itself and says so in a RuntimeError, or is interrupted (`tasks.core.database`); pydantic wraps what
    a serializer of ours raises.
    """
    query = isinstance(error, RuntimeError) and str(error) == "Query interrupted"
    wrapped = type(error).__name__ == "PydanticSerializationError" and "KeyboardInterrupt" in str(error)
    return query or wrapped or type(error).__name__ == "InterruptException"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that it came of."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _readable(filename: object) -> str:
    return filename.decode(errors="replace") if isinstance(filename, bytes) else str(filename)
