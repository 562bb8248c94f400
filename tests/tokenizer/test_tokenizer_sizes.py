"""Of several sizes of vocabulary, the one with which the model needs least computation for a byte of text is taken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from flows.dag import Given, build_lm
from lang_configs.schema import LanguageConfig
from lang_configs.training import Model, Tokenizer
from tasks.core.stage import Output, Work, result
from tasks.pretrain.models import build, shape_of
from tasks.tokenizer import tokenizer
from tasks.tokenizer.export import load
from tasks.tokenizer.sizes import TokenizerForModel, costs
from tests.small_corpus import write_corpus

NARROW, WIDE = Model(layers=1, width=32, heads=1), Model(layers=24, width=512, heads=4)


def train(folder, name, model):
    config = TokenizerForModel(vocab_size=[700, 400, 1024, 65536], bytes_per_piece=60, model=model)
    (folder / name).mkdir()
    return tokenizer({"corpus": folder / "corpus"}, config, folder / name, Work())


def test_a_larger_model_gets_a_larger_vocabulary_and_the_table_says_why(tmp_path):
    write_corpus(tmp_path / "corpus", "swahili", 150)
    narrow, wide = train(tmp_path, "narrow", NARROW), train(tmp_path, "wide", WIDE)
    assert narrow["vocab_size"] < wide["vocab_size"]
    for name, metrics in (("narrow", narrow), ("wide", wide)):
        rows = metrics["sizes"]
        assert json.loads((tmp_path / name / "sizes.json").read_text()) == rows
        sizes = [row["vocab_size"] for row in rows]
        assert sizes == sorted(set(sizes))  # the text allows fewer than 65,536, so no two rows are the same vocabulary
        assert [row["bytes_per_token"] for row in rows] == sorted(row["bytes_per_token"] for row in rows)
        [chosen] = [row for row in rows if row["chosen"]]
        assert chosen["flops_per_byte"] == min(row["flops_per_byte"] for row in rows)
        assert chosen["vocab_size"] == metrics["vocab_size"] == len(load(tmp_path / name / "tokenizer.model"))
        assert chosen["fertility"] != metrics["fertility"]  # chosen on validation, reported on test
        assert chosen["fertility"] == pytest.approx(metrics["fertility"], rel=0.1)


def test_the_chosen_one_is_the_model_of_that_size_alone(tmp_path):
    write_corpus(tmp_path / "corpus", "swahili", 150)
    size = train(tmp_path, "chosen", NARROW)["vocab_size"]
    (tmp_path / "alone").mkdir()
    metrics = tokenizer({"corpus": tmp_path / "corpus"}, Tokenizer(vocab_size=size), tmp_path / "alone", Work())
    assert metrics["sizes"] == []
    assert (tmp_path / "alone" / "tokenizer.model").read_bytes() == (tmp_path / "chosen" / "tokenizer.model").read_bytes()


@pytest.mark.parametrize("tied", [True, False])
def test_costs_are_those_of_the_model_that_pretrain_builds(tied):
    shape = NARROW.model_copy(update={"tied": tied})
    found = costs(shape, 384, 4.0)
    model = build(shape_of(shape, 384))
    matrices = {weight.data_ptr(): weight.numel() for weight in (model.embedding.weight, model.output_weight)}
    assert len(matrices) == (1 if tied else 2)
    assert found["parameters"] == sum(weight.numel() for weight in model.parameters())
    assert found["embedding_share"] == pytest.approx(sum(matrices.values()) / found["parameters"])
    looked_up = 0 if tied else model.embedding.weight.numel()
    assert found["flops_per_byte"] == 6 * (found["parameters"] - looked_up) / 4.0
    assert torch.get_default_device() == torch.device("cpu")


@pytest.mark.parametrize(("size", "kind"), [(8192, Tokenizer), ([4096, 8192], TokenizerForModel)])
def test_the_model_decides_where_there_are_sizes_to_choose_from(size, kind):
    configs = {}

    def run(step):
        configs[step.stage.name] = step.config
        return result(step, Output(step.stage.name, "fingerprint", Path(step.stage.name)), None, reused=False)

    language = LanguageConfig(
        name="Swahili", code="swh", script="Latn", tokenizer={"vocab_size": size}, pretrain={"model": NARROW}
    )
    build_lm(language, Given("test", "lugha"), run)
    assert type(configs["tokenizer"]) is kind
    assert getattr(configs["tokenizer"], "model", NARROW) == NARROW
