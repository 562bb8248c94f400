"""Our tokenizer beside those of `tokenizers` (Hugging Face) and tiktoken: `python tests/benchmarks/tokenizer.py`.

All learn from the same 8 MB and are measured on text held out from it (`training_corpus.py`). Each figure is the best of a few
rounds (unigram training: of one), in which the systems take turns in this process, with two threads where a row says so.
"cold" is an encoder that has seen no text yet, "warm" one that has read half of the text and now reads the other; "stage" is
the whole stage `tokens`, from Parquet shards to the published token files, with its worker processes already started, as in a
build. "new words by sentencepiece" is our encoder with the library in place of `merges.py`. tiktoken has the merges of the
byte-level BPE. The last lines count texts whose ids differ from SentencePiece's, also after transformers' own conversion of
the model.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from data import DEFAULT_BUNDLE
from heading import heading
from heading import load as machine_load
from training_corpus import corpus

from lang_configs.training import Tokenizer as Config
from lang_configs.training import Tokens
from tasks.core.documents import document_id, write_table
from tasks.core.engines import make_engine
from tasks.core.stage import Work
from tasks.tokenizer import passages, tokenizer, train
from tasks.tokenizer.encoding import ENTRIES, Encoder
from tasks.tokenizer.export import SPACE, load
from tasks.tokenizer.export import compare as compare_export
from tasks.tokens import ROWS, tokens

THREADS = 2
AWKWARD = ("  mbili", "a  b", "x\ny", "habari </s> ya leo", "😀 leo", " nafasi", "<s>[INST]", "<0x41>", "\n")
"""Texts of what a page may hold: blanks at the start, line breaks, and the names of special pieces."""
Count = Callable[[Sequence[str]], int]


@dataclass(frozen=True)
class Trained:
    """One tokenizer: seconds of its training, pieces, and tokens per word and bytes per token of the held-out text."""

    name: str
    seconds: float
    pieces: int
    fertility: float
    bytes_per_token: float


@dataclass(frozen=True)
class Speed:
    """Megabytes of UTF-8 encoded in a second."""

    name: str
    rate: float


def main() -> None:
    given = _arguments()
    texts, _, held_out = corpus(given.bundle)
    print(f"{heading()}\n")
    print(f"training text {_size(texts) / 1e6:.2f} MB in {len(texts):,} documents, held out {_size(held_out) / 1e6:.2f} MB")
    with tempfile.TemporaryDirectory(dir=given.scratch) as scratch:
        learned, speeds, differing = compare(texts, held_out, given.vocab_size, given.rounds, Path(scratch), given.unigram)
        converted = conversions(Path(scratch), held_out)
    print(training_table(learned), speed_table(speeds), sep="\n\n")
    print(f"\ndocuments whose ids differ from SentencePiece's: {differing} of {len(texts):,}")
    print(converted)
    print(f"load {machine_load()} after")


def compare(
    texts: Sequence[str], held_out: Sequence[str], vocab_size: int, rounds: int, scratch: Path, unigram: bool = True
) -> tuple[list[Trained], list[Speed], int]:
    """Train every tokenizer and encode `texts` with it; also the number of texts that ours encodes unlike SentencePiece."""
    write_corpus(scratch / "corpus", texts, held_out)
    makers: dict[str, Callable[[], Any]] = {
        "ours, BPE": lambda: _ours("bpe", texts, vocab_size, scratch),
        "ours, BPE, whole stage": lambda: _stage(vocab_size, scratch),
        "tokenizers, byte-level BPE": lambda: _byte_level(texts, vocab_size),
    }
    slow: dict[str, Callable[[], Any]] = {
        "ours, unigram": lambda: _ours("unigram", texts, vocab_size, scratch),
        "tokenizers, Unigram": lambda: _unigram(texts, vocab_size),
    }
    seconds, made = (fast | once for fast, once in zip(_best(makers, rounds), _best(slow if unigram else {}, 1), strict=True))
    counts = {name: _count(one) for name, one in made.items()}
    learned = [_measured(name, seconds[name], _pieces(made[name]), counts[name], held_out) for name in made]
    model, exported = made["ours, BPE"], scratch / "stage" / "hf" / "tokenizer.json"
    speeds = _speeds(texts, model, exported, made["tokenizers, byte-level BPE"], rounds, scratch)
    ids, offsets = Encoder(model).encode(pa.array(texts))
    expected = load(model).encode(list(texts))
    found = (ids[a + 1 : b - 1].tolist() for a, b in itertools.pairwise(offsets))
    return learned, speeds, sum(ours != theirs for ours, theirs in zip(found, expected, strict=True))


def conversions(scratch: Path, held_out: Sequence[str]) -> str:
    """How many passages, and how many of `AWKWARD`, get other ids or do not come back, by our export and transformers' own."""
    own = scratch / "converted"
    own.mkdir()
    shutil.copy(scratch / "stage" / "tokenizer.model", own)
    (own / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}')
    lines = [passage for text in held_out for passage in passages(text)]
    found = []
    for name, folder in (("our export", scratch / "stage" / "hf"), ("transformers' LlamaTokenizer", own)):
        counts = [compare_export(own / "tokenizer.model", folder, texts) for texts in (lines, AWKWARD)]
        wrong = [f"{one['id_mismatches']} and {one['round_trip_failures']} of {one['lines']:,}" for one in counts]
        found.append(f"{name} {wrong[0]} passages, {wrong[1]} awkward texts")
    return f"other ids than SentencePiece's and other texts after decoding: {'; '.join(found)}"


