"""What `lugha plan` says of the training: how much text there will be, and what reading it takes on this machine."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace

from lang_configs import LanguageConfig
from lang_configs.training import Pretrain
from tasks.core.errors import StageError
from tasks.core.manifest import Manifest
from tasks.crawl.sources import make_source
from tasks.pretrain.estimate import LIMIT_SECONDS, Estimate, estimate, known_speed, measured_speed

BYTES_PER_TOKEN = 4.0
"""UTF-8 bytes, of text that no tokenizer has seen yet: 3.3 to 5 in Swahili at vocabularies of 2,000 to 32,000 pieces."""


def training(
    language: LanguageConfig,
    config: Pretrain,
    tokens: Manifest | None,
    corpus: Manifest | None,
    measure: Callable[[str], object] | None,
) -> tuple[Estimate | None, str]:
    """What a training by `config` will take, or None and why that is not known.

    `tokens` and `corpus` are the manifests of these stages, of this or of an earlier build. `measure` is told what is about
    to happen when the speed has to be measured; None: it is not measured, and only what was measured before is used.
    """
    count, words = _training_tokens(language, tokens, corpus)
    sizes = language.tokenizer.vocab_size
    pieces: int = tokens["metrics"]["vocab_size"] if tokens else max(sizes) if isinstance(sizes, list) else sizes
    speed = known_speed(config, count, pieces)
    if speed is None and measure is None:
        return None, "the speed of this machine was not measured; without --no-measure it will be"
    try:
        if speed is None and measure is not None:
            measure(
                f"measuring how fast this machine trains the model (at most {LIMIT_SECONDS:.0f} s; --no-measure skips this)"
            )
            speed = measured_speed(config, count, pieces)
        assert speed is not None
        found = estimate(config, speed, count, language.runtime)
    except StageError as error:
        return None, str(error)
    return replace(found, notes=[*found.notes, *words]), ""


def _training_tokens(
    language: LanguageConfig, tokens: Manifest | None, corpus: Manifest | None
) -> tuple[int | None, list[str]]:
    """Training tokens, known or estimated, and how."""
    if tokens:
        return tokens["metrics"]["train_tokens"], []
    if corpus:
        size = corpus["metrics"]["train_bytes"]
        return round(size / BYTES_PER_TOKEN), [f"the text's tokens are taken for {BYTES_PER_TOKEN:g} bytes each"]
    with contextlib.suppress(StageError):
        sizes = [make_source(source).text_bytes() for source in language.crawl.sources]
        known = [size for size in sizes if size is not None]
        if len(known) == len(sizes):
            words = f"the text is taken for all of the files as they are, at {BYTES_PER_TOKEN:g} bytes a token"
            return round(sum(known) / BYTES_PER_TOKEN), [words]
    return None, []
