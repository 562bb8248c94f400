"""What sources of local files have in common: the files that a config names, in a fixed order, and the digest of them."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import xxhash

from tasks.core.errors import StageError
from tasks.core.stage import Work
from tasks.crawl.sources import C, Estimate, UnitSource


class LocalFiles(UnitSource[C]):
    """Files of this machine, one unit each. They are known by their content: where they lie enters no fingerprint."""

    local = True
    endings: ClassVar[tuple[str, ...]]
    """Of the names of files that can be read, in lower case."""

    @property
    @abstractmethod
    def paths(self) -> list[str]:
        """Files, folders and globs."""

    @property
    def where(self) -> str:
        return ", ".join(self.paths[:3])

    def identity(self, snapshot: str) -> str:
        return digest(find(self.paths, self.endings))

    def estimate(self) -> Estimate:
        return Estimate(0, "files of this machine")

    def units(self) -> list[str]:
        return [str(path) for path in find(self.paths, self.endings)]

    def write(self, out: Path, work: Work) -> Counter[str]:
        """As of any source of units; `files_by_the_system` counts the files that would be read but for their names."""
        report = super().write(out, work)
        left = sum(
            file.name.lower().endswith(self.endings) and is_by_the_system(file, pattern)
            for pattern in self.paths
            for file in _matches(pattern)
        )
        return report + Counter(files_by_the_system=left)


def find(paths: Iterable[str], endings: tuple[str, ...]) -> list[Path]:
    """The files that paths, folders (with those below) and globs (`**` too) name, in a fixed order.

    Raises StageError for one that names no file with one of the endings.
    """
    found: list[Path] = []
    for pattern in paths:
        try:
            matches = _matches(pattern)
        except (ValueError, RuntimeError, NotImplementedError, OSError) as error:  # `a**b`, `~nobody`, no permission
            raise StageError(f"{pattern}: this path cannot be used ({error}); correct it") from error
        readable = sorted(
            file for file in matches if file.name.lower().endswith(endings) and not is_by_the_system(file, pattern)
        )
        if not readable:
            raise StageError(f"{pattern}: no such file or nothing to read there; documents are {', '.join(endings)} files")
        found += readable
    return list(dict.fromkeys(found))


def is_by_the_system(file: Path, pattern: str) -> bool:
    """Whether an operating system, an editor or a program left a file beside the documents: its name, or that of a folder below
    those that `pattern` names, begins as theirs do.
    """
    named = set(Path(pattern).expanduser().parts)
    return any(part.startswith((".", "~$", "__MACOSX")) for part in file.parts if part not in named)


def name_of(path: Path) -> str:
    """A file's name as text, whatever bytes it is of."""
    return os.fsencode(path.name).decode("utf-8", "replace")


def digest(paths: Iterable[Path]) -> str:
    """xxh3-128 over the names and contents of files; raises StageError for one that cannot be read."""
    whole = xxhash.xxh3_128()
    for path in paths:
        content = xxhash.xxh3_128()
        try:
            with path.open("rb") as handle:
                while block := handle.read(1 << 22):
                    content.update(block)
        except OSError as error:
            raise StageError(f"{path}: this file cannot be read ({error.strerror}); allow it, or leave it out") from error
        whole.update(f"{name_of(path)}:{content.hexdigest()};".encode())
    return whole.hexdigest()


def _matches(pattern: str) -> list[Path]:
    path = Path(pattern).expanduser()
    if path.is_dir():
        return [file for file in path.rglob("*") if file.is_file()]
    if path.is_file():
        return [path]
    return [file for file in Path(path.anchor).glob(str(path.relative_to(path.anchor))) if file.is_file()]
