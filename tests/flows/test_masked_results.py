"""What a person reads on the terminal about a masked model."""

from dataclasses import replace
from pathlib import Path

import pytest

from flows.cli.model import generate
from flows.cli.report import print_result, stage_line
from lang_configs.schema import Evaluate, Runtime
from tasks.core.errors import StageError
from tasks.core.stage import Output, Step, result
from tasks.evaluate import EVALUATE

METRICS = {
    "objective": "masked", "bits_per_byte": None, "pseudo_perplexity": 21.52, "pseudo_tokens": 1024, "pseudo_documents": 22,
    "scores": [], "samples": [],
    "filled": [{"text": "Rais wa <mask>.", "word": "nchi", "guesses": [{"guess": "nchi", "probability": 0.5}]}],
}  # fmt: skip
RESULT = result(
    Step(replace(EVALUATE, inputs={}), Evaluate()),
    Output("evaluate", "f", Path("swahili/evaluate/f")),
    {"seconds": 3.0, "metrics": METRICS},
    False,
)


def test_the_line_and_the_result_name_the_pseudo_perplexity(capsys: pytest.CaptureFixture[str]) -> None:
    assert stage_line(RESULT).endswith("21.52 pseudo-perplexity on held-out text")
    print_result({"evaluate": RESULT}, Runtime())
    text = capsys.readouterr().out
    assert "pseudo-perplexity 21.5 on 1,024 tokens of 22 test documents" in text
    assert "Rais wa <mask>.\n  nchi" in text
    assert "bits per byte" not in text


def test_generate_says_what_a_masked_model_is_for_and_prints_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tokenizers import Tokenizer, models
    from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

    sizes = {"vocab_size": 8, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    BertForMaskedLM(BertConfig(**sizes)).save_pretrained(str(tmp_path))
    backend = Tokenizer(models.WordLevel({"<s>": 0, "</s>": 1, "<mask>": 2, "<unk>": 3}, unk_token="<unk>"))
    PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>").save_pretrained(str(tmp_path))
    with pytest.raises(StageError, match="fills gaps and continues no text; ask it with"):
        generate(str(tmp_path), prompt="Habari", tokens=5, temperature=0.8, top_p=0.9, seed=1, workspace=tmp_path)
    assert capsys.readouterr().out == ""
