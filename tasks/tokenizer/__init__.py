"""The tokenizer stage: SentencePiece with byte fallback, trained on a sample of the corpus and exported to transformers.

Ids: `<pad>` 0, `<s>` 1, `</s>` 2, `<unk>` 3, `<mask>` 4, newline 5, the bytes `<0x00>` ... `<0xFF>` 6 to 261, learned pieces
from 262. The mask is for masked models and never found in text.
Text is brought into NFC, which the corpus is in, and no white space is removed, so every text of it comes back from its tokens.
The rules of a SentencePiece model are a table of sequences, so its own normalisation ends where the table does: at three marks
on a letter, and at two on a rare one. That of tokenizer.json, of the token files and of evaluation has no end.
(Kudo and Richardson 2018, SentencePiece, arXiv:1808.06226; byte fallback and split digits as in Llama, arXiv:2302.13971.)
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import itertools
import json
import math
import os
import re
import tempfile
import time
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.core import artifacts
from tasks.core.artifacts import SPLITS
from tasks.core.characters import count_words
from tasks.core.documents import batches
from tasks.core.errors import StageError
from tasks.core.files import replacing, write_atomically
from tasks.core.stage import Metrics, Stage, Work
from tasks.tokenizer.export import ASCII, MASK, compare, compositions, load, save_transformers, to_transformers
from tasks.tokenizer.sizes import TokenizerForModel, cheapest, costs

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor

    from lang_configs.training import Tokenizer

PAD, BOS, EOS, UNKNOWN = 0, 1, 2, 3
FIXED_PIECES = 5 + 1 + 256
"""Control pieces, newline and bytes: there before anything is learned."""

PASSAGE_CHARACTERS = 2048
"""Longest stretch of text handed to SentencePiece at once: it skips lines above its limit, and whole books are one line."""

COVERAGE = 0.9995
"""Share of the text's characters that have a piece of their own; the rarest are spelled in bytes (SentencePiece's default)."""

THREADS = 4
"""Fixed: unigram training adds up floats thread by thread, so the number of threads changes the last digits of the scores."""

CHECKED_PASSAGES = 10_000
SIZES = "sizes.json"


def tokenizer(inputs: Mapping[str, Path], config: Tokenizer, out: Path, work: Work) -> Metrics:
    """Train a tokenizer on a sample of `inputs["corpus"]` and export it: `tokenizer.model`, and `hf/` for `AutoTokenizer`.

    The corpus has shards of train (columns id, text, weight, bytes), validation and test (text, source). The same corpus and
    config give the same bytes. Metrics, all on the test text: `fertility` (tokens per word, words being
    those of `count_words`), `bytes_per_token` (UTF-8), `byte_fallback` (share of tokens that are a byte), the same by
    source, and `exactness`, the comparison of the export with SentencePiece.

    Where the config has several sizes, it is a `TokenizerForModel`; `sizes.json` and the metric `sizes` have a row for each
    that the text allows: the same measures, on the validation text, those of `sizes.costs`, and which one was `chosen`.

    Raises `StageError` when there is no text to train or measure on, or when the export is not exact.
    """
    started = time.monotonic()
    training, validation, test = (artifacts.Corpus(inputs["corpus"]).shards(split) for split in SPLITS)
    work.progress(0, 4, "steps")
    sample = _sample(training, config)
    training_bytes = sum(len(passage.encode()) for passage in sample)
    if not training_bytes:
        raise StageError(f"{inputs['corpus']}: no text to train a tokenizer on; see why select dropped it")
    work.progress(1, 4, "steps")
    published = artifacts.Tokenizer(out)
    model_file = published.model
    if not model_file.exists():
        write_atomically(model_file, _model(sample, validation, config, out))
    work.progress(2, 4, "steps")
    if not published.transformers.exists():
        with replacing(published.transformers) as folder:
            save_transformers(to_transformers(model_file), folder)
    measured = _measure(load(model_file), test)
    work.progress(3, 4, "steps")
    exactness = _check(model_file, published.transformers, test)
    work.progress(4, 4, "steps")
    return {
        "type": config.type,
        **measured,
        "sizes": json.loads((out / SIZES).read_text()) if (out / SIZES).exists() else [],
        "training_bytes": training_bytes,
        "exactness": exactness,
        "seconds": round(time.monotonic() - started, 3),
    }


def passages(text: str) -> Iterator[str]:
    """Cut a text into passages of at most `PASSAGE_CHARACTERS`, at spaces where there are any.

    Only the space at a cut is left out: the prefix that SentencePiece puts before each passage stands for it.
    """
    return (cut.group(1) or cut.group(2) for cut in _CUT.finditer(text))


_CUT = re.compile(rf"(.{{1,{PASSAGE_CHARACTERS}}})(?: |\Z)|(.{{1,{PASSAGE_CHARACTERS}}})", re.DOTALL)


def _sample(train: Sequence[Path], config: Tokenizer) -> list[str]:
    """Passages of the documents drawn for training, in corpus order: `training_bytes` of them, or all there are.

    Weighted sampling without replacement: documents go in by ascending -ln(u) / weight, where u is a hash of id and seed
    (Efraimidis and Spirakis 2006, algorithm A-Res). The last document gives only the passages that are still wanted.
    """
    import numpy as np
    import xxhash

    seed = config.seed % 2**64
    order: list[float] = []
    sizes: list[int] = []
    for batch in _rows(train, ["id", "weight", "bytes"]):
        for identity, weight, size in zip(*(column.to_pylist() for column in batch), strict=True):
            uniform = (xxhash.xxh3_64_intdigest(identity, seed=seed) + 1) / (2**64 + 1)
            order.append(-math.log(uniform) / weight if weight > 0 else math.inf)
            sizes.append(size if weight > 0 else 0)
    drawn = np.argsort(order, kind="stable")
    before = np.zeros(len(sizes), np.int64)
    before[drawn] = np.cumsum(np.array(sizes, np.int64)[drawn]) - np.array(sizes, np.int64)[drawn]
    wanted = np.clip(config.training_bytes - before, 0, np.array(sizes, np.int64)).tolist()
    texts = itertools.chain.from_iterable(batch[0].to_pylist() for batch in _rows(train, ["text"]))
    return [passage for text, limit in zip(texts, wanted, strict=True) if limit for passage in _first(text, limit)]


def _rows(files: Iterable[Path], columns: list[str]) -> Iterator[Sequence[Any]]:
    """Columns of the record batches of several shards, in the order asked for."""
    return ([batch.column(name) for name in columns] for file in files for batch in batches(file, columns))


def _first(text: str, limit: int) -> Iterator[str]:
    taken = 0
    for passage in passages(text):
        if taken >= limit:
            return
        yield passage
        taken += len(passage.encode())


def _model(sample: Sequence[str], validation: Sequence[Path], config: Tokenizer, out: Path) -> bytes:
    """The model of the size in the config, or of the best of several; those are measured and written down in `SIZES`."""
    if isinstance(config.vocab_size, int):
        return train(sample, config.vocab_size, config)
    if not isinstance(config, TokenizerForModel):
        raise TypeError("a vocabulary of several sizes is chosen for a model: give a TokenizerForModel")
    from sentencepiece import SentencePieceProcessor

    rows: list[dict[str, Any]] = []
    models: list[bytes] = []
    for size in sorted(set(config.vocab_size)):
        model = train(sample, size, config)
        measured = _measure(SentencePieceProcessor(model_proto=model), validation)
        row = {name: value for name, value in measured.items() if name != "sources"}
        if not rows or row["vocab_size"] > rows[-1]["vocab_size"]:  # else the text allows no more
            rows.append(row | costs(config.model, row["vocab_size"], row["bytes_per_token"]))
            models.append(model)
    best = cheapest(rows)
    table = [row | {"chosen": i == best} for i, row in enumerate(rows)]
    write_atomically(out / SIZES, json.dumps(table, indent=1).encode())
    return models[best]


def train(sample: Sequence[str], vocab_size: int, config: Tokenizer) -> bytes:
    """A SentencePiece model of the kind in `config`, learned from `passages` of text, with at most `vocab_size` pieces.

    It has fewer where the text allows no more (`bytes_per_piece`), and more where its characters alone need more.
    """
    from sentencepiece import SentencePieceTrainer

    characters = _characters(sample)
    allowed = min(vocab_size, sum(len(passage.encode()) for passage in sample) // config.bytes_per_piece)
    vocabulary = _vocabulary_size(len(characters), allowed)
    model = io.BytesIO()
    with _composition_rules() as rules:
        SentencePieceTrainer.train(
            sentence_iterator=(passage.replace(_RESERVED, " ") for passage in [*sample, *_blanks(sample)]),
            model_writer=model,
            model_type=config.type,
            vocab_size=vocabulary,
            hard_vocab_limit=False,  # a small corpus may hold fewer pieces than its size lets one expect
            required_chars="".join(characters),
            character_coverage=0.98,  # SentencePiece's least; `characters` covers more, so they alone decide
            byte_fallback=True,
            split_digits=True,
            control_symbols=[MASK],
            user_defined_symbols=["\n"],
            normalization_rule_tsv=rules,
            add_dummy_prefix=True,
            remove_extra_whitespaces=False,
            max_sentence_length=4 * PASSAGE_CHARACTERS,  # in bytes
            pad_id=PAD,
            bos_id=BOS,
            eos_id=EOS,
            unk_id=UNKNOWN,
            pad_piece="<pad>",
            num_threads=THREADS,
            minloglevel=2,
        )
    return model.getvalue().replace(rules.encode(), _RULES)


_RULES = b"nfc-map.tsv"
"""What a model says of where its rules came from: as long as `/dev/fd/100`, in whose place it stands."""


@contextlib.contextmanager
def _composition_rules() -> Iterator[str]:
    """A file of what NFC composes, as SentencePiece reads it; its path is as long whatever the folder of such files is."""
    with tempfile.TemporaryFile("w+", encoding="ascii") as file:
        file.writelines(f"{_hexadecimal(parts)}\t{_hexadecimal(whole)}\n" for parts, whole in compositions())
        file.seek(0)
        descriptor = fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 10 ** (len(_RULES) - len("/dev/fd/") - 1))
        try:
            yield f"/dev/fd/{descriptor}"
        finally:
            os.close(descriptor)


def _hexadecimal(text: str) -> str:
    """Code points as SentencePiece's rules spell them."""
    return " ".join(f"{ord(character):X}" for character in text)


