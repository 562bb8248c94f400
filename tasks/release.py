"""The release: a folder that can be handed out or uploaded as it is, checked by loading what it holds.

    model/              README.md (the model card), plots, weights and tokenizer for `from_pretrained`
    corpus/             README.md (the data card), plots, train-*.parquet and validation-*.parquet for `load_dataset`
    sentencepiece/      tokenizer.model; not in model/, where transformers would convert it in its own way
    evaluation.json     the scores
    SHA256SUMS          of every other file: `sha256sum -c SHA256SUMS`

facts.json lies beside both cards, whose numbers it explains, as each of the two folders may go its own way.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lang_configs.schema import Release
from tasks.documents import shards
from tasks.stage import MANIFEST, Metrics, StageError, Work, replacing, sha256, write_atomically

SUMS = "SHA256SUMS"


def release(inputs: Mapping[str, Path], config: Release, out: Path, work: Work) -> Metrics:
    """Lay out the folder above from the published folders "cards", "corpus", "tokenizer", "pretrain" and "evaluate".

    Files are hard links where the file system allows: a release takes almost no room. Metrics: `version`, `files`,
    `bytes`, and `parameters` of the model as loaded. Raises StageError when an input lacks a file, or when the model and
    the tokenizer do not load, do not fit together or do not generate.
    """
    work.progress(0, 3, "steps")
    for path, source in _layout(inputs).items():
        _place(source, out / path)
    scores = json.loads((inputs["evaluate"] / MANIFEST).read_text())["metrics"]
    write_atomically(out / "evaluation.json", json.dumps(scores, indent=1, ensure_ascii=False).encode())
    _state_context(out / "model", inputs["tokenizer"] / "hf" / "tokenizer_config.json")
    work.progress(1, 3, "steps")
    parameters = _load(out / "model")
    work.progress(2, 3, "steps")
    files = sorted(path for path in out.rglob("*") if path.is_file() and path.name != SUMS and not path.name.startswith("."))
    lines = [f"{sha256(path)}  {path.relative_to(out).as_posix()}\n" for path in files]
    write_atomically(out / SUMS, "".join(lines).encode())
    work.progress(3, 3, "steps")
    return {
        "version": config.version,
        "files": len(files),
        "bytes": sum(path.stat().st_size for path in files),
        "parameters": parameters,
    }


def _layout(inputs: Mapping[str, Path]) -> dict[str, Path]:
    """Path in the release -> the published file."""
    cards, corpus, tokenizer, model = inputs["cards"], inputs["corpus"], inputs["tokenizer"], inputs["pretrain"] / "model"
    files = {f"corpus/{path.name}": path for path in shards(corpus)}
    files |= {f"model/{path.relative_to(model).as_posix()}": path for path in sorted(model.rglob("*")) if path.is_file()}
    files |= {f"model/{path.name}": path for path in sorted((tokenizer / "hf").glob("*")) if path.is_file()}
    for folder, card in (("model", "model_card.md"), ("corpus", "data_card.md")):
        text = (cards / card).read_text(encoding="utf-8")
        plots = [path for path in sorted((cards / "plots").glob("*.svg")) if f"(plots/{path.name})" in text]
        files |= {f"{folder}/plots/{path.name}": path for path in plots}
        files |= {f"{folder}/README.md": cards / card, f"{folder}/facts.json": cards / "facts.json"}
    files["sentencepiece/tokenizer.model"] = tokenizer / "tokenizer.model"
    wanted = ("model/config.json", "model/model.safetensors", "model/tokenizer.json", "model/tokenizer_config.json")
    lacking = [name for name in wanted if name not in files] + [name for name, path in files.items() if not path.is_file()]
    if lacking:
        raise StageError(f"release: there is no file for {', '.join(lacking)}; run pretrain, tokenizer and cards again")
    return files


def _place(source: Path, path: Path) -> None:
    """Link or, across file systems, copy; what a killed run left is there already or is made anew."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.unlink(missing_ok=True)
        os.link(source, path)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS):
            raise
        with replacing(path) as temporary:
            shutil.copyfile(source, temporary)


def _state_context(model: Path, published: Path) -> None:
    """Tell the tokenizer the longest input of this model: it was trained before the model, and users cut texts by it."""
    context = json.loads((model / "config.json").read_text())["max_position_embeddings"]
    config = json.loads(published.read_text(encoding="utf-8")) | {"model_max_length": context}
    text = json.dumps(config, indent=2, ensure_ascii=False, sort_keys=True)
    write_atomically(model / "tokenizer_config.json", text.encode() + b"\n")  # a new file: the published one stays as it is


def _load(folder: Path) -> int:
    """Load model and tokenizer as a user would and generate one token; returns the number of parameters."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        model: Any = AutoModelForCausalLM.from_pretrained(str(folder), local_files_only=True, use_safetensors=True)
        inputs = tokenizer("a", return_tensors="pt")
        if len(tokenizer) != model.config.vocab_size:
            raise ValueError(f"the tokenizer has {len(tokenizer)} pieces, the model {model.config.vocab_size} embeddings")
        with torch.inference_mode():
            longer = model.generate(**inputs, max_new_tokens=1, do_sample=False)
        if longer.shape[1] != inputs["input_ids"].shape[1] + 1:
            raise ValueError("the model generates nothing")
    except Exception as error:  # whatever a broken file makes transformers raise
        reason = " ".join(str(error).split())
        raise StageError(
            f"release: the model in {folder.name}/ does not load ({reason[:300]}); train and export it again"
        ) from error
    parameters: int = model.num_parameters()
    return parameters
