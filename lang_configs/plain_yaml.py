"""YAML as far as a language's file needs it: keys, lists and plain values, each written where it is read.

Anchors, aliases, merge keys and tags are refused: a few lines of them unfold to gigabytes, and a mistake then has no line.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from lang_configs.names import ConfigError

DEPTH = 20
"""Most lists and sections inside each other; a language's file needs six."""
CHARACTERS = 1 << 20
"""Longest text."""


def parse(text: str, place: Callable[[int], str]) -> Any:
    """The content of a YAML text; mappings know their lines. `place(line)` begins the sentence about a mistake.

    Raises ConfigError for what is no YAML, and for what is more than plain.
    """
    if len(text) > CHARACTERS:
        raise ConfigError(f"{place(1)}: {len(text):,} characters are too many for a configuration; is this another file?")
    try:
        _check(text, place)
        return _plain(YAML().load(text), place)
    except DuplicateKeyError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{place(line)}: this key is given twice in one section; keep one of them") from None
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        why = str(error.problem or error.context)
        raise ConfigError(f"{place(line)}: not valid YAML: {why}; check the indentation and quotes") from None
    except (YAMLError, ValueError, OverflowError, RecursionError) as error:  # what no YAML has; the 99th of a month
        why = str(error).partition("\n")[0] or type(error).__name__
        raise ConfigError(f"{place(1)}: not valid YAML: {why}; put it in quotes, and save the file as UTF-8 text") from None


def _check(text: str, place: Callable[[int], str]) -> None:
    depth = 0
    for event in YAML().parse(text):
        line = event.start_mark.line + 1
        if isinstance(event, (MappingEndEvent, SequenceEndEvent)):
            depth -= 1
        if not isinstance(event, NodeEvent):
            continue
        merge = isinstance(event, ScalarEvent) and event.value == "<<" and not event.style
        if isinstance(event, AliasEvent) or event.anchor or merge:
            raise ConfigError(f"{place(line)}: anchors, aliases and merge keys (&, *, <<) are not read; write the keys out")
        if tag := getattr(event, "tag", None):
            raise ConfigError(f"{place(line)}: tags ({tag}) are not read; write a plain value, text in quotes")
        depth += isinstance(event, (MappingStartEvent, SequenceStartEvent))
        if depth > DEPTH:
            raise ConfigError(f"{place(line)}: more than {DEPTH} lists or sections inside each other; check the brackets")


def _plain(value: Any, place: Callable[[int], str]) -> Any:
    """Dates are text: in YAML `2026-11-01` is a date, for everybody else the name of a snapshot or of a version."""
    if isinstance(value, CommentedMap):
        for key, entry in list(value.items()):
            if not isinstance(key, (str, int)) or isinstance(key, bool):
                raise ConfigError(f"{place(value.lc.key(key)[0] + 1)}: {key!r} is no key; put it in quotes if it is a word")
            value[key] = _plain(entry, place)
        return value
    if isinstance(value, CommentedSeq):
        for number, entry in enumerate(value):
            value[number] = _plain(entry, place)
        return value
    if isinstance(value, str) and not value.isprintable():
        return _whole(value)
    return value.isoformat() if isinstance(value, (datetime.date, datetime.time)) else value


def _whole(text: str) -> str:
    """Text whose letters beyond U+FFFF are one code point each: JSON, which YAML reads, spells them as two (surrogates).

    Raises ValueError for half of such a pair, which is no text.
    """
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise ValueError(f"{ascii(text)[:80]} holds half of a letter (a lone surrogate)") from None
