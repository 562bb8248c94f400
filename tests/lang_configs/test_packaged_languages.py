"""What the packaged files say of their languages, held against tables that others keep.

The tables that no library at hand has are in `tables`, each with its source in its first line.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from babel.core import get_global

import lang_configs
from flows.dag import CRAWL
from flows.run.plan import Plan
from flows.run.request import Request
from lang_configs.schema import LanguageConfig, Runtime
from lang_configs.sources import CommonCrawlSource, HubSource, SourceConfig, WebSource, WikipediaSource
from tasks.net import rules
from tests.flows.cli.running import document

BEYOND_CLDR = {"swahili": {"RW"}, "wolof": {"GM"}}
"""Where a language is spoken although CLDR does not say so: an official language of Rwanda; a national one of The Gambia."""


def table(name: str) -> list[dict[str, str]]:
    """The rows of a table; `-` stands for nothing."""
    source, *lines = (Path(__file__).parent / "tables" / f"{name}.tsv").read_text("utf-8").splitlines()
    assert source.startswith("# ")
    rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    return [{column: "" if cell == "-" else cell for column, cell in row.items()} for row in rows]


def column(name: str) -> set[str]:
    return {cell for row in table(name) for cell in row.values()}


ISO_639 = {row["code"]: row for row in table("iso_639")}
TERRITORIES = {int(row["code"]): row["territory"] for row in table("calling_codes")}

every_language = pytest.mark.parametrize("language", lang_configs.languages())


def sources(config: LanguageConfig, kind: type[SourceConfig]) -> list[SourceConfig]:
    return [source for source in config.crawl.sources if isinstance(source, kind)]


def codes(config: LanguageConfig) -> set[str]:
    """What others may write for the language where they write three letters: its own code, or that of its macrolanguage."""
    also = {"oro"} if config.code == "gaz" else set()  # AfriSenti's word for Oromo
    return {config.code, ISO_639[config.code]["macrolanguage"], *also} - {""}


def test_twenty_four_languages_come_with_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(lang_configs.languages()) == 24
    shown = document(capsys, "languages")
    assert [row["file"] for row in shown] == lang_configs.languages()
    for key in ("name", "autonym", "label"):
        assert len({row[key] for row in shown}) == 24 and all(row[key] for row in shown)


@every_language
def test_code_name_and_script_are_those_of_the_standards(language: str) -> None:
    config = lang_configs.load(language)
    row = ISO_639[config.code]
    assert config.name in {row["name"], *row["other_names"].split(", ")}
    assert config.hub_code in {row["part_1"] or row["macrolanguage_part_1"] or None}
    tag = config.hub_code or config.code
    likely = get_global("likely_subtags")[get_global("language_aliases").get(tag, tag)]
    assert likely.split("_")[1] == config.script


@every_language
def test_every_source_is_there_and_has_the_language(language: str) -> None:
    config = lang_configs.load(language)
    wikipedia = f"{config.hub_code or config.code}wiki"
    assert [source.wiki for source in sources(config, WikipediaSource)] == [wikipedia] * (wikipedia in column("wikipedias"))
    (fineweb,) = sources(config, HubSource)
    assert fineweb.dataset == "HuggingFaceFW/fineweb-2" and fineweb.config == config.label
    assert fineweb.config in column("fineweb_2")
    found = codes(config) & column("common_crawl")
    assert [{source.language} for source in sources(config, CommonCrawlSource)] == [found] * bool(found)


@every_language
def test_every_site_is_an_address_that_is_named_once(language: str) -> None:
    sites = [site for source in sources(lang_configs.load(language), WebSource) for site in source.sites]
    for site in sites:
        address = urlsplit(site)
        assert address.scheme in ("https", "http") and "." in address.netloc and not address.query and not address.fragment
    assert len(set(sites)) == len(sites) <= 5


@every_language
def test_phones_and_clock_are_those_of_where_it_is_spoken(language: str) -> None:
    config = lang_configs.load(language)
    tags = {get_global("language_aliases").get(tag, tag) for tag in (config.code, config.hub_code or config.code)}
    spoken = {territory for territory, known in get_global("territory_languages").items() if tags & known.keys()}
    countries = [TERRITORIES[code] for code in config.clean.phone_countries]
    assert countries and set(countries) - spoken == BEYOND_CLDR.get(language, set())
    assert get_global("zone_territories")[config.schedule.timezone] == countries[0]


@every_language
def test_evaluation_sets_are_those_that_there_are(language: str) -> None:
    config = lang_configs.load(language)
    given = {entry.name: entry for entry in config.evaluation if entry.source is None}
    rows = {row["name"]: row for row in table("evaluation")}
    folders = {name: {config.label, *codes(config)} & set(row["folders"].split()) for name, row in rows.items()}
    there = {name for name, found in folders.items() if found}
    one_of_topics = {"sib200"} if "masakhanews" in there else set()
    assert given.keys() == there - one_of_topics
    for name, entry in given.items():
        row, (folder,) = rows[name], folders[name]
        assert (entry.url, entry.format, entry.label) == (row["url"], row["format"], row["label"])
        assert entry.text == row["text"].split()
        for split, file in entry.files.items():
            assert file in {f"{name}/{folder}/{few}{split}.{row['ending']}" for few in ("", "fewshot_50_")}
    assert "classification" in {entry.task for entry in config.evaluation}


@pytest.fixture
def line() -> Iterator[None]:
    """The rules of the line hold in a process until others come."""
    yield
    rules.use(Runtime())


@every_language
def test_a_build_can_be_planned_without_a_network(language: str, tmp_path: Path, line: None) -> None:
    request = Request(language, workspace=tmp_path, offline=True)
    steps = Plan(request).all()
    crawled = [step for step in steps if step.label.startswith(CRAWL.name)]
    assert len(crawled) == len(lang_configs.load(language).crawl.sources)
    assert not any(step.done for step in steps) and len({step.label for step in steps}) == len(steps)
