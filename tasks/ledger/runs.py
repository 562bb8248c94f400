"""The records of runs: one JSON file each in the folder of a language, which the flows write and the ledger indexes."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tasks.core.records import DamagedError, read_record

log = logging.getLogger("lugha")

RUNS = "runs"
"""Folder of a language in the workspace that holds one JSON file per run."""


class _Stage(BaseModel):
    stage: str
    label: str
    fingerprint: str
    reused: bool


class _Process(BaseModel):
    id: int
    host: str
    born: str | None


class _Place(BaseModel):
    country: str | None = None
    price_per_kwh: float | None = None
    currency: str | None = None


class _Run(BaseModel):
    run: str
    number: int = 0
    language: str
    preset: str | None
    snapshot: str
    started: str
    seconds: float
    status: str
    message: str
    stage: str | None = None
    stage_started: str | None = None
    process: _Process | None = None
    place: _Place = _Place()
    stages: list[_Stage]


def records_in(folder: Path) -> list[Path]:
    """The records of a language's runs, by name."""
    return sorted((folder / RUNS).glob("[!.]*.json"))


def records(workspace: Path) -> list[Path]:
    """The records of all languages' runs."""
    return sorted(workspace.glob(f"*/{RUNS}/[!.]*.json"))


def read_run(path: Path) -> dict[str, Any]:
    """The record of a run; raises DamagedError for what is none, OSError where there is none."""
    return read_record(path, _Run)


def readable(paths: Iterable[Path]) -> list[tuple[Path, dict[str, Any]]]:
    """The records that can be read, in their order: by number, as a clock may be set back. A warning names each other one."""
    found = []
    for path in paths:
        try:
            found.append((path, read_run(path)))
        except DamagedError as error:
            log.warning("%s: damaged (%s); it is left out", path, error)
        except OSError as error:
            log.warning("%s: cannot be read (%s); it is left out", path, error.strerror)
    return sorted(found, key=lambda entry: (entry[1].get("number", 0), entry[1]["started"], entry[1]["run"]))
