from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lang_configs.training import Tokenizer, Tokens
from tasks.core.artifacts import SPLITS
from tasks.core.engines import Processes
from tasks.core.errors import StageError
from tasks.core.files import sha256
from tasks.core.stage import UNITS, Work
from tasks.tokenizer import tokenizer
from tasks.tokenizer.export import load
from tasks.tokens import tokens
from tests import REPOSITORY
from tests.small_corpus import documents, write_corpus, write_split

BOS, EOS = 1, 2


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    write_corpus(folder / "corpus", "swahili", 100)
    (folder / "tokenizer").mkdir()
    tokenizer({"corpus": folder / "corpus"}, Tokenizer(bytes_per_piece=20), folder / "tokenizer", Work())
    return folder / "tokenizer"


def encode(corpus: Path, model: Path, out: Path, work: Work | None = None) -> dict:
    out.mkdir(exist_ok=True)
    return tokens({"corpus": corpus, "tokenizer": model}, Tokens(), out, work or Work())


def read(out: Path, split: str, model: Path) -> tuple[list[str], list[int]]:
    """Texts and byte counts of a split, through offsets and ids alone."""
    meta = json.loads((out / "meta.json").read_text())
    ids = np.fromfile(out / f"{split}.bin", np.dtype(meta["dtype"]).newbyteorder("<"))
    offsets = np.load(out / f"{split}.offsets.npy")
    assert offsets[0] == 0
    assert offsets[-1] == len(ids) == meta[f"{split}_tokens"]
    assert (ids[offsets[:-1]] == BOS).all()
    assert (ids[offsets[1:] - 1] == EOS).all()
    assert np.isin(ids, [0, 1, 2, 3]).sum() == 2 * (len(offsets) - 1)  # no control id inside a text
    processor = load(model / "tokenizer.model")
    texts = [processor.decode(ids[a + 1 : b - 1].tolist()) for a, b in itertools.pairwise(offsets)]
    return texts, np.load(out / f"{split}.bytes.npy").tolist()


def files(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path) for path in folder.iterdir() if not path.name.startswith(".")}


def test_offsets_bytes_and_ids_give_the_documents_back(tmp_path, model):
    hard = ["", "</s> <s> <0x41> <pad>\n", "  ሰላም\tẹ̀kọ́ 😀  ", "\n", "x" * 10_000]
    train, validation = hard + documents("swahili", 300), documents("swahili", 20, seed=2) + hard
    write_split(tmp_path / "corpus", "train", train, 3)
    write_split(tmp_path / "corpus", "validation", validation)
    write_split(tmp_path / "corpus", "test", validation[:3])
    meta = encode(tmp_path / "corpus", model, tmp_path / "out")
    for split, texts in (("train", train), ("validation", validation), ("test", validation[:3])):
        assert read(tmp_path / "out", split, model) == (texts, [len(text.encode()) for text in texts])
        assert meta[f"{split}_documents"] == len(texts)
        assert meta[f"{split}_bytes"] == sum(len(text.encode()) for text in texts)
    names = [f"{split}.{kind}" for split in SPLITS for kind in ("bin", "offsets.npy", "bytes.npy")]
    assert sorted(files(tmp_path / "out")) == sorted(["meta.json", *names])
    assert not (tmp_path / "out" / ".parts").exists()
    assert {key: meta[key] for key in ("dtype", "bos", "eos", "pad")} == {"dtype": "uint16", "bos": 1, "eos": 2, "pad": 0}
    assert meta["vocab_size"] == len(load(model / "tokenizer.model"))
    assert np.load(tmp_path / "out" / "train.offsets.npy").dtype == np.int64
    assert np.load(tmp_path / "out" / "train.bytes.npy").dtype == np.int32


