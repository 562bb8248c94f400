"""`lugha evaluate`: any models on the held-out text and the sets of a language, each beside the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.dag import Made, measure
from flows.run.build import Watch
from flows.run.request import evaluation_folder
from flows.run.results import check_language, last_run
from lang_configs import ConfigError, LanguageConfig, load, stem, suggest
from tasks import ledger
from tasks.core.artifacts import Corpus, Model, Tokenizer
from tasks.core.stage import Metrics, Output, Result, Step, Work, execute
from tasks.evaluate import TASK
from tasks.evaluate.compare import paired_task, paired_text
from tasks.evaluate.pretrained import PRETRAINED, find_model
from tasks.evaluation_sets import EvaluationData


@dataclass(frozen=True)
class Measured:
    """A model by the name that it was asked for, what was measured on it by label, and how others differ from it."""

    name: str
    made: Made
    differences: dict[str, list[Metrics]] = field(default_factory=dict)
    """Name of another model -> rows of `compare.paired_text` and `paired_task`, this one less the other."""

    @property
    def short(self) -> str:
        """The last part of its name."""
        return Path(self.name).name

    @property
    def scores(self) -> list[Metrics]:
        """Of held-out text and of the tasks."""
        return [score for one in self.made.values() for score in one.metrics["scores"]]

    @property
    def skipped(self) -> dict[str, str]:
        """Set -> why it could not be used."""
        return {one.metrics["task"]: one.metrics["skipped"] for one in self.made.values() if one.metrics.get("skipped")}


class Evaluation:
    """Measures models on what the last complete run of a language held out, and on its sets; what is done is reused."""

    def __init__(
        self,
        workspace: Path,
        language: str,
        watch: Watch,
        tasks: Sequence[str] = (),
        seeds: int | None = None,
        evaluation: str | None = None,
    ) -> None:
        """`tasks` are names of sets (default: all that have a task), `evaluation` the folder of their files.

        Raises ConfigError for a set that the language does not have, StageError for a language that was never built.
        """
        try:
            check_language(workspace, language)
        except ConfigError as error:
            raise ConfigError(f"{error}; whose held-out text and sets are read, --language says") from None
        overrides = [f"evaluate.seeds={seeds}"] if seeds is not None else []
        self.config, self.workspace, self.name, self.watch = load(language, None, overrides), workspace, stem(language), watch
        self.language = language
        self.held = last_run(workspace, self.name, having="corpus")
        self.data = EvaluationData(sets=_sets(self.config, tasks), folder=evaluation_folder(evaluation, workspace))

    def all(self, names: Sequence[str]) -> list[Measured]:
        """What was measured on each model; the first one holds how it differs from the others."""
        measured = [self.one(name) for name in names]
        first, *others = measured
        resamples = self.config.evaluate.bootstrap
        for other in others:
            rows = [row for label, one in first.made.items() for row in self._differences(one, other.made[label], resamples)]
            first.differences[other.name] = rows
        return measured

    def one(self, name: str) -> Measured:
        """A language's own model by its name, one in a folder, or one of the Hub."""
        model, masking = self._model(name)
        return Measured(
            name, measure(self.config, self.data, self._run, model, _labelled(self.held, "corpus", Corpus), masking)
        )

    def _model(self, name: str) -> tuple[dict[str, Output], float | None]:
        if name == self.language:
            held = last_run(self.workspace, self.name, having="pretrain")
            masking = self.config.pretrain.masking if self.config.pretrain.model.masked else None
            return {
                "pretrain": _labelled(held, "pretrain", Model),
                "tokenizer": _labelled(held, "tokenizer", Tokenizer),
            }, masking
        return {"pretrain": self._run(Step(PRETRAINED, find_model(name), label="pretrained"))}, None

    def _run(self, step: Step) -> Result:
        with self.watch(step.label) as progress:
            made = execute(step, self.workspace, self.name, Work(progress=progress, runtime=self.config.runtime))
        if not made.reused:
            ledger.record(self.workspace, [made.folder])
        return made

    @staticmethod
    def _differences(ours: Result, theirs: Result, resamples: int) -> list[Metrics]:
        if ours.stage != TASK.name:
            return paired_text(ours.folder, theirs.folder, resamples)
        [entry] = (ours.record or {})["config"]["data"]["sets"]
        return paired_task(entry["name"], entry["task"], ours.folder, theirs.folder, resamples)


def _labelled(held: dict[str, Output], label: str, artifact: Any) -> Result:
    output = held[label]
    return Result(output.stage, output.fingerprint, output.folder, label, artifact, output.manifest(), True)


def _sets(config: LanguageConfig, names: Sequence[str]) -> list[Any]:
    known = [entry.name for entry in config.evaluation if entry.task != "none"]
    for name in names:
        if name not in known:
            raise ConfigError(f"--tasks {name}: there is no such task{suggest(name, known)}; choose from {', '.join(known)}")
    return [entry for entry in config.evaluation if entry.name in (names or known)]
