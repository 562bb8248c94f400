"""Goldfish (arXiv 2408.10441): GPT-2 by transformers' Trainer, AdamW at 1e-4 falling linearly, dropout 0.1."""

from training_peer import linear, read_job
from training_trainer import train
from transformers import GPT2Config, GPT2LMHeadModel

CONTEXT = 256

if __name__ == "__main__":
    job = read_job()
    config = GPT2Config(
        vocab_size=job.vocab_size,
        n_positions=CONTEXT,
        n_embd=256,
        n_layer=4,
        n_head=4,
        n_inner=1024,
        activation_function="gelu",
        bos_token_id=1,
        eos_token_id=2,
    )
    train(
        job,
        lambda: GPT2LMHeadModel(config),
        context=CONTEXT,
        batch=8,
        schedule=linear,
        learning_rate=1e-4,
        adam_epsilon=1e-6,
        weight_decay=0.01,
    )
