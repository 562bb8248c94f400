"""Token files for the training benchmarks, one run of ours or of a peer as a whole process, and one scorer for all of them."""

from __future__ import annotations

import itertools
import json
import math
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from data import measure

from lang_configs.schema import Runtime
from lang_configs.training import Pretrain, Tokenizer, Tokens
from tasks.core.artifacts import SPLITS, TokenFiles
from tasks.core.documents import document_id, write_table
from tasks.core.errors import StageError
from tasks.core.stage import Work
from tasks.evaluate import bootstrap
from tasks.evaluate.causal import negative_log_likelihoods
from tasks.evaluate.held_out import TokenizedDocuments
from tasks.evaluate.model import context_length, load_model, padded_batches
from tasks.pretrain.machine.threads import environment
from tasks.tokenizer import tokenizer
from tasks.tokens import tokens

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PEER_REQUIREMENTS = ("accelerate==1.15.0",)
"""What the Trainer of transformers needs and the project does not."""
SETTLING = 3
"""First steps of a process that are not counted in its speed: they allocate and compile."""
MASKED, MASK, FIRST_ORDINARY = 0.15, 4, 5
"""Share of tokens that a masked model has to guess, the mask of our tokenizer, and the first id that is no control piece."""
RESAMPLES = 1000


@dataclass(frozen=True)
class Run:
    """One training: tokens and speed of each step, bytes of memory (its own, and with its children), where the model is.

    `seconds` is the whole training, compiling included, `first` that until the first step is done; `wall` is the process,
    imports and export included.
    """

    parameters: int
    step_tokens: tuple[int, ...]
    step_speeds: tuple[float, ...]
    first: float
    seconds: float
    wall: float
    memory: int
    memory_with_children: int
    model: Path

    def written(self) -> dict[str, Any]:
        """For a record that `read` gives back."""
        return {**asdict(self), "model": str(self.model)}

    @classmethod
    def read(cls, record: dict[str, Any]) -> Run:
        steps = {name: tuple(record[name]) for name in ("step_tokens", "step_speeds")}
        return cls(**{**record, **steps, "model": Path(record["model"])})

    @property
    def tokens(self) -> int:
        return sum(self.step_tokens)

    @property
    def speeds(self) -> tuple[float, ...]:
        """Tokens per second of each step once it has settled."""
        return self.step_speeds[SETTLING:] or self.step_speeds


@dataclass(frozen=True)
class Score:
    """`[documents, 2]` of the held-out text: bits, and the bytes (of a masked model the masked tokens) that they are of."""

    documents: np.ndarray

    @property
    def bits(self) -> float:
        """Bits per byte; of a masked model, bits per masked token."""
        bits, units = self.documents.sum(0)
        return float(bits / units)

    @property
    def resampled(self) -> np.ndarray:
        """`bits` in each of the resamples, which are the same for all systems that read the same documents."""
        sums = bootstrap.resample(self.documents, RESAMPLES)
        return sums[:, 0] / sums[:, 1]


def mean_bits(scores: Sequence[Score]) -> np.ndarray:
    """The mean over the seeds of a system, in resamples of documents and seeds; two systems are paired row by row."""
    return bootstrap.average_runs(np.stack([score.resampled for score in scores]))


def prepare(train: Sequence[str], validation: Sequence[str], test: Sequence[str], folder: Path, config: Tokenizer) -> Path:
    """The folder of token files that our own stages make of these documents, under `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    parts = {name: folder / name for name in ("corpus", "tokenizer", "tokens")}
    for part in parts.values():
        part.mkdir(parents=True)
    for split, texts in zip(SPLITS, (train, validation, test), strict=True):
        table = {
            "id": pa.array([document_id("benchmark", None, text) for text in texts], pa.binary(16)),
            "text": pa.array(texts, pa.string()),
            "source": pa.array(["benchmark"] * len(texts), pa.string()),
            "weight": pa.array([1.0] * len(texts), pa.float64()),
            "bytes": pa.array([len(text.encode()) for text in texts], pa.int32()),
        }
        write_table(pa.table(table), parts["corpus"] / f"{split}-00000.parquet")
    tokenizer({"corpus": parts["corpus"]}, config, parts["tokenizer"], Work())
    tokens({"corpus": parts["corpus"], "tokenizer": parts["tokenizer"]}, Tokens(), parts["tokens"], Work())
    return parts["tokens"]


def subset(source: Path, size: int, out: Path) -> Path:
    """Token files with only so many bytes of the training documents, drawn at random, and all that is held out."""
    meta = json.loads((source / "meta.json").read_text())
    offsets, sizes = np.load(source / "train.offsets.npy"), np.load(source / "train.bytes.npy")
    drawn = np.random.default_rng(1).permutation(len(sizes))
    chosen = np.sort(drawn[np.cumsum(sizes[drawn]) <= size])
    stream = np.fromfile(source / "train.bin", np.dtype(meta["dtype"]).newbyteorder("<"))
    out.mkdir(parents=True, exist_ok=True)
    for file in (*source.glob("validation.*"), *source.glob("test.*")):
        shutil.copy(file, out)
    np.concatenate([stream[offsets[i] : offsets[i + 1]] for i in chosen]).tofile(out / "train.bin")
    lengths = np.diff(offsets)[chosen]
    np.save(out / "train.offsets.npy", np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]))
    np.save(out / "train.bytes.npy", sizes[chosen])
    counts = {"train_tokens": lengths.sum(), "train_bytes": sizes[chosen].sum(), "train_documents": len(chosen)}
    (out / "meta.json").write_text(json.dumps(meta | {name: int(count) for name, count in counts.items()}))
    return out


def train_ours(
    source: Path, config: Pretrain, runtime: Runtime, out: Path, cache: Path | None, changes: Mapping[str, str | None]
) -> Run:
    """Train as the stage does: its module, its environment but for `changes` (None: without that variable).

    Compiled kernels are kept in `cache`; without one they are compiled anew, as on a machine that never trained.
    """
    settings: dict[str, str | None] = {
        **environment(),
        "TORCHINDUCTOR_CACHE_DIR": str(cache or out / "inductor"),
        "PYTHONPATH": str(ROOT),
        **changes,
    }
    logged = runtime.model_copy(update={"log_steps": 1})
    command = [sys.executable, "-P", "-m", "tasks.pretrain.train", "--tokens", source]
    command += ["--config", config.model_dump_json(), "--runtime", logged.model_dump_json()]
    cost = measure([*with_environment(settings), *command, "--out"], out)
    lines = (out / "log.txt").read_text().splitlines()
    metrics = next(json.loads(line)["metrics"] for line in reversed(lines) if line.startswith('{"metrics"'))
    rows = pq.read_table(out / "metrics.parquet").to_pylist()
    memory = max(row["memory_bytes"] for row in rows)
    return Run(
        parameters=metrics["parameters"],
        step_tokens=tuple(np.diff([0, *(row["tokens"] for row in rows)]).tolist()),
        step_speeds=tuple(row["tokens_per_second"] for row in rows),
        first=rows[0]["elapsed_seconds"],
        seconds=rows[-1]["elapsed_seconds"],
        wall=cost.wall,
        memory=memory,
        memory_with_children=max(cost.memory, memory),  # a look ten times a second may miss the peak
        model=out / "model",
    )


def train_peer(
    python: Path,
    name: str,
    options: Sequence[str],
    source: Path,
    budget: Mapping[str, float],
    seed: int,
    out: Path,
    cache: Path | None,
) -> Run:
    """Train the peer `peer_<name>.py` for a budget of `seconds` or `steps`; with options in our environment, too."""
    settings = {**environment(), "TORCHINDUCTOR_CACHE_DIR": str(cache or out / "inductor")} if options else {}
    command = [python, HERE / f"peer_{name}.py", "--tokens", source, f"--seed={seed}", *options]
    command += [f"--{unit}={amount}" for unit, amount in budget.items()]
    cost = measure([*with_environment({**settings, "PYTHONPATH": str(ROOT)}), *command, "--out"], out)
    record = json.loads((out / "result.json").read_text())
    if not record["step_seconds"]:
        sys.exit(f"peer_{name}.py: the budget ended before its first step; give it more seconds")
    return Run(
        parameters=record["parameters"],
        step_tokens=(record["tokens_per_step"],) * len(record["step_seconds"]),
        step_speeds=tuple(record["tokens_per_step"] / seconds for seconds in record["step_seconds"]),
        first=record["step_seconds"][0],
        seconds=sum(record["step_seconds"]),
        wall=cost.wall,
        memory=record["memory"],
        memory_with_children=max(cost.memory, record["memory"]),
        model=out / "model",
    )


def install(folder: Path) -> Path:
    """The Python of a virtual environment for the peers, made unless it is there: what is installed here and their own."""
    python, done = folder / "bin" / "python", folder / "installed"
    wanted = " ".join([sys.executable, *PEER_REQUIREMENTS])
    if not done.exists() or done.read_text() != wanted:
        venv.create(folder, clear=True, with_pip=True)
        where = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
        own = subprocess.run(where, check=True, capture_output=True, text=True).stdout.strip()
        (Path(own) / "project.pth").write_text(sysconfig.get_path("purelib"))
        subprocess.run([python, "-m", "pip", "install", "-q", *PEER_REQUIREMENTS], check=True)
        done.write_text(wanted)
    return python


def read_documents(folder: Path, split: str = "test") -> TokenizedDocuments:
    """The documents of a split in a folder of token files; raises StageError when the files do not fit together."""
    try:
        files = TokenFiles(folder)
        meta = json.loads(files.meta.read_text())
        tokens = np.memmap(files.ids(split), np.dtype(meta["dtype"]).newbyteorder("<"), "r")
        offsets, sizes = np.load(files.offsets(split)), np.load(files.sizes(split))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StageError(f"{folder}: the {split} tokens cannot be read: {error}; run the stage tokens again") from error
    if len(offsets) != len(sizes) + 1 or offsets[-1] != len(tokens):
        raise StageError(f"{folder}: {split}.bin, .offsets.npy and .bytes.npy do not fit together; run the stage tokens again")
    return TokenizedDocuments(tokens, offsets, sizes)


def score(model: Path, source: Path, split: str) -> Score:
    """How well the model in a folder predicts all documents of a held-out split of the token files `source`."""
    held_out = read_documents(source, split)
    architecture = json.loads((model / "config.json").read_text())["architectures"][0]
    if architecture.endswith("ForMaskedLM"):
        return masked_score(_load_masked(model), held_out)
    nats = negative_log_likelihoods(load_model(model), held_out, lambda done, total, unit: None)
    return Score(np.stack([nats / math.log(2), held_out.bytes], 1))


def masked_score(model: Any, held_out: TokenizedDocuments) -> Score:
    """-log2 p of the masked tokens of held-out documents, in windows that do not overlap.

    The same tokens are masked for every model with the same window: 15 % of each window, at least one.
    """
    import torch
    from torch.nn import functional as F

    draw, length = np.random.default_rng(1), context_length(model)
    shown, hidden = [], []
    for number, (start, end) in enumerate(itertools.pairwise(held_out.offsets)):
        document = np.asarray(held_out.tokens[start:end], np.int64)
        for ids in (document[first : first + length] for first in range(0, len(document), length)):
            ordinary = np.flatnonzero(ids >= FIRST_ORDINARY)
            places = draw.choice(ordinary, max(1, round(MASKED * len(ordinary))), replace=False) if len(ordinary) else ordinary
            masked = ids.copy()
            masked[places] = MASK
            shown.append(masked)
            hidden.append((number, places, ids[places]))
    documents = np.zeros((len(held_out.bytes), 2))
    with torch.inference_mode():
        for chosen, ids in padded_batches(shown, 4096, model.device):
            lengths = torch.tensor([len(shown[index]) for index in chosen], device=ids.device)
            read = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
            scores = model(input_ids=ids, attention_mask=read.long()).logits
            for row, index in enumerate(chosen):
                number, places, truth = hidden[index]
                known = torch.from_numpy(truth).to(ids.device)
                nats = F.cross_entropy(scores[row, torch.from_numpy(places)].double(), known, reduction="sum")
                documents[number] += float(nats) / math.log(2), len(truth)
    return Score(documents)


def _load_masked(folder: Path) -> Any:
    from transformers import AutoModelForMaskedLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    return AutoModelForMaskedLM.from_pretrained(str(folder), local_files_only=True).eval()


def with_environment(settings: Mapping[str, str | None]) -> list[str]:
    """The start of a command that runs the rest of it in this environment."""
    unset = [part for name, value in settings.items() if value is None for part in ("-u", name)]
    return ["env", *unset, *(f"{name}={value}" for name, value in settings.items() if value is not None)]
