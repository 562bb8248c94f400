"""One YAML file per language, and the schema that checks it. Imports nothing of ours."""

from typing import TYPE_CHECKING, Any

from lang_configs.names import ConfigError, find, languages, names_a_file, presets, stem, suggest

if TYPE_CHECKING:
    from lang_configs.loader import json_schema, load
    from lang_configs.schema import LanguageConfig

__all__ = [
    "ConfigError",
    "LanguageConfig",
    "find",
    "json_schema",
    "languages",
    "load",
    "names_a_file",
    "presets",
    "stem",
    "suggest",
]


def __getattr__(name: str) -> Any:
    # pydantic and the schema take longer to load than `lugha --help`, which lists the presets, may take to answer
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lang_configs import loader

    return getattr(loader, name)