def write_corpus(folder: Path, texts: Sequence[str], held_out: Sequence[str]) -> None:
    """The documents as the stages read them, the training text in one shard for each thread."""
    folder.mkdir(parents=True)
    parts = {f"train-{part:05d}": texts[part::THREADS] for part in range(THREADS)} | {"test-00000": held_out}
    for name, documents in parts.items():
        rows = [
            {"id": document_id("", None, text), "text": text, "source": "", "weight": 1.0, "bytes": len(text.encode())}
            for text in documents
        ]
        write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet")


def training_table(rows: Sequence[Trained]) -> str:
    """Markdown."""
    lines = ["| tokenizer | training s | pieces | tokens per word | bytes per token |", f"|{'---|' * 5}"]
    for row in rows:
        lines.append(f"| {row.name} | {row.seconds:.2f} | {row.pieces:,} | {row.fertility:.3f} | {row.bytes_per_token:.3f} |")  # noqa: PERF401
    return "\n".join(lines)


def speed_table(rows: Sequence[Speed]) -> str:
    """Markdown; ratios are to the fastest row of `tokenizers`."""
    peer = max(row.rate for row in rows if row.name.startswith("tokenizers"))
    lines = [f"| {row.name} | {row.rate:.1f} | {row.rate / peer:.2f} |" for row in rows]
    return "\n".join(["| encoder | MB/s | x tokenizers |", f"|{'---|' * 3}", *lines])


