"""Numbers, names and YAML that a language's file may hold: refused in one line with its place, or good for all that comes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel

import lang_configs
from lang_configs.loader import MOST
from lang_configs.schema import LanguageConfig
from lang_configs.sources import kind_of, kinds
from tasks.core.stage import Stage, Step, describe

MINIMAL = "name: Test\ncode: tst\nscript: Latn\n"
ODD = [".nan", ".inf", "-.inf", "-1", str(10**30), "1e308", '""', "true", "[]", str(10**400), "-0.0", "1e-320", "null", "{}"]
NEVER = (".nan", ".inf", "-.inf", str(10**30), str(10**400), '""', "[]", "true", "1e308")
MAPPINGS = {"select.sources": "{web: %s}", "select.source_bytes": "{web: %s}", "select.rehydration": "{2: %s}"}
NEEDED = {
    "web": "sites: [a]",
    "files": "paths: [a]",
    "warc": "paths: [a]",
    "wikipedia": "wiki: swwiki",
    "hub": "dataset: a",
    "common_crawl": "crawl: a, language: swa",
}


def numeric(annotation: Any) -> bool:
    inside = get_args(annotation)
    return annotation in (int, float) or (get_origin(annotation) is not Literal and any(map(numeric, inside)))


def fields(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """The numeric keys of a section and of those in it, by their dotted names."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from fields(field.annotation, f"{path}{name}.")
        elif numeric(field.annotation) and f"{path}{name}" not in MAPPINGS:
            yield f"{path}{name}"


NUMERIC = list(fields(LanguageConfig))
OF_SOURCES = [(kind_of(kind), name) for kind in kinds() if kind_of(kind) in NEEDED for name in fields(kind)]


def outcome(overrides: list[str], folder: Path) -> LanguageConfig | str:
    """The config, good for a fingerprint, or the one line that says what is wrong."""
    path = folder / "test.yaml"
    path.write_text(MINIMAL + "crawl: {sources: [{type: web, sites: ['https://example.org']}]}\n")
    try:
        config = lang_configs.load(str(path), overrides=overrides)
    except lang_configs.ConfigError as error:
        return str(error)
    json.loads(config.model_dump_json(), parse_constant=lambda word: pytest.fail(word))
    assert describe(Step(Stage("all", lambda *_: {}, inputs={}), config), folder, "test").fingerprint
    return config


def test_these_are_all_the_numbers() -> None:
    assert len(NUMERIC) > 70 and len(OF_SOURCES) > 4
    assert {"pretrain.model.layers", "quality.min_letters", "runtime.workers", "tokenizer.vocab_size"} <= set(NUMERIC)


@pytest.mark.parametrize("odd", ODD, ids=[odd[:12] for odd in ODD])
def test_an_odd_number_is_one_line_or_good_for_all_that_comes(odd: str, tmp_path: Path) -> None:
    overrides = [f"{key}={odd}" for key in NUMERIC]
    overrides += [f"{key}={shape % odd}" for key, shape in MAPPINGS.items()]
    overrides += [f"crawl.sources=[{{type: {kind}, {NEEDED[kind]}, {name}: {odd}}}]" for kind, name in OF_SOURCES]
    for override in overrides:
        said = outcome([override], tmp_path)
        if isinstance(said, str):
            assert len(said.splitlines()) == 1 and said.startswith("--set "), (override, said)
            assert len(said) < 1000 or odd == ODD[9]
        if odd in NEVER and override not in ("runtime.compile=true", "clean.phone_countries=[]"):
            assert isinstance(said, str), override


def test_what_is_accepted_is_finite_and_small_enough(tmp_path: Path) -> None:
    for odd in ("1e15", "-1", "0", str(10**15)):
        for key in NUMERIC:
            config = outcome([f"{key}={odd}"], tmp_path)
            if isinstance(config, LanguageConfig):
                value: Any = config
                for part in key.split("."):
                    value = getattr(value, part)
                assert math.isfinite(value) and abs(value) <= MOST


