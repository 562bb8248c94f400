"""A SentencePiece model as a fast tokenizer of transformers that gives the same ids, and the check that it does.

The converters that come with transformers do not: they add a prefix after every added token, or load a unigram model as BPE
without merges. The rules below hold for models trained by `tasks.tokenizer` (normalised to NFC, dummy prefix, byte fallback);
`compare` measures whether they hold for one model.

What people load finds special tokens in text, as fine-tuning and chat templates expect. What we load ourselves does not
(`load_transformers`): no page and no evaluation set can end a document by writing `</s>`.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
import string
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.core.files import write_atomically

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor
    from tokenizers import Tokenizer as Backend
    from transformers import PreTrainedTokenizerFast

MASK = "<mask>"
"""What a masked model reads in place of the tokens that it has to predict."""

SPACE = "\u2581"
"""How SentencePiece writes a space inside its pieces; cleaning takes this character out of the text itself."""

FLOAT32 = 1e-6
"""Relative difference below which two sums of float32 scores count as equal: SentencePiece adds up in float32, tokenizers in
float64, so the last digit of a score decides between segmentations that are equally likely."""

ASCII = "".join(map(chr, range(0x21, 0x7F)))
"""Printable ASCII: every tokenizer has a piece for each of these characters."""

NEVER = -1000.0
"""Score of pieces that must not be found in running text: spelling one, at most six characters of `ASCII`, costs about 100.
That tokenizers derives the cost of an unknown character from the lowest score changes nothing: SentencePiece builds pieces
of known characters only, so the unknown ones cost the same in every segmentation."""


def to_transformers(model_file: Path, context: int | None = None) -> PreTrainedTokenizerFast:
    """The SentencePiece model as a `PreTrainedTokenizerFast` with the same ids for every text; encoding prepends BOS.

    `context` is the longest input in tokens that the model reads (`model_max_length`); None states no limit. Text is brought
    into NFC. Special tokens are found in text, the mask with the spaces before it, for it stands for a word; what follows
    one gets no prefix, so that all of it decodes to what was written.

    Raises `ValueError` for a unigram model that lacks a piece for a character of `ASCII`.
    """
    from tokenizers import AddedToken, decoders, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    processor = load(model_file)
    special = [processor.id_to_piece(i) for i in range(len(processor)) if processor.is_control(i) or processor.is_unknown(i)]
    bos, eos, unknown, pad = (
        processor.id_to_piece(i) for i in (processor.bos_id(), processor.eos_id(), processor.unk_id(), processor.pad_id())
    )
    backend = _model(processor)
    missed = [normalizers.Replace(parts, whole) for parts, whole in compositions() if _is_missed(parts, whole)]
    backend.normalizer = normalizers.Sequence([*missed, normalizers.NFC(), normalizers.Replace(" ", SPACE)])
    # The prefix: no space is left by now, so the first Metaspace puts one before the text, whatever that begins with, and the
    # second writes it like the others. A single one takes a space that begins the text for the prefix, and loses it.
    first, written = ((" ", "first"), (SPACE, "never"))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(sign, prepend_scheme=scheme, split=False) for sign, scheme in (first, written)]
    )
    backend.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    # "\n", a user-defined symbol, stays ordinary vocabulary: an added token would cut the text.
    backend.add_special_tokens([AddedToken(piece, lstrip=piece == MASK, normalized=False, special=True) for piece in special])
    backend.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, processor.bos_id())]
    )
    limit = {} if context is None else {"model_max_length": context}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=bos,
        eos_token=eos,
        unk_token=unknown,
        pad_token=pad,
        mask_token=MASK,
        model_input_names=["input_ids", "attention_mask"],  # version 4 adds token_type_ids, which no decoder takes
        padding_side="right",
        clean_up_tokenization_spaces=False,
        split_special_tokens=False,
        **limit,
    )


@functools.cache
def compositions() -> tuple[tuple[str, str], ...]:
    """Sequences that are not in NFC, and what they become: the full decomposition of each single character that has one, and
    the letters of `LETTERS` with one or two of `MARKS`, in whatever order they were typed.

    Every part of a text in NFC is in NFC itself, so none of these sequences is in one.
    """
    characters = (chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000)
    apart = ((character, unicodedata.normalize("NFD", character)) for character in characters)
    found: set[tuple[str, str]] = set()
    for character, parts in apart:
        if parts != character:
            whole = unicodedata.normalize("NFC", character)
            found |= {(text, whole) for text in (parts, character) if text != whole}
    for letter, first, second in itertools.product(LETTERS, MARKS, ("", *MARKS)):
        typed, begun = letter + first + second, unicodedata.normalize("NFC", letter + first)
        whole = unicodedata.normalize("NFC", typed)
        found |= {
            (text, whole) for text in (typed, begun + second) if text != whole and not (second and whole == begun + second)
        }
    return tuple(sorted(found))


LETTERS = string.ascii_letters + "ɛɔəǝɩʋɨʉƐƆƏƎƖƲŋŊ"
MARKS = "".join(map(chr, [*range(0x300, 0x30D), *range(0x323, 0x32A), 0x32D, 0x32E, 0x330, 0x331, 0x340, 0x341]))
"""Tones, dots, lines and hooks above and below letters, of which many African languages write two on one."""


def _is_missed(parts: str, whole: str) -> bool:
    """Whether the tables of tokenizers are too old to know of a composition (those of 0.23 are Unicode 13's)."""
    from tokenizers import normalizers

    return bool(normalizers.NFC().normalize_str(parts) != whole)


def save_transformers(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json into `folder` so that transformers 4 and 5 load them alike."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(str(folder))
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    # Version 5 writes TokenizersBackend, which version 4 does not know; and with no class, config.json's model type decides.
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    write_atomically(path, json.dumps(config, indent=2, ensure_ascii=False, sort_keys=True).encode() + b"\n")


def load_transformers(folder: Path, finds_special_tokens: bool = False) -> PreTrainedTokenizerFast:
    """The tokenizer in `folder`; unless it is to find special tokens, their words in a text are text, as in training.

    Raises OSError or ValueError where there is none.
    """
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(
        str(folder), local_files_only=True, trust_remote_code=False, split_special_tokens=not finds_special_tokens
    )
    found: PreTrainedTokenizerFast = tokenizer
    return found


def compare(model_file: Path, hf_folder: Path, lines: Sequence[str]) -> dict[str, int]:
    """Encode and decode `lines` with SentencePiece and with what `load_transformers` finds in `hf_folder`; count differences.

    `id_mismatches`: lines whose ids differ. `equal_score_ties`: those among them whose two segmentations have the same
    unigram score (to float32), so that neither is wrong; always 0 for BPE, where order decides and not a score.
    `round_trip_failures`: lines that decoding the ids does not give back exactly, in either library. Lines are in NFC.
    """
    processor = load(model_file)
    tokenizer = load_transformers(hf_folder)
    lines = list(lines)
    expected: list[list[int]] = processor.encode(lines)
    found: list[list[int]] = tokenizer(lines, add_special_tokens=False)["input_ids"] if lines else []
    decoded: list[str] = tokenizer.batch_decode(found, clean_up_tokenization_spaces=False) if lines else []
    mismatches = [(ours, theirs) for ours, theirs in zip(expected, found, strict=True) if ours != theirs]
    unigram = not is_bpe(processor)
    return {
        "lines": len(lines),
        "id_mismatches": len(mismatches),
        "equal_score_ties": sum(unigram and _tie(processor, ours, theirs) for ours, theirs in mismatches),
        "round_trip_failures": sum(
            line != text or line != processor.decode(ids) for line, text, ids in zip(lines, decoded, expected, strict=True)
        ),
    }


def load(model_file: Path) -> SentencePieceProcessor:
    """The SentencePiece model in `model_file`."""
    from sentencepiece import SentencePieceProcessor

    return SentencePieceProcessor(model_file=str(model_file))


def _model(processor: SentencePieceProcessor) -> Backend:
    from tokenizers import Tokenizer as Backend
    from tokenizers import models

    pieces = [processor.id_to_piece(i) for i in range(len(processor))]
    if not is_bpe(processor):
        if missing := set(ASCII) - set(pieces):
            raise ValueError(f"a unigram model without a piece for {min(missing)!r} cannot be exported exactly")
        scored = [(piece, NEVER if _unmatched(processor, i) else processor.get_score(i)) for i, piece in enumerate(pieces)]
        return Backend(models.Unigram(scored, unk_id=processor.unk_id(), byte_fallback=True))
    normal = [pieces[i] for i in learned(processor)]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    unknown = processor.id_to_piece(processor.unk_id())
    return Backend(models.BPE(vocabulary, _merges(normal), unk_token=unknown, fuse_unk=True, byte_fallback=True))


def _unmatched(processor: SentencePieceProcessor, i: int) -> bool:
    """Whether SentencePiece never finds this piece in running text; tokenizers' unigram would, and a page could inject it."""
    return bool(processor.is_control(i) or processor.is_unknown(i) or processor.is_byte(i))


def learned(processor: SentencePieceProcessor) -> list[int]:
    """Ids of the learned pieces: they come last, after the control pieces, the newline and the 256 bytes."""
    return list(range(max(i for i in range(len(processor)) if processor.is_byte(i)) + 1, len(processor)))


def is_bpe(processor: SentencePieceProcessor) -> bool:
    """Whether the scores are 0, -1, -2 ... (BPE writes minus the rank of the merge) and not log-probabilities (unigram)."""
    return all(processor.get_score(i) == -rank for rank, i in enumerate(learned(processor)))


def _merges(pieces: Sequence[str]) -> list[tuple[str, str]]:
    """The merges behind BPE pieces that are listed best first.

    SentencePiece merges any two neighbours whose concatenation is a piece, best piece first. So every way to cut a piece
    into two pieces is a merge with the rank of the piece.
    """
    rank = {piece: i for i, piece in enumerate(pieces)}
    merges: list[tuple[str, str]] = []
    for piece in pieces:
        cuts = [(piece[:i], piece[i:]) for i in range(1, len(piece)) if piece[:i] in rank and piece[i:] in rank]
        merges += sorted(cuts, key=lambda cut: (rank[cut[0]], rank[cut[1]]))
    return merges


def _tie(processor: SentencePieceProcessor, ours: Sequence[int], theirs: Sequence[int]) -> bool:
    scores = [math.fsum(processor.get_score(i) for i in ids) for ids in (ours, theirs)]
    return math.isclose(*scores, rel_tol=FLOAT32)
