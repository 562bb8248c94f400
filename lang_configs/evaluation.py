"""What a model is measured on: the sections `evaluation` and `evaluate`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticKnownError

from lang_configs.sources import Name, Strict

TASKS = ["classification", "tagging", "none"]
"""What `task` of an evaluation set may name: each is a module of `tasks.evaluate.tasks`, or was registered; none is no task."""


def register_task(name: str) -> None:
    """Let evaluation sets name a task that does not come with the package (`tasks.evaluate.tasks.register` calls this).

    Raises ValueError when there is a task of that name, or when it cannot be one.
    """
    if name in TASKS:
        raise ValueError(f"there is a task {name!r} already; give this one another name")
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        raise ValueError(f"{name!r} cannot be the name of a task; write it like a Python module, for example word_order")
    TASKS.insert(-1, name)


def _known_task(name: str) -> str:
    if name not in TASKS:
        raise PydanticKnownError("literal_error", {"expected": " or ".join(map(repr, TASKS))})
    return name


def _list_tasks(schema: dict[str, Any]) -> None:
    schema["enum"] = list(TASKS)


class EvaluationSet(Strict):
    """Labelled data of one task: kept out of the corpus, and used by evaluate."""

    name: Name
    task: Annotated[str, AfterValidator(_known_task)] = Field(
        "none", description="none: the items are only kept out of the corpus", json_schema_extra=_list_tasks
    )
    format: Literal["tsv", "jsonl", "conll", "sections"]
    files: dict[Literal["train", "dev", "test"], str] = Field({}, description="Split -> path below the evaluation folder")
    text: list[str] = Field(["text"], description="Columns that make up the text")
    label: str = "label"
    source: str | None = Field(None, description="sections: the web source whose first path part is the label")
    url: str | None = Field(None, description="Where the set is published")

    @model_validator(mode="after")
    def _sections_have_a_source(self) -> EvaluationSet:
        if (self.format == "sections") != (self.source is not None):
            raise ValueError("source goes with format sections, and only with it")
        return self


Mode = Literal["cheap", "full"]


class Evaluate(Strict):
    """What is measured on the exported model."""

    mode: Mode = Field(
        "cheap",
        description="cheap: linear probes on the frozen model, in minutes; full: it is fine-tuned for each set, in hours",
    )
    sample_tokens: int = Field(80, ge=1)
    samples: int = Field(5, ge=0, description="Held-out documents that samples are made from when prompts is empty")
    prompts: list[str] = Field(
        [],
        description="Starts of texts, or, for masked models, texts with <mask> in a gap; default: from held-out documents",
    )
    temperature: float = Field(0.8, gt=0)
    seeds: int = Field(
        3, ge=2, description="Runs of what depends on chance: fine-tuning, and untrained models for the floor of each task"
    )
    bootstrap: int = Field(1000, ge=100, description="Resamples for confidence intervals")
