"""Tiny random models, causal and masked, a SentencePiece-like tokenizer, a corpus of two sections, and its token files."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from tasks.core.documents import document_id, write_table
from tasks.evaluate.held_out import HELD_OUT_SPLIT, TokenizedDocuments, read_held_out

CONTEXT = 32
SPORT = ["timu", "mchezaji", "goli", "kocha", "uwanja", "ligi", "mechi", "ushindi", "bao", "kombe", "mashabiki", "mwamuzi"]
FARMING = ["mkulima", "shamba", "mahindi", "mvua", "mbolea", "mavuno", "mbegu", "ng'ombe", "maziwa", "udongo", "jembe", "ghala"]
COMMON = [
    "leo",
    "jana",
    "wa",
    "ya",
    "na",
    "katika",
    "kwa",
    "sana",
    "mjini",
    "watu",
    "wengi",
    "alisema",
    "hata",
    "hivyo",
    "baada",
]


@dataclass(frozen=True)
class World:
    """Folders as the stages before `evaluate` publish them."""

    inputs: dict[str, Path]
    model: Any
    tokenizer: Any

    @property
    def documents(self) -> TokenizedDocuments:
        """The held-out documents as tokens."""
        return read_held_out(self.inputs["corpus"], self.tokenizer).documents


def paragraph(words: list[str], draw: random.Random) -> str:
    return " ".join(draw.choice(words if draw.random() < 0.6 else COMMON) for _ in range(22)) + "."


def document(section: str, number: int, draw: random.Random) -> dict[str, Any]:
    words = {"michezo": SPORT, "kilimo": FARMING}.get(section, COMMON)
    text = "\n".join(paragraph(words, draw) for _ in range(3))
    url = f"https://gazeti.example/{section}/{number}"
    return {
        "id": document_id("starter", url, text),
        "text": text,
        "url": url,
        "source": "starter",
        "weight": 1.0,
        "bytes": len(text.encode()),
    }


def make_tokenizer(texts: list[str]) -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = ["<unk>", "<s>", "</s>", "<mask>"]
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=special, show_progress=False, max_token_length=8)
    backend.train_from_iterator([word for text in texts for word in text.split()], trainer)
    vocabulary = json.loads(backend.to_str())["model"]
    pieces = list(vocabulary["vocab"]) + [f"<0x{byte:02X}>" for byte in range(256)]
    merges = [tuple(merge) for merge in vocabulary["merges"]]
    ids = {piece: number for number, piece in enumerate(pieces)}
    backend.model = models.BPE(ids, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    backend.normalizer = normalizers.Replace(" ", "▁")  # from here on as an exported tokenizer has it
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(" ", "first", split=False), pre_tokenizers.Metaspace("▁", "never", split=False)]
    )
    backend.add_special_tokens([AddedToken(piece, lstrip=piece == "<mask>", normalized=False) for piece in special])
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>", mask_token="<mask>"
    )


def make_model(vocabulary: int, seed: int = 1) -> Any:
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = Qwen3Config(
            vocab_size=vocabulary,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            head_dim=16,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            initializer_range=0.3,
            bos_token_id=1,
            eos_token_id=2,
        )
        return Qwen3ForCausalLM(config).eval()


def make_masked_model(family: str, vocabulary: int, seed: int = 1) -> Any:
    import torch
    from transformers import BertConfig, BertForMaskedLM, ModernBertConfig, ModernBertForMaskedLM

    sizes = {"vocab_size": vocabulary, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
             "num_attention_heads": 2, "max_position_embeddings": CONTEXT}  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if family == "bert":
            return BertForMaskedLM(BertConfig(**sizes, initializer_range=0.1)).eval()
        config = ModernBertConfig(**sizes, layer_types=["full_attention"] * 2, initializer_range=0.1, pad_token_id=0)
        return ModernBertForMaskedLM(config).eval()


def write_corpus(folder: Path, train: list[dict[str, Any]], held_out: list[dict[str, Any]]) -> None:
    folder.mkdir(exist_ok=True)
    for split, rows in (("train", train), (HELD_OUT_SPLIT, held_out)):
        write_table(pa.Table.from_pylist(rows), folder / f"{split}-00000.parquet")
