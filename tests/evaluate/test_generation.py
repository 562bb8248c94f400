from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lang_configs.training import Tokenizer
from tasks.core.errors import StageError
from tasks.core.stage import Work
from tasks.evaluate import generation
from tasks.evaluate.generation import Sampling, generate, stream
from tasks.evaluate.model import load_tokenizer
from tasks.tokenizer import tokenizer
from tests.evaluate.tiny_world import CONTEXT, World
from tests.small_corpus import documents, write_split

LANGUAGES = ("swahili", "yoruba", "amharic")


def folders(world: World) -> tuple[Path, Path]:
    return world.inputs["pretrain"] / "model", world.inputs["tokenizer"] / "hf"


def streamed(model: Path, tokenizer: Path, prompt: str, sampling: Sampling) -> list[str]:
    words: list[str] = []
    stream(model, tokenizer, prompt, sampling, words.append)
    assert words[0] == prompt
    return words[1:]


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_streamed_words_are_the_text_of_generate(world: World, temperature: float) -> None:
    for seed in range(4):
        sampling = Sampling(20, temperature, seed=seed)
        [whole] = generate(world.model, world.tokenizer, ["timu ya leo"], sampling)
        assert "".join(streamed(*folders(world), "timu ya leo", sampling)) == whole


class ScriptedForCausalLM:
    """Writes the tokens that it is told to, one after the other, as `generate` of transformers hands them to a streamer."""

    device = "cpu"
    config = SimpleNamespace(max_position_embeddings=100_000)

    def __init__(self, script: list[int]) -> None:
        self.script = script

    def generate(self, ids: torch.Tensor, streamer: Any = None, max_length: int = 0, **_: object) -> torch.Tensor:
        script = torch.tensor(self.script[: max_length - ids.shape[1]])
        if streamer:
            streamer.put(ids)
            for token in script:
                streamer.put(token[None])
            streamer.end()
        return torch.cat([ids, script[None]], 1)


@pytest.fixture(scope="module")
def small_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A tokenizer of 1,024 pieces for three languages: many a letter of real text is spelled in bytes."""
    folder = tmp_path_factory.mktemp("tokenizer")
    write_split(folder / "corpus", "train", [text for language in LANGUAGES for text in documents(language, 60)])
    for split in ("validation", "test"):
        write_split(folder / "corpus", split, documents("swahili", 3))
    (folder / "out").mkdir()
    tokenizer({"corpus": folder / "corpus"}, Tokenizer(vocab_size=1024, bytes_per_piece=20), folder / "out", Work())
    return folder / "out" / "hf"


@pytest.mark.parametrize("language", LANGUAGES)
def test_real_text_comes_word_by_word_and_no_letter_in_parts(
    small_tokenizer: Path, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a perfect model of real documents streams: every character of them once, at word boundaries, as soon as it can."""
    hf = load_tokenizer(small_tokenizer)
    spelled = 0
    for text in [
        *documents(language, 30, seed=5),
        "Habari 😀 za\nleo \n  👩‍👩‍👧‍👦 ọ̀rọ̀ 日本語、はい ሰላም፡ለዓለም። ng'ombe\n\n",
        "\n",
        "mwisho",
    ]:
        prompt, rest = text[: len(text) // 3], text[len(text) // 3 :]
        ids = hf(text, add_special_tokens=False)["input_ids"]
        given = hf(prompt, add_special_tokens=False)["input_ids"]
        if ids[: len(given)] != given:  # the prompt ends within a token of the text: a model would go on otherwise
            continue
        script = ids[len(given) :]
        spelled += sum(piece.startswith("<0x") for piece in hf.convert_ids_to_tokens(script))
        monkeypatch.setattr(generation, "load_model", lambda _, script=script: ScriptedForCausalLM(script))
        words = streamed(small_tokenizer, small_tokenizer, prompt, Sampling(max_tokens=100_000))
        assert "".join(words) == rest
        assert len(words) >= min(len(rest.split(" ")), 2) or " " not in rest
        assert all(word.endswith((" ", "\n")) or word[-1] >= "\u3400" for word in words[:-1])
    assert spelled > 50


def test_greedy_text_is_that_of_transformers(world: World) -> None:
    ids = torch.tensor([[world.tokenizer.bos_token_id, *world.tokenizer("timu ya leo", add_special_tokens=False)["input_ids"]]])
    whole = world.model.generate(ids, do_sample=False, max_new_tokens=20, eos_token_id=world.tokenizer.eos_token_id)
    expected = world.tokenizer.decode(whole[0], skip_special_tokens=True)
    for seed in (1, 2):
        [text] = generate(world.model, world.tokenizer, ["timu ya leo"], Sampling(20, 0.0, seed=seed))
        assert "timu ya leo" + text == expected


def test_seed_decides_the_text_and_other_prompts_do_not(world: World) -> None:
    prompts = ["mkulima wa", "timu ya"]
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    both = generate(world.model, world.tokenizer, prompts, Sampling(10))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert [generate(world.model, world.tokenizer, [prompt], Sampling(10))[0] for prompt in prompts] == both
    assert generate(world.model, world.tokenizer, prompts, Sampling(10, seed=7)) != both


def test_text_stops_at_the_end_of_the_context(world: World) -> None:
    [text] = generate(world.model, world.tokenizer, ["timu"], Sampling(10_000, 0.5))
    assert text
    with pytest.raises(StageError, match="shorter prompt"):
        generate(world.model, world.tokenizer, ["timu ya " * CONTEXT], Sampling())


def test_a_folder_without_a_model_is_one_clear_sentence(world: World, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="no language model"):
        streamed(tmp_path, world.inputs["tokenizer"] / "hf", "timu", Sampling())
    with pytest.raises(StageError, match="no tokenizer"):
        streamed(world.inputs["pretrain"] / "model", tmp_path, "timu", Sampling())
