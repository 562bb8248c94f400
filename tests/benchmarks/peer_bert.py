"""BertForMaskedLM by transformers' Trainer: 15 % of the tokens are to be guessed (80 % mask, 10 % random, 10 % kept)."""

from functools import partial

import torch
from training_peer import linear, read_job
from training_trainer import train
from transformers import BertConfig, BertForMaskedLM

CONTEXT = 128
MASK = 4
"""`<mask>` of our tokenizer."""
FIRST_ORDINARY = 5


def masked(rows: list[torch.Tensor], vocab_size: int) -> dict[str, torch.Tensor]:
    """BERT's masking (arXiv 1810.04805); labels are -100 where nothing is to be predicted."""
    ids = torch.stack(list(rows))
    chosen = (torch.rand(ids.shape) < 0.15) & (ids >= FIRST_ORDINARY)
    turn = torch.rand(ids.shape)
    shown = torch.where(turn < 0.8, MASK, torch.where(turn < 0.9, torch.randint(FIRST_ORDINARY, vocab_size, ids.shape), ids))
    return {"input_ids": torch.where(chosen, shown, ids), "labels": torch.where(chosen, ids, -100)}


def main(kind: type[BertForMaskedLM] = BertForMaskedLM) -> None:
    job = read_job()
    config = BertConfig(
        vocab_size=job.vocab_size,
        hidden_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=1024,
        max_position_embeddings=CONTEXT,
    )
    train(
        job,
        lambda: kind(config),
        context=CONTEXT,
        batch=16,
        schedule=linear,
        collate=partial(masked, vocab_size=job.vocab_size),
        learning_rate=1e-3,
        weight_decay=0.01,
    )


if __name__ == "__main__":
    main()
