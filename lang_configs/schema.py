"""The configuration of a language: one pydantic model for each section of `lang_configs/<language>.yaml`.

Defaults live here, so that a language needs a name, a code, a script and its sources. A section is the configuration of
the stage of the same name, and only that section is part of the stage's fingerprint; fields with `exclude=True` say
where things are on this machine and are part of none.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field, model_validator

from lang_configs.evaluation import Evaluate, EvaluationSet
from lang_configs.names import suggest
from lang_configs.sources import Crawl, FilesSource, Seed, Source, Strict, holds_sources
from lang_configs.training import Pretrain, Tokenizer

# --- documents, annotations, selection ------------------------------------------------------------------------------


class Clean(Strict):
    """Boilerplate lines and personal data."""

    phone_countries: list[int] = Field([], description="Calling codes whose national phone numbers are masked")
    mask: list[Literal["email", "phone", "ip", "mpesa", "id", "card"]] = Field(
        ["email", "phone", "ip", "mpesa", "id", "card"],
        description="Types of personal data that are replaced by their name: [email]",
    )
    boilerplate: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Share of a site's documents at whose head or foot a line is boilerplate; 0 keeps all lines",
    )


class LanguageId(Strict):
    """Which language each document is in."""

    model: str | None = Field(
        None, description="fastText .bin or .ftz: a path or an address; default: the packaged model", exclude=True
    )
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="Checksum of the model; required for an address")
    label: str | None = Field(None, description="What the model calls the language; default: code and script, e.g. swh_Latn")
    accept: tuple[str, ...] = Field(
        (),
        exclude_if=lambda labels: not labels,
        description="Labels of close relatives that count as the language, where text cannot tell them, e.g. [run_Latn]",
    )


Weight = Annotated[float, Field(ge=0, le=1000)]
"""How often a document is used in training, compared with others."""
Share = Annotated[float | None, Field(ge=0, le=1)]
"""A threshold on a share; null: measured."""


class Quality(Strict):
    """Thresholds on the quality signals; a document outside of one is dropped by select, which names the signal.

    Null is measured: a quantile of the language's own text, within bounds (`tasks/select/thresholds.py`).
    """

    min_words: int = Field(20, ge=0)
    max_words: int = Field(200_000, ge=1)
    min_mean_word_length: float | None = Field(None, ge=0, description="Characters")
    max_mean_word_length: float | None = Field(None, ge=0)
    min_letters: Share = Field(None, description="Share of letters and marks among the characters that are not white space")
    max_digits: Share = None
    max_symbols: Share = Field(None, description="Share of #, {, }, <, >, |, = and their like")
    min_alpha_words: Share = Field(None, description="Share of words with a letter (Gopher: 0.8)")
    max_capital_words: Share = Field(None, description="Share of words that begin with a capital")
    max_single_letter_words: Share = Field(None, description="Share of words that are one small letter between blanks")
    max_punctuation: float | None = Field(None, ge=0, description="Punctuation marks and symbols per word")
    max_hash_words: float | None = Field(None, ge=0, description="# per word (Gopher: 0.1)")
    max_ellipsis_words: float | None = Field(None, ge=0, description="Ellipses per word (Gopher: 0.1)")
    min_unique_words: Share = Field(None, description="Distinct words / words, of the first 1,000")
    max_top_word: Share = Field(None, description="Share of the most frequent word")
    max_bullet_lines: Share = Field(None, description="Gopher: 0.9")
    max_ellipsis_lines: float = Field(
        1.0, ge=0, le=1, description="Gopher: 0.3. Off: says nothing of text in one line; see max_ellipsis_words"
    )
    min_stop_lines: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of lines that end a sentence. Off: news stored in one line often lacks the last stop",
    )
    max_short_lines: float = Field(
        1.0, ge=0, le=1, description="Share of lines of at most 30 characters. Off: stories and verse are all short lines"
    )
    max_newlines: float = Field(1.0, ge=0, description="Line breaks per word. As good as off, for the same reason")
    max_duplicate_lines: Share = Field(None, description="Share of lines seen before in the document (Gopher: 0.3)")
    max_duplicate_line_characters: Share = Field(None, description="Share of characters in them (Gopher: 0.2; FineWeb: 0.01)")
    max_duplicate_paragraphs: Share = Field(None, description="Gopher: 0.3")
    max_duplicate_paragraph_characters: Share = Field(None, description="Gopher: 0.2")
    max_top_2_grams: Share = Field(None, description="Share of characters in the most frequent pair of words (Gopher: 0.2)")
    max_top_3_grams: Share = None
    max_top_4_grams: Share = None
    max_duplicate_5_grams: Share = Field(None, description="Share of characters in 5 words seen before (Gopher: 0.15)")
    max_duplicate_6_grams: Share = None
    max_duplicate_7_grams: Share = None
    max_duplicate_8_grams: Share = None
    max_duplicate_9_grams: Share = None
    max_duplicate_10_grams: Share = None
    min_function_words: Share = Field(None, description="Share of words that are among the 100 most frequent of the language")
    min_word_order: float | None = Field(None, description="Nats by which a word tells of the next one; 0 is no order at all")


class Duplicates(Strict):
    """Exact and near duplicates by MinHash bands, every candidate checked by its exact Jaccard similarity."""

    shingle_words: int = Field(5, ge=1, le=16, description="Words per shingle")
    bands: int = Field(25, ge=1, le=1000)
    rows: int = Field(4, ge=1, le=100, description="Signature values per band; bands x rows permutations in all")
    threshold: float = Field(0.7, ge=0.1, le=1, description="Jaccard similarity from which on two documents are duplicates")
    related: float = Field(
        0.4, ge=0.05, le=1, description="Jaccard similarity from which on they stay on one side of the split"
    )
    seed: Seed = 1


class Contamination(Strict):
    """Evaluation items inside documents, by containment of letters-only character n-grams."""

    characters: int = Field(20, ge=8, description="Letters per n-gram, spaces and punctuation left out")
    threshold: float = Field(0.3, gt=0, le=1, description="Share of an item's n-grams in one document that contaminates it")
    common: float = Field(
        1e-4, ge=0, le=1, description="Share of the documents from which on an n-gram is a common phrase and counts for no item"
    )


class Select(Strict):
    """The decision about each document."""

    min_language_score: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Lowest confidence that counts as this language; default: measured for the model, 0.5 where it was not",
    )
    min_affinity: float = Field(
        0.05, ge=0, le=1, description="Share of words that hardly occur in other languages; asked below sure_language_score"
    )
    sure_language_score: float = Field(0.95, ge=0, le=1, description="Confidence from which on the words are not asked")
    min_line_share: float = Field(0.2, ge=0, le=1, description="Share of a document's lines that are in its language")
    validation: float = Field(
        0.01, gt=0, lt=0.3, description="Share of the kept text held out for every choice: checkpoint, vocabulary, rates"
    )
    validation_bytes: int = Field(2_000_000, ge=1000, description="Most text held out for choices, in bytes")
    test: float = Field(
        0.01,
        gt=0,
        lt=0.3,
        description="Share of the kept text held out for the figures that are reported: nothing chooses on it",
    )
    test_bytes: int = Field(2_000_000, ge=1000, description="Most text held out for reported figures, in bytes")
    sources: dict[str, Weight] = Field({}, description="Weight of a source's documents in training; 0 drops them")
    source_bytes: dict[str, Annotated[int, Field(ge=0)]] = Field(
        {}, description="Most text kept of a source, in bytes; a hash chooses the documents"
    )
    rehydration: dict[Annotated[int, Field(ge=1)], Weight] = Field(
        {}, description="Number of copies a document stands for, itself included -> weight from there on, e.g. {2: 1.5, 5: 2}"
    )
    seed: Seed = 1


class Corpus(Strict):
    """The text that is trained on."""

    drop_repeated_paragraphs: bool = Field(
        False, description="Keep each line of 100 characters or more only where it stands first, in the order of the documents"
    )


# --- release, refresh, machine ---------------------------------------------------------------------------------------


class Release(Strict):
    """What a release says that no stage can measure: asked once, printed in every card."""

    version: str = "0.1.0"
    license: str = Field("other", description="Licence of the collection: SPDX id, or other when each document keeps its own")
    model_license: str = Field("other", description="Licence of the weights: SPDX id, or other")
    curators: str = Field("not stated", description="Who chose the sources and answers for the release")
    contact: str = Field("not stated", description="Address for questions and takedown requests")
    motivation: str = Field("not stated", description="Why and for whom this was made")
    funding: str = Field("not stated", description="Who paid for it")
    maintenance: str = Field("not stated", description="How often and by whom it is renewed")
    audit: str = Field("not stated", description="What people found who read a sample: how many documents, what share was good")


def _cron(expression: str) -> str:
    try:
        if len(expression.split()) != 5:
            raise CronSimError("five fields are needed")
        CronSim(expression, datetime(2026, 1, 1))
    except CronSimError as error:
        raise ValueError(f"no cron expression ({error}); write minute, hour, day, month, weekday, e.g. 0 3 1 * *") from None
    return expression


def _timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError):  # ZoneInfoNotFoundError is a KeyError
        pass
    except KeyError:
        pass
    else:
        return name
    raise ValueError(f"no time zone{suggest(name, available_timezones())}; write it as in Africa/Nairobi")


class Schedule(Strict):
    """When the refresh runs."""

    cron: Annotated[str, AfterValidator(_cron)] = Field(
        "0 3 1 * *", description="Minute, hour, day of the month, month, weekday"
    )
    timezone: Annotated[str, AfterValidator(_timezone)] = Field("Africa/Nairobi", description="Name in the IANA database")


class Runtime(Strict):
    """How fast, where and at what price, never what: no fingerprint depends on it."""

    engine: Literal["inline", "processes", "dask"] = "processes"
    workers: int = Field(0, ge=0, description="0: one for each core")
    address: str | None = Field(None, description="Scheduler of a running Dask cluster")
    offline: bool = Field(False, description="Make no connection: what is not on this machine is an error")
    max_rate: str | None = Field(
        None, pattern=r"^[1-9]\d*(\.\d+)?[kM]?$", description="Most bytes per second of all downloads together, e.g. 500k"
    )
    hours: str | None = Field(
        None,
        pattern=r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$",
        description="When downloads may run, in the time of this machine, e.g. 22:00-06:00; outside of it they wait",
    )
    country: str | None = Field(
        None,
        pattern="^[A-Z]{2}$",
        description="Where the electricity comes from, as ISO 3166-1 alpha-2, e.g. KE; default: the world's average",
    )
    price_per_kwh: float | None = Field(None, ge=0, description="What electricity costs, in `currency`")
    currency: str = Field("USD", pattern="^[A-Z]{3}$", description="ISO 4217, e.g. KES")
    processes: int = Field(0, ge=0, description="Data-parallel processes of a training, on this machine; 0: one for each GPU")
    compile: bool | Literal["auto"] = Field("auto", description="Compile the model for training; auto: where that pays")
    checkpoint_minutes: float = Field(5.0, gt=0, description="Most minutes of training that a kill or a power cut costs")
    checkpoint_steps: int | None = Field(None, ge=1, description="Save a training after so many steps, too")
    log_steps: int = Field(10, ge=1, description="Steps of training between two rows of its metrics")
    tensorboard: str | None = Field(
        None,
        description="Folder in which TensorBoard finds the curves of each training, as it goes; needs the package tensorboard",
    )


@holds_sources
class LanguageConfig(Strict):
    """A language, from its name to the release of its model."""

    name: str = Field(min_length=1, description="English name, e.g. Swahili")
    code: str = Field(pattern="^[a-z]{3}$", description="ISO 639-3 code, e.g. swh")
    script: str = Field(pattern="^[A-Z][a-z]{3}$", description="ISO 15924 code, e.g. Latn")
    autonym: str | None = Field(None, description="The language's own name, e.g. Kiswahili")
    hub_code: str | None = Field(
        None, pattern="^[a-z]{2,3}$", description="Code for the Hub's language tag, e.g. sw; default: code"
    )
    starter: list[Source] = Field([], description="Sources of the starter preset: small, and need no network")
    crawl: Crawl = Crawl()
    clean: Clean = Clean()
    language: LanguageId = LanguageId()
    quality: Quality = Quality()
    duplicates: Duplicates = Duplicates()
    contamination: Contamination = Contamination()
    evaluation: list[EvaluationSet] = Field([])
    select: Select = Select()
    corpus: Corpus = Corpus()
    tokenizer: Tokenizer = Tokenizer()
    pretrain: Pretrain = Pretrain()
    evaluate: Evaluate = Evaluate()
    release: Release = Release()
    schedule: Schedule = Schedule()
    runtime: Runtime = Runtime()

    @property
    def label(self) -> str:
        """Language and script as language identification writes them, e.g. swh_Latn."""
        return f"{self.code}_{self.script}"

    @model_validator(mode="after")
    def _source_names_differ(self) -> LanguageConfig:
        names = [source.name for source in self.crawl.sources]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"crawl.sources: the name {twice[0]!r} is used twice; give each source a name of its own")
        return self

    @model_validator(mode="after")
    def _select_names_sources(self) -> LanguageConfig:
        """Documents of files may name sources of their own; those of all others are of the source that is configured."""
        sources = [*self.crawl.sources, *self.starter]
        if any(isinstance(source, FilesSource) for source in sources):
            return self
        names = {source.name for source in sources}
        for key, chosen in (("sources", self.select.sources), ("source_bytes", self.select.source_bytes)):
            for name in chosen.keys() - names:
                raise ValueError(
                    f"select.{key}: there is no source {name!r}{suggest(name, names)}; the sources are "
                    + (", ".join(sorted(names)) or "none")
                )
        return self