SOURCES = "crawl:\n  sources:\n    - {type: web, name: habari, sites: [a]}\n"
TABLE = {  # what is wrong below `MINIMAL`: line, and a part of what is said; None: it is good
    "pretrain:\n": None,
    "pretrain:\nselect:\nquality:\n": None,
    "pretrain:\n  model:\n": None,
    "crawl: {}\n": None,
    "crawl:\n  snapshot: 2026-11-01\n": None,
    "crawl:\n  snapshot: '2026-11'\n": None,
    "release: {version: 2026-11-01}\n": None,
    "quality: {min_words: 0o17}\n": None,
    "quality: {min_words: 017}\n": None,
    "quality: {min_words: 1_000}\n": None,
    "quality: {min_letters: 1e-1}\n": None,
    "select: {rehydration: {2: 1.5, 5: 2}}\n": None,
    "select: {sources: {habari: 0}}\n" + SOURCES: None,
    "select: {sources: {gazeti: 2}}\n" + SOURCES.replace("web, name: habari, sites", "files, name: habari, paths"): None,
    "schedule: {cron: '30 2 * * mon-fri', timezone: Africa/Dar_es_Salaam}\n": None,
    "schedule: {cron: '*/15 * * * *', timezone: UTC}\n": None,
    "crawl:\n  sources:\n": (5, "crawl.sources: input should be a valid list"),
    "clean:\n  mask:\n": (5, "clean.mask: input should be a valid list"),
    "name: Other\n": (4, "this key is given twice"),
    "quality: {min_words: 3, min_words: 4}\n": (4, "this key is given twice"),
    "quality: &q {min_words: 3}\n": (4, "anchors, aliases and merge keys"),
    "quality:\n  <<: {min_words: 3}\n": (5, "anchors, aliases and merge keys"),
    "quality: *q\n": (4, "anchors, aliases and merge keys"),
    "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n": (4, "anchors, aliases and merge keys"),
    "quality: !!python/object/apply:os.system ['x']\n": (4, "tags ("),
    "release: {curators: !!binary aGFiYXJp}\n": (4, "tags ("),
    "release: {curators: !mine x}\n": (4, "tags ("),
    "x: " + "[" * 50_000 + "]" * 50_000 + "\n": (4, "more than 20 lists or sections"),
    "x: " + "{a: " * 30 + "1" + "}" * 30 + "\n": (4, "more than 20 lists or sections"),
    "x: " + "[" * 50_000 + "\n": (4, "more than 20 lists or sections"),
    "x: " + "9" * 5000 + "\n": (1, "not valid YAML"),
    "release: {curators: '" + "a" * (1 << 21) + "'}\n": (1, "too many for a configuration"),
    "quality:\n\tmin_words: 3\n": (5, "not valid YAML"),
    "--- \na: b\n": (4, "not valid YAML"),
    "quality: {min_words: 3\n": (5, "not valid YAML"),
    "release: {curators: \"a\0b\"}\n": (1, "not valid YAML"),
    "release: {curators: \"a\x1bb\"}\n": (1, "not valid YAML"),
    "1: 2\n": (4, "keys should be strings, found 1"),
    "null: 2\n": (4, "None is no key"),
    "? [a, b]\n: 2\n": (4, "is no key"),
    "true: 2\n": (4, "True is no key"),
    "quality: {2.5: 1}\n": (4, "2.5 is no key"),
    "pretrain: []\n": (4, "pretrain: input should be a valid dictionary"),
    "pretrain: 5\n": (4, "pretrain: input should be a valid dictionary"),
    "crawl: [a]\n": (4, "crawl: input should be a valid dictionary"),
    "crawl: {sources: {a: b}}\n": (4, "crawl.sources: input should be a valid list"),
    "crawl: {sources: [web]}\n": (4, "crawl.sources"),
    "crawl: {sources: [null]}\n": (4, "crawl.sources"),
    "release: {version: 1.0}\n": (4, "release.version: input should be a valid string, found 1.0; put it in quotes"),
    "autonym: no\nhub_code: 5\n": (5, "hub_code: input should be a valid string"),
    "corpus: {drop_repeated_paragraphs: yes}\n": (4, "write true or false"),
    "corpus: {drop_repeated_paragraphs: 1}\n": (4, "write true or false"),
    "quality: {min_words: '3'}\n": (4, "write a whole number, without quotes"),
    "quality: {min_words: 3.5}\n": (4, "quality.min_words: input should be a valid integer"),
    "quality: {min_words: 3e0}\n": (4, "quality.min_words: input should be a valid integer"),
    "quality: {min_words: true}\n": (4, "write a whole number"),
    "quality: {min_letters: off}\n": (4, "write a number"),
    "quality: {min_word_order: 1:30}\n": (4, "write a number"),
    "duplicates: {seed: -1}\n": (4, "duplicates.seed: input should be greater than or equal to 0"),
    "pretrain: {seed: 4294967296}\n": (4, "pretrain.seed: input should be less than 4294967296"),
    "select: {seed: 99999999999999999999}\n": (4, "select.seed: should be at most 9,223,372,036,854,775,807"),
    "select: {rehydration: {99999999999999999999: 1}}\n": (4, "should be at most"),
    "select: {rehydration: {2: -1}}\n": (4, "greater than or equal to 0"),
    "select: {rehydration: {0: 1}}\n": (4, "greater than or equal to 1"),
    "select: {rehydration: {two: 1}}\n": (4, "valid integer"),
    "select: {sources: {habari: -1}}\n" + SOURCES: (4, "select.sources.habari: input should be greater than or equal to 0"),
    "select: {sources: {habari: .inf}}\n" + SOURCES: (4, "finite number"),
    "select: {sources: {habri: 2}}\n" + SOURCES: (1, 'select.sources: there is no source \'habri\', did you mean "habari"?'),
    "select: {source_bytes: {habri: 2}}\n" + SOURCES: (1, "select.source_bytes: there is no source 'habri'"),
    "select: {source_bytes: {habari: -2}}\n" + SOURCES: (4, "greater than or equal to 0"),
    "select: {sources: {habari: 1}}\n": (1, "the sources are none"),
    "schedule: {cron: every day}\n": (4, "schedule.cron: no cron expression"),
    "schedule: {cron: '61 3 1 * *'}\n": (4, "schedule.cron: no cron expression"),
    "schedule: {cron: '0 3 31 2 *'}\n": (4, "schedule.cron: no cron expression"),
    "schedule: {cron: '0 0 3 1 * *'}\n": (4, "five fields are needed"),
    "schedule: {cron: ''}\n": (4, "schedule.cron: no cron expression"),
    "schedule: {cron: 5}\n": (4, "schedule.cron: input should be a valid string"),
    "schedule: {timezone: Africa/Nairoby}\n": (4, 'schedule.timezone: no time zone, did you mean "Africa/Nairobi"?'),
    "schedule: {timezone: ../../etc/passwd}\n": (4, "schedule.timezone: no time zone"),
    "schedule: {timezone: ''}\n": (4, "schedule.timezone: no time zone"),
    "schedule: {timezone: \"a\\0b\"}\n": (4, "schedule.timezone: no time zone"),
    SOURCES.replace("sites: [a]", "sites: [a], contact: \"a\\nb\""): (6, "contact"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "due"), TABLE.items(), ids=range(len(TABLE)))
