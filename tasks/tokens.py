"""The tokens stage: the corpus as flat token files, to be read by memory map.

    train.bin          every document as BOS, its tokens, EOS; little-endian uint16, or uint32 if an id needs it
    train.offsets.npy  int64, documents + 1: document i is tokens offsets[i] to offsets[i + 1]
    train.bytes.npy    int32: UTF-8 bytes of each document's text, for losses in bits per byte

and the same for validation.* and test.*, and meta.json. (One flat file of ids: nanoGPT's format; offsets: Megatron's index.)
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.core.artifacts import SPLITS, Corpus, TokenFiles, Tokenizer
from tasks.core.documents import batches, save_array
from tasks.core.errors import StageError
from tasks.core.files import replacing, write_atomically
from tasks.core.stage import Metrics, Stage, Work
from tasks.tokenizer.export import MASK, load

if TYPE_CHECKING:
    import numpy as np
    from sentencepiece import SentencePieceProcessor

    from lang_configs.training import Tokens

PARTS = ".parts"
"""Encoded shards, until they are joined; a dot folder is no part of a stage's output."""

ROWS = 256
"""Documents read and encoded at once: few enough for megabytes of memory."""


def tokens(inputs: Mapping[str, Path], config: Tokens, out: Path, work: Work) -> Metrics:
    """Encode the shards of `inputs["corpus"]` with `inputs["tokenizer"]`/tokenizer.model into the files above.

    A training document of weight w (how often it is read in one pass over the file) is there floor(w) times, and once more
    with probability w - floor(w), which a hash of its id decides. The second copies of a shard's documents follow after all
    its first ones, so that a model does not read a text right after itself. Held-out documents are there once.

    Metrics are those of meta.json: dtype, vocab_size, bos, eos, pad, mask (ids), and for each split its tokens (BOS and EOS
    included), bytes of text and documents, copies counted. Raises `StageError` if there is no training shard or a weight
    is negative or not a number.
    """
    meta = TokenFiles(out).meta
    if not meta.exists():  # it is written last: whatever was killed before that is done again from the parts
        model = Tokenizer(inputs["tokenizer"]).model
        splits = {split: Corpus(inputs["corpus"]).shards(split) for split in SPLITS}
        if not splits["train"]:
            raise StageError(f"{inputs['corpus']}: no train-*.parquet to encode; see in the decisions of select why")
        description = _describe(model)
        (out / PARTS).mkdir(exist_ok=True)
        encode = partial(_encode_shard, model, description["dtype"])
        work.units(encode, {file.stem: file for name in SPLITS for file in splits[name]}, out)
        for split in SPLITS:
            description |= _join(out, split, [file.stem for file in splits[split]], description["dtype"])
        write_atomically(meta, json.dumps(description, indent=1).encode())
    shutil.rmtree(out / PARTS, ignore_errors=True)
    metrics: Metrics = json.loads(meta.read_text())
    return metrics


def _describe(model: Path) -> dict[str, Any]:
    processor = load(model)
    return {
        "dtype": "uint16" if len(processor) <= 65535 else "uint32",
        "vocab_size": len(processor),
        "bos": processor.bos_id(),
        "eos": processor.eos_id(),
        "pad": processor.pad_id(),
        "mask": _mask(processor),
    }


def _mask(processor: SentencePieceProcessor) -> int | None:
    number: int = processor.piece_to_id(MASK)
    return None if number == processor.unk_id() else number


def _encode_shard(model: Path, dtype: str, shard: Path, out: Path) -> Metrics:
    """Write the tokens of one shard, and the lengths (in tokens, in bytes) of its documents, copies included."""
    import numpy as np
    import pyarrow.compute as pc

    from tasks.tokenizer.encoding import Encoder

    encoder = Encoder(model)
    weighted = shard.name.startswith("train-")
    documents: list[np.ndarray] = []
    copies: list[int] = []
    sizes: list[int] = []
    for batch in batches(shard, ["id", "text", "weight"] if weighted else ["id", "text"], ROWS):
        ids, offsets = encoder.encode(batch.column("text"))
        documents += np.split(ids.astype(_little_endian(dtype)), offsets[1:-1])
        sizes += pc.binary_length(batch.column("text")).to_pylist()
        if weighted:
            ids_and_weights = zip(batch.column("id").to_pylist(), batch.column("weight").to_pylist(), strict=True)
            copies += [_copies(identity, weight, shard) for identity, weight in ids_and_weights]
        else:
            copies += [1] * batch.num_rows
    order = [i for turn in range(max(copies, default=0)) for i, times in enumerate(copies) if times > turn]
    with replacing(out / PARTS / f"{shard.stem}.bin") as temporary, open(temporary, "wb") as file:
        file.writelines(documents[i].data for i in order)
    save_array(out / PARTS / f"{shard.stem}.lengths.npy", np.array([len(documents[i]) for i in order], np.int64))
    save_array(out / PARTS / f"{shard.stem}.bytes.npy", np.array([sizes[i] for i in order], np.int32))
    return {"documents": len(order)}


def _copies(identity: bytes, weight: float, shard: Path) -> int:
    import xxhash

    if weight is None or not math.isfinite(weight) or weight < 0:
        raise StageError(f"{shard.name}: document {identity.hex()} has weight {weight}; a weight is a number from 0 upwards")
    whole = math.floor(weight)
    return whole + (xxhash.xxh3_64_intdigest(b"copy" + identity) < (weight - whole) * 2**64)


def _join(out: Path, split: str, names: Sequence[str], dtype: str) -> dict[str, int]:
    """Put the parts of a split together in the order of its shards."""
    import numpy as np

    lengths = _concatenate((out / PARTS / f"{name}.lengths.npy" for name in names), np.int64)
    sizes = _concatenate((out / PARTS / f"{name}.bytes.npy" for name in names), np.int32)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    files = TokenFiles(out)
    with replacing(files.ids(split)) as temporary, open(temporary, "wb") as joined:
        for name in names:
            with open(out / PARTS / f"{name}.bin", "rb") as part:
                shutil.copyfileobj(part, joined, 1 << 20)
    written = files.ids(split).stat().st_size
    if written != offsets[-1] * _little_endian(dtype).itemsize:
        raise StageError(f"{out}: the parts of {split} do not fit together; delete this folder and run the stage again")
    save_array(files.offsets(split), offsets)
    save_array(files.sizes(split), sizes)
    return {
        f"{split}_tokens": int(offsets[-1]),
        f"{split}_bytes": int(sizes.sum(dtype=np.int64)),
        f"{split}_documents": len(sizes),
    }


def _concatenate(files: Iterable[Path], dtype: type[np.generic]) -> np.ndarray:
    import numpy as np

    return np.concatenate([np.zeros(0, dtype), *(np.load(file) for file in files)])


def _little_endian(dtype: str) -> np.dtype:
    import numpy as np

    return np.dtype(dtype).newbyteorder("<")


TOKENS = Stage(
    "tokens",
    tokens,
    version=3,
    libraries=["sentencepiece"],
    inputs={"corpus": Corpus, "tokenizer": Tokenizer},
    artifact=TokenFiles,
    headline=lambda metrics: f"{metrics['train_tokens']:,} tokens to train on",
)
