"""Families of models: those of the package agree with what configs know of them, and others are added by one call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import lang_configs
from lang_configs.training import FAMILIES, FamilyTraits, Model
from tasks.core.stage import Work
from tasks.pretrain import models, pretrain
from tasks.pretrain.estimate import estimate, measured_speed
from tasks.pretrain.models.family import SpecialTokens
from tests.pretrain.runs import TINY, sections


@pytest.fixture
def olmo() -> Iterator[models.Family]:
    """A family that the module of these tests declares, known while a test runs."""
    from tests.pretrain.olmo import FAMILY

    models.register(FAMILY)
    yield FAMILY
    del FAMILIES[FAMILY.name]


def test_configs_know_of_each_family_what_its_file_declares() -> None:
    assert list(models.families()) == ["qwen3", "llama", "nanochat", "gpt2", "bert", "modernbert"]
    for name, family in models.families().items():
        assert family.name == name
        assert FAMILIES[name] == FamilyTraits(family.masked, family.grouped_queries)


def test_a_family_from_outside_is_configured_trained_exported_and_loaded(
    olmo: models.Family, make_tokens: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM, OlmoForCausalLM

    shape = {**TINY["model"], "family": "olmo", "key_value_heads": 1}
    config, runtime = sections({"model": shape, "steps": 30})
    language = lang_configs.load("swahili", overrides=["pretrain.model.family=olmo"])
    assert (language.pretrain.model.family, language.pretrain.model.masked) == ("olmo", False)
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path)  # the processes of training find the module wherever they start
    metrics = pretrain({"tokens": make_tokens(documents=100)}, config, tmp_path / "out", Work(runtime=runtime))
    assert (metrics["family"], metrics["objective"], metrics["steps"]) == ("olmo", "causal", 30)
    assert metrics["training_loss"] < 4
    stock = AutoModelForCausalLM.from_pretrained(tmp_path / "out" / "model")
    assert isinstance(stock, OlmoForCausalLM)
    ours = models.from_transformers(stock).eval()
    assert ours.shape == models.shape_of(Model.model_validate(shape), 260)
    ids = torch.arange(4, 36)[None]
    with torch.no_grad():
        torch.testing.assert_close(ours.logits(ids), stock(ids).logits, atol=1e-5, rtol=1e-5)  # type: ignore[operator]


@pytest.mark.slow
def test_a_family_from_outside_is_measured_too(olmo: models.Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("tasks.pretrain.estimate.MEASURE_SECONDS", 0.2)
    monkeypatch.setattr("tasks.pretrain.estimate.LIMIT_SECONDS", 120)
    config, runtime = sections({"model": {**TINY["model"], "family": "olmo"}, "epochs": 1})
    assert estimate(config, measured_speed(config, 5000, 300), 5000, runtime).tokens == 156 * 32


def test_a_name_is_given_once_and_to_what_other_processes_can_import(olmo: models.Family) -> None:
    with pytest.raises(ValueError, match="qwen3: there is a family of this name already"):
        models.register(replace(olmo, name="qwen3"))
    with pytest.raises(ValueError, match=r"other: declare it as FAMILY in a module that other processes can import"):
        models.register(replace(olmo, name="other"))
    assert "other" not in FAMILIES


def test_a_model_with_more_than_its_family_declares_is_not_exported(olmo: models.Family) -> None:
    incomplete = replace(olmo.build(models.shape_of(Model(family="olmo"), 300)).shape, family="llama")
    model = olmo.build(incomplete)  # a Llama has gains, which this one lacks
    with pytest.raises(RuntimeError, match=r"LlamaForCausalLM has other weights: .*input_layernorm"):
        models.to_transformers(model, SpecialTokens())
