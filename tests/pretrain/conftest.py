"""The fixture that writes token files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pretrain.token_files import sentences, write_tokens


@pytest.fixture
def make_tokens(tmp_path: Path) -> Callable[..., Path]:
    """Give `make_tokens(documents=40)`: writes that many documents of ten sentences, and as long ones that are held out."""

    def make(documents: int = 40, name: str = "tokens", held_out: int = 4, **options: int) -> Path:
        texts = [" ".join(sentences(10, seed)) for seed in range(documents + held_out)]
        return write_tokens(tmp_path / name, texts[:documents], texts[documents:], **options)

    return make
