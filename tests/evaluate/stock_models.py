"""Models and tokenizers as people make them with transformers and tokenizers alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

CONTEXT = 48


def save(kind: str, folder: Path, texts: Sequence[str]) -> Path:
    """A random model of two layers: `gpt2` (BOS is EOS), `bert` ([CLS], [SEP]), `roberta` (positions from 2 on) or
    `distilbert` (a head of its own).
    """
    import torch
    from tokenizers import BertWordPieceTokenizer, ByteLevelBPETokenizer
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForMaskedLM,
        BertConfig,
        BertTokenizerFast,
        DistilBertConfig,
        GPT2Config,
        GPT2TokenizerFast,
        RobertaConfig,
        RobertaTokenizerFast,
    )

    folder.mkdir()
    words = BertWordPieceTokenizer(lowercase=False) if "bert" in kind and kind != "roberta" else ByteLevelBPETokenizer()
    special = {"gpt2": ["<|endoftext|>"], "roberta": ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]}
    options = {"special_tokens": special[kind]} if kind in special else {}
    words.train_from_iterator(texts, 400, show_progress=False, **options)
    words.save_model(str(folder))
    reader = {"gpt2": GPT2TokenizerFast, "roberta": RobertaTokenizerFast}.get(kind, BertTokenizerFast)
    tokenizer = reader.from_pretrained(str(folder), **({} if kind in special else {"do_lower_case": False}))
    tokenizer.save_pretrained(str(folder))
    size, sizes = len(tokenizer), {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = {
        "gpt2": lambda: GPT2Config(
            vocab_size=size, n_positions=CONTEXT, n_embd=32, n_layer=2, n_head=2,
            bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        ),
        "bert": lambda: BertConfig(vocab_size=size, max_position_embeddings=CONTEXT, **sizes),
        "roberta": lambda: RobertaConfig(vocab_size=size, max_position_embeddings=CONTEXT + 2, **sizes),
        "distilbert": lambda: DistilBertConfig(
            vocab_size=size, max_position_embeddings=CONTEXT, dim=32, hidden_dim=64, n_layers=2, n_heads=2
        ),
    }[kind]()  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(1)
        of = AutoModelForCausalLM if kind == "gpt2" else AutoModelForMaskedLM
        of.from_config(config).save_pretrained(str(folder))
    return folder
