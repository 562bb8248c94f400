"""Which language each document is in, by a fastText classifier of words and character n-grams (Joulin et al. 2017).

The packaged model `lid.ftz` knows about 400 languages, many of them African; `lid_card.md` says what it was trained on and how
well it does, `lid_confusion.json` the same for programs. It reads three short windows of a document, and a page whose parts
are in different languages gets a low score instead of a confident guess; a few lines are classified one by one beside them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import regex

from lang_configs.schema import LanguageId
from tasks.annotate.annotator import Annotator, Rule, Unless
from tasks.annotate.language.confusion import PACKAGED, beside, facts
from tasks.annotate.language.model import Classifier, classifier
from tasks.annotate.language.pieces import WINDOW, Pieces, as_column, normalise, pieces, script_name, script_of, windows
from tasks.annotate.language.words import affinity, lists_beside
from tasks.core.artifacts import Annotations, Documents
from tasks.core.documents import batches, write_table
from tasks.core.errors import StageError
from tasks.core.files import sha256
from tasks.core.stage import Metrics, Stage, Work

__all__ = [
    "LANGUAGE",
    "PACKAGED",
    "SCHEMA",
    "WINDOW",
    "Identification",
    "identify",
    "language",
    "model_digest",
    "normalise",
    "script_of",
    "windows",
]

CANDIDATES = 8
"""Labels that are looked at in each window."""
MAX_MODEL_BYTES = 2 << 30

JOINED_SCRIPTS = {"Hans": "Hani", "Hant": "Hani", "Jpan": "Hani Hira Kana", "Kore": "Hang Hani"}
"""Codes of writing systems that Unicode knows only by their parts."""

SCHEMA = pa.schema(
    [
        pa.field("id", pa.binary(16), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("runner_up", pa.string(), nullable=False),
        pa.field("runner_up_score", pa.float32(), nullable=False),
        pa.field("script", pa.string(), nullable=False),
        pa.field("line_share", pa.float32()),
        pa.field("affinity", pa.float32()),
    ]
)


class Identification(NamedTuple):
    """`label` is ISO 639-3 and ISO 15924 (swh_Latn), or whatever the labels of a model of one's own are.

    `score` is its probability, averaged over the windows (0 to 1); `runner_up` is the next best label, "" if there is none;
    `script` is the ISO 15924 code of most letters. Text in a script that no label of the model names is und_<script>.
    """

    label: str
    score: float
    runner_up: str
    runner_up_score: float
    script: str


def language(inputs: Mapping[str, Path], config: LanguageId, out: Path, work: Work) -> Metrics:
    """Annotate each document of `inputs["clean"]` with the columns of `SCHEMA`; one file per shard.

    `line_share` is the share of up to six sampled lines (four words or more, their first 90 characters) whose best label is
    that of the document; of its windows if it has fewer than three such lines; null if it has no letters. `affinity` is the
    share of the words of its windows that are in the list of its label (`words`); null where there is none.
    The metrics tell what the model is known to confuse with `config.label`. Raises StageError if the model cannot be had or is
    no fastText classifier, or if its checksum is another one.
    """
    model = _model_file(config)
    classifier(str(model))  # a model that cannot be used is one error, not one for each shard
    found = work.units(
        partial(_annotate, str(model)), {shard.stem: str(shard) for shard in Documents(inputs["clean"]).shards()}, out
    )
    labels: Counter[str] = Counter()
    for unit in found.values():
        labels.update(unit["labels"])
    most = sorted(labels.items(), key=lambda entry: (-entry[1], entry[0]))[:20]
    return {"documents": labels.total(), "labels": dict(most), "identification": facts(model, config.label)}


def model_digest(config: LanguageId) -> str:
    """SHA-256 of the model file in use and of what lies beside it, for the fingerprint of the stage; downloads nothing.

    Raises StageError as `language` does.
    """
    if _is_address(config.model):
        return _stated_checksum(config)
    model = _model_file(config)
    return "-".join(sha256(path) for path in (model, beside(model), lists_beside(model)) if path.is_file())


def missing_label(config: LanguageId) -> str:
    """What is to be said before anything is fetched where no document could get `config.label`; empty if the model has it.

    Nothing is downloaded for it: of a model that is an address nothing is said. Raises StageError as `language` does.
    """
    if _is_address(config.model) or config.label is None:
        return ""
    labels = classifier(str(_model_file(config))).labels
    if config.label in labels:
        return ""
    code = config.label.partition("_")[0]
    same = [label for label in labels if label.partition("_")[0] == code]
    near = ", ".join(same) or ", ".join(get_close_matches(config.label, labels, 3, 0.7)) or "none"
    return (
        f"the model has no label {config.label}, so that every document would be dropped; labels near it: {near}; name one of"
        " its labels as language.label, or train a model that knows the language with `lugha train-lid`"
    )


def identify(texts: Sequence[str], model: str | Path = PACKAGED) -> list[Identification]:
    """The language of each text; empty text is und_Zzzz with score 0. Never raises on any text."""
    known = classifier(str(model))
    columns = _identified(known, pieces(as_column(texts), lines=False), len(texts))[0]
    return list(map(Identification._make, zip(*columns, strict=True)))


def identify_column(texts: pa.Array, model: str | Path = PACKAGED) -> pa.Table:
    """The columns of `SCHEMA` without the id for each text (NFC)."""
    known, parts = classifier(str(model)), pieces(texts)
    columns, best_of_part, best = _identified(known, parts, len(texts))
    shares = _line_shares(parts, best_of_part, best)
    affinities = affinity(parts, columns[0], Path(model))
    arrays = [pa.array(column, SCHEMA.field(name).type) for column, name in zip(columns, Identification._fields, strict=True)]
    optional = [pa.array(values, pa.float32(), from_pandas=True) for values in (shares, affinities)]
    return pa.table([*arrays, *optional], SCHEMA.remove(0))


def _identified(known: Classifier, parts: Pieces, documents: int) -> tuple[list[list[Any]], np.ndarray, np.ndarray]:
    """The columns of `Identification`; the best label of each piece, and of each document (its place, -1 for none)."""
    places, scores = known.predict(parts.data, parts.ends, CANDIDATES)
    best, best_scores = _averaged(parts, places, scores, documents, len(known.labels))
    scripts = [script_name(place) for place in parts.script.tolist()]
    allowed = _scripts(known)
    names = [*known.labels, ""]
    undetermined = [
        script == "Zzzz" or (allowed is not None and script not in allowed) or place < 0
        for script, place in zip(scripts, best[:, 0].tolist(), strict=True)
    ]
    label = [
        f"und_{script}" if unknown else names[place]
        for script, unknown, place in zip(scripts, undetermined, best[:, 0].tolist(), strict=True)
    ]
    runner_up = ["" if unknown else names[place] for unknown, place in zip(undetermined, best[:, 1].tolist(), strict=True)]
    best_scores[np.array(undetermined, bool)] = 0
    columns = [label, best_scores[:, 0].tolist(), runner_up, best_scores[:, 1].tolist(), scripts]
    return columns, places[:, 0], np.where(undetermined, -1, best[:, 0])


def _annotate(model: str, shard: str, out: Path) -> Metrics:
    path = Path(shard)
    tables = []
    for batch in batches(path, ["id", "text"]):
        found = identify_column(batch.column("text"), model)
        tables.append(found.add_column(0, SCHEMA.field("id"), batch.column("id").cast(pa.binary(16))))
    table = pa.concat_tables(tables) if tables else SCHEMA.empty_table()
    write_table(table.combine_chunks(), out / path.name)
    counts = table.column("label").value_counts().to_pylist()
    return {"labels": {entry["values"]: entry["counts"] for entry in counts}}


def _averaged(
    parts: Pieces, places: np.ndarray, scores: np.ndarray, documents: int, labels: int
) -> tuple[np.ndarray, np.ndarray]:
    """The two best labels of each document (places, -1 for none) and their probabilities averaged over its windows."""
    best, best_scores = np.full((documents, 2), -1), np.zeros((documents, 2), np.float32)
    chosen = ~parts.line
    of_document = np.repeat(parts.document[chosen].astype(np.int64), places.shape[1])
    seen = places[chosen].ravel() >= 0
    keys, inverse = np.unique((of_document * labels + places[chosen].ravel())[seen], return_inverse=True)
    sums = np.bincount(inverse, scores[chosen].ravel()[seen], len(keys))
    document, label = np.divmod(keys, labels)
    # of equally good labels the first in the model's order
    order = np.lexsort((label, -sums, document))
    document, label, sums = document[order], label[order], sums[order]
    first = np.searchsorted(document, np.arange(documents))
    number = np.bincount(parts.document[chosen], minlength=documents)
    for rank in (0, 1):
        at = np.minimum(first + rank, max(0, len(document) - 1))
        found = (first + rank < len(document)) & (number > 0)
        if len(document):
            found &= document[at] == np.arange(documents)
            best[found, rank] = label[at[found]]
            best_scores[found, rank] = sums[at[found]] / number[found]
    return best, np.minimum(best_scores, 1)


def _line_shares(parts: Pieces, labels: np.ndarray, of_document: np.ndarray) -> np.ndarray:
    """Share of the lines of each document, or of its windows if there are none, whose label is its own; NaN for neither."""
    documents = len(of_document)
    same = labels == of_document[parts.document]
    lines = np.bincount(parts.document[parts.line], minlength=documents)
    read = parts.line == (lines[parts.document] > 0)
    number = np.bincount(parts.document[read], minlength=documents)
    hits = np.bincount(parts.document[read & same], minlength=documents)
    return np.where(number > 0, hits / np.maximum(number, 1), np.nan).astype(np.float32)


@lru_cache(maxsize=2)
def _scripts(model: Classifier) -> frozenset[str] | None:
    """Scripts of the labels; None if the labels do not name any."""
    named = [regex.search(r"_([A-Z][a-z]{3})$", label) for label in model.labels]
    if not all(named):
        return None
    codes = [match.group(1) for match in named if match]
    return frozenset(script for code in codes for script in JOINED_SCRIPTS.get(code, code).split())


def _model_file(config: LanguageId) -> Path:
    if _is_address(config.model):
        from tasks.net.download import download

        checksum = _stated_checksum(config)
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lugha" / "models"
        return download(str(config.model), cache / checksum, checksum, MAX_MODEL_BYTES)
    path = Path(config.model).expanduser() if config.model else PACKAGED
    if not path.is_file():
        raise StageError(f"{path}: there is no language identification model; correct language.model, or leave it out")
    if config.sha256 and (found := sha256(path)) != config.sha256:
        raise StageError(f"{path}: the model has the SHA-256 {found}, not {config.sha256}; correct language.sha256 or the file")
    return path


def _is_address(model: str | None) -> bool:
    return model is not None and model.startswith(("http://", "https://"))


def _stated_checksum(config: LanguageId) -> str:
    if config.sha256 is None:
        raise StageError(f"{config.model}: a model that is downloaded needs its checksum; state it as language.sha256")
    return config.sha256


AFFINITY_WORDS = 5
"""Words from which on the list of words of high affinity is asked: fewer say nothing."""

LANGUAGE = Annotator(
    Stage(
        "language",
        language,
        version=2,
        inputs={"clean": Documents},
        artifact=Annotations,
        outside=model_digest,
        headline=lambda metrics: f"{metrics['documents']:,} documents labelled",
    ),
    columns={"language": "label", "language_score": "score", "line_share": "line_share", "affinity": "affinity"},
    rules=(
        Rule(decision="empty", signal="words", bound="above", threshold=0, words="has no words"),
        Rule(decision="language", signal="language", bound="equal to", threshold="$label", words="is in another language"),
        Rule(
            decision="language_score",
            signal="language_score",
            bound="at least",
            threshold="$min_language_score",
            words="language score below {min_language_score}",
        ),
        Rule(
            decision="language_affinity",
            signal="affinity",
            bound="at least",
            threshold="$min_affinity",
            unless=(
                Unless(signal="language_score", bound="at least", threshold="$sure_language_score"),
                Unless(signal="words", bound="below", threshold=AFFINITY_WORDS),
            ),
            words="words of this language alone below {min_affinity}, and language score below {sure_language_score}",
        ),
        Rule(
            decision="language_lines",
            signal="line_share",
            bound="at least",
            threshold="$min_line_share",
            words="share of lines in the language below {min_line_share}",
        ),
    ),
)
