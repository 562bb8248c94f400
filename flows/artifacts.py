"""What Prefect's pages show of a run: the progress and the counts of each stage, and the cards with their plots."""

from __future__ import annotations

import base64
import contextlib
import logging
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from tasks.core import artifacts
from tasks.core.shown import shown, shown_line
from tasks.core.stage import Metrics, Progress, Result

PROGRESS_EVERY = 5.0
"""Seconds between two updates of a progress artifact: each is a request, an event that is kept, and two lines of `--watch`."""

log = logging.getLogger("lugha")


@contextlib.contextmanager
def progress_artifact(label: str) -> Iterator[Progress]:
    """The progress of a stage as a bar; none for a stage that ends sooner than the first update."""
    artifact: Any = None
    last, description = -PROGRESS_EVERY, ""

    def progress(done: float, total: float, unit: str) -> None:
        nonlocal artifact, last, description
        now = time.monotonic()
        # a share needs a total; and a stage that is reused never comes here, so it shows no bar stuck at 0 %
        if not total or now - last < PROGRESS_EVERY:
            return
        last = now
        percent, description = min(100.0, 100 * done / total), f"{label}: {done:,.0f} of {total:,.0f} {unit}"
        with only_a_view():
            if artifact is None:
                artifact = create_progress_artifact(percent, description=description)
            else:
                update_progress_artifact(artifact, percent, description)

    yield progress
    if artifact is not None:
        with only_a_view():
            update_progress_artifact(artifact, 100.0, f"{label}: done")


def show_counts(key: str, result: Result) -> None:
    """The metrics of a step as a table."""
    counts = _scalars(result.metrics)
    counts |= {"seconds": (result.record or {})["seconds"], "fingerprint": result.fingerprint, "reused": result.reused}
    table = [{"count": shown_line(name), "value": _readable(value)} for name, value in counts.items()]
    create_table_artifact(table, key=key, description=f"{result.label}: {'reused' if result.reused else 'ran'}")


def show_made(key: str, made: Mapping[str, Result]) -> None:
    """The cards of a run, and where its folder is."""
    if "release" in made:
        release = artifacts.Release(made["release"].folder)
        cards = {"data-card": release.corpus / "README.md", "model-card": release.model / "README.md"}
    else:
        cards = {"data-card": artifacts.Cards(made["cards"].folder).data_card} if "cards" in made else {}
    for name, file in cards.items():
        if file.is_file():
            create_markdown_artifact(_card_alone(file), key=f"{key}-{name}", description=str(file))
    folder = list(made.values())[-1].folder
    create_link_artifact(folder.as_uri(), str(folder), key=f"{key}-folder", description="What the run made last")


def _scalars(metrics: Metrics, prefix: str = "") -> dict[str, Any]:
    """The metrics that fit a cell, nested ones by their dotted name; lists are left to the ledger."""
    flat: dict[str, Any] = {}
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            flat |= _scalars(dict(value), f"{prefix}{name}.")
        elif isinstance(value, (str, int, float, bool)):
            flat[f"{prefix}{name}"] = value
    return flat


def _readable(value: Any) -> str:
    if isinstance(value, (bool, str)):
        return shown_line(str(value))
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _card_alone(file: Path) -> str:
    """The text of a card for a page that cannot see its folder: plots inside it, and without the metadata that the Hub reads.

    (Markdown would show the YAML block as one bold line.)
    """

    def inside(match: re.Match[str]) -> str:
        plot = base64.b64encode((file.parent / match[1]).read_bytes()).decode()
        return f"(data:image/svg+xml;base64,{plot})"

    text = re.sub(r"\A---\n.*?\n---\n", "", shown(file.read_text(encoding="utf-8")), flags=re.DOTALL)
    return re.sub(r"(?<=\])\((plots/\w+\.svg)\)", inside, text)


def artifact_key(name: str) -> str:
    """An artifact key: lowercase letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


@contextlib.contextmanager
def only_a_view() -> Iterator[None]:
    """What is only shown must not fail a build whose truth is on disk."""
    try:
        yield
    except Exception as error:
        log.warning("the Prefect server did not take an artifact: %s", error)
