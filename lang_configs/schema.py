"""The configuration of a language: one pydantic model for each section of `lang_configs/<language>.yaml`.

Defaults live here, so that a language needs a name, a code, a script and its sources. A section is the configuration of
the stage of the same name, and only that section is part of the stage's fingerprint; fields with `exclude=True` say
where things are on this machine and are part of none.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator


class Strict(BaseModel):
    """A section in which a key that is not known is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# --- crawl: where the text comes from -------------------------------------------------------------------------------

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", description="Short name, used for folders")]


Languages = Annotated[
    list[str] | None,
    Field(
        description="Labels (swh_Latn) of languages whose pages are extracted, others are counted; default: this one; []: all"
    ),
]


class FilesSource(Strict):
    """Local files: JSON lines or plain text (also .gz, .zst), Parquet or HTML, chosen by the ending of each name."""

    type: Literal["files"] = "files"
    name: Name = "files"
    paths: list[str] = Field(min_length=1, description="Files, folders or globs", exclude=True)
    license: str | None = Field(None, description="SPDX id for documents that state none")
    documents: Literal["file", "line", "paragraph"] = Field(
        "file", description="What is a document in plain text: the file, each line, or what blank lines separate"
    )
    languages: Languages = None


class WarcSource(Strict):
    """Local WARC files, also .gz and .zst: the HTML pages of a crawl, or the texts of Common Crawl's WET files."""

    type: Literal["warc"] = "warc"
    name: Name = "warc"
    paths: list[str] = Field(min_length=1, description="Files, folders or globs", exclude=True)
    license: str | None = Field(None, description="SPDX id for pages that state none")
    languages: Languages = None


class WebSource(Strict):
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
    contact: str | None = Field(None, description="Your address or page, in the user agent: whom a site owner can ask to stop")
    opt_outs: list[Literal["noindex", "nofollow", "noai", "noimageai", "tdm", "ai_txt"]] = Field(
        ["noindex", "nofollow", "noai", "tdm", "ai_txt"],
        description="Wishes of publishers, beyond robots.txt (which always counts), that are obeyed; others are only recorded",
    )
    keep_warc: bool = Field(True, description="Keep the answers as WARC: about a quarter of the size of the pages")


class StarterSource(Strict):
    """The site that comes with the package, served on loopback and crawled like any other."""

    type: Literal["starter"] = "starter"
    name: Name = "starter"
    site: str = Field("starter_site", description="Folder of lang_configs that holds the pages")


