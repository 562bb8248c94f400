"""LlamaForCausalLM by transformers' Trainer: AdamW at 1e-3 falling as a cosine."""

from training_peer import cosine, read_job
from training_trainer import train
from transformers import LlamaConfig, LlamaForCausalLM

CONTEXT = 256

if __name__ == "__main__":
    job = read_job()
    config = LlamaConfig(
        vocab_size=job.vocab_size,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
    )
    train(
        job,
        lambda: LlamaForCausalLM(config),
        context=CONTEXT,
        batch=8,
        schedule=cosine,
        learning_rate=1e-3,
        adam_epsilon=1e-6,
        weight_decay=0.01,
    )