@settings(deadline=None, max_examples=20)
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\u2581")), min_size=1))
def test_any_text_comes_back(texts, model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")
    write_split(folder / "corpus", "train", texts)
    encode(folder / "corpus", model, folder / "out")
    assert read(folder / "out", "train", model)[0] == texts
    assert read(folder / "out", "validation", model) == read(folder / "out", "test", model) == ([], [])


def test_weights_are_copies_and_copies_are_not_neighbours(tmp_path, model):
    texts = [f"hati ya {i}" for i in range(4)]
    write_split(tmp_path / "corpus", "train", texts, 1, [1.0, 0.0, 3.0, 2.0])
    meta = encode(tmp_path / "corpus", model, tmp_path / "out")
    assert read(tmp_path / "out", "train", model)[0] == [texts[i] for i in (0, 2, 3, 2, 3, 2)]
    assert meta["train_documents"] == 6


def test_the_fraction_of_a_weight_is_a_probability(tmp_path, model):
    texts = [f"hati {i}" for i in range(2000)]
    write_split(tmp_path / "corpus", "train", texts, 2, [1.25] * 1000 + [0.5] * 1000)
    encode(tmp_path / "corpus", model, tmp_path / "out")
    found = read(tmp_path / "out", "train", model)[0]
    first, second = ([text for text in found if (int(text.split()[1]) < 1000) == half] for half in (True, False))
    assert set(first) == set(texts[:1000])
    assert len(first) == pytest.approx(1250, abs=60)  # 4 standard deviations
    assert len(second) == len(set(second)) == pytest.approx(500, abs=64)


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_an_impossible_weight_is_one_sentence(tmp_path, model, weight):
    write_split(tmp_path / "corpus", "train", ["habari"], 1, [weight])
    with pytest.raises(StageError, match=r"train-00000\.parquet: document [0-9a-f]{32} has weight"):
        encode(tmp_path / "corpus", model, tmp_path / "out")


def test_a_corpus_without_training_shards_is_one_sentence(tmp_path, model):
    write_split(tmp_path / "corpus", "validation", ["habari"])
    with pytest.raises(StageError, match=r"no train-\*\.parquet"):
        encode(tmp_path / "corpus", model, tmp_path / "out")


def test_any_number_of_workers_gives_the_same_bytes(tmp_path, model):
    corpus = write_corpus(tmp_path / "corpus", "swahili", 200, shards=5)
    encode(corpus, model, tmp_path / "one")
    encode(corpus, model, tmp_path / "two", Work(Processes(2)))
    assert files(tmp_path / "one") == files(tmp_path / "two")


KILLED = """
import os, signal
from pathlib import Path
from lang_configs.training import Tokens
from tasks.core.stage import Work
from tasks.tokens import tokens

replace, left = os.replace, [{after}]
def replace_or_die(source, target):
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    replace(source, target)
os.replace = replace_or_die
tokens({{"corpus": Path({corpus!r}), "tokenizer": Path({model!r})}}, Tokens(), Path({out!r}), Work())
"""


@pytest.mark.parametrize("after", [0, 5, 12, 16, 19, 25])  # 4 shards of 4 files, then 3 x 3 joined files, then meta.json
def test_killed_at_any_rename_it_goes_on_and_ends_with_the_same_bytes(tmp_path, model, after):
    corpus = write_corpus(tmp_path / "corpus", "swahili", 60)
    out = tmp_path / "out"
    out.mkdir()
    script = KILLED.format(after=after, corpus=str(corpus), model=str(model), out=str(out))
    killed = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY)
    assert killed.returncode == -signal.SIGKILL
    finished = {record.name: record.stat().st_mtime_ns for record in (out / UNITS).glob("*.json")}
    assert len(finished) == min(after // 4, 4)
    encode(corpus, model, out)
    assert {name: (out / UNITS / name).stat().st_mtime_ns for name in finished} == finished
    encode(corpus, model, tmp_path / "whole")
    assert files(out) == files(tmp_path / "whole")


def test_a_run_killed_while_it_removes_the_parts_is_complete(tmp_path, model):
    corpus = write_corpus(tmp_path / "corpus", "swahili", 20)
    metrics = encode(corpus, model, tmp_path / "out")
    (tmp_path / "out" / ".parts").mkdir()
    before = files(tmp_path / "out")
    assert encode(corpus, model, tmp_path / "out") == metrics
    assert files(tmp_path / "out") == before
    assert not (tmp_path / "out" / ".parts").exists()
