"""A release in other tools: transformers 4.57 and 5, TRL, peft, the Trainer, pipelines, ONNX, lm-eval, gguf's reader.

The versions that are tested are installed, without their dependencies, into two environments that have all else from the one of
the tests. LUGHA_NO_PACKAGE_INDEX=1 skips this where no index can be reached.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lang_configs.schema import Release
from lang_configs.training import Model
from tasks.core.stage import Work
from tasks.pretrain import models
from tasks.release import release
from tests.published import publish
from tools.install import pip_settings, uv_environment, uv_flags

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.environ.get("LUGHA_NO_PACKAGE_INDEX") == "1", reason="LUGHA_NO_PACKAGE_INDEX is set"),
]

TRAINING = ["trl==1.16.0", "peft==0.21.2", "accelerate==1.15.0"]
PACKAGES = {
    "4.57": [*TRAINING, "transformers==4.57.6", "tokenizers==0.22.2", "huggingface_hub==0.36.2", "datasets==4.4.1"],
    "5": [
        *TRAINING, "onnx==1.23.2", "onnxruntime==1.32.0", "onnxscript==0.7.2", "onnx_ir", "ml_dtypes", "protobuf",
        "flatbuffers", "gguf==0.19.0", "lm_eval==0.4.13",
    ],
}  # fmt: skip
"""Beside what the tests have: transformers 5 is theirs."""

CAUSAL, MASKED = ("qwen3", "llama", "nanochat", "gpt2"), ("bert", "modernbert")
USES = [
    *(("card", family) for family in CAUSAL),
    *(("writing", family) for family in CAUSAL),
    *(("filling", family) for family in MASKED),
    ("stopping", "qwen3"), ("adapting", "qwen3"), ("adapting", "modernbert"), ("training", "gpt2"), ("training", "bert"),
    ("classifying", "llama"), ("classifying", "modernbert"),
]  # fmt: skip
ONLY_5 = [
    ("exporting", "qwen3"),
    ("exporting", "modernbert"),
    ("harness", "qwen3"),
    ("harness", "gpt2"),
    ("vocabulary", "llama"),
]


def shapes(vocabulary: int) -> dict[str, models.ModelShape]:
    """Each family as it is built, and bases of the rotary positions and reaches of attention that are nobody's default."""
    built = {
        family: models.shape_of(Model(family=family, layers=2, width=64, heads=2, context=64), vocabulary)
        for family in (*CAUSAL, *MASKED)
    }
    turned = {f"{family}-turned": replace(built[family], rope_base=3e5, key_value_heads=1) for family in ("qwen3", "llama")}
    wide = {"qwen3-wide": replace(built["qwen3"], head_width=48, epsilon=1e-4, tied=True)}
    near = replace(built["modernbert"], layers=4, local_attention=4, global_every=3, rope_base=7e4, local_rope_base=5e3)
    return built | turned | wide | {"modernbert-near": near}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`models/`, each with ids and the logits that ours gives for them, and `<family>/`, the releases."""
    root = tmp_path_factory.mktemp("folders")
    published = publish(root / "published")
    config = json.loads((published["pretrain"] / "model" / "config.json").read_text())
    for name, shape in shapes(config["vocab_size"]).items():
        torch.manual_seed(0)
        model, folder = models.build(shape).eval(), root / "models" / name
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, mean=0.5 if parameter.ndim == 1 else 0.0, std=0.2)
        models.save_transformers(model, folder, models.SpecialTokens(1, 2, 0, 4))
        ids = torch.randint(5, shape.vocab_size, (2, shape.context))
        with torch.inference_mode():
            np.save(folder / "logits.npy", model.logits(ids).numpy())  # type: ignore[operator]
        np.save(folder / "ids.npy", ids.numpy())
        if name == shape.family:
            models.initialise(model, "normal")
            models.save_transformers(model, root / name / "pretrain" / "model", models.SpecialTokens(1, 2, 0, 4))
            (root / name / "release").mkdir()
            release(published | {"pretrain": root / name / "pretrain"}, Release(), root / name / "release", Work())
    return root


@pytest.fixture(scope="module", params=list(PACKAGES))
def found(request: pytest.FixtureRequest, folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Any]:
    """What each use found with a version of transformers, asked by use and family."""
    version = request.param
    python = environment(tmp_path_factory.mktemp("environment"), PACKAGES[version])
    known = [(use, family) for use, family in USES if (version, family) != ("4.57", "nanochat")]
    asked = [("logits", ""), *known, *(ONLY_5 if version == "5" else [])]
    given = [
        part
        for use, family in asked
        for part in (use, str(folders / family / "release" / "model" if family else folders / "models"))
    ]
    answers = tmp_path_factory.mktemp("answers") / "answers.json"
    others = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [str(python), str(Path(__file__).with_name("uses.py")), str(answers), *given]
    done = subprocess.run(command, env=others | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, timeout=900)
    assert not done.returncode, done.stderr[-2000:]
    by_use = dict(zip(asked, json.loads(answers.read_text()), strict=True))

    def answer(use: str, family: str = "") -> Any:
        if (use, family) not in by_use:
            pytest.skip(f"transformers {version} has no {family}" if use in dict(USES) else "asked of transformers 5 alone")
        answered = by_use[use, family]
        assert not isinstance(answered, str), answered
        return answered

    return answer


def environment(folder: Path, packages: list[str]) -> Path:
    """The Python of a new environment with packages of its own, and the rest from this one."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, capture_output=True)
    site = folder / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    (site / "everything_else.pth").write_text(sysconfig.get_path("purelib"))
    python = folder / "bin" / "python"
    settings = pip_settings(
        subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
    )
    command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps", "--python", str(python)]
    command += [*uv_flags(settings), *packages]
    done = subprocess.run(command, env=os.environ | uv_environment(settings), capture_output=True, text=True)
    if done.returncode:
        reason = " ".join(done.stderr.split())[:300]
        pytest.fail(
            f"the package index gave no {', '.join(packages)} ({reason}); set LUGHA_NO_PACKAGE_INDEX=1 to skip these tests"
        )
    return python


