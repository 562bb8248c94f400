"""One YAML file per language, and the schema that checks it. Imports nothing of ours."""

from lang_configs.loader import ConfigError, find, json_schema, languages, load, presets, stem, suggest
from lang_configs.schema import LanguageConfig

__all__ = ["ConfigError", "LanguageConfig", "find", "json_schema", "languages", "load", "presets", "stem", "suggest"]
