import random

import pytest

from tests.evaluate.tiny_world import World, document, make_model, make_tokenizer, write_corpus


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    draw = random.Random(5)
    train = [document(section, number, draw) for section in ("michezo", "kilimo") for number in range(15)]
    held = [document(section, number, draw) for section in ("michezo", "kilimo") for number in range(100, 106)]
    held.append(document("siri", 200, draw))  # a section that no training document has
    tokenizer = make_tokenizer([row["text"] for row in train])
    model = make_model(len(tokenizer))
    inputs = {name: folder / name for name in ("pretrain", "tokenizer", "corpus")}
    model.save_pretrained(str(inputs["pretrain"] / "model"))
    tokenizer.save_pretrained(str(inputs["tokenizer"] / "hf"))
    write_corpus(inputs["corpus"], train, held)
    return World(inputs, model, tokenizer)
