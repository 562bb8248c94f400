from pathlib import Path

import pytest
import torch

from tasks.core.errors import StageError
from tasks.evaluate.samples import generate, stream
from tests.evaluate.tiny_world import CONTEXT, World


def test_stream_writes_what_generate_writes(world: World) -> None:
    folders = world.inputs["pretrain"] / "model", world.inputs["tokenizer"] / "hf"
    for seed, temperature in ((1, 0.7), (2, 0.7), (3, 0.7), (1, 0.0)):
        [whole] = generate(world.model, world.tokenizer, ["timu ya leo"], 20, temperature, seed=seed)
        pieces = list(stream(*folders, "timu ya leo", max_tokens=20, temperature=temperature, seed=seed))
        assert "".join(pieces) == whole
        assert len(pieces) > 2


def test_greedy_text_is_that_of_transformers(world: World) -> None:
    ids = torch.tensor([[world.tokenizer.bos_token_id, *world.tokenizer("timu ya leo", add_special_tokens=False)["input_ids"]]])
    whole = world.model.generate(ids, do_sample=False, max_new_tokens=20, eos_token_id=world.tokenizer.eos_token_id)
    expected = world.tokenizer.decode(whole[0], skip_special_tokens=True)
    for seed in (1, 2):
        [text] = generate(world.model, world.tokenizer, ["timu ya leo"], max_tokens=20, temperature=0.0, seed=seed)
        assert "timu ya leo" + text == expected


def test_seed_decides_the_text_and_other_prompts_do_not(world: World) -> None:
    prompts = ["mkulima wa", "timu ya"]
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    both = generate(world.model, world.tokenizer, prompts, max_tokens=10)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert [generate(world.model, world.tokenizer, [prompt], max_tokens=10)[0] for prompt in prompts] == both
    assert generate(world.model, world.tokenizer, prompts, max_tokens=10, seed=7) != both


def test_text_stops_at_the_end_of_the_window(world: World) -> None:
    [text] = generate(world.model, world.tokenizer, ["timu"], max_tokens=10_000, temperature=0.5)
    assert text
    with pytest.raises(StageError, match="shorter prompt"):
        generate(world.model, world.tokenizer, ["timu ya " * CONTEXT])


def test_a_folder_without_a_model_is_one_clear_sentence(world: World, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="no language model"):
        next(stream(tmp_path, world.inputs["tokenizer"] / "hf", "timu"))
    with pytest.raises(StageError, match="no tokenizer"):
        next(stream(world.inputs["pretrain"] / "model", tmp_path, "timu"))