def test_neighbours(text: str, due: tuple[int, str] | None, tmp_path: Path) -> None:
    (tmp_path / "test.yaml").write_text(MINIMAL + text)
    try:
        config = lang_configs.load(str(tmp_path / "test.yaml"))
    except lang_configs.ConfigError as error:
        said = str(error)
        assert due is not None, said
        assert len(said.splitlines()) == 1 and len(said) < 600, said
        assert said.startswith(f"test.yaml:{due[0]}: ") and due[1] in said, said
    else:
        assert due is None, config


def test_there_are_enough_neighbours() -> None:
    assert len(TABLE) >= 60


@pytest.mark.parametrize(
    "value", ["&a 1", "*a", "{<<: {a: 1}}", "!!str 1", "[" * 60_000, "9" * 5000, "\ud800", "a: b: c", "\0", "[1, 2"]
)
def test_the_same_of_set(value: str, tmp_path: Path) -> None:
    said = outcome([f"release.curators={value}"], tmp_path)
    assert isinstance(said, str) and said.startswith("--set release.curators=") and len(said.splitlines()) == 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_encodings_of_a_file(encoding: str, end: str, tmp_path: Path) -> None:
    (tmp_path / "test.yaml").write_bytes((MINIMAL + "autonym: Gĩkũyũ\n").replace("\n", end).encode(encoding))
    assert lang_configs.load(str(tmp_path / "test.yaml")).autonym == "Gĩkũyũ"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_encodings_that_are_refused(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "test.yaml").write_bytes((MINIMAL + "autonym: Caytué\n").encode(encoding))
    with pytest.raises(lang_configs.ConfigError, match=r"test.yaml:1: not valid YAML: .*; save the file as UTF-8 text"):
        lang_configs.load(str(tmp_path / "test.yaml"))
