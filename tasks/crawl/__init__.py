"""Crawl: raw documents from one source, with their provenance. Each kind of source is one module of this folder.

A source module yields documents, keeps what it needs to continue after a kill in a state folder, and counts outcomes.
The outside world changes, so the output is keyed by a snapshot name: the same snapshot is the same data for ever.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import xxhash

from lang_configs.sources import FilesSource, Source, StarterSource, WarcSource, WebSource
from tasks.core.artifacts import Documents
from tasks.core.documents import Document, ShardWriter
from tasks.core.errors import StageError
from tasks.core.stage import Metrics, Stage, Work
from tasks.crawl.sources import files, warc
from tasks.net.rules import refuse_offline

STATE = ".state"
"""Frontier, downloads and cursors of a source, inside the folder in the making; a dot folder is no part of the output."""

SourceFunction = Callable[[Any, Path, "Counter[str]"], Iterator[Document]]


def crawl(inputs: Mapping[str, Path], config: Source, out: Path, work: Work) -> Metrics:
    """Write the raw documents of one source as shards; returns the counts of its outcomes.

    A web source renews its last crawl, which `work.cache` holds, and leaves more than documents: see `web.conclude`.
    Raises StageError when the source gives no document at all.
    """
    if isinstance(config, FilesSource | WarcSource):
        paths = find(config)
        settings = config.model_dump() | {"paths": config.paths}
        names = {f"{number:05d}": (f"{number:05d}", str(path), settings) for number, path in enumerate(paths)}
        report: Counter[str] = Counter()
        for part in work.units(_read_file, names, out).values():
            report.update(part)
    else:
        if isinstance(config, WebSource):
            refuse_offline(config.sites[0])
        (out / STATE).mkdir(exist_ok=True)
        report = Counter()
        for leftover in out.glob("part-*.parquet"):  # of a crawl that was killed while it wrote its documents
            leftover.unlink()
        if isinstance(config, WebSource) and work.cache is not None:
            from tasks.crawl.sources import web

            web.renew(config, work.cache / config.type, out / STATE)
        documents = _with_progress(_source_function(config.type)(config, out / STATE, report), work)
        report.update(_write(documents, out, "part"))
    if not report["written"]:
        found = ", ".join(f"{name} {count}" for name, count in report.most_common(4)) or "nothing"
        raise StageError(f"crawl.{config.name}: the source gave no documents ({found}); check its address and robots.txt")
    metrics: Metrics = dict(sorted(report.items()))
    if isinstance(config, WebSource):
        from tasks.crawl.sources import web

        metrics |= web.conclude(config, out / STATE, out, work.cache / config.type if work.cache is not None else None)
    return metrics


def external(source: Source, snapshot: str) -> str:
    """What identifies the outside input of a source: the content of local files, else the snapshot's name."""
    if isinstance(source, FilesSource | WarcSource):
        return _digest(find(source))
    if isinstance(source, StarterSource):
        return _digest(sorted(path for path in site_folder(source).rglob("*") if path.is_file()))
    return snapshot


def find(source: FilesSource | WarcSource) -> list[Path]:
    """The local files of a source in a fixed order; raises StageError for a path without files that can be read."""
    return files.find(source.paths, files.ENDINGS if isinstance(source, FilesSource) else warc.ENDINGS)


def site_folder(source: StarterSource) -> Path:
    """The folder of the packaged site."""
    import lang_configs

    folder = Path(lang_configs.__file__).parent / source.site
    if not folder.is_dir():
        raise StageError(f"crawl.{source.name}: the package has no site {source.site!r}")
    return folder


def _digest(paths: list[Path]) -> str:
    digest = xxhash.xxh3_128()
    for path in paths:
        content = xxhash.xxh3_128()
        with path.open("rb") as handle:
            while block := handle.read(1 << 22):
                content.update(block)
        digest.update(f"{path.name}:{content.hexdigest()};".encode())
    return digest.hexdigest()


def _source_function(kind: str) -> SourceFunction:
    from importlib import import_module

    function: SourceFunction = import_module(f"tasks.crawl.sources.{kind}").documents
    return function


def _read_file(unit: tuple[str, str, dict[str, Any]], out: Path) -> Metrics:
    prefix, path, settings = unit
    report: Counter[str] = Counter()
    if settings["type"] == "warc":
        documents = warc.read(Path(path), WarcSource.model_validate(settings), report)
    else:
        documents = files.read(Path(path), FilesSource.model_validate(settings), report)
    report.update(_write(documents, out, prefix))
    return dict(report)


def _write(documents: Iterator[Document], out: Path, prefix: str) -> dict[str, int]:
    writer = ShardWriter(out, prefix)
    for document in documents:
        writer.add(document)
    writer.close()
    return {"written": writer.documents, "bytes": writer.bytes, "repeated": writer.repeated}


def _with_progress(documents: Iterator[Document], work: Work) -> Iterator[Document]:
    for number, document in enumerate(documents, 1):
        if number % 50 == 0:
            work.progress(number, 0, "documents")
        yield document


CRAWL = Stage(
    "crawl",
    crawl,
    version=3,
    inputs={},
    artifact=Documents,
    headline=lambda metrics: f"{metrics['written']:,} documents written",
)