def test_logits_are_ours(found: Callable[..., Any], request: pytest.FixtureRequest) -> None:
    differences = found("logits")
    lacking = {name for name, difference in differences.items() if difference is None}
    assert lacking == ({"nanochat"} if "4.57" in request.node.name else set())
    assert {name: value for name, value in differences.items() if name not in lacking and not value < 1e-4} == {}
    assert len(differences) == len(shapes(300))


@pytest.mark.parametrize("family", CAUSAL)
def test_the_snippet_of_the_card_writes(found: Callable[..., Any], family: str) -> None:
    answer = found("card", family)
    assert answer["inputs"] == ["attention_mask", "input_ids"]
    assert answer["starts"]


@pytest.mark.parametrize("family", CAUSAL)
def test_the_pipeline_writes_up_to_the_end_of_the_context(found: Callable[..., Any], family: str) -> None:
    answer = found("writing", family)
    assert answer["tokens"] == answer["context"] == 64


@pytest.mark.parametrize("family", MASKED)
def test_the_pipelines_of_masked_models_fill_and_embed(found: Callable[..., Any], family: str) -> None:
    answer = found("filling", family)
    assert (answer["answers"], answer["finite"]) == (5, True)
    assert answer["tokens"] > 5


def test_fine_tuning_with_trl_learns_to_stop(found: Callable[..., Any]) -> None:
    answer = found("stopping", "qwen3")
    assert set(answer["ends"]) == {answer["eos"]}
    assert answer["labels"][-1] == answer["eos"]
    assert answer["labels"].count(answer["eos"]) == 1
    assert answer["next"] == answer["eos"]  # what it says after the sentence


@pytest.mark.parametrize("family", ["qwen3", "modernbert"])
def test_an_adapter_is_trained_and_comes_back(found: Callable[..., Any], family: str) -> None:
    answer = found("adapting", family)
    assert answer["losses"][-1] < answer["losses"][0]
    assert answer["difference"] < 1e-5


@pytest.mark.parametrize("family", ["gpt2", "bert"])
def test_the_trainer_trains(found: Callable[..., Any], family: str) -> None:
    losses = found("training", family)["losses"]
    assert losses[-1] < losses[0] - 0.5


@pytest.mark.parametrize("family", ["llama", "modernbert"])
def test_a_classifier_is_put_on_top(found: Callable[..., Any], family: str) -> None:
    (loss,) = found("classifying", family)["losses"]
    assert 0 < loss < 5


@pytest.mark.parametrize("family", ["qwen3", "modernbert"])
def test_onnx_runs_with_the_same_logits(found: Callable[..., Any], family: str) -> None:
    assert found("exporting", family)["difference"] < 1e-4


@pytest.mark.parametrize("family", ["qwen3", "gpt2"])
def test_lm_eval_scores_the_tokens_of_training(found: Callable[..., Any], family: str) -> None:
    answer = found("harness", family)
    assert answer["found"] == pytest.approx(answer["expected"], rel=1e-4)


def test_the_converter_of_llama_cpp_reads_the_vocabulary(found: Callable[..., Any]) -> None:
    answer = found("vocabulary", "llama")
    read = [piece for piece, _ in answer["found"]]
    assert [piece.replace("\u2581", " ") for piece in answer["pieces"]] == [piece.replace("\u2581", " ") for piece in read]
    assert [kind for _, kind in answer["found"]][:5] == ["CONTROL", "CONTROL", "CONTROL", "UNKNOWN", "CONTROL"]
    assert {name: answer["special"][name] for name in ("bos", "eos", "unk", "pad")} == {"bos": 1, "eos": 2, "unk": 3, "pad": 0}
