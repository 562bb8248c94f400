"""Where the text of a language comes from: the section `crawl` and its kinds of source."""

from __future__ import annotations

import operator
from functools import reduce
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic_core import CoreSchema

from lang_configs.secrets import within, without_secrets


class Strict(BaseModel):
    """A section in which a key that is not known is a mistake, and so is a number that is none (.nan, .inf).

    What is written down of it, and decides what a result is, holds no secret: a password may change, and nobody is to read it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_serializer(mode="wrap")
    def _without_secrets(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = within(serialise(self), without_secrets)
        return written


Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""What random choices begin with: what numpy, scikit-learn, SentencePiece and torch all take."""

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", description="Short name, used for folders")]


Languages = Annotated[
    list[str] | None,
    Field(
        description="Labels (swh_Latn) of languages whose pages are extracted, others are counted; default: this one; []: all"
    ),
]


class SourceConfig(Strict):
    """What every kind of source has: the word that names the kind, which each fixes as a Literal, and a name of its own."""

    type: str
    name: Name
    trusted: bool = Field(
        False,
        exclude=True,
        description="You vouch that most of it, two thirds at least, is good text in the language; others are judged by it",
    )


class FilesSource(SourceConfig):
    """Local files: JSON lines or plain text (also .gz, .zst), Parquet or HTML, chosen by the ending of each name."""

    type: Literal["files"] = "files"
    name: Name = "files"
    paths: list[Annotated[str, Field(pattern=r"\S")]] = Field(min_length=1, description="Files, folders or globs", exclude=True)
    license: str | None = Field(None, description="SPDX id for documents that state none")
    documents: Literal["file", "line", "paragraph"] = Field(
        "file", description="What is a document in plain text: the file, each line, or what blank lines separate"
    )
    languages: Languages = None


class WarcSource(SourceConfig):
    """Local WARC files, also .gz and .zst: the HTML pages of a crawl, or the texts of Common Crawl's WET files."""

    type: Literal["warc"] = "warc"
    name: Name = "warc"
    paths: list[Annotated[str, Field(pattern=r"\S")]] = Field(min_length=1, description="Files, folders or globs", exclude=True)
    license: str | None = Field(None, description="SPDX id for pages that state none")
    languages: Languages = None


class WebSource(SourceConfig):
    """Web sites, crawled politely: robots.txt (RFC 9309), sitemaps, feeds, and links within the sites."""

    type: Literal["web"] = "web"
    name: Name = "web"
    sites: list[str] = Field(
        min_length=1,
        description="Start addresses; the crawl stays on their hosts and below their paths. Of a feed (RSS, Atom): its entries",
    )
    license: str | None = Field(None, description="SPDX id for pages that state none")
    languages: Languages = None
    max_pages: int = Field(10_000, ge=1, description="Pages to fetch from each site")
    delay: float = Field(1.0, ge=0, description="Seconds between two requests to one host, unless robots.txt asks for more")
    max_bytes: int = Field(5 << 20, ge=1024, description="Largest page, in bytes after decompression")
    contact: str | None = Field(
        None,
        pattern="^[!-~]([ -~]*[!-~])?$",
        description="Your address or page, in the user agent: whom a site owner can ask to stop",
    )
    opt_outs: list[Literal["noindex", "nofollow", "noai", "noimageai", "tdm", "ai_txt"]] = Field(
        ["noindex", "nofollow", "noai", "tdm", "ai_txt"],
        description="Wishes of publishers, beyond robots.txt (which always counts), that are obeyed; others are only recorded",
    )
    keep_warc: bool = Field(True, description="Keep the answers as WARC: about a quarter of the size of the pages")


class StarterSource(SourceConfig):
    """The site that comes with the package, served on loopback and crawled like any other."""

    type: Literal["starter"] = "starter"
    name: Name = "starter"
    site: str = Field("starter_site", description="Folder of lang_configs that holds the pages")


class WikipediaSource(SourceConfig):
    """A Wikimedia dump (pages-articles), read from a file or downloaded: Wikipedia or a sister project."""

    type: Literal["wikipedia"] = "wikipedia"
    name: Name = "wikipedia"
    wiki: str = Field(pattern="^[a-z][a-z0-9_]*$", description="Database name, e.g. swwiki, swwiktionary")
    dump: str | None = Field(None, description="Path or address of a dump; default: the latest of dumps.wikimedia.org")
    sha256: str | None = Field(
        None, pattern="^[0-9a-f]{64}$", description="Checksum of a dump that is downloaded; default: the SHA-1 listed beside it"
    )
    script: str | None = Field(
        None, description="Script (Cyrl) that is kept of words which a wiki writes in several; default: the language's"
    )
    license: str = "CC-BY-SA-4.0"


HUB_PRESETS: dict[str, dict[str, str | None]] = {
    "fineweb-2": {"dataset": "HuggingFaceFW/fineweb-2", "fetched_at": "date", "license": "ODC-By-1.0"},
    "madlad-400": {
        "dataset": "allenai/MADLAD-400",
        "files": "data/{config}/{config}_clean_*.jsonl.gz",
        "url": None,
        "line_break": "\\n",
        "license": "ODC-By-1.0",
    },
    "glotcc": {"dataset": "cis-lmu/GlotCC-V1", "files": "v1.0/{config}/*.parquet", "text": "content", "license": "CC0-1.0"},
    "culturax": {"dataset": "uonlp/CulturaX", "files": "{config}/*.parquet", "license": "ODC-By-1.0"},
    "wikipedia": {"dataset": "wikimedia/wikipedia", "title": "title", "license": "CC-BY-SA-3.0"},
}
"""Known datasets: where they are, their columns, and the licences of the collections (not of the pages in them).

`config` names the language as each of them does: swh_Latn (FineWeb-2), sw (MADLAD-400, CulturaX), swh-Latn (GlotCC),
20231101.sw (Wikipedia). CulturaX asks for a login (`hf auth login`); its OSCAR half is CC0, its mC4 half ODC-By.
"""