_RESERVED = "\u2585"
"""SentencePiece writes an unknown character like this while it trains, and skips every line that holds one."""


BLANKS = 0.05
"""Share of the characters from which on SentencePiece's coverage surely includes the blank."""


def _blanks(sample: Sequence[str]) -> list[str]:
    """What a sample with hardly a blank lacks of them: SentencePiece puts one before each text, so it must be a piece.

    (`required_chars` does not take it. Pieces of blanks alone are never made, so these teach nothing else.)
    """
    characters = sum(map(len, sample))
    lacking = int(BLANKS * characters) - sum(passage.count(" ") for passage in sample)
    return [" " * PASSAGE_CHARACTERS] * math.ceil(max(0, lacking) / PASSAGE_CHARACTERS)


def _characters(sample: Iterable[str]) -> list[str]:
    """The characters that get a piece: printable ASCII, so that no address or name falls apart, and the text's own."""
    counts: Counter[str] = Counter()
    for passage in sample:
        counts.update(passage)
    for character in [c for c in counts if unicodedata.category(c) == "Cc" or c in (" ", _RESERVED)]:
        del counts[character]
    enough = COVERAGE * counts.total()
    chosen = set(ASCII)
    covered = 0
    for character, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if covered >= enough:
            break
        chosen.add(character)
        covered += count
    return sorted(chosen)


