"""The release: a folder that can be handed out or uploaded as it is, checked by loading what it holds.

    model/              README.md (the model card), plots, weights and tokenizer for `from_pretrained`, and the tokenizer as
                        SentencePiece has it (tokenizer.model), which llama.cpp's converter looks for there
    corpus/             README.md (the data card), plots, and train, validation and test as Parquet for `load_dataset`
    evaluation.json     the scores
    lm_eval_tasks/      of causal models: the held-out text as a task of lm-evaluation-harness
    SHA256SUMS          of every other file: `sha256sum -c SHA256SUMS`

facts.json lies beside both cards, whose numbers it explains, as each of the two folders may go its own way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lang_configs.schema import Release
from tasks import evaluate
from tasks.core import artifacts
from tasks.core.artifacts import SPLITS, Cards, Corpus, Model, Scores, Tokenizer
from tasks.core.errors import StageError
from tasks.core.files import copy, replacing, sha256, write_atomically
from tasks.core.manifest import MANIFEST
from tasks.core.records import read_record
from tasks.core.stage import ANY, Metrics, Stage, Work
from tasks.evaluate.model import auto_class, objective

SUMS = "SHA256SUMS"
LM_EVAL_TASKS = Path(evaluate.__file__).parent / "lm_eval_tasks"


def release(inputs: Mapping[str, Path], config: Release, out: Path, work: Work) -> Metrics:
    """Lay out the folder above from the published folders "cards", "corpus", "tokenizer", "pretrain" and "evaluate",
    and from those of tasks, by their labels.

    Files are copies, which take no room where the file system can share blocks (Btrfs, XFS). Metrics: `version`, `files`,
    `bytes`, and `parameters` of the model as loaded. Raises StageError when an input lacks a file, or when the model and
    the tokenizer do not load, do not fit together, or do not do what they are for: generate, or fill a mask.
    """
    work.progress(0, 3, "steps")
    for path, source in _layout(inputs).items():
        _place(source, out / path)
    write_atomically(out / "evaluation.json", json.dumps(_scores(inputs), indent=1, ensure_ascii=False).encode())
    work.progress(1, 3, "steps")
    try:
        parameters = _finish(out / "model")
    except Exception as error:  # whatever a broken file makes transformers raise
        reason = " ".join(str(error).split())
        raise StageError(f"release: the model in model/ does not load ({reason[:300]}); train and export it again") from error
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


def _scores(inputs: Mapping[str, Path]) -> Metrics:
    """The metrics of held-out text, the scores of all tasks among its own, and why others were not run."""
    found: Metrics = read_record(inputs["evaluate"] / MANIFEST)["metrics"]
    tasks = [read_record(inputs[role] / MANIFEST)["metrics"] for role in sorted(inputs) if role.startswith("task.")]
    skipped = [{"task": one["task"], "reason": one["skipped"]} for one in tasks if one["skipped"]]
    return {**found, "scores": [*found["scores"], *(score for one in tasks for score in one["scores"])], "skipped": skipped}


def _layout(inputs: Mapping[str, Path]) -> dict[str, Path]:
    """Path in the release -> the published file."""
    cards, corpus, tokenizer = Cards(inputs["cards"]), Corpus(inputs["corpus"]), Tokenizer(inputs["tokenizer"])
    model = Model(inputs["pretrain"]).transformers
    files = {f"corpus/{path.name}": path for split in SPLITS for path in corpus.shards(split)}
    files |= {f"model/{path.relative_to(model).as_posix()}": path for path in sorted(model.rglob("*")) if path.is_file()}
    files |= {f"model/{path.name}": path for path in sorted(tokenizer.transformers.glob("*")) if path.is_file()}
    for folder, card in (("model", cards.model_card), ("corpus", cards.data_card)):
        text = card.read_text(encoding="utf-8")
        plots = [path for path in sorted(cards.plots.glob("*.svg")) if f"(plots/{path.name})" in text]
        files |= {f"{folder}/plots/{path.name}": path for path in plots}
        files |= {f"{folder}/README.md": card, f"{folder}/facts.json": cards.facts}
    files["model/tokenizer.model"] = tokenizer.model
    if (model / "config.json").is_file() and objective(_architecture(model)) == "causal":
        files |= {f"lm_eval_tasks/{path.name}": path for path in sorted(LM_EVAL_TASKS.glob("*.*")) if path.is_file()}
    wanted = ("model/config.json", "model/model.safetensors", "model/tokenizer.json", "model/tokenizer_config.json")
    lacking = [name for name in wanted if name not in files] + [name for name, path in files.items() if not path.is_file()]
    if lacking:
        raise StageError(f"release: there is no file for {', '.join(lacking)}; run pretrain, tokenizer and cards again")
    return files


def _place(source: Path, path: Path) -> None:
    """Copy: people edit what is released, and a hard link would carry that into the stage's own output."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        copy(source, temporary)


def _finish(folder: Path) -> int:
    """Fit the tokenizer to the model, then load and use both as a user would; returns the number of parameters."""
    from transformers import AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    architecture = _architecture(folder)
    model: Any = auto_class(architecture).from_pretrained(str(folder), local_files_only=True, use_safetensors=True)
    masked = objective(architecture) == "masked"
    _fit_tokenizer(folder, model.config.max_position_embeddings)
    tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    if len(tokenizer) != model.config.vocab_size:
        raise ValueError(f"the tokenizer has {len(tokenizer)} pieces, the model {model.config.vocab_size} embeddings")
    _use(model, tokenizer, masked)
    parameters: int = model.num_parameters()
    return parameters


def _architecture(folder: Path) -> str:
    name: str = json.loads((folder / "config.json").read_text())["architectures"][0]
    return name


def _fit_tokenizer(folder: Path, context: int) -> None:
    """Tell the tokenizer the longest input of the model, which was trained later."""
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | {"model_max_length": context}
    text = json.dumps(config, indent=2, ensure_ascii=False, sort_keys=True)
    write_atomically(path, text.encode() + b"\n")


def _use(model: Any, tokenizer: Any, masked: bool) -> None:
    """Generate one token, or fill one mask; raises ValueError when that does not work."""
    import torch

    inputs = tokenizer(f"a {tokenizer.mask_token}" if masked else "a", return_tensors="pt")
    with torch.inference_mode():
        if masked:
            places = inputs["input_ids"] == tokenizer.mask_token_id
            if places.sum() != 1 or not model(**inputs).logits[places].isfinite().all():
                raise ValueError("the model fills no mask")
        else:
            one_more = inputs["input_ids"].shape[1] + 1
            if model.generate(**inputs, max_length=one_more, do_sample=False).shape[1] != one_more:
                raise ValueError("the model generates nothing")


RELEASE = Stage(
    "release",
    release,
    version=6,
    inputs={"cards": Cards, "corpus": Corpus, "tokenizer": Tokenizer, "pretrain": Model, "evaluate": Scores, ANY: Scores},
    artifact=artifacts.Release,
    edited=True,
)
