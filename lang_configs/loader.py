"""Reads a language's YAML: preset, file and overrides merged, checked, and mistakes reported with their line."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from lang_configs.names import FOLDER, ConfigError, find, presets, suggest
from lang_configs.plain_yaml import parse
from lang_configs.schema import LanguageConfig
from lang_configs.sources import SourceConfig, kinds

MOST, MOST_OF_FRACTIONS = 2**63 - 1, 1e15
"""Largest whole number that the ledger and torch can hold; largest of other numbers that still counts seconds or bytes."""


def load(
    language: str, preset: str | None = None, overrides: Iterable[str] = (), documents: Sequence[str] = ()
) -> LanguageConfig:
    """Defaults, then the preset, the file and the overrides (`key.sub=value`): the later one wins.

    `documents`: paths of files that are read in place of all sources; who gives them vouches for them.

    Raises ConfigError with one line for each mistake.
    """
    path = find(language)
    written = read_yaml(path)
    layers: dict[str, Any] = {}
    if preset:
        if preset not in presets():
            raise ConfigError(
                f"--preset {preset}: unknown preset{suggest(preset, presets())}; choose from {', '.join(presets())}"
            )
        layers = _merge(layers, read_yaml(FOLDER / "presets" / f"{preset}.yaml"))
    merged = _merge(layers, written)
    given = {}
    for override in overrides:
        keys, value = parse_override(override)
        given[tuple(keys)] = override
        _put(merged, keys, value, override)
    merged = _without_empty(merged, LanguageConfig)
    sources = merged.get("starter") if preset == "starter" and ("crawl", "sources") not in given else None
    if documents:
        sources = [{"type": "files", "name": "documents", "paths": list(documents), "trusted": True}]
    if sources and isinstance(crawl := merged.get("crawl", {}), dict):
        merged["crawl"] = {**crawl, "sources": sources}
    mistakes: list[Any] = list(_too_large(merged, ()))
    try:
        if not mistakes:
            return LanguageConfig.model_validate(merged, strict=True)
    except ValidationError as error:
        mistakes = [*error.errors()]
    raise ConfigError(*(_explain(one, path, written, given) for one in mistakes if not _is_misspelt(one, mistakes)))


def read_yaml(path: Path) -> CommentedMap:
    """A YAML file as a mapping that knows its lines; raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path.name}:1: not valid YAML: {str(error).splitlines()[0]}; save the file as UTF-8 text") from None
    content = parse(text, lambda line: f"{path.name}:{line}")
    if content is None:
        content = CommentedMap()
    if not isinstance(content, CommentedMap):
        raise ConfigError(f"{path.name}:1: expected keys such as `name: Swahili`, found a {type(content).__name__}")
    return content


def parse_override(override: str) -> tuple[list[str], Any]:
    """`pretrain.steps=500` -> (["pretrain", "steps"], 500); the value is read as YAML."""
    key, equals, value = override.partition("=")
    if not equals or not re.fullmatch(r"[\w-]+(\.[\w-]+)*", key.strip()):
        raise ConfigError(f"--set {override}: write it as section.key=value, for example --set pretrain.steps=500")
    try:
        return key.strip().split("."), parse(value, lambda line: "")
    except ConfigError as error:
        why = str(error).removeprefix(": ")
        raise ConfigError(f"--set {override}: the value is {why}; quote it, for example --set 'name=\"a: b\"'") from None


def json_schema() -> dict[str, Any]:
    """The JSON schema of a language file, for completion in editors (`lang_configs/schema.json`)."""
    return LanguageConfig.model_json_schema()


def _merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(low)
    for key, value in high.items():
        if value is None and isinstance(merged.get(key), Mapping):
            continue  # `pretrain:` with nothing below it says nothing of the section
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = _merge({}, value) if isinstance(value, Mapping) else value
    return merged


def _put(tree: dict[str, Any], keys: list[str], value: Any, override: str) -> None:
    for key in keys[:-1]:
        tree[key] = {} if tree.get(key) is None else tree[key]
        tree = tree[key]
        if not isinstance(tree, dict):
            raise ConfigError(f"--set {override}: {key} is not a section")
    tree[keys[-1]] = value


def _without_empty(tree: Any, model: type[BaseModel]) -> Any:
    """The keys without those of sections that are empty."""
    if not isinstance(tree, Mapping):
        return tree
    sections = {
        name: field.annotation
        for name, field in model.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }
    return {
        key: _without_empty(value, sections[key]) if key in sections else value
        for key, value in tree.items()
        if value is not None or key not in sections
    }


