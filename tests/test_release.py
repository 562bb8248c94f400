from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest

from lang_configs.schema import Release
from tasks.core.artifacts import SPLITS
from tasks.core.errors import StageError
from tasks.core.files import UMASK
from tasks.core.stage import Work
from tasks.release import release
from tests.published import SENTENCE, publish, save_model


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return publish(tmp_path_factory.mktemp("published"))


def save_masked(folder: Path, family: str, vocabulary: int) -> None:
    from transformers import BertConfig, BertForMaskedLM, ModernBertConfig, ModernBertForMaskedLM

    sizes = {"vocab_size": vocabulary, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
             "num_attention_heads": 2, "max_position_embeddings": 64, "pad_token_id": 0}  # fmt: skip
    model = BertForMaskedLM(BertConfig(**sizes)) if family == "bert" else ModernBertForMaskedLM(ModernBertConfig(**sizes))
    model.save_pretrained(folder)


@pytest.fixture(scope="module")
def released(published: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    out = tmp_path_factory.mktemp("release")
    return SimpleNamespace(out=out, metrics=release(published, Release(version="1.2.0"), out, Work()))


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_task_for_lm_eval_reads_the_held_out_text_of_its_own_release(released: SimpleNamespace, tmp_path: Path) -> None:
    moved = shutil.copytree(released.out, tmp_path / "elsewhere")
    code = "import held_out, json; print(json.dumps(list(held_out.load(metadata={})['test']['text'])))"
    command = [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, '.'); {code}"]
    done = subprocess.run(command, cwd=moved / "lm_eval_tasks", capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == pq.read_table(released.out / "corpus" / "test-00000.parquet")["text"].to_pylist()


def test_the_layout(released: SimpleNamespace) -> None:
    assert {
        "SHA256SUMS", "evaluation.json", "model/tokenizer.model",
        "lm_eval_tasks/README.md", "lm_eval_tasks/held_out.py", "lm_eval_tasks/held_out.yaml",
        "corpus/README.md", "corpus/facts.json", "corpus/plots/funnel.svg", "corpus/train-00000.parquet",
        "corpus/test-00000.parquet",
        "corpus/validation-00000.parquet",
        "model/README.md", "model/facts.json", "model/plots/training.svg", "model/config.json", "model/model.safetensors",
        "model/tokenizer.json", "model/tokenizer_config.json", "model/generation_config.json",
    } == files(released.out)  # fmt: skip
    assert released.metrics["version"] == "1.2.0"
    assert released.metrics["files"] == len(files(released.out)) - 1
    assert "# model_card" in (released.out / "model" / "README.md").read_text()


def test_whom_the_umask_allows_can_read_every_file(released: SimpleNamespace) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in released.out.rglob("*") if path.is_file()}
    assert {name: mode for name, mode in modes.items() if mode != 0o666 & ~UMASK} == {}


def test_the_sums_hold_for_every_file_and_find_a_changed_byte(released: SimpleNamespace, tmp_path: Path) -> None:
    listed = {line.split("  ")[1] for line in (released.out / "SHA256SUMS").read_text().splitlines()}
    assert listed == files(released.out) - {"SHA256SUMS"}
    check = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    assert subprocess.run(check, cwd=released.out).returncode == 0
    shutil.copytree(released.out, tmp_path / "copy")
    changed = tmp_path / "copy" / "corpus" / "train-00000.parquet"
    changed.write_bytes(changed.read_bytes()[:-1] + b"x")
    assert subprocess.run(check, cwd=tmp_path / "copy", capture_output=True).returncode == 1


def test_model_and_tokenizer_load_as_a_user_loads_them(released: SimpleNamespace, published: dict[str, Path]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    found = AutoTokenizer.from_pretrained(str(released.out / "model"))
    model = AutoModelForCausalLM.from_pretrained(str(released.out / "model"))
    assert found.model_max_length == model.config.max_position_embeddings == 64
    before = AutoTokenizer.from_pretrained(str(published["tokenizer"] / "hf"))
    text = SENTENCE.format("</s> wawili")
    assert found(text)["input_ids"] == before(text)["input_ids"]
    assert found.decode(found(text, add_special_tokens=False)["input_ids"]) == text
    assert released.metrics["parameters"] == model.num_parameters()


def test_the_corpus_loads_by_its_splits(released: SimpleNamespace) -> None:
    from tasks.core.documents import batches

    rows = {split: sum(map(len, batches(released.out / "corpus" / f"{split}-00000.parquet"))) for split in SPLITS}
    assert rows == {"train": 400, "validation": 30, "test": 40}


def test_the_published_stages_are_not_touched(released: SimpleNamespace, published: dict[str, Path]) -> None:
    config = json.loads((published["tokenizer"] / "hf" / "tokenizer_config.json").read_text())
    assert config.get("model_max_length") != 64


def test_after_a_kill_the_same_release_comes_out(released: SimpleNamespace, published: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{half")
    (tmp_path / "SHA256SUMS").write_text("half")
    release(published, Release(version="1.2.0"), tmp_path, Work())
    assert (tmp_path / "SHA256SUMS").read_bytes() == (released.out / "SHA256SUMS").read_bytes()


def test_a_file_system_without_links_gets_copies(
    released: SimpleNamespace, published: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, path: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", refuse)
    release(published, Release(version="1.2.0"), tmp_path, Work())
    assert (tmp_path / "SHA256SUMS").read_bytes() == (released.out / "SHA256SUMS").read_bytes()


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_a_masked_model_fills_masks_in_the_pipeline(published: dict[str, Path], tmp_path: Path, family: str) -> None:
    from transformers import AutoTokenizer, pipeline

    before = (published["tokenizer"] / "hf" / "tokenizer.json").read_bytes()
    tokenizer = AutoTokenizer.from_pretrained(str(published["tokenizer"] / "hf"))
    save_masked(tmp_path / "pretrain" / "model", family, len(tokenizer))
    for name in ("out", "again"):
        (tmp_path / name).mkdir()
        release(published | {"pretrain": tmp_path / "pretrain"}, Release(), tmp_path / name, Work())
    assert (tmp_path / "out" / "SHA256SUMS").read_bytes() == (tmp_path / "again" / "SHA256SUMS").read_bytes()
    assert (published["tokenizer"] / "hf" / "tokenizer.json").read_bytes() == before
    fill = pipeline("fill-mask", str(tmp_path / "out" / "model"))
    text = SENTENCE.format(7)
    answers = fill(text.replace("maji", "<mask>"))
    assert len(answers) == 5
    assert all(0 < answer["score"] < 1 for answer in answers)
    assert fill.tokenizer.model_max_length == 64
    assert fill.tokenizer(text)["input_ids"] == tokenizer(text)["input_ids"]
    before_it, whole = tokenizer("kuwa")["input_ids"], tokenizer("kuwa, na")["input_ids"]
    ids = fill.tokenizer("kuwa <mask>, na")["input_ids"]
    assert ids == [*before_it, fill.tokenizer.mask_token_id, *whole[len(before_it) :]]


def test_every_family_that_can_be_trained_can_be_released(published: dict[str, Path], tmp_path: Path) -> None:
    from lang_configs.training import Model
    from tasks.pretrain import models

    vocabulary = json.loads((published["pretrain"] / "model" / "config.json").read_text())["vocab_size"]
    for family in models.families():
        model = models.build(models.shape_of(Model(family=family, layers=1, width=32, heads=2, context=64), vocabulary))
        models.initialise(model, "normal")
        models.save_transformers(model, tmp_path / family / "model", models.SpecialTokens(1, 2, 0, 4))
        (tmp_path / f"out-{family}").mkdir()
        metrics = release(published | {"pretrain": tmp_path / family}, Release(), tmp_path / f"out-{family}", Work())
        assert metrics["parameters"] == sum(weight.numel() for weight in model.parameters()), family
        config = json.loads((tmp_path / f"out-{family}" / "model" / "tokenizer_config.json").read_text())
        assert config["model_max_length"] == 64, family


@pytest.mark.parametrize("damage", ["weights", "vocabulary", "absent"])
def test_a_model_that_does_not_load_is_no_release(published: dict[str, Path], tmp_path: Path, damage: str) -> None:
    broken = tmp_path / "pretrain"
    shutil.copytree(published["pretrain"], broken)
    weights = broken / "model" / "model.safetensors"
    if damage == "weights":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif damage == "vocabulary":
        shutil.rmtree(broken / "model")
        save_model(broken / "model", 1000)
    else:
        weights.unlink()
    (tmp_path / "out").mkdir()
    message = {
        "weights": "does not load",
        "vocabulary": "the model 1000 embeddings",
        "absent": "no file for model/model.safetensors",
    }
    with pytest.raises(StageError, match=message[damage]):
        release(published | {"pretrain": broken}, Release(), tmp_path / "out", Work())
