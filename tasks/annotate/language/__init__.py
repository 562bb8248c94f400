"""Which language each document is in, by a fastText classifier of words and character n-grams (Joulin et al. 2017).

The packaged model `lid.ftz` knows about 400 languages, many of them African; `lid_card.md` says what it was trained on and how
well it does, `lid_confusion.json` the same for programs. It reads three short windows of a document, and a page whose parts
are in different languages gets a low score instead of a confident guess; a few lines are classified one by one beside them.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import regex

from lang_configs.schema import LanguageId
from tasks.annotate.annotator import Annotator, Rule, Unless
from tasks.annotate.language.confusion import PACKAGED, beside, facts
from tasks.annotate.language.known import Knowing, known
from tasks.annotate.language.model import classifier
from tasks.annotate.language.pieces import (
    WINDOW,
    Pieces,
    as_column,
    normalise,
    pieces,
    script_name,
    script_of,
    scripts_of,
    windows,
)
from tasks.annotate.language.words import affinity, lists_beside
from tasks.annotate.language.zawgyi import ZAWGYI, is_zawgyi
from tasks.core.artifacts import Annotations, Documents, Identifier
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

LEAST_RECALL = 0.8
"""Share of the held-out lines of a label that a classifier must find to be said to know it well."""
CANDIDATES = 8
"""Labels that are looked at in each window."""
MAX_MODEL_BYTES = 2 << 30

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
    `script` is the ISO 15924 code of most letters. Text in a script that no label of the model names is und_<script>; text in
    Zawgyi, which is no Unicode, is und_Qaag.
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
    share of the words of its windows that are in the list of its label (`words`); null where there is none, and for
    the label of an identifier of the run's own.
    The identifier in `inputs["identifier"]`, where the run made one, knows one label more. Documents in the close relatives
    `config.accept` get `config.label`, with the sum of the probabilities; the metrics tell how many of them would by themselves
    have got which, and what is known to be confused with `config.label`. Raises StageError if the model cannot be had or is no
    fastText classifier, or if its checksum is another one.
    """
    model = _model_file(config)
    own = Identifier(inputs["identifier"]) if "identifier" in inputs else None
    own = own if own and own.model.is_file() else None
    means = (str(model), str(own.model) if own else None, config.label or "", config.accept)
    known(*means)  # a model that cannot be used is one error, not one for each shard
    annotate = partial(_annotate, means)
    found = work.units(annotate, {shard.stem: str(shard) for shard in Documents(inputs["clean"]).shards()}, out)
    labels, accepted = Counter[str](), Counter[str]()
    for unit in found.values():
        labels.update(unit["labels"])
        accepted.update(unit.get("accepted", {}))
    most = sorted(labels.items(), key=lambda entry: (-entry[1], entry[0]))[:20]
    counts = {"documents": labels.total(), "labels": dict(most)}
    relatives = {"accepted": {label: accepted[label] for label in config.accept}} if config.accept else {}
    return {**counts, **relatives, "identification": _facts(model, own, config.label)}


def _facts(model: Path, own: Identifier | None, label: str | None) -> Metrics:
    return dict(json.loads(own.facts.read_text("utf-8"))) if own else facts(model, label)


def model_digest(config: LanguageId) -> str:
    """SHA-256 of the model file in use and of what lies beside it, for the fingerprint of the stage; downloads nothing.

    Raises StageError as `language` does.
    """
    if _is_address(config.model):
        return _stated_checksum(config)
    model = _model_file(config)
    return "-".join(sha256(path) for path in (model, beside(model), lists_beside(model)) if path.is_file())


def knows(config: LanguageId) -> bool:
    """Whether some document could get `config.label`; nothing is downloaded to find out, and a model at an address may know it.

    Raises StageError as `language` does.
    """
    return config.label is None or _is_address(config.model) or config.label in classifier(str(_model_file(config))).labels


def knows_well(config: LanguageId) -> bool:
    """Whether the model tells `config.label` from its neighbours, as far as that was measured; of a model of the user's it is
    taken for granted.
    """
    if config.model is not None or not knows(config):
        return knows(config)
    found = facts(PACKAGED, config.label)
    return bool(found["known"] and found["separable"] and found["recall"] >= LEAST_RECALL)


def accepted_in_vain(config: LanguageId) -> list[str]:
    """Labels of `config.accept` that the model does not have; of a model at an address nothing is said."""
    if _is_address(config.model) or not config.accept:
        return []
    return sorted(set(config.accept).difference(classifier(str(_model_file(config))).labels))


def near_labels(config: LanguageId, label: str) -> list[str]:
    """Labels of the model that a label which it does not have may have been meant for."""
    labels = classifier(str(_model_file(config))).labels
    same = [one for one in labels if one.partition("_")[0] == label.partition("_")[0]]
    return same or get_close_matches(label, labels, 3, 0.7)


