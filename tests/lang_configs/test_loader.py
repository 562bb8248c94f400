"""The configuration: what a language file may say, and what a mistake looks like."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import lang_configs
from tests import REPOSITORY

MINIMAL = "name: Test\ncode: tst\nscript: Latn\n"

MISTAKES = {
    "name: Test\nscript: Latn\n": ":1: code: missing",
    "name: Test\ncode: swahili\nscript: Latn\n": ":2: code: 'swahili' does not look right",
    MINIMAL + "selct: {}\n": ':4: selct: unknown key, did you mean "select"?',
    MINIMAL + "crawl:\n  sources:\n    - typ: web\n": ":6: crawl.sources[0].type: a source needs a type",
    MINIMAL
    + "crawl:\n  sources:\n    - type: webb\n": ":6: crawl.sources[0].type: 'webb' is not possible, did you mean \"web\"?",
    MINIMAL + "crawl:\n  sources:\n    - type: web\n      sites: [a]\n      delai: 2\n": (
        ':8: crawl.sources[0].delai: unknown key, did you mean "delay"?'
    ),
    MINIMAL + "crawl:\n  sources:\n    - {type: wikipedia, wki: lgwiki}\n": (
        ':6: crawl.sources[0].wki: unknown key, did you mean "wiki"?'
    ),
    "nme: Test\ncode: tst\nscript: Latn\n": ':1: nme: unknown key, did you mean "name"?',
    MINIMAL + "crawl:\n  sources:\n    - type: web\n": ":6: crawl.sources[0].sites: missing",
    MINIMAL + "pretrain:\n  optimizer: mun\n": ":5: pretrain.optimizer: 'mun' is not possible, did you mean \"muon\"?",
    MINIMAL + "quality:\n  min_letters: 3\n": ":5: quality.min_letters: input should be less than or equal to 1, found 3",
    MINIMAL + "pretrain:\n  model:\n    family: qwen2\n": ":6: pretrain.model.family: 'qwen2' is not possible, did you mean"
    ' "qwen3"?; choose from qwen3, llama, nanochat, gpt2, bert, modernbert',
    MINIMAL + "pretrain:\n  model:\n    layers: many\n": ":6: pretrain.model.layers: input should be a valid integer",
    MINIMAL
    + "pretrain:\n  model: {width: 100, heads: 3}\n": ":5: pretrain.model: width 100 must be an even multiple of heads 3",
    MINIMAL + "quality:\n\tmin_words: 3\n": ":5: not valid YAML",
    "- a\n- b\n": ":1: expected keys such as `name: Swahili`",
    MINIMAL + "evaluation:\n  - name: news\n    task: clasify\n    format: tsv\n": (
        ":6: evaluation[0].task: 'clasify' is not possible, did you mean \"classification\"?; choose from classification, tag"
    ),
    MINIMAL
    + "crawl:\n  sources:\n  - {type: files, paths: [a]}\n  - {type: files, paths: [b]}\n": "the name 'files' is used twice",
}


@pytest.mark.parametrize(("text", "expected"), MISTAKES.items(), ids=[message[:40] for message in MISTAKES.values()])
def test_a_mistake_is_one_line_with_file_line_and_cure(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "test.yaml"
    path.write_text(text)
    with pytest.raises(lang_configs.ConfigError) as caught:
        lang_configs.load(str(path))
    lines = str(caught.value).splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("test.yaml:")
    assert expected in lines[0]


def test_every_mistake_is_reported_at_once(tmp_path: Path) -> None:
    path = tmp_path / "test.yaml"
    path.write_text("name: Test\ncode: x\nscript: y\nfoo: 1\n")
    with pytest.raises(lang_configs.ConfigError) as caught:
        lang_configs.load(str(path))
    assert [line.split(":")[1] for line in str(caught.value).splitlines()] == ["2", "3", "4"]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("pretrain.stepz=5", '--set pretrain.stepz=5: pretrain.stepz: unknown key, did you mean "steps"?'),
        ("pretrain.steps=many", "--set pretrain.steps=many: pretrain.steps: input should be a valid integer"),
        ("steps", "--set steps: write it as section.key=value"),
        ("name.x=1", "--set name.x=1: name is not a section"),
        ("name=[", "--set name=[: the value is not valid YAML"),
    ],
)
def test_a_wrong_override_names_itself(override: str, expected: str) -> None:
    with pytest.raises(lang_configs.ConfigError) as caught:
        lang_configs.load("swahili", overrides=[override])
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("language", "preset", "expected"),
    [
        ("swahilli", None, 'swahilli: unknown language, did you mean "swahili"?'),
        ("nowhere.yaml", None, "nowhere.yaml: there is no such file"),
        ("swahili", "startr", '--preset startr: unknown preset, did you mean "starter"?'),
    ],
)
def test_unknown_names_suggest_known_ones(language: str, preset: str | None, expected: str) -> None:
    with pytest.raises(lang_configs.ConfigError) as caught:
        lang_configs.load(language, preset)
    assert expected in str(caught.value)


@pytest.mark.parametrize("language", lang_configs.languages())
@pytest.mark.parametrize("preset", [None, *lang_configs.presets()])
def test_packaged_languages_are_valid_with_every_preset(language: str, preset: str | None) -> None:
    config = lang_configs.load(language, preset)
    assert config.crawl.sources and config.evaluation


def test_a_file_needs_no_more_than_name_code_and_script(tmp_path: Path) -> None:
    path = tmp_path / "sheng.yaml"
    path.write_text("name: Sheng\ncode: shg\nscript: Latn\n")
    config = lang_configs.load(str(path))
    assert (config.label, config.crawl.sources, lang_configs.stem(str(path))) == ("shg_Latn", [], "sheng")


def test_later_layers_win(tmp_path: Path) -> None:
    path = tmp_path / "test.yaml"
    path.write_text(MINIMAL + "pretrain:\n  minutes: 99\n")
    assert lang_configs.load("swahili").pretrain.minutes != lang_configs.load("swahili", "starter").pretrain.minutes
    config = lang_configs.load(str(path), "starter", ["pretrain.model.layers=2", "quality.min_words=5"])
    assert config.pretrain.minutes == 99
    assert config.pretrain.model.layers == 2
    assert config.pretrain.model.width == lang_configs.load("swahili", "starter").pretrain.model.width
    assert config.quality.min_words == 5


def test_the_starter_preset_crawls_the_packaged_site() -> None:
    assert [source.type for source in lang_configs.load("swahili", "starter").crawl.sources] == ["starter"]


def test_schema_json_is_current() -> None:
    # in a process of its own: other tests make sources, tasks and families of theirs known to this one
    code = "import json, lang_configs; print(json.dumps(lang_configs.json_schema()))"
    now = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert json.loads((Path(lang_configs.__file__).parent / "schema.json").read_text()) == json.loads(now)
