"""A small corpus as token files: sentences put together from Swahili words, one token for each UTF-8 byte."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np

SUBJECTS = ["Mwalimu", "Mtoto", "Daktari", "Mkulima", "Rafiki yangu", "Mama", "Kijana", "Mwandishi"]
VERBS = ["anasoma", "anapenda", "ameona", "atanunua", "alileta", "anauza", "amepata"]
OBJECTS = ["kitabu", "gazeti", "matunda", "maji", "samaki", "habari njema", "chakula", "barua"]
PLACES = ["shuleni", "sokoni", "nyumbani", "mjini", "shambani", "kando ya mto"]
BOS, EOS, PAD, MASK, FIRST_BYTE = 1, 2, 0, 3, 4


def sentences(count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    return [f"{draw.choice(SUBJECTS)} {draw.choice(VERBS)} {draw.choice(OBJECTS)} {draw.choice(PLACES)}." for _ in range(count)]


def write_tokens(
    folder: Path, documents: list[str], held_out: list[str] | None = None, vocab_size: int = 256 + FIRST_BYTE
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    meta = {"dtype": "uint16", "vocab_size": vocab_size, "bos": BOS, "eos": EOS, "pad": PAD, "mask": MASK}
    for split, texts in (("train", documents), ("validation", held_out or [])):
        ids = [[BOS, *(byte + FIRST_BYTE for byte in text.encode()), EOS] for text in texts]
        np.array([token for document in ids for token in document], "<u2").tofile(folder / f"{split}.bin")
        meta |= {f"{split}_tokens": sum(map(len, ids)), f"{split}_bytes": sum(len(text.encode()) for text in texts)}
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder
