"""What people do with a release, by the libraries of the environment that runs it: `python uses.py OUT USE FOLDER ...`.

Nothing of ours is imported. Writes to OUT a JSON list: of each use what it found, or its traceback as a string. All in one
process, for to import the libraries takes longer than to use them.
"""

from __future__ import annotations

import json
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer, Trainer, TrainingArguments, pipeline

SENTENCE = "Rais wa nchi alisema kuwa wakulima watapata maji"
GAP = "Rais wa <mask> alisema kuwa wakulima watapata maji"


def logits(folder: Path) -> dict[str, Any]:
    """Of each model the largest difference to the logits that ours gave; None for a family that this version lacks."""
    from transformers import CONFIG_MAPPING

    found: dict[str, Any] = {}
    for model in sorted(path for path in folder.iterdir() if path.is_dir()):
        if json.loads((model / "config.json").read_text())["model_type"] not in CONFIG_MAPPING:
            found[model.name] = None
            continue
        ids, expected = torch.from_numpy(np.load(model / "ids.npy")), torch.from_numpy(np.load(model / "logits.npy"))
        with torch.inference_mode():
            found[model.name] = (_load(model)(ids).logits - expected).abs().max().item()
    return found


def card(folder: Path) -> dict[str, Any]:
    """The snippet of a causal model's card: the tokens that it writes, and the names of the inputs."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    inputs = tokenizer(SENTENCE, return_tensors="pt")
    written = model.generate(**inputs, max_length=48, do_sample=True)
    text = tokenizer.decode(written[0], skip_special_tokens=True)
    return {
        "inputs": sorted(inputs),
        "starts": text.startswith(SENTENCE),
        "tokens": written.shape[1],
        "class": type(tokenizer).__name__,
    }


def writing(folder: Path) -> dict[str, Any]:
    """`pipeline("text-generation")` without a word on lengths: how many tokens the text has, and the context."""
    write = pipeline("text-generation", str(folder))
    context = write.tokenizer.model_max_length
    (text,) = write(SENTENCE, return_tensors=True, min_length=context)  # no EOS before
    return {"tokens": len(text["generated_token_ids"]), "context": context}


def filling(folder: Path) -> dict[str, Any]:
    """`pipeline("fill-mask")`, and the mean states of `pipeline("feature-extraction")`."""
    answers = pipeline("fill-mask", str(folder))(GAP)
    (states,) = pipeline("feature-extraction", str(folder))(SENTENCE)
    return {"answers": len(answers), "finite": bool(np.isfinite(states).all()), "tokens": len(states)}


def stopping(folder: Path) -> dict[str, Any]:
    """TRL's SFT on one sentence: whether the examples end with EOS, are scored on it, and the model learns to stop there."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    arguments = SFTConfig(**_arguments(max_steps=60, learning_rate=0.01, lr_scheduler_type="constant"), max_length=32)
    rows = Dataset.from_dict({"text": [SENTENCE] * 16})
    trainer = SFTTrainer(str(folder), args=arguments, train_dataset=rows, processing_class=tokenizer)
    batch = next(iter(trainer.get_train_dataloader()))
    trainer.train()
    with torch.inference_mode():
        scores = trainer.model.eval()(**tokenizer(SENTENCE, return_tensors="pt")).logits
    return {
        "ends": [row[-1] for row in trainer.train_dataset["input_ids"]],
        "labels": batch["labels"][0].tolist(),
        "next": scores[0, -1].argmax().item(),
        "eos": tokenizer.eos_token_id,
    }


def adapting(folder: Path) -> dict[str, Any]:
    """peft's LoRA by the Trainer: the losses, and whether the adapter comes back."""
    from peft import LoraConfig, PeftModel, get_peft_model

    adapted = get_peft_model(_load(folder), LoraConfig(r=4, target_modules="all-linear"))
    losses, scratch = _train(folder, adapted), tempfile.mkdtemp()
    adapted.eval().save_pretrained(scratch)
    back = PeftModel.from_pretrained(_load(folder), scratch).eval()
    ids = torch.arange(300)[None, 4:20]
    with torch.inference_mode():
        return {"losses": losses, "difference": (adapted(input_ids=ids).logits - back(input_ids=ids).logits).abs().max().item()}


def training(folder: Path) -> dict[str, Any]:
    """The Trainer on the whole model, with the collator for its objective."""
    return {"losses": _train(folder, _load(folder))}


def classifying(folder: Path) -> dict[str, Any]:
    """A classifier on top, trained with padded batches."""
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification, DataCollatorWithPadding

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
    texts = [SENTENCE, "Habari"] * 8
    rows = Dataset.from_dict({**tokenizer(texts), "label": [0, 1] * 8})
    trainer = Trainer(model, TrainingArguments(**_arguments()), DataCollatorWithPadding(tokenizer), rows)
    return {"losses": [trainer.train().training_loss]}


def exporting(folder: Path) -> dict[str, Any]:
    """ONNX, run by onnxruntime on another number and length of texts: the largest difference of the logits."""
    import onnxruntime

    class Logits(torch.nn.Module):
        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            options = {"use_cache": False} if hasattr(self.model, "generate") and self.model.can_generate() else {}
            return self.model(input_ids=input_ids, attention_mask=attention_mask, **options).logits

    model, path = Logits(_load(folder)).eval(), Path(tempfile.mkdtemp()) / "model.onnx"
    example = {"input_ids": torch.arange(24).view(2, 12) + 4, "attention_mask": torch.ones(2, 12, dtype=torch.long)}
    shapes = {name: {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC} for name in example}
    torch.onnx.export(
        model, kwargs=example, f=str(path), dynamo=True, dynamic_shapes=shapes, input_names=list(example),
        output_names=["logits"], verbose=False,
    )  # fmt: skip
    other = {"input_ids": torch.arange(51).view(3, 17) + 7, "attention_mask": torch.ones(3, 17, dtype=torch.long)}
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(["logits"], {name: value.numpy() for name, value in other.items()})
    with torch.inference_mode():
        return {"difference": float(np.abs(found - model(**other).numpy()).max())}


def harness(folder: Path) -> dict[str, Any]:
    """The log-likelihood that lm-eval gives a continuation, and the one by hand, of the tokens as training saw them."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    lm = HFLM(pretrained=model, tokenizer=tokenizer, add_bos_token=True, device="cpu", batch_size=1)
    context, continuation = SENTENCE[:12], SENTENCE[12:]
    ((found, _),) = lm.loglikelihood([Instance("loglikelihood", {}, (context, continuation), 0)], disable_tqdm=True)
    ids = tokenizer(SENTENCE, return_tensors="pt")["input_ids"]
    start = len(tokenizer(context)["input_ids"])
    with torch.inference_mode():
        scores = model(ids).logits.log_softmax(-1)[0, start - 1 : -1]
    return {"found": found, "expected": scores.gather(1, ids[0, start:, None]).sum().item()}


def vocabulary(folder: Path) -> dict[str, Any]:
    """How the converter of llama.cpp reads the vocabulary, and the pieces of the tokenizer that transformers load."""
    from gguf.vocab import SentencePieceVocab, SpecialVocab

    found = [(piece.decode(), kind.name) for piece, _, kind in SentencePieceVocab(folder).all_tokens()]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    special = SpecialVocab(folder, n_vocab=len(tokenizer)).special_token_ids
    pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    return {"found": found, "pieces": pieces, "special": special}


def _load(folder: Path) -> Any:
    architecture = json.loads((folder / "config.json").read_text())["architectures"][0]
    return (AutoModelForMaskedLM if architecture.endswith("MaskedLM") else AutoModelForCausalLM).from_pretrained(folder).eval()


def _arguments(**changes: Any) -> dict[str, Any]:
    given = {"output_dir": tempfile.mkdtemp(), "max_steps": 3, "per_device_train_batch_size": 8, "use_cpu": True}
    return given | {"report_to": [], "save_strategy": "no", "disable_tqdm": True, "logging_steps": 1, "bf16": False} | changes


def _train(folder: Path, model: Any) -> list[float]:
    from datasets import Dataset
    from transformers import DataCollatorForLanguageModeling

    tokenizer = AutoTokenizer.from_pretrained(folder)
    masked = type(_load(folder)).__name__.endswith("MaskedLM")
    rows = Dataset.from_dict(dict(tokenizer([SENTENCE, "Habari ya leo"] * 16)))
    collator = DataCollatorForLanguageModeling(tokenizer, mlm=masked)
    trainer = Trainer(model, TrainingArguments(**_arguments(max_steps=20, learning_rate=0.01)), collator, rows)
    trainer.train()
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]


def main(out: Path, *asked: str) -> None:
    found: list[Any] = []
    for use, folder in zip(asked[::2], asked[1::2], strict=True):
        try:
            found.append(USES[use](Path(folder)))
        except Exception:  # whatever the library does not like is the answer
            found.append(traceback.format_exc())
    out.write_text(json.dumps(found))


USES = {
    use.__name__: use
    for use in (
        logits, card, writing, filling, stopping, adapting, training, classifying, exporting, harness, vocabulary,
    )
}  # fmt: skip


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]), *sys.argv[2:])