def identify(texts: Sequence[str], model: str | Path = PACKAGED) -> list[Identification]:
    """The language of each text; empty text is und_Zzzz with score 0. Never raises on any text."""
    columns = _identified(classifier(str(model)), pieces(as_column(texts), lines=False), len(texts))[0]
    return list(map(Identification._make, zip(*columns, strict=True)))


def identify_column(
    texts: pa.Array, model: str | Path = PACKAGED, own: str | None = None, label: str = "", accept: tuple[str, ...] = ()
) -> pa.Table:
    """The columns of `SCHEMA` without the id for each text (NFC), by what `known` makes of the arguments."""
    parts = pieces(texts)
    columns, best_of_part, best = _identified(known(str(model), own, label, accept), parts, len(texts))
    shares = _line_shares(parts, best_of_part, best)
    affinities = affinity(parts, columns[0], Path(model))
    if own:  # the packaged list of this label, if there is one, is from the little text that did not do
        affinities[np.array(columns[0]) == classifier(own).labels[0]] = np.nan
    arrays = [pa.array(column, SCHEMA.field(name).type) for column, name in zip(columns, Identification._fields, strict=True)]
    optional = [pa.array(values, pa.float32(), from_pandas=True) for values in (shares, affinities)]
    return pa.table([*arrays, *optional], SCHEMA.remove(0))


def _identified(known: Knowing, parts: Pieces, documents: int) -> tuple[list[list[Any]], np.ndarray, np.ndarray]:
    """The columns of `Identification`; the best label of each piece, and of each document (its place, -1 for none)."""
    places, scores = known.predict(parts.data, parts.ends, CANDIDATES)
    best, best_scores = _averaged(parts, places, scores, documents, len(known.labels))
    scripts = _encoded(parts, [script_name(place) for place in parts.script.tolist()])
    allowed = _scripts(tuple(known.labels))
    names = [*known.labels, ""]
    undetermined = [
        script in ("Zzzz", ZAWGYI) or (allowed is not None and script not in allowed) or place < 0
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


def _encoded(parts: Pieces, scripts: list[str]) -> list[str]:
    """The scripts of the documents, Zawgyi among them."""
    if "Mymr" in scripts:
        windows: dict[int, list[str]] = {}
        for text, document, line in zip(parts.texts(), parts.document.tolist(), parts.line.tolist(), strict=True):
            if not line and scripts[document] == "Mymr":
                windows.setdefault(document, []).append(text)
        for document, texts in windows.items():
            if is_zawgyi(" " + " ".join(texts)):
                scripts[document] = ZAWGYI
    return scripts


def _annotate(means: tuple[str, str | None, str, tuple[str, ...]], shard: str, out: Path) -> Metrics:
    path, (model, own, label, accept) = Path(shard), means
    tables, accepted = [], Counter[str]()
    for batch in batches(path, ["id", "text"]):
        found = identify_column(batch.column("text"), model, own, label, accept)
        tables.append(found.add_column(0, SCHEMA.field("id"), batch.column("id").cast(pa.binary(16))))
        if accept:
            taken = batch.column("text").filter(pc.equal(found.column("label"), label))
            accepted.update(identify_column(taken, model, own).column("label").to_pylist())
    table = pa.concat_tables(tables) if tables else SCHEMA.empty_table()
    write_table(table.combine_chunks(), out / path.name)
    counts = table.column("label").value_counts().to_pylist()
    return {"labels": {entry["values"]: entry["counts"] for entry in counts}, "accepted": dict(accepted)}


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
def _scripts(labels: tuple[str, ...]) -> frozenset[str] | None:
    """Scripts of the labels; None if the labels do not name any."""
    named = [regex.search(r"_([A-Z][a-z]{3})$", label) for label in labels]
    if not all(named):
        return None
    codes = [match.group(1) for match in named if match]
    return frozenset(script for code in codes for script in scripts_of(code))


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
        version=3,
        inputs={"clean": Documents},
        optional={"identifier": Identifier},
        artifact=Annotations,
        outside=model_digest,
        headline=lambda metrics: f"{metrics['documents']:,} documents labelled",
    ),
    columns={"language": "label", "language_score": "score", "line_share": "line_share", "affinity": "affinity"},
    rules=(
        Rule(decision="empty", signal="words", bound="above", threshold=0, words="has no words"),
        Rule(
            decision="zawgyi",
            signal="language",
            bound="other than",
            threshold=f"und_{ZAWGYI}",
            words="is in Zawgyi, a font encoding that is not Unicode; convert it to Unicode to read it",
        ),
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