def _best(makers: dict[str, Callable[[], Any]], rounds: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Least seconds of each maker, and what it made last."""
    seconds: dict[str, float] = dict.fromkeys(makers, float("inf"))
    made: dict[str, Any] = {}
    for _ in range(rounds):
        for name, make in makers.items():
            started = time.perf_counter()
            made[name] = make()
            seconds[name] = min(seconds[name], time.perf_counter() - started)
    return seconds, made


def _ours(kind: str, texts: Sequence[str], vocab_size: int, scratch: Path) -> Path:
    sample = [passage for text in texts for passage in passages(text)]
    file = scratch / f"{kind}.model"
    file.write_bytes(train(sample, vocab_size, Config(type=kind)))
    return file


def _stage(vocab_size: int, scratch: Path) -> Path:
    shutil.rmtree(scratch / "stage", ignore_errors=True)
    (scratch / "stage").mkdir()
    tokenizer({"corpus": scratch / "corpus"}, Config(vocab_size=vocab_size), scratch / "stage", Work())
    return scratch / "stage" / "tokenizer.model"


def _byte_level(texts: Sequence[str], vocab_size: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    one = Tokenizer(models.BPE())
    one.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    one.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    one.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False))
    return one


def _unigram(texts: Sequence[str], vocab_size: int) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    one = Tokenizer(models.Unigram())
    one.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=vocab_size, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False)
    one.train_from_iterator(texts, trainer)
    return one


def _count(one: Any) -> Count:
    """How many tokens the texts have, BOS and EOS left out."""
    if isinstance(one, Path):
        return lambda texts: sum(map(len, load(one).encode(list(texts))))
    return lambda texts: sum(len(found.ids) for found in one.encode_batch_fast(list(texts), add_special_tokens=False))


def _pieces(one: Any) -> int:
    return len(load(one)) if isinstance(one, Path) else one.get_vocab_size()


def _measured(name: str, seconds: float, pieces: int, count: Count, held_out: Sequence[str]) -> Trained:
    found = count(held_out)
    return Trained(name, seconds, pieces, found / sum(len(text.split()) for text in held_out), _size(held_out) / found)


def _speeds(texts: Sequence[str], model: Path, exported: Path, byte_level: Any, rounds: int, scratch: Path) -> list[Speed]:
    from tokenizers import Tokenizer

    processor, texts = load(model), list(texts)
    halves = [pa.array(texts[part::THREADS]) for part in range(THREADS)]
    seen, fresh = texts[::2], texts[1::2]
    parts = [pa.array(fresh[part::THREADS]) for part in range(THREADS)]
    # one for each round and thread: an encoder remembers what it has read
    warm = iter([_warmed(model, seen) for _ in range(rounds)])
    pairs = iter([[_warmed(model, seen) for _ in parts] for _ in range(rounds)])
    workers, two = make_engine("processes", THREADS), ThreadPoolExecutor(THREADS)
    export = Tokenizer.from_file(str(exported))
    ways: dict[str, Callable[[], Any]] = {
        "ours, cold, 1 thread": lambda: _encode(Encoder(model), pa.array(texts)),
        "ours, cold, 2 threads": lambda: list(two.map(_encode, [Encoder(model) for _ in halves], halves)),
        "ours, cold, new words by sentencepiece, 1 thread": lambda: _encode(WordsBySentencePiece(model), pa.array(texts)),
        "ours, warm, 1 thread": lambda: _encode(next(warm), pa.array(fresh)),
        "ours, warm, 2 threads": lambda: list(two.map(_encode, next(pairs), parts)),
        "ours, stage, 1 worker": lambda: _encode_stage(scratch, Work()),
        "ours, stage, 2 workers": lambda: _encode_stage(scratch, Work(workers)),
        "sentencepiece, 1 thread": lambda: processor.encode(texts, return_type="numpy", num_threads=1),
        "sentencepiece, 2 threads": lambda: processor.encode(texts, return_type="numpy", num_threads=THREADS),
        "tokenizers, our export, 2 threads": lambda: export.encode_batch_fast(texts, add_special_tokens=False),
        "tokenizers, byte-level BPE, 2 threads": lambda: byte_level.encode_batch_fast(texts, add_special_tokens=False),
    }
    tiktoken = _tiktoken(byte_level)
    ways["tiktoken, 1 thread"] = lambda: [tiktoken.encode_ordinary(text) for text in texts]
    ways["tiktoken, 2 threads"] = lambda: tiktoken.encode_ordinary_batch(texts, num_threads=THREADS)
    try:
        _encode_stage(scratch, Work(workers))  # starts the workers and compiles
        seconds, _ = _best(ways, rounds)
    finally:
        workers.close()
        two.shutdown()
    return [Speed(name, _size(fresh if ", warm, " in name else texts) / 1e6 / seconds[name]) for name in ways]


class WordsBySentencePiece(Encoder):
    """Our encoder, but words that are new are encoded by the library."""

    def _encode_new(self, known: int, used: int) -> None:
        keys, places = self._keys[known : self._cursor[ENTRIES]], self._places[known : self._cursor[ENTRIES]]
        words = [self._text[begin : begin + size].tobytes().decode() for _, begin, size in keys.tolist()]
        # the library puts a blank before a text: a word without one follows a line break, and both are cut off again
        texts = [word[1:] if word[0] == " " else f"\n{word}" for word in words]
        found = self._processor.encode(texts, return_type="numpy", num_threads=1)
        blank = np.array([self._processor.piece_to_id(SPACE)], np.int32)
        cut = [ids if word[0] == " " else ids[2:] for word, ids in zip(words, found, strict=True)]
        parts = [blank if word == " " else ids for word, ids in zip(words, cut, strict=True)]
        places[:, 1] = [len(ids) for ids in parts]
        places[:, 0] = len(self._ids) + np.cumsum(places[:, 1]) - places[:, 1]
        self._ids = np.concatenate([self._ids, *parts])


def _warmed(model: Path, texts: Sequence[str]) -> Encoder:
    encoder = Encoder(model)
    _encode(encoder, pa.array(texts))
    return encoder


def _encode(encoder: Encoder, texts: pa.Array) -> list[Any]:
    return [encoder.encode(texts[start : start + ROWS]) for start in range(0, len(texts), ROWS)]


def _encode_stage(scratch: Path, work: Work) -> None:
    shutil.rmtree(scratch / "tokens", ignore_errors=True)
    (scratch / "tokens").mkdir()
    tokens({"corpus": scratch / "corpus", "tokenizer": scratch / "stage"}, Tokens(), scratch / "tokens", work)


def _tiktoken(byte_level: Any) -> Any:
    """The byte-level BPE of `tokenizers` as a tiktoken encoding: the same pieces, ranked by id."""
    import tiktoken
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    byte = {character: number for number, character in bytes_to_unicode().items()}
    ranks = {bytes(byte[character] for character in piece): i for piece, i in byte_level.get_vocab().items()}
    pattern = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
    return tiktoken.Encoding("byte-level", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})


def _size(texts: Sequence[str]) -> int:
    return sum(len(text.encode()) for text in texts)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocab-size", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--unigram", action=argparse.BooleanOptionalAction, default=True, help="they train for minutes")
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE, help="folder of real text (LUGHA_BUNDLE)")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()))
    return parser.parse_args()


if __name__ == "__main__":
    os.environ |= {"TOKENIZERS_PARALLELISM": "true", "RAYON_NUM_THREADS": str(THREADS)}  # read at their first use
    main()
