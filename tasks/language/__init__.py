"""Which language each document is in, by a fastText classifier of words and character n-grams (Joulin et al. 2017).

The packaged model `lid.ftz` knows about 400 languages, many of them African; `lid_card.md` says what it was trained on and how
well it does. It reads three short windows of a document: n-grams cost time in proportion to the text, and a page whose parts
are in different languages gets a low score instead of a confident guess.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import regex

from lang_configs.schema import LanguageId
from tasks.documents import batches, shards, write_table
from tasks.stage import Metrics, StageError, Work, sha256

PACKAGED = Path(__file__).with_name("lid.ftz")
WINDOW = 170
"""Characters in a window: about 28 words, as long as the longest text that the packaged model was trained on."""
CANDIDATES = 8
"""Labels that are looked at in each window."""
MAX_MODEL_BYTES = 2 << 30
ROOT = str(Path(__file__).parents[2])

SCRIPTS = (
    "Latn Ethi Arab Cyrl Deva Beng Hani Hang Hira Kana Thai Grek Hebr Armn Geor Taml Telu Knda Mlym Gujr Guru Orya Sinh Mymr"
    " Khmr Laoo Tibt Thaa Tfng Nkoo Vaii Adlm Syrc Cher Cans Mong Bopo Yiii Java Bali Sund Cakm Lana Gran Tavt Copt Bamu Mend"
    " Olck Mtei Bugi Batk Rohg Osge Goth"
)
"""ISO 15924 codes that are told apart, the frequent ones first; letters of any other script count as Zzzz."""
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
    ]
)

_NOT_WORDS = regex.compile(r"[^\p{L}\p{M}'’ʼʻꞌ\u200c\u200d]+")
_LETTERS = regex.compile(r"(?![\p{Script=Zyyy}\p{Script=Zinh}])\p{L}")
_SCRIPT = {code: regex.compile(rf"\p{{Script={code}}}") for code in SCRIPTS.split()}


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

    Raises StageError if the model cannot be had or is no fastText classifier, or if its checksum is another one.
    """
    model = str(_model_file(config))
    if config.model and not config.sha256:
        _survive(model)
    classifier(model)  # a model that cannot be used is one error, not one for each shard
    found = work.units(partial(_annotate, model), {shard.stem: str(shard) for shard in shards(inputs["clean"])}, out)
    labels: Counter[str] = Counter()
    for unit in found.values():
        labels.update(unit["labels"])
    most = sorted(labels.items(), key=lambda entry: (-entry[1], entry[0]))[:20]
    return {"documents": labels.total(), "labels": dict(most)}


def model_digest(config: LanguageId) -> str:
    """SHA-256 of the model file in use, for the fingerprint of the stage; nothing is downloaded for it.

    Raises StageError as `language` does.
    """
    if _is_address(config.model):
        return _stated_checksum(config)
    return sha256(_model_file(config))


def identify(texts: Sequence[str], model: str | Path = PACKAGED) -> list[Identification]:
    """The language of each text; empty text is und_Zzzz with score 0. Never raises on any text."""
    known = classifier(str(model))
    pieces = [[words for window in windows(text) if (words := normalise(window))] for text in texts]
    predicted = iter(known.predict([piece for group in pieces for piece in group]))
    found = []
    for group in pieces:
        script = script_of("".join(group))
        found.append(_decide([next(predicted) for _ in group], script, known.scripts))
    return found


def windows(text: str) -> list[str]:
    """Start, middle and end of `text`, at most WINDOW characters each, cut at spaces; one window if that is all of it."""
    if len(text) <= 3 * WINDOW:
        return [text]
    middle = (len(text) - WINDOW) // 2
    return [_whole_words(text, start) for start in (0, middle, len(text) - WINDOW)]


def normalise(text: str) -> str:
    """Text as the model was trained on it: NFC, lower case, and a space for anything but letters, marks and apostrophes."""
    return _NOT_WORDS.sub(" ", unicodedata.normalize("NFC", text).lower()).strip(" '’")


def script_of(text: str) -> str:
    """ISO 15924 code of most letters of `text`; Zzzz if it has none. Of equally frequent ones, the first in `SCRIPTS`."""
    counts: Counter[str] = Counter()
    for character, count in Counter(text).items():
        if script := _script(character):
            counts[script] += count
    order = [*_SCRIPT, "Zzzz"]
    return min(counts, key=lambda script: (-counts[script], order.index(script)), default="Zzzz")


