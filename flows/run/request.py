"""What a person asks for on the command line or in a deployment's form, resolved to a config and the input beside it."""

from __future__ import annotations

import json
import logging
import os
import shlex
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ValidationError

from flows.dag import STAGES, Given, identification, learns_language, trusted
from lang_configs import ConfigError, LanguageConfig, load, stem, suggest
from lang_configs.loader import parse_override
from lang_configs.schema import Runtime
from lang_configs.secrets import within, without_folders, without_secrets
from lang_configs.sources import Crawl
from tasks.annotate.language import accepted_in_vain, knows, near_labels
from tasks.core.errors import StageError
from tasks.crawl.sources import make_source
from tasks.crawl.sources.files import ENDINGS
from tasks.crawl.sources.local_files import find
from tasks.select.forgotten import FORGOTTEN, read

log = logging.getLogger("lugha")

BEFORE_LANGUAGE = ("crawl", "clean")
"""Stages that ask no document for its language."""
_MACHINE = "runtime"
"""Section whose overrides say something of this machine only, and are no part of what repeats a build elsewhere."""


@dataclass(frozen=True)
class Request:
    """One build: a language and what is to differ from its file."""

    language: str
    preset: str | None = None
    documents: list[str] = field(default_factory=list)
    evaluation: str | None = None
    snapshot: str | None = None
    overrides: list[str] = field(default_factory=list)
    workspace: Path = Path("workspace")
    max_rate: str | None = None
    offline: bool = False
    until: str | None = None
    """The stage after which the run ends, with the cards of what there is by then."""

    @property
    def name(self) -> str:
        """The language's folder in the workspace."""
        return stem(self.language)

    def resolve(self) -> tuple[LanguageConfig, Given]:
        """The checked config and the rest of the input; raises ConfigError, or StageError for a broken block list."""
        if self.snapshot is not None:
            _check("--snapshot", Crawl, "snapshot", self.snapshot)
        if self.max_rate is not None:
            _check("--max-rate", Runtime, "max_rate", self.max_rate)
        others = [f'runtime.max_rate="{self.max_rate}"'] * (self.max_rate is not None) + ["runtime.offline=true"] * self.offline
        config = load(self.language, self.preset, [*self.overrides, *others], self._document_paths())
        if not self.documents and self.preset == "starter" and not config.starter:
            raise ConfigError(
                f"{self.language}: this language has no starter site; give text with --documents PATH, or use another preset"
            )
        if not config.crawl.sources:
            raise ConfigError(
                f"{self.language}: crawl.sources is empty; give text with --documents PATH, or add a source to the file"
            )
        if self.until is not None and self.until not in (names := [stage.name for stage in STAGES]):
            raise ConfigError(
                f"--until {self.until}: there is no such stage{suggest(self.until, names)}; choose from {', '.join(names)}"
            )
        if self.until not in BEFORE_LANGUAGE:
            self._check_labels(config)
        snapshot = self.snapshot or config.crawl.snapshot or datetime.now(UTC).strftime("%Y-%m")
        blocked = read(self.workspace / self.name / FORGOTTEN)
        return config, Given(snapshot, self._command(config, snapshot), self._evaluation_folder(), blocked, self.until)

    def _check_labels(self, config: LanguageConfig) -> None:
        """Say what is done about a language that the identifier does not know; ConfigError where nothing can be done."""
        settings = identification(config)
        for label in accepted_in_vain(settings):
            near = ", ".join(near_labels(settings, label)) or "none"
            raise ConfigError(f"{self.language}: language.accept: the identifier does not know {label}; labels near it: {near}")
        if not learns_language(config):
            return
        said = f"{self.language}: the identifier does not know {settings.label}"
        if knows(settings):
            said += " well"
        else:
            said += f" (labels near it: {', '.join(near_labels(settings, str(settings.label))) or 'none'})"
        if not (sources := trusted(config)):
            raise ConfigError(
                f"{said}, and every document would be dropped; write `trusted: true` below a source that is mostly in"
                " the language, or give such text with --documents PATH, and one that does is made from it; or name one of its"
                " labels as language.label"
            )
        log.warning(
            "%s; one that knows it well is made for this run from the text that you vouch for: %s", said, ", ".join(sources)
        )

    def _document_paths(self) -> list[str]:
        """What `--documents` names; raises ConfigError for what holds nothing to read."""
        paths = [str(Path(path).expanduser()) for path in self.documents]
        try:
            find(paths, ENDINGS)
        except (StageError, ValueError, NotImplementedError) as error:  # the last two: what is no glob
            raise ConfigError(f"--documents {error}") from None
        return paths

    def _command(self, config: LanguageConfig, snapshot: str) -> str:
        """What repeats this build anywhere: files by their names only, and the snapshot where the outside world counts."""
        parts = ["lugha", "build", Path(self.language).name]
        parts += ["--preset", self.preset] if self.preset else []
        parts += [part for path in self.documents for part in ("--documents", Path(path).name)]
        evaluation = self._evaluation_folder()
        parts += ["--evaluation", evaluation.name] if evaluation else []
        parts += [part for override in self.overrides if (said := _published(override)) for part in ("--set", said)]
        if not all(make_source(source).local for source in config.crawl.sources):
            parts += ["--snapshot", snapshot]
        parts += ["--until", self.until] if self.until else []
        return shlex.join(parts)

    def _evaluation_folder(self) -> Path | None:
        """`--evaluation`, else the folder `eval` of the bundle that the documents come from, else `<workspace>/evaluation`."""
        for document in self.documents if not self.evaluation else []:
            path = Path(document).expanduser().resolve()
            for parent in [path, *path.parents][:4]:
                if (parent / "eval").is_dir():
                    return parent / "eval"
        return evaluation_folder(self.evaluation, self.workspace)


def evaluation_folder(stated: str | None, workspace: Path) -> Path | None:
    """The folder that `--evaluation` names, else `<workspace>/evaluation` if it is there; ConfigError for one that is not."""
    if stated:
        if not Path(stated).is_dir():
            raise ConfigError(f"--evaluation {stated}: there is no such folder")
        return Path(stated)
    default = workspace / "evaluation"
    return default if default.is_dir() else None


def _published(override: str) -> str:
    """An override as others may read it: files by their names, no secret, and nothing where it speaks of this machine alone."""
    keys, value = parse_override(override)
    if keys[0] == _MACHINE:
        return ""
    kept = within(value, lambda text: without_folders(without_secrets(text)))
    return override if kept == value else f"{'.'.join(keys)}={json.dumps(kept, ensure_ascii=False, default=str)}"


def _check(option: str, section: type[BaseModel], key: str, value: str) -> None:
    """Hold the value of an option against the key of the section that it stands for; raises ConfigError."""
    try:
        section.model_validate({key: value})
    except ValidationError:
        raise ConfigError(f"{option} {value}: this does not look right: {section.model_fields[key].description}") from None
    if not value:
        raise ConfigError(f"{option}: it is empty; give it a value, or leave it out")


def default_workspace() -> Path:
    """`$LUGHA_WORKSPACE`, else the folder `workspace` of the current directory."""
    return Path(os.environ.get("LUGHA_WORKSPACE", "workspace"))