def _vocabulary_size(characters: int, allowed: int) -> int:
    """Multiple of 64 (fast matrix shapes): what is allowed, but at least room for every character and a space."""
    needed = FIXED_PIECES + characters + 1
    return max(allowed // 64 * 64, math.ceil(needed / 64) * 64)


def _measure(processor: SentencePieceProcessor, held_out: Sequence[Path]) -> Metrics:
    import numpy as np

    first, last = processor.piece_to_id("<0x00>"), processor.piece_to_id("<0xFF>")
    totals: dict[str, Counter[str]] = {}
    for texts, sources in _rows(held_out, ["text", "source"]):
        words = count_words(texts).tolist()
        texts = texts.to_pylist()
        encoded = processor.encode(texts, return_type="numpy")
        for text, number, source, ids in zip(texts, words, sources.to_pylist(), encoded, strict=True):
            counts = {
                "documents": 1,
                "words": number,
                "bytes": len(text.encode()),
                "tokens": len(ids),
                "byte_tokens": int(np.count_nonzero((ids >= first) & (ids <= last))),
            }
            totals.setdefault(source, Counter()).update(counts)
    whole: Counter[str] = sum(totals.values(), Counter())
    if not whole["words"]:
        raise StageError("the corpus has no held-out text to measure the tokenizer on; raise select.validation and select.test")
    return {
        "vocab_size": len(processor),
        **_rates(whole),
        "byte_fallback": whole["byte_tokens"] / whole["tokens"],
        "sources": [
            {"source": source, "documents": counts["documents"], **_rates(counts)} for source, counts in sorted(totals.items())
        ],
    }


def _rates(counts: Mapping[str, int]) -> dict[str, float]:
    return {
        "fertility": counts["tokens"] / max(counts["words"], 1),
        "bytes_per_token": counts["bytes"] / max(counts["tokens"], 1),
    }


def _check(model_file: Path, hf_folder: Path, test: Sequence[Path]) -> dict[str, int]:
    texts = itertools.chain.from_iterable(batch[0].to_pylist() for batch in _rows(test, ["text"]))
    lines = list(itertools.islice((passage for text in texts for passage in passages(text)), CHECKED_PASSAGES))
    found = compare(model_file, hf_folder, lines)
    if wrong := found["id_mismatches"] - found["equal_score_ties"]:
        raise StageError(
            f"{wrong} of {len(lines)} test passages have other ids in transformers than in SentencePiece, so a model "
            "would read other tokens than it was trained on; set tokenizer.type to the other type and report this"
        )
    if lost := found["round_trip_failures"]:
        raise StageError(
            f"{lost} of {len(lines)} test passages do not come back from their tokens; look for U+2581 in the documents, "
            "which stands for a space in SentencePiece, and clean them again"
        )
    return found


TOKENIZER = Stage(
    "tokenizer",
    tokenizer,
    version=5,
    libraries=["sentencepiece", "tokenizers"],
    inputs={"corpus": artifacts.Corpus},
    artifact=artifacts.Tokenizer,
    headline=lambda metrics: f"{metrics['vocab_size']:,} pieces",
)