class WikipediaSource(Strict):
    """A Wikimedia dump (pages-articles), read from a file or downloaded: Wikipedia or a sister project."""

    type: Literal["wikipedia"] = "wikipedia"
    name: Name = "wikipedia"
    wiki: str = Field(pattern="^[a-z][a-z0-9_]*$", description="Database name, e.g. swwiki, swwiktionary")
    dump: str | None = Field(None, description="Path or address of a dump; default: the latest of dumps.wikimedia.org")
    sha256: str | None = Field(
        None, pattern="^[0-9a-f]{64}$", description="Checksum of a dump that is downloaded; default: the SHA-1 listed beside it"
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


class HubSource(Strict):
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
        if isinstance(given, dict) and (preset := given.get("preset")) in HUB_PRESETS:
            return HUB_PRESETS[preset] | given
        return given

    @model_validator(mode="after")
    def _names_a_dataset(self) -> HubSource:
        if not self.dataset:
            raise ValueError("a hub source needs dataset or preset")
        if self.files and "{config}" in self.files and not self.config:
            raise ValueError("config is needed: what the dataset calls the language, e.g. swh_Latn")
        return self


class CommonCrawlSource(Strict):
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


Source = Annotated[
    FilesSource | WarcSource | WebSource | StarterSource | WikipediaSource | HubSource | CommonCrawlSource,
    Field(discriminator="type"),
]


class Crawl(Strict):
    """Where the text comes from. The same snapshot is the same data for ever; a refresh makes the next one."""

    sources: list[Source] = Field(default_factory=list)
    snapshot: str = Field("", pattern=r"^[\w.-]*$", description="Name of the snapshot; default: the current month")
    offline: bool = Field(False, description="Make no connection: what is not on this machine is an error", exclude=True)
    max_rate: str | None = Field(
        None, pattern=r"^[1-9]\d*(\.\d+)?[kM]?$", description="Most bytes per second of all downloads, e.g. 500k", exclude=True
    )
    hours: str | None = Field(
        None,
        pattern=r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$",
        description="When downloads may run, in the time of this machine, e.g. 22:00-06:00; outside of it they wait",
        exclude=True,
    )


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
    bands: int = Field(25, ge=1)
    rows: int = Field(4, ge=1, description="Signature values per band; bands x rows permutations in all")
    threshold: float = Field(0.7, ge=0.1, le=1, description="Jaccard similarity from which on two documents are duplicates")
    related: float = Field(
        0.4, ge=0.05, le=1, description="Jaccard similarity from which on they stay on one side of the split"
    )
    seed: int = 1


class Contamination(Strict):
    """Evaluation items inside documents, by containment of letters-only character n-grams."""

    characters: int = Field(20, ge=8, description="Letters per n-gram, spaces and punctuation left out")
    threshold: float = Field(0.3, gt=0, le=1, description="Share of an item's n-grams in one document that contaminates it")
    common: float = Field(
        1e-4, ge=0, le=1, description="Share of the documents from which on an n-gram is a common phrase and counts for no item"
    )


class EvaluationSet(Strict):
    """Labelled data of one task: kept out of the corpus, and used by evaluate."""

    name: Name
    task: Literal["classification", "none"] = Field("none", description="none: the items are only kept out of the corpus")
    format: Literal["tsv", "jsonl", "conll", "sections"]
    files: dict[Literal["train", "dev", "test"], str] = Field({}, description="Split -> path below the evaluation folder")
    text: list[str] = Field(["text"], description="Columns that make up the text")
    label: str = "label"
    source: str | None = Field(None, description="sections: the web source whose first path part is the label")
    url: str | None = Field(None, description="Where the set is published")

    @model_validator(mode="after")
    def _sections_have_a_source(self) -> EvaluationSet:
        if (self.format == "sections") != (self.source is not None):
            raise ValueError("source goes with format sections, and only with it")
        return self


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
    validation: float = Field(0.01, gt=0, lt=0.5, description="Share of the kept documents held out for validation")
    validation_bytes: int = Field(2_000_000, ge=1000, description="Most text held out, in bytes")
    sources: dict[str, float] = Field({}, description="Weight of a source's documents in training; 0 drops them")
    source_bytes: dict[str, int] = Field({}, description="Most text kept of a source, in bytes; a hash chooses the documents")
    rehydration: dict[int, float] = Field(
        {}, description="Number of copies a document stands for, itself included -> weight from there on, e.g. {2: 1.5, 5: 2}"
    )
    seed: int = 1


class Corpus(Strict):
    """The text that is trained on."""

    drop_repeated_paragraphs: bool = Field(
        False, description="Keep each line of 100 characters or more only where it stands first, in the order of the documents"
    )


# --- tokenizer and model --------------------------------------------------------------------------------------------


Pieces = Annotated[int, Field(ge=320, le=65536)]
"""A size of vocabulary."""
PiecesOrSizes = Annotated[
    Annotated[Pieces, Tag("size")] | Annotated[list[Pieces], Field(min_length=1), Tag("sizes")],
    Discriminator(lambda value: "sizes" if isinstance(value, list) else "size"),  # so that a mistake is one sentence, not two
]


class Tokenizer(Strict):
    """SentencePiece with byte fallback on NFC text."""

    type: Literal["bpe", "unigram"] = "bpe"
    vocab_size: PiecesOrSizes = Field(
        8192,
        description="Upper bound: a small corpus gets fewer pieces; a script of many characters gets room for them. Of a list,"
        " each is trained and measured, and the model's cheapest is taken: least computation for a byte of text",
    )
    bytes_per_piece: int = Field(60, ge=1, description="Training text that one piece of vocabulary needs, in bytes")
    training_bytes: int = Field(32 << 20, ge=1000, description="Text sampled for training, in bytes")
    seed: int = 1


class Tokens(Strict):
    """Nothing to set: the corpus and the tokenizer decide the token files."""


MASKED_FAMILIES = ("bert", "modernbert")


class Model(Strict):
    """Shape of a model; every family is a stock class of transformers."""

    family: Literal["qwen3", "llama", "nanochat", "gpt2", "bert", "modernbert"] = Field(
        "qwen3", description="qwen3, llama, nanochat and gpt2 are causal, bert and modernbert masked"
    )
    layers: int = Field(4, ge=1)
    width: int = Field(256, ge=32)
    heads: int = Field(2, ge=1)
    key_value_heads: int | None = Field(None, ge=1, description="Fewer than heads: grouped queries (qwen3, llama, nanochat)")
    feed_forward: int | None = Field(
        None, ge=32, description="Default: 4 widths, or 8/3 of the width, rounded up to 64, where it is gated"
    )
    context: int = Field(256, ge=16, description="Tokens per window")

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Model:
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise ValueError(f"width {self.width} must be an even multiple of heads {self.heads}")
        if self.key_value_heads and (self.family in ("gpt2", "bert", "modernbert") or self.heads % self.key_value_heads):
            raise ValueError(f"key_value_heads must divide heads {self.heads}, and {self.family} may not have them")
        return self


class Pretrain(Strict):
    """How the model is trained. The first of steps, minutes, tokens, epochs and kwh to be used up ends the run, and the
    schedule follows it.
    """

    model: Model = Model()
    steps: int | None = Field(None, ge=1)
    minutes: float | None = Field(30.0, gt=0)
    epochs: float = Field(4.0, gt=0, description="Most passes over the training tokens")
    tokens: int | None = Field(None, ge=1, description="Most tokens to read, each pass counted")
    kwh: float | None = Field(
        None, gt=0, description="Most energy of GPU and processor, in kWh: measured where that is possible, else estimated"
    )
    batch_tokens: int = Field(4096, ge=64, description="Most tokens per optimizer step; a small corpus gets smaller steps")
    half_context: float = Field(
        0.6,
        ge=0,
        le=1,
        description="Share of the run, at its start, on windows of half the context and steps of half the tokens",
    )
    initialisation: Literal["unit", "normal"] = Field(
        "unit", description="unit: embeddings of unit size and blocks that start at zero; normal: GPT-2's, deviation .02"
    )
    masking: float = Field(0.25, gt=0, lt=1, description="Masked models: share of the tokens to be predicted")
    hybrid: float = Field(
        0.0, ge=0, lt=1, description="Causal models: share of the steps that predict masked tokens from both sides (GPT-BERT)"
    )
    narrow_layers: int = Field(
        0, ge=0, description="Masked models: this many last layers run at masked positions only (NarrowBERT)"
    )
    narrow_share: float = Field(0.8, ge=0, le=1, description="Share of the run with narrow layers; then all positions again")
    isolate_documents: bool = Field(False, description="No token attends to, or is predicted from, another document")
    dropout: float = Field(0.0, ge=0, lt=1, description="For many epochs over little text")
    optimizer: Literal["muon", "adamw", "lion", "lamb"] = "muon"
    learning_rate: float | None = Field(
        None, gt=0, description="Of the matrices at its peak; default: muon .02, adamw .003, lion .0005, lamb .01"
    )
    embedding_learning_rate: float | None = Field(
        None, gt=0, description="Of embeddings; default: that of matrices, but fifty times adamw's where entries have unit size"
    )
    norm_learning_rate: float = Field(0.003, gt=0, description="Of the gains of the norms and of biases")
    weight_decay: float = Field(0.0, ge=0, description="Of matrices")
    average: float | None = Field(None, gt=0, lt=1, description="Decay of an exponential moving average of the weights (EMA)")
    schedule: Literal["wsd", "cosine", "linear"] = "wsd"
    warm_up: float = Field(0.01, ge=0, lt=1, description="Share of the run")
    decay: float = Field(0.5, gt=0, le=1, description="Share of the run that a wsd schedule spends going down")
    clip: float = Field(1.0, gt=0, description="Largest gradient norm")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto: bf16 where the hardware multiplies it, fp16 on older GPUs, else fp32"
    )
    checkpointing: bool = Field(False, description="Compute activations again instead of keeping them: slower, less memory")
    processes: int = Field(0, ge=0, description="Data-parallel processes on this machine; 0: one for each GPU")
    compile: bool | Literal["auto"] = "auto"
    checkpoint_minutes: float = Field(5.0, gt=0)
    log_steps: int = Field(10, ge=1)
    seed: int = 1

    @model_validator(mode="after")
    def _objectives_fit_the_family(self) -> Pretrain:
        if self.narrow_layers and (self.model.family not in MASKED_FAMILIES or self.narrow_layers >= self.model.layers):
            raise ValueError(f"narrow_layers must be fewer than the {self.model.layers} layers of a masked model")
        if self.hybrid and self.model.family in MASKED_FAMILIES:
            raise ValueError(f"hybrid is for causal models; {self.model.family} is masked already")
        return self

    @property
    def peak_learning_rate(self) -> float:
        """Learning rate of the matrices at its peak."""
        return self.learning_rate or {"muon": 0.02, "adamw": 0.003, "lion": 0.0005, "lamb": 0.01}[self.optimizer]