class HubSource(SourceConfig):
    """A dataset of the Hugging Face Hub, streamed; or a local folder of Parquet or JSON lines files."""

    type: Literal["hub"] = "hub"
    name: Name = "hub"
    preset: Literal["fineweb-2", "madlad-400", "glotcc", "culturax", "wikipedia"] | None = Field(
        None, description="A known dataset: gives every key below that is not set, but for config: its name of the language"
    )
    dataset: str = Field("", description="Repository, e.g. HuggingFaceFW/fineweb-2, or a folder")
    config: str | None = Field(None, description="Configuration (subset), e.g. swh_Latn")
    files: str | None = Field(
        None, description="Glob of the data files, where the dataset has no configurations; {config} stands for config"
    )
    split: str = "train"
    revision: str | None = Field(None, description="Commit or tag; default: the commit that is newest when the crawl begins")
    text: str = Field("text", description="Column that holds the text")
    line_break: str | None = Field(None, description="Characters that stand for a line break in the text, e.g. \\n written out")
    url: str | None = Field("url", description="Column that holds the address")
    title: str | None = Field(None, description="Column that holds the title")
    fetched_at: str | None = Field(None, description="Column that holds the time of the crawl, e.g. date in FineWeb-2")
    published_at: str | None = Field(None, description="Column that holds the time of publication")
    license: str | None = Field(None, description="SPDX id for all documents")
    max_documents: int | None = Field(None, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _fill_in_the_preset(cls, given: Any) -> Any:
        if isinstance(given, dict) and isinstance(preset := given.get("preset"), str) and preset in HUB_PRESETS:
            return HUB_PRESETS[preset] | given
        return given

    @model_validator(mode="after")
    def _names_a_dataset(self) -> HubSource:
        if not self.dataset:
            raise ValueError("a hub source needs dataset or preset")
        if self.files and "{config}" in self.files and not self.config:
            raise ValueError("config is needed: what the dataset calls the language, e.g. swh_Latn")
        return self


class CommonCrawlSource(SourceConfig):
    """Pages of a Common Crawl snapshot whose detected languages hold the code."""

    type: Literal["common_crawl"] = "common_crawl"
    name: Name = "common-crawl"
    crawl: str = Field(pattern=r"^[\w-]+$", description="Crawl id, e.g. CC-MAIN-2026-42")
    language: str = Field(pattern="^[a-z]{3}$", description="ISO 639-3 code as Common Crawl writes it, e.g. swa")
    first_only: bool = Field(False, description="Only pages in which the language comes first, not just among the first three")
    base: str = Field("https://data.commoncrawl.org/", description="Address of Common Crawl, of a mirror, or a local folder")
    license: str | None = Field(None, description="SPDX id for pages that state none")
    languages: Languages = None
    max_pages: int = Field(100_000, ge=1)


_KINDS: list[type[SourceConfig]] = [
    FilesSource,
    WarcSource,
    WebSource,
    StarterSource,
    WikipediaSource,
    HubSource,
    CommonCrawlSource,
]
_HOLDERS: list[type[BaseModel]] = []

M = TypeVar("M", bound=BaseModel)


class _AnyKind:
    """In an annotation: pydantic checks a source against all kinds that are known by then, told apart by `type`."""

    def __get_pydantic_core_schema__(self, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return handler.generate_schema(Annotated[reduce(operator.or_, _KINDS), Field(discriminator="type")])


Source = Annotated[SourceConfig, _AnyKind()]
"""A source of any kind, also of one that is registered later."""


def kinds() -> list[type[SourceConfig]]:
    """The models of all kinds of source that are known."""
    return list(_KINDS)


def kind_of(model: type[SourceConfig]) -> str:
    """The word that `type` has in YAML for this kind; raises TypeError if the model fixes none."""
    annotation = model.model_fields["type"].annotation
    words = get_args(annotation) if get_origin(annotation) is Literal else ()
    if len(words) != 1:
        raise TypeError(f'{model.__qualname__}: fix the kind of this source, as in `type: Literal["mine"] = "mine"`')
    return str(words[0])


def register_source(model: type[SourceConfig]) -> None:
    """Let sources of this model stand wherever a language's YAML lists sources; does nothing if they do already.

    Raises ValueError if another model has the same `type`, and TypeError if this one fixes none.
    """
    other = {kind_of(known): known for known in _KINDS}.get(kind_of(model))
    if other is not None and other is not model:
        raise ValueError(
            f"{model.__qualname__}: {kind_of(model)!r} is the type of {other.__module__}.{other.__qualname__} already; "
            "choose another word"
        )
    if other is None:
        _KINDS.append(model)
        for holder in _HOLDERS:
            holder.model_rebuild(force=True)


def holds_sources(model: type[M]) -> type[M]:
    """Class decorator of a section with sources, directly or in a section of its own: it is rebuilt for each new kind."""
    _HOLDERS.append(model)
    return model


@holds_sources
class Crawl(Strict):
    """Where the text comes from. The same snapshot is the same data for ever; a refresh makes the next one."""

    sources: list[Source] = Field(default_factory=list)
    snapshot: str = Field(
        "",
        pattern=r"^[\w.-]*$",
        description="Name of the snapshot, of letters, digits, `.`, `_` and `-`; default: the current month",
    )
