"""Where documents come from: one class for each kind of source, made from its config.

The word `type` in a language's YAML names the kind. That of a class in this folder is the name of its module, which is
imported when it is needed; a class from anywhere else is added by `register`. A kind has one of two shapes: `UnitSource`
is read by the workers of the engine, unit by unit; `StreamSource` is one long reading that goes on after a kill.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from lang_configs.sources import SourceConfig, kind_of, register_source
from tasks.core.documents import Document, ShardWriter
from tasks.core.errors import StageError
from tasks.core.stage import Metrics, Work

STATE = ".state"
"""Frontier, downloads and cursors of a source, inside the folder in the making; a dot folder is no part of the output."""

MOST_LOST = 0.05
"""Share of a document's characters that may be U+FFFD, each a letter that was lost; above it counts as `undecodable`."""

C = TypeVar("C", bound=SourceConfig)
S = TypeVar("S", bound="Source[Any]")


@dataclass(frozen=True)
class Estimate:
    """Bytes that come over the line (None: unknown), and in words what they are or why they are not known."""

    bytes: int | None
    what: str


class Source(ABC, Generic[C]):
    """One source of documents. Whatever is wrong with it is raised as StageError, one sentence with `where` in it."""

    model: ClassVar[type[SourceConfig]]
    """Its section of a language's YAML."""

    local: ClassVar[bool] = False
    """Whether all of it lies on this machine: its content then identifies it, and the name of a snapshot says nothing."""

    def __init__(self, config: C) -> None:
        self.config = config

    @property
    @abstractmethod
    def where(self) -> str:
        """Its address or path, for messages."""

    def identity(self, snapshot: str) -> str:
        """What tells this input from others with the same config: the outside world changes, a snapshot of it does not."""
        return snapshot

    @abstractmethod
    def estimate(self) -> Estimate:
        """What a crawl of it fetches, asked of its servers without downloading it. Raises StageError when they fail."""

    def text_bytes(self) -> int | None:
        """Bytes of its text as far as they are known before it is read; None: they are not. Raises StageError."""
        return None

    @abstractmethod
    def write(self, out: Path, work: Work) -> Counter[str]:
        """Write its documents into `out` as shards; returns the counts of its outcomes, among them `written`."""

    def conclude(self, out: Path, cache: Path | None) -> Metrics:
        """Write into `out` what it leaves beside its documents, and into `cache` what its next crawl renews from.

        Called once documents were written; returns further metrics.
        """
        return {}


class UnitSource(Source[C]):
    """A source of units, each the path or address of a file, that workers read side by side."""

    @abstractmethod
    def units(self) -> list[str]:
        """All units, in the order of their documents."""

    @abstractmethod
    def read(self, unit: str, report: Counter[str]) -> Iterator[Document]:
        """The documents of one unit; `report` counts its outcomes. Runs in a worker, which has a copy of this source."""

    def write(self, out: Path, work: Work) -> Counter[str]:
        """Write the documents of each unit as shards of its own; a unit that ended before a kill is not read again."""
        named = {f"{number:05d}": (self, f"{number:05d}", unit) for number, unit in enumerate(self.units())}
        report: Counter[str] = Counter()
        for part in work.units(_read_unit, named, out).values():
            report.update(part)
        return report


class StreamSource(Source[C]):
    """A source that is read in one go, and keeps in a state folder what it needs to go on after a kill."""

    @abstractmethod
    def documents(self, state: Path, report: Counter[str]) -> Iterator[Document]:
        """Yield the documents in their order: those that `state` holds from before a kill, then new ones.

        `report` counts the outcomes, all of them, once the last document was given.
        """

    def begin(self, state: Path, cache: Path | None) -> None:
        """Make `state` ready before documents are asked for: a source that is renewed does it here, from `cache`."""
        return

    def write(self, out: Path, work: Work) -> Counter[str]:
        """Write the documents as shards `part-...`."""
        state = out / STATE
        state.mkdir(exist_ok=True)
        for leftover in out.glob("part-*.parquet"):  # of a crawl that was killed while it wrote its documents
            leftover.unlink()
        self.begin(state, cache_of(self, work))
        report: Counter[str] = Counter()
        report.update(_write(_with_progress(self.documents(state, report), work), out, "part"))
        return report


def cache_of(source: Source[Any], work: Work) -> Path | None:
    """The folder of a kind of source within the cache of its stage; None if there is no cache."""
    return work.cache / source.config.type if work.cache is not None else None


_classes: dict[str, type[Source[Any]]] = {}


def register(source_class: type[S]) -> type[S]:
    """Make a kind of source known, here and to the YAML of languages; may be used as a class decorator.

    A class that workers or flows need must lie in a module that they can import, and register itself when it is imported.
    Raises ValueError if its `type` is taken.
    """
    register_source(source_class.model)
    _classes[kind_of(source_class.model)] = source_class
    return source_class


def make_source(config: SourceConfig) -> Source[Any]:
    """The source that a config describes. Raises StageError if only the config of this kind is known."""
    module = f"{__name__}.{config.type}"
    if config.type not in _classes and find_spec(module) is not None:
        import_module(module)
    if config.type not in _classes:
        raise StageError(
            f"crawl.{config.name}: no class reads sources of the type {config.type!r}; import the module that registers it"
        )
    return _classes[config.type](config)


def _read_unit(named: tuple[UnitSource[Any], str, str], out: Path) -> Metrics:
    source, prefix, unit = named
    report: Counter[str] = Counter()
    report.update(_write(source.read(unit, report), out, prefix))
    return dict(report)


def _write(documents: Iterator[Document], out: Path, prefix: str) -> Counter[str]:
    writer = ShardWriter(out, prefix)
    undecodable = 0
    for document in documents:
        if document.text.count("\ufffd") > MOST_LOST * len(document.text):
            undecodable += 1
        else:
            writer.add(document)
    writer.close()
    return +Counter(undecodable=undecodable) + Counter(written=writer.documents, bytes=writer.bytes, repeated=writer.repeated)


def _with_progress(documents: Iterator[Document], work: Work) -> Iterator[Document]:
    for number, document in enumerate(documents, 1):
        if number % 50 == 0:
            work.progress(number, 0, "documents")
        yield document
