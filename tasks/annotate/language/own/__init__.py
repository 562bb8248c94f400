"""An identifier for a language that the packaged one does not know, or hardly, from text that the user vouches for.

1. The documents of the trusted sources that are alike are the language's (`core`): up to a third may be anything else.
2. They are told from the packaged languages, of which the words and their counts are known (`reference`), from letters in no
   order, and from what was vouched for and is nothing like the core, by one linear classifier (`linear`).
3. What that finds, each document judged by a classifier that has not seen it, is what the last one learns from (`learn`).

It says how sure it is that a text is in the language: `language` takes the label with that probability, and the packaged
model's labels with what is left of it (`beside`).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from tasks.annotate.language.confusion import PACKAGED
from tasks.annotate.language.model import classifier
from tasks.annotate.language.own.learn import LEAST_DOCUMENTS, Learned, learn
from tasks.annotate.language.own.reference import frequencies_beside
from tasks.annotate.language.pieces import as_column, normalise_all, pieces, script_name, scripts_of
from tasks.core.artifacts import Documents, Identifier
from tasks.core.documents import batches
from tasks.core.errors import StageError
from tasks.core.files import write_atomically
from tasks.core.stage import Metrics, Stage, Work

MOST_BYTES = 10_000_000
"""Of vouched text that is learned from."""
LONGEST = 20_000
"""Characters of a document that are read, and bytes of one that count."""
CANDIDATES = 8
"""Packaged labels that are looked at in each window."""
LEAST_WORDS = 5
"""Words of a document that says anything."""


class OwnIdentifier(BaseModel):
    """The label that is to be known, e.g. ibo_Latn, and the sources that the user vouches for."""

    model_config = ConfigDict(frozen=True)
    label: str
    trusted: tuple[str, ...]


def identifier(inputs: Mapping[str, Path], config: OwnIdentifier, out: Path, work: Work) -> Metrics:
    """Learn to tell `config.label` from all else, from the documents of the trusted sources in `inputs["clean"]`.

    Writes `identifier.bin`, a fastText model with the labels `config.label` and `other`, and `facts.json`, what was measured.
    Where there is too little text for a label that the packaged classifier has, there is no model, and that is asked alone; for
    another label StageError is raised.
    """
    script = config.label.rpartition("_")[2]
    texts = list(_texts(Documents(inputs["clean"]), config.trusted, script))
    words = [normalised.split() for normalised, _ in texts]
    packaged = config.label in classifier(str(PACKAGED)).labels
    if len(words) < LEAST_DOCUMENTS and packaged:
        few = {"label": config.label, "documents": len(words), "taken": 0}
        write_atomically(Identifier(out).facts, json.dumps(few).encode() + b"\n")
        return few
    if len(words) < LEAST_DOCUMENTS:
        raise StageError(
            f"identifier: {config.label} is to be learned from the text that you vouch for, but {', '.join(config.trusted)} has"
            f" only {len(words)} different documents of {LEAST_WORDS} words or more in the script {script}; give at least"
            f" {LEAST_DOCUMENTS} (`trusted: true` of a source, or --documents), or correct the script"
        )
    guesses = _guesses([text for _, text in texts], config.label)
    learned = learn(
        words, guesses, frequencies_beside(PACKAGED), config.label, lambda done, total: work.progress(done, total, "passes")
    )
    published = Identifier(out)
    learned.model.write(published.model, config.label)
    facts = {"label": config.label, "known": True, "packaged": packaged, "sources": ", ".join(config.trusted)} | _facts(learned)
    write_atomically(published.facts, json.dumps(facts, ensure_ascii=False).encode() + b"\n")
    return facts


def _texts(documents: Documents, trusted: tuple[str, ...], script: str) -> Iterator[tuple[str, str]]:
    """Normalised, and as it is, each different document that is vouched for; of much text every so many documents."""
    found: dict[str, str] = {}
    vouched = pa.array(trusted)
    read = 0
    for shard in documents.shards():
        for batch in batches(shard, ["bytes", "source"]):
            sizes = batch.filter(pc.is_in(batch.column("source"), vouched)).column("bytes")
            read += pc.sum(pc.min_element_wise(sizes, LONGEST)).as_py() or 0
    step, place = max(1, -(-read // MOST_BYTES)), 0
    for shard in documents.shards():
        for batch in batches(shard, ["text", "source"]):
            texts = batch.filter(pc.is_in(batch.column("source"), vouched)).column("text")
            texts, place = texts.take(pa.array(range(-place % step, len(texts), step), pa.int64())), place + len(texts)
            scripts = [script_name(place) for place in pieces(texts, lines=False).script.tolist()]
            chosen = [text[:LONGEST] for text, one in zip(texts.to_pylist(), scripts, strict=True) if one in scripts_of(script)]
            found |= dict(zip(normalise_all(chosen), chosen, strict=True))
    for normalised, text in found.items():
        if normalised.count(" ") + 1 >= LEAST_WORDS:
            yield normalised, text


def _guesses(texts: list[str], label: str) -> list[tuple[str, float]]:
    """The best packaged label of each text but for `label`, and its probability among the others."""
    parts, known = pieces(as_column(texts), lines=False), classifier(str(PACKAGED))
    places, scores = known.predict(parts.data, parts.ends, CANDIDATES)
    others = np.where(places == (known.labels.index(label) if label in known.labels else -2), 0, scores)
    others = others / np.maximum(1e-9, others.sum(axis=1, keepdims=True))
    sums: dict[tuple[int, int], float] = defaultdict(float)
    for window, document in enumerate(parts.document.tolist()):
        for place, score in zip(places[window].tolist(), others[window].tolist(), strict=True):
            sums[document, place] += score
    windows = np.bincount(parts.document, minlength=len(texts))
    best: dict[int, tuple[str, float]] = {}
    for (document, place), total in sums.items():
        mean = total / windows[document]
        if place >= 0 and mean > best.get(document, ("", 0.0))[1]:
            best[document] = known.labels[place], mean
    return [best.get(document, ("und", 0.0)) for document in range(len(texts))]


def _facts(learned: Learned) -> dict[str, Any]:
    return {
        "documents": len(learned.probabilities),
        "taken": int((learned.probabilities >= 0.5).sum()),
        "lines": learned.windows,
        "others": len(learned.mistaken),
        "threshold": 0.5,
        "separable": True,
        "recall": round(learned.recall, 4),
        "false_positives": round(sum(learned.mistaken.values()) / max(1, len(learned.mistaken)), 6),
        "taken_for": [],
        "mistaken": [[label, learned.drawn, round(share, 4)] for label, share in learned.nearest()],
    }


IDENTIFIER = Stage(
    "identifier",
    identifier,
    inputs={"clean": Documents},
    artifact=Identifier,
    headline=lambda metrics: (
        f"{metrics['taken']:,} of {metrics['documents']:,} vouched documents in {metrics['label']}"
        if metrics["taken"]
        else f"{metrics['documents']:,} vouched documents are too few to learn {metrics['label']} from"
    ),
)