class Evaluate(Strict):
    """What is measured on the exported model."""

    sample_tokens: int = Field(80, ge=1)
    samples: int = Field(5, ge=0, description="Validation documents that samples are made from when prompts is empty")
    prompts: list[str] = Field(
        [],
        description="Starts of texts, or, for masked models, texts with <mask> in a gap; default: from validation documents",
    )
    temperature: float = Field(0.8, gt=0)
    seeds: int = Field(3, ge=2, description="Random-initialised models for the floor of each task")
    bootstrap: int = Field(1000, ge=100, description="Resamplings for confidence intervals")


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


class Schedule(Strict):
    """When the refresh runs."""

    cron: str = "0 3 1 * *"
    timezone: str = "Africa/Nairobi"


class Runtime(Strict):
    """How fast, where and at what price, never what: no fingerprint depends on it."""

    engine: Literal["inline", "processes", "dask"] = "processes"
    workers: int = Field(0, ge=0, description="0: one for each core")
    address: str | None = Field(None, description="Scheduler of a running Dask cluster")
    country: str | None = Field(
        None,
        pattern="^[A-Z]{2}$",
        description="Where the electricity comes from, as ISO 3166-1 alpha-2, e.g. KE; default: the world's average",
    )
    price_per_kwh: float | None = Field(None, ge=0, description="What electricity costs, in `currency`")
    currency: str = Field("USD", pattern="^[A-Z]{3}$", description="ISO 4217, e.g. KES")


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
    evaluation: list[EvaluationSet] = []
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
