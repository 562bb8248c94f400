"""The cards: what is in the corpus and the model, in the Hub's format, every number from the ledger by SQL."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from lang_configs.schema import Release
from tasks import ledger
from tasks.cards.facts import gather
from tasks.cards.front_matter import CardLanguage, dataset_front_matter, model_front_matter
from tasks.cards.render import render
from tasks.core.artifacts import Artifact, Cards
from tasks.core.errors import StageError
from tasks.core.files import write_atomically
from tasks.core.shown import shown, shown_json, shown_within
from tasks.core.stage import ANY, Metrics, Stage, Work


class CardsConfig(BaseModel):
    """What the cards say beside the facts; `command` is the command line that builds all of it again."""

    model_config = ConfigDict(frozen=True)
    language: CardLanguage
    release: Release
    command: str


def cards(inputs: Mapping[str, Path], config: CardsConfig, out: Path, work: Work) -> Metrics:
    """Write the data card and, where a model was trained, the model card (Markdown under YAML front matter), their plots, and
    every number with its SQL.

    `inputs` are the published folders of all stages of one run by label, from "crawl.<source>" to "corpus" at least. The
    cards hold no number that is not in facts.json, which gives the SQL of each: run it in `tasks.ledger.in_memory(inputs)`.
    The same folders and config give the same bytes. (Fields: Hugging Face's templates, Datasheets for Datasets
    arXiv 1803.09010, Model Cards arXiv 1810.03993.) Raises StageError when the folders are not of one run.
    """
    from tasks.cards.plots import draw

    work.progress(0, 3, "steps")
    with ledger.in_memory(inputs) as database:
        facts = gather(database)
    values = shown_within({name: fact["value"] for name, fact in facts.items()})
    _check(values)
    work.progress(1, 3, "steps")
    written = Cards(out)
    written.plots.mkdir(exist_ok=True)
    plots = draw(values, written.plots)
    work.progress(2, 3, "steps")
    fingerprints = [{name: row[name] for name in ("label", "stage", "fingerprint")} for row in values["stages"]]
    document = {"stages": fingerprints, "facts": facts}
    write_atomically(written.facts, shown_json(document).encode())
    cards = [(written.data_card, dataset_front_matter)]
    cards += [(written.model_card, model_front_matter)] if "pretrain" in inputs else []
    for path, front_matter in cards:
        head = front_matter(values, config.language, config.release).strip()
        body = render(f"{path.name}.j2", facts=values, plots=plots, config=config)
        write_atomically(path, shown(f"---\n{head}\n---\n\n{body}").encode())
    work.progress(3, 3, "steps")
    return {"facts": len(facts), "plots": sorted(plots)}


def _check(values: dict[str, Any]) -> None:
    """Rows in = kept + dropped, from one stage to the next: folders of different runs do not pass.

    And parts add up to the whole: DuckDB 2.0.0 published sums of 16 bits here (a negative size was what gave it away).
    """
    decided, kept, cleaned = values["decided"]["documents"], values["kept"]["documents"], values["cleaned"]["documents"]
    stored = sum(file["documents"] for file in values["corpus_files"])
    if decided != cleaned or kept != stored or kept + values["decided"]["dropped"] != decided:
        raise StageError(
            f"cards: clean has {cleaned} documents and select decided on {decided}; it kept {kept} and the corpus holds "
            f"{stored}: these folders are not of one run; build again, and the ledger will name the right ones"
        )
    for parts in ("sources", "licenses", "splits"):
        for unit in ("documents", "words", "bytes"):
            found, whole = sum(row[unit] for row in values[parts]), values["kept"][unit]
            if found != whole:
                raise StageError(
                    f"cards: {unit} of {parts} come to {found} and not to {whole}; please report this with your data's size"
                )


CARDS = Stage("cards", cards, version=16, libraries=["duckdb", "matplotlib"], inputs={ANY: Artifact}, artifact=Cards)