class Classifier:
    """A fastText model that was checked to be a classifier."""

    def __init__(self, path: str) -> None:
        import fasttext

        try:
            self._model = fasttext.load_model(path)
            self._model.predict(["a"])
            labels = self._model.get_labels()
        except (ValueError, RuntimeError, MemoryError) as error:
            raise StageError(f"{path}: no fastText classifier ({error}); give language.model a .bin or .ftz file") from error
        named = [regex.search(r"_([A-Z][a-z]{3})$", label) for label in labels]
        self.scripts: set[str] | None = None
        """Scripts of the labels; None if the labels do not name any."""
        if all(named):
            codes = [match.group(1) for match in named if match]
            self.scripts = {script for code in codes for script in JOINED_SCRIPTS.get(code, code).split()}

    def predict(self, texts: list[str]) -> list[list[tuple[str, float]]]:
        """The best labels of each normalised text with their probabilities, best first."""
        if not texts:
            return []
        # a list, also for one text: fasttext 0.9.3 does not work with numpy 2 on a single string
        labels, scores = self._model.predict(texts, k=CANDIDATES)
        return [
            [(label.removeprefix("__label__"), min(float(score), 1.0)) for label, score in zip(*pair, strict=True)]
            for pair in zip(labels, scores, strict=True)
        ]


@functools.lru_cache(maxsize=2)
def classifier(path: str) -> Classifier:
    """The model in the file `path`, loaded once in a process. Raises StageError if it is no fastText classifier."""
    return Classifier(path)


def _survive(model: str) -> None:
    """Load a file of unknown origin in another process first: fastText checks little, and a cut file kills the process."""
    trial = f"from tasks.language import classifier; classifier({model!r})"
    ended = subprocess.run(
        [sys.executable, "-c", trial], capture_output=True, check=False, env=os.environ | {"PYTHONPATH": ROOT}
    )
    if ended.returncode < 0:
        raise StageError(f"{model}: no fastText classifier, or a damaged one; give language.model a whole .bin or .ftz file")


def _annotate(model: str, shard: str, out: Path) -> Metrics:
    path = Path(shard)
    rows: list[dict[str, Any]] = []
    for batch in batches(path, ["id", "text"]):
        found = identify(batch.column("text").to_pylist(), model)
        ids = batch.column("id").to_pylist()
        rows.extend({"id": identity} | entry._asdict() for identity, entry in zip(ids, found, strict=True))
    write_table(pa.Table.from_pylist(rows, SCHEMA), out / path.name)
    return {"labels": Counter(row["label"] for row in rows)}


def _whole_words(text: str, start: int) -> str:
    """The window that begins at `start`, without the words that its ends cut; as it is where no spaces are written."""
    end = start + WINDOW
    piece = text[start:end]
    first = 0 if start == 0 or text[start - 1].isspace() else next((i for i, c in enumerate(piece) if c.isspace()), -1)
    last = WINDOW if end >= len(text) or text[end].isspace() else max(piece.rfind(" "), piece.rfind("\n"))
    return piece[first:last] if 0 <= first < last else piece


def _decide(predictions: Iterable[Sequence[tuple[str, float]]], script: str, scripts: set[str] | None) -> Identification:
    predictions = list(predictions)
    sums: dict[str, float] = {}
    for prediction in predictions:
        for label, score in prediction:
            sums[label] = sums.get(label, 0.0) + score
    if not sums or script == "Zzzz" or (scripts is not None and script not in scripts):
        return Identification(f"und_{script}", 0.0, "", 0.0, script)
    ranked = sorted(sums.items(), key=lambda entry: (-entry[1], entry[0]))
    (label, best), (runner_up, second) = (*ranked, ("", 0.0))[:2]
    return Identification(label, best / len(predictions), runner_up, second / len(predictions), script)


@functools.lru_cache(maxsize=1 << 16)
def _script(character: str) -> str | None:
    if not _LETTERS.match(character):
        return None
    return next((code for code, pattern in _SCRIPT.items() if pattern.match(character)), "Zzzz")


def _model_file(config: LanguageId) -> Path:
    if _is_address(config.model):
        from tasks.crawl.download import download

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