def _too_large(value: Any, location: tuple[Any, ...]) -> Iterator[dict[str, Any]]:
    """A mistake, as pydantic has them, for each number that nothing could compute with."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            yield from _too_large(key, (*location, key))
            yield from _too_large(entry, (*location, key))
    elif isinstance(value, list):
        for number, entry in enumerate(value):
            yield from _too_large(entry, (*location, number))
    elif isinstance(value, int) and abs(value) > MOST:
        yield {"loc": location, "type": "too_large", "msg": f"should be at most {MOST:,}", "input": value}
    elif isinstance(value, float) and MOST_OF_FRACTIONS < abs(value) < math.inf:
        yield {"loc": location, "type": "too_large", "msg": f"should be at most {MOST_OF_FRACTIONS:g}", "input": value}


def _is_misspelt(missing: Any, mistakes: list[Any]) -> bool:
    """Whether a key is missing only because it is there in another spelling: one mistake is said once."""
    if missing["type"] != "missing":
        return False
    *section, key = missing["loc"]
    others = [one["loc"] for one in mistakes if one["type"] == "extra_forbidden" and [*one["loc"][:-1]] == section]
    return any(suggest(str(other[-1]), [str(key)]) for other in others)


def _explain(mistake: Any, path: Path, written: CommentedMap, given: Mapping[tuple[str, ...], str]) -> str:
    # pydantic puts the tag of a discriminated union into the location; it is no key of the file
    location = list(mistake["loc"])
    steps, line = _locate(written, location)
    key = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).lstrip(".")
    where = f"{path.name}:{line}"
    for keys, override in given.items():
        if list(keys) == [str(part) for part in location[: len(keys)]] and keys:
            where = f"--set {override}"
    kind, message = mistake["type"], mistake["msg"]
    if kind == "extra_forbidden":
        name = str(location[-1])
        text = f"unknown key{suggest(name, _known_keys(location[:-1]))}"
    elif kind == "missing":
        key = ".".join(str(part) for part in location) if len(location) == 1 else f"{key}.{location[-1]}"
        text = "missing; add this key"
    elif kind in ("union_tag_invalid", "literal_error", "enum"):
        expected = mistake["ctx"].get("expected_tags") or mistake["ctx"].get("expected", "")
        options = re.findall(r"'([^']+)'", expected)
        wrong = mistake["ctx"].get("tag") or str(mistake.get("input"))
        text = f"{wrong!r} is not possible{suggest(wrong, options)}; choose from {', '.join(options)}"
        key += ".type" if kind == "union_tag_invalid" else ""
    elif kind == "union_tag_not_found":
        text = "a source needs a type, for example `type: web`"
        key += ".type"
    elif kind == "string_pattern_mismatch":
        text = (
            f"{mistake['input']!r} does not look right: {_described(location) or 'it must match ' + mistake['ctx']['pattern']}"
        )
    else:
        text = (message[0].lower() + message[1:]).removeprefix("value error, ")
        if not isinstance(mistake.get("input"), (dict, list)):
            text += f", found {_found(mistake.get('input'))}"
        text += _CURES.get(kind, "")
    return f"{where}: {key}: {text}" if key else f"{where}: {text}"


_CURES = {
    "string_type": "; put it in quotes",
    "bool_type": "; write true or false",
    "int_type": "; write a whole number, without quotes",
    "float_type": "; write a number, without quotes",
    "list_type": "; write [a, b], or leave the key out",
    "model_type": "; write its keys below it, or leave it out",
    "dict_type": "; write its keys below it, or leave it out",
}
"""What to do about a value of another kind, by pydantic's name of the mistake."""


def _found(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _locate(written: Any, location: list[Any]) -> tuple[list[Any], int]:
    node, line, steps = written, 1, []
    for part in location:
        if isinstance(node, CommentedMap) and part in node:
            line = node.lc.key(part)[0] + 1
        elif isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node):
            line = node.lc.item(part)[0] + 1
        elif isinstance(node, (CommentedMap, CommentedSeq)):
            continue
        else:
            break
        steps.append(part)
        node = node[part]
    if not steps and location:
        steps = [location[-1]] if len(location) == 1 else list(location)
    return steps, line


def _field_models(location: list[Any]) -> tuple[list[type[BaseModel]], Any]:
    models: list[type[BaseModel]] = [LanguageConfig]
    field = None
    for part in location:
        if isinstance(part, int):
            continue
        tagged = [
            model
            for model in models
            if "type" in model.model_fields and part in get_args(model.model_fields["type"].annotation)
        ]
        if tagged:
            models = tagged
            continue
        fields = [model.model_fields[part] for model in models if part in model.model_fields]
        if not fields:
            return [], None
        field = fields[0]
        models = _models_in(field.annotation)
    return models, field


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if annotation is SourceConfig:
        return [*kinds()]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def _known_keys(location: list[Any]) -> list[str]:
    return sorted({name for model in _field_models(location)[0] for name in model.model_fields})


def _described(location: list[Any]) -> str:
    field = _field_models(location)[1]
    return field.description if field is not None and field.description else ""
