"""The whole pipeline on one screen: which stage reads which, and the section of the config that each one gets.

`run` decides how a stage is run: at once in this process (`lugha build`), as a Prefect task, or not at all (`lugha plan`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel

from lang_configs import LanguageConfig
from lang_configs.schema import LanguageId
from lang_configs.sources import Source
from lang_configs.training import MASKED_FAMILIES, Tokenizer, Tokens
from tasks.annotate.contamination import ContaminationConfig, contamination
from tasks.annotate.duplicates import duplicates
from tasks.annotate.language import language, model_digest
from tasks.annotate.language.confusion import threshold
from tasks.annotate.quality import QualitySignals, quality
from tasks.cards import CardsConfig, cards
from tasks.clean import clean
from tasks.core.stage import Output, Stage
from tasks.corpus import corpus
from tasks.crawl import crawl, external
from tasks.evaluate import EvaluateConfig, evaluate
from tasks.evaluation_sets import EvaluationData
from tasks.pretrain import pretrain
from tasks.release import release
from tasks.select import SelectConfig, select
from tasks.select.forgotten import BlockList
from tasks.tokenizer import tokenizer
from tasks.tokenizer.sizes import TokenizerForModel
from tasks.tokens import tokens

CRAWL = Stage("crawl", crawl, version=3)
CLEAN = Stage("clean", clean, version=2, libraries=["ftfy"])
LANGUAGE = Stage("language", language, version=2)
QUALITY = Stage("quality", quality, version=3)
DUPLICATES = Stage("duplicates", duplicates, version=2)
CONTAMINATION = Stage("contamination", contamination, version=3)
SELECT = Stage("select", select, version=3)
CORPUS = Stage("corpus", corpus, version=2)
TOKENIZER = Stage("tokenizer", tokenizer, version=2, libraries=["sentencepiece", "tokenizers"])
TOKENS = Stage("tokens", tokens, version=2, libraries=["sentencepiece"])
PRETRAIN = Stage("pretrain", pretrain, version=5, libraries=["torch"])
EVALUATE = Stage("evaluate", evaluate, version=2, libraries=["transformers", "scikit-learn"])
CARDS = Stage("cards", cards, version=6, libraries=["matplotlib"])
RELEASE = Stage("release", release, version=2)


class Run(Protocol):
    """Runs one stage, or says where its output would be."""

    def __call__(
        self, stage: Stage, config: BaseModel, inputs: Mapping[str, Output], external: str = "", label: str = ""
    ) -> Output: ...


@dataclass(frozen=True)
class Given:
    """What a run gets beside the config: the name of its snapshot, the command line that repeats it (for the cards), where
    evaluation sets lie, and the block list.
    """

    snapshot: str
    command: str
    evaluation: Path | None = None
    forgotten: BlockList = field(default_factory=BlockList)


def build_lm(config: LanguageConfig, given: Given, run: Run) -> Output:
    """The corpus -> tokenizer -> tokens -> pretrain -> evaluate -> cards -> release; returns the release."""
    data = build_corpus(config, given, run)
    text = data["corpus"]
    pieces = run(TOKENIZER, _tokenizer(config), {"corpus": text})
    encoded = run(TOKENS, Tokens(), {"corpus": text, "tokenizer": pieces})
    model = run(PRETRAIN, config.pretrain, {"tokens": encoded, "tokenizer": pieces})
    trained = {"pretrain": model, "tokenizer": pieces, "tokens": encoded, "corpus": text}
    masking = config.pretrain.masking if config.pretrain.model.family in MASKED_FAMILIES else None
    held_out = _evaluation_data(config, given)
    evaluation = EvaluateConfig(rule=config.evaluate, data=held_out, masking=masking)
    measured = run(EVALUATE, evaluation, trained, held_out.digest())

    described = run(CARDS, _card(config, given.command), {**data, **trained, "evaluate": measured})
    finished = {"cards": described, "corpus": text, "tokenizer": pieces, "pretrain": model, "evaluate": measured}
    return run(RELEASE, config.release, finished)


def build_corpus(config: LanguageConfig, given: Given, run: Run) -> dict[str, Output]:
    """crawl ... -> clean -> language -> quality, duplicates, contamination -> select -> corpus; returns them by label."""
    raw = {
        source.name: run(CRAWL, _source(config, source), {}, external(source, given.snapshot), f"crawl-{source.name}")
        for source in config.crawl.sources
    }
    documents = run(CLEAN, config.clean, raw)
    identification = _identification(config)
    labels = run(LANGUAGE, identification, {"clean": documents}, model_digest(identification))
    held_out = _evaluation_data(config, given)
    annotations = {
        "language": labels,
        "quality": run(QUALITY, QualitySignals(label=identification.label), {"clean": documents, "language": labels}),
        "duplicates": run(DUPLICATES, config.duplicates, {"clean": documents}),
        "contamination": run(
            CONTAMINATION,
            ContaminationConfig(rule=config.contamination, data=held_out),
            {"clean": documents},
            held_out.digest(),
        ),
    }
    selected = run(SELECT, _selection(config, given.forgotten), {"clean": documents, **annotations}, given.forgotten.digest())
    text = run(CORPUS, config.corpus, {"clean": documents, "select": selected})
    crawled = {f"crawl-{name}": output for name, output in raw.items()}
    return {**crawled, "clean": documents, **annotations, "select": selected, "corpus": text}


def _source(config: LanguageConfig, source: Source) -> Source:
    """A source of pages in many languages gives those in the language of the config, unless it names others."""
    unsaid = getattr(source, "languages", []) is None
    return source.model_copy(update={"languages": [config.label]}) if unsaid else source


def _selection(config: LanguageConfig, forgotten: BlockList) -> SelectConfig:
    rule = config.select
    if rule.min_language_score is None:
        rule = rule.model_copy(update={"min_language_score": threshold(config.language, config.label)})
    return SelectConfig(label=config.language.label or config.label, quality=config.quality, rule=rule, forgotten=forgotten)


def _identification(config: LanguageConfig) -> LanguageId:
    return config.language.model_copy(update={"label": config.language.label or config.label})


def _evaluation_data(config: LanguageConfig, given: Given) -> EvaluationData:
    """The evaluation sets that this run can hold: sections of a web source only where that source is crawled."""
    crawled = {source.name for source in config.crawl.sources}
    sets = [entry for entry in config.evaluation if entry.format != "sections" or entry.source in crawled]
    return EvaluationData(sets=sets, folder=given.evaluation)


def _tokenizer(config: LanguageConfig) -> Tokenizer:
    """The config of the tokenizer, with the model that its size is chosen for where there are several."""
    if isinstance(config.tokenizer.vocab_size, int):
        return config.tokenizer
    return TokenizerForModel(**config.tokenizer.model_dump(), model=config.pretrain.model)


def _card(config: LanguageConfig, command: str) -> CardsConfig:
    facts = {
        "name": config.name,
        "autonym": config.autonym,
        "code": config.code,
        "script": config.script,
        "hub_code": config.hub_code,
    }
    return CardsConfig(language=facts, release=config.release, command=command)
