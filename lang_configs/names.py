"""What there is to choose from, and the error that says what was wrong with a choice: nothing here needs pydantic or YAML."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from lang_configs.secrets import without_secrets

FOLDER = Path(__file__).parent


class ConfigError(Exception):
    """A mistake in a configuration or in what a command was told: one line for each, with its place and what to do."""

    exit_code = 2

    def __init__(self, *mistakes: str) -> None:
        super().__init__("\n".join(without_secrets(" ".join(mistake.split())) for mistake in mistakes))


def languages() -> list[str]:
    """Names of the languages that come with the package, in alphabetical order."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def presets() -> list[str]:
    """Names of the presets, in alphabetical order."""
    return sorted(path.stem for path in (FOLDER / "presets").glob("*.yaml"))


def find(language: str) -> Path:
    """The YAML file of LANGUAGE (a packaged name) or of FILE.yaml; raises ConfigError when there is none."""
    if names_a_file(language):
        if Path(language).is_file():
            return _with_a_name(Path(language))
        raise ConfigError(
            f"{language}: there is no such file; give a packaged language (`lugha languages` lists them) or a YAML file"
        )
    if language in languages():
        return FOLDER / f"{language}.yaml"
    raise ConfigError(
        f"{language}: unknown language{suggest(language, languages())}; `lugha languages` lists them, or give a YAML file"
    )


def names_a_file(language: str) -> bool:
    """Whether it is FILE.yaml, and not the name of a packaged language."""
    return language.lower().endswith((".yaml", ".yml"))


def _with_a_name(path: Path) -> Path:
    name = stem(str(path))
    if name.startswith(".") or not name.isprintable() or name == "ledger.duckdb":
        raise ConfigError(
            f"{path}: the file's name is that of the language's folder in the workspace; one like luganda.yaml, in UTF-8"
            " and without a dot before it, will do"
        )
    return path


def stem(language: str) -> str:
    """Folder name of a language in the workspace: the name of its file."""
    return Path(language).stem


def suggest(wrong: str, known: Iterable[str]) -> str:
    """`, did you mean "swahili"?` where one of the known names is like the wrong one, else nothing."""
    close = difflib.get_close_matches(wrong, list(known), 1, cutoff=0.5)
    return f', did you mean "{close[0]}"?' if close else ""
