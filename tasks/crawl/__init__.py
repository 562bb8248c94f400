"""Crawl: raw documents from one source, with their provenance. Each kind of source is one class of `sources`.

The outside world changes, so the output is keyed by a snapshot name: the same snapshot is the same data for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lang_configs.sources import Source
from tasks.core.artifacts import Documents
from tasks.core.errors import StageError
from tasks.core.stage import Metrics, Stage, Work
from tasks.crawl.sources import Estimate, cache_of, make_source
from tasks.net.rules import is_offline


def crawl(inputs: Mapping[str, Path], config: Source, out: Path, work: Work) -> Metrics:
    """Write the raw documents of one source as shards; returns the counts of its outcomes, and what it adds at its end.

    A source that keeps its last crawl in `work.cache` renews it. Raises StageError when there is no document at all.
    """
    source = make_source(config)
    report = source.write(out, work)
    if not report["written"]:
        found = ", ".join(f"{name} {count}" for name, count in (+report).most_common(4)) or "nothing"
        raise StageError(
            f"crawl.{config.name}: {source.where} gave no documents ({found}); open it to see why, and correct the source"
        )
    metrics: Metrics = dict(sorted(report.items()))
    return metrics | source.conclude(out, cache_of(source, work))


def identity(config: Source, snapshot: str) -> str:
    """What identifies the outside input of a source: the content of local files, else the snapshot's name."""
    return make_source(config).identity(snapshot)


def estimate(config: Source) -> Estimate:
    """What the crawl of a source fetches. Asks servers, unless offline; never raises for what they answer."""
    try:
        return make_source(config).estimate()
    except StageError as error:
        return Estimate(None, "unknown: offline" if is_offline() else f"unknown: {error}")


def _left_out(metrics: Metrics) -> str:
    """Pages that say themselves, or show, that they are in another language are not written."""
    others = sum(count for outcome, count in metrics.items() if outcome.startswith("language_"))
    return f", {others:,} in other languages left out" if others else ""


CRAWL = Stage(
    "crawl",
    crawl,
    version=6,
    inputs={},
    artifact=Documents,
    headline=lambda metrics: f"{metrics['written']:,} documents written{_left_out(metrics)}",
)
