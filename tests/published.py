"""Published folders of a very small run, as `release` reads them."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa

from lang_configs.training import Tokenizer
from tasks.core.documents import Document, to_table, write_table
from tasks.core.files import replacing
from tasks.core.stage import Work
from tasks.tokenizer import tokenizer

SENTENCE = "Rais wa nchi alisema kuwa wakulima watapata maji ya mvua mwaka huu, na watu {} walifurahi sana."


def publish(root: Path) -> dict[str, Path]:
    """Real corpus shards and tokenizer, a random model of two layers, and stand-ins for the rest."""
    folders = {name: root / name for name in ("cards", "corpus", "tokenizer", "pretrain", "evaluate")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    for split, numbers in (("train", range(400)), ("validation", range(400, 430)), ("test", range(430, 470))):
        table = to_table(Document(text=SENTENCE.format(number), source="web") for number in numbers)
        weight = pa.array([1.0] * table.num_rows, pa.float32())
        write_table(table.append_column("weight", weight), folders["corpus"] / f"{split}-00000.parquet")
    metrics = tokenizer({"corpus": folders["corpus"]}, Tokenizer(vocab_size=384), folders["tokenizer"], Work())
    save_model(folders["pretrain"] / "model", metrics["vocab_size"])
    (folders["cards"] / "plots").mkdir()
    for card, plot in (("data_card", "funnel"), ("model_card", "training")):
        (folders["cards"] / f"{card}.md").write_text(f"---\nlicense: other\n---\n# {card}\n![plot](plots/{plot}.svg)\n")
        (folders["cards"] / "plots" / f"{plot}.svg").write_text("<svg/>")
    (folders["cards"] / "facts.json").write_text("{}")
    (folders["evaluate"] / "manifest.json").write_text(json.dumps({"metrics": {"bits_per_byte": 1.5, "scores": []}}))
    return folders


def save_model(folder: Path, vocabulary: int) -> None:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    shape = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
    }
    config = Qwen3Config(vocab_size=vocabulary, head_dim=16, max_position_embeddings=64, tie_word_embeddings=True, **shape)
    config.bos_token_id, config.eos_token_id, config.pad_token_id = 1, 2, 0
    with replacing(folder) as temporary:  # as training publishes it
        Qwen3ForCausalLM(config).save_pretrained(temporary)
