"""The record of a run: what was asked for and what became of it, and, while it runs, where it stands and in which process."""

from __future__ import annotations

import os
import socket
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lang_configs.schema import Runtime
from tasks.core.records import write_record
from tasks.core.stage import Result
from tasks.ledger import runs


class Record:
    """One JSON file in the folder of a language, written anew when the run begins, when a stage does, and at the end."""

    def __init__(self, folder: Path, language: str, preset: str | None, snapshot: str, place: Runtime) -> None:
        """`place`: where the run's energy is used and at what price, which is all that is kept of it."""
        now = datetime.now(UTC)
        run = f"{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
        self.path = folder / runs.RUNS / f"{run}.json"
        self._stages: list[dict[str, Any]] = []
        self._clock = time.monotonic()
        numbers = [earlier.get("number", 0) for _, earlier in runs.readable(runs.records_in(folder))]
        self._facts: dict[str, Any] = {"run": run, "number": 1 + max(numbers, default=0)}
        self._facts |= {"language": language, "preset": preset, "snapshot": snapshot}
        self._facts |= {"started": now.isoformat(timespec="seconds"), "seconds": 0.0, "status": "running", "message": ""}
        self._facts |= {"stage": None, "stage_started": None, "process": this_process()}
        self._facts["place"] = place.model_dump(include={"country", "price_per_kwh", "currency"})

    def begin(self, label: str | None = None) -> None:
        """The run begins, or the stage of this label in it."""
        self._facts |= {"stage": label, "stage_started": label and datetime.now(UTC).isoformat(timespec="seconds")}
        self._save()

    def add(self, result: Result) -> None:
        """A stage has ended, or was reused."""
        keys = ("stage", "label", "fingerprint", "reused")
        self._stages.append({key: getattr(result, key) for key in keys})

    def end(self, status: str, message: str = "") -> None:
        """The run is `completed`, `failed` (the message says why, the stage where), or `interrupted`."""
        self._facts |= {"status": status, "message": message}
        if status == "completed":
            self._facts |= {"stage": None, "stage_started": None}
        self._save()

    def _save(self) -> None:
        self._facts["seconds"] = round(time.monotonic() - self._clock, 1)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_record(self.path, self._facts | {"stages": self._stages})


def latest(workspace: Path, most: int) -> list[dict[str, Any]]:
    """The records of the latest runs of all languages, newest first; a run whose process is gone is `killed`."""
    found = [run for _, run in runs.readable(runs.records(workspace))]
    newest = sorted(found, key=lambda run: run["started"], reverse=True)
    return [run | {"status": _status(run)} for run in newest[:most]]


def settle(folder: Path) -> None:
    """Write into the records of a language's killed runs that they were killed, as they could not do it themselves."""
    for path, run in runs.readable(runs.records_in(folder)):
        if _status(run) != run["status"]:
            write_record(path, run | {"status": _status(run)})


def this_process() -> dict[str, Any]:
    """What tells this process from every other one, also from a later one with the same number."""
    return {"id": os.getpid(), "host": socket.gethostname(), "born": _born(os.getpid())}


def _status(run: dict[str, Any]) -> str:
    """As it is now: a run on another machine cannot be looked after from here, and counts as running."""
    process = run.get("process") or {"id": 0, "host": socket.gethostname(), "born": None}
    here = process["host"] == socket.gethostname()
    gone = here and (process["born"] is None or process["born"] != _born(process["id"]))
    return "killed" if run["status"] == "running" and gone else str(run["status"])


def _born(number: int) -> str | None:
    """Boot of the machine and time since then at which a process began, None if there is no such process.

    Only Linux tells; elsewhere all processes look born at one time, and only the number is compared.
    """
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # it is somebody else's
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return None if fields[0] in "ZX" else f"{boot} {fields[19]}"  # proc(5): state is field 3, starttime is field 22
