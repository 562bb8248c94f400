"""`lugha plan`: which stages are done and which will run, and why, without running any."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from flows.dag import CORPUS, CRAWL, TOKENS, Dag, build_lm, complete
from flows.run import foresight
from flows.run.request import Request
from lang_configs.training import Pretrain
from tasks.core.manifest import MANIFEST, Manifest, read_manifest
from tasks.core.records import DamagedError
from tasks.core.stage import Output, Result, Step, describe, result
from tasks.crawl import estimate
from tasks.crawl.sources import Estimate
from tasks.net import rules
from tasks.pretrain.estimate import Estimate as TrainingEstimate


@dataclass(frozen=True)
class Prospect:
    """One box of the DAG: whether it is done, why it will run, and how long it may take (seconds; None: unknown)."""

    label: str
    done: bool
    why: str
    seconds: float | None
    fetch: Estimate | None = None
    """Of a crawl that will run: what comes over the line."""
    training: TrainingEstimate | None = None
    """Of a training that will run: what it takes, if that is known."""
    note: str = ""
    """Why it is not."""


class Plan:
    """The `run` of the DAG that runs nothing, but for a measurement of the training's speed if `measure` is given.

    `measure` is told in words before that happens.
    """

    def __init__(self, request: Request, measure: Callable[[str], object] | None = None, dag: Dag = build_lm) -> None:
        self.request, self.dag = request, dag
        self.config, self.given = request.resolve()
        rules.use(self.config.runtime.model_copy(update={"hours": None}))  # questions are small, and a plan waits for no night
        self.steps: list[Prospect] = []
        self._measure = measure
        self._pending: dict[str, str] = {}
        self._newest: dict[str, Manifest] = {}

    def __call__(self, step: Step) -> Result:
        output = describe(step, self.request.workspace, self.request.name)
        manifest = output.manifest()
        previous = _latest(output.folder.parent, step.config)
        if newest := manifest or previous:
            self._newest[step.label] = newest
        seconds = (previous or {}).get("seconds") if manifest is None else None
        training, note, fetch, why = None, "", None, ""
        if manifest is None:
            why = self._reason(step, output, previous)
            self._pending[output.fingerprint] = step.label
            if isinstance(step.config, Pretrain):
                tokens, corpus = self._newest.get(TOKENS.name), self._newest.get(CORPUS.name)
                training, note = foresight.training(self.config, step.config, tokens, corpus, self._measure)
                seconds = training.seconds if training else 60 * (step.config.minutes or 0) or seconds
            if step.stage.name == CRAWL.name:
                fetch = estimate(step.config)  # type: ignore[arg-type]
        self.steps.append(Prospect(step.label, manifest is not None, why, seconds, fetch, training, note))
        return result(step, output, manifest, reused=manifest is not None)

    def all(self) -> list[Prospect]:
        """Every step of the DAG, in order."""
        complete(self.dag, self.config, self.given, self)
        return self.steps

    def _reason(self, step: Step, output: Output, previous: Manifest | None) -> str:
        if output.folder.with_name(f".{output.fingerprint}.partial").exists():
            return "was interrupted: finished units are kept"
        waits = [self._pending[up.fingerprint] for up in step.inputs.values() if up.fingerprint in self._pending]
        if previous is None:
            return f"never ran; needs {waits[0]}" if waits else "never ran"
        changes = _differences(previous["config"], step.config.model_dump(mode="json"))
        if previous["version"] != step.stage.version:
            changes.append("the stage has a new version")
        changes += [f"{name} changed" for name in waits]
        return "; ".join(changes[:3]) or "its snapshot, files or block list changed"


def _latest(folder: Path, config: BaseModel) -> Manifest | None:
    """The newest manifest of a stage; of crawl stages, that of the same source."""
    name = getattr(config, "name", None)
    manifests = []
    for path in folder.glob(f"[!.]*/{MANIFEST}"):
        with contextlib.suppress(DamagedError, OSError):  # made anew by whoever needs it
            manifests.append(read_manifest(path.parent))
    manifests = [manifest for manifest in manifests if name is None or manifest["config"].get("name") == name]
    return max(manifests, key=lambda manifest: manifest["started"], default=None)


def _differences(before: Any, after: Any, path: str = "") -> list[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        keys = dict.fromkeys([*before, *after])
        return [change for key in keys for change in _differences(before.get(key), after.get(key), f"{path}.{key}".lstrip("."))]
    return [] if before == after else [f"{path}: {_short(before)} -> {_short(after)}"]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 40 else text[:37] + "..."
