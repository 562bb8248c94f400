"""Our reading of fastText models gives what the library gives, for every kind of model that it writes."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.annotate.language import PACKAGED, normalise
from tasks.annotate.language.model import Classifier, classifier
from tasks.annotate.language.pieces import as_column, pieces
from tasks.core.errors import StageError
from tests.annotate.language.test_language import TEXTS


def windows_of_words(number: int) -> list[str]:
    chance = random.Random(5)
    found = []
    for _ in range(number):
        label = chance.choice(list(TEXTS))
        words = normalise(TEXTS[label]).split()
        start = chance.randrange(len(words) - 4)
        found.append(f"__label__{label} {' '.join(words[start : start + chance.randint(1, 12)])}")
    return found


def agree(library: Any, ours: Classifier, texts: list[str], tolerance: float = 2e-5) -> None:
    parts = pieces(as_column(texts), lines=False)
    k = 3
    places, scores = ours.predict(parts.data, parts.ends, k)
    labels, probabilities = library.predict(parts.texts(), k=k)
    assert len(labels) == len(places)
    for place, score, label, probability in zip(places, scores, labels, probabilities, strict=True):
        # the library adds 0.00001 to each probability before it takes the logarithm
        assert np.allclose(score, probability - 1e-5, atol=tolerance)
        if score[0] - score[1] > 2 * tolerance:
            assert f"__label__{ours.labels[place[0]]}" == label[0]


def test_the_packaged_model_gives_the_library_s_probabilities() -> None:
    texts = [
        *TEXTS.values(),
        "Habari",
        "Ng'ombe",
        "kelele nyingi",
        "ሰላም",
        "日本語です",
        "Ọ̀pọ̀",
        *(t[:40] for t in TEXTS.values()),
    ]
    agree(fasttext.load_model(str(PACKAGED)), classifier(str(PACKAGED)), texts)


def train(folder: Path, options: dict[str, Any], quantise: bool) -> None:
    """Have the library make `folder/model`, in a process of its own.

    With one thread it initialises a tenth of its input matrix. The rest is zero where the system has just given it, as it
    does here, and else whatever this process had there before, at times NaN.
    """
    program = (
        "import json, sys, fasttext; lines, model, options, quantise = sys.argv[1:];"
        "trained = fasttext.train_supervised(lines, **json.loads(options), thread=1, verbose=0);"
        "quantise and trained.quantize(lines, cutoff=3000, retrain=True, qnorm=True, thread=1); trained.save_model(model)"
    )
    files = [str(folder / name) for name in ("lines.txt", "model")]
    subprocess.run([sys.executable, "-c", program, *files, json.dumps(options), "yes" if quantise else ""], check=True)


@pytest.mark.parametrize(
    "kind",
    [
        {"loss": "softmax"},
        {"loss": "hs"},
        {"loss": "ova"},
        {"loss": "softmax", "wordNgrams": 3},
        {"loss": "softmax", "minn": 0, "maxn": 0, "wordNgrams": 2},
        {"loss": "softmax", "minn": 1, "maxn": 3, "quantise": True},
    ],
    ids=lambda kind: "-".join(map(str, kind.values())),
)
def test_any_kind_of_classifier_is_read(kind: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("\n".join(windows_of_words(400)), "utf-8")
    quantise = kind.pop("quantise", False)
    # an input matrix above 32 MB, which the C library takes from the system
    options = {"dim": 16, "minn": 2, "maxn": 4, "bucket": 600_000, "epoch": 4, "lr": 0.5, "seed": 1} | kind
    train(tmp_path, options, quantise)
    # its sigmoid of one against all is a table of 512 steps
    tolerance = 0.01 if kind["loss"] == "ova" else 2e-5
    model = fasttext.load_model(str(tmp_path / "model"))
    agree(model, Classifier(str(tmp_path / "model")), list(TEXTS.values()), tolerance)


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=300))
def test_the_library_agrees_on_any_text(text: str) -> None:
    agree(LIBRARY, classifier(str(PACKAGED)), [text, "habari za leo"])


LIBRARY = fasttext.load_model(str(PACKAGED))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_damaged_file_is_an_error_and_nothing_worse(data: st.DataObject) -> None:
    import tempfile

    content = bytearray(PACKAGED.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 4000))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(100, len(content))) :]
    with tempfile.NamedTemporaryFile(suffix=".ftz") as file:
        file.write(content)
        file.flush()
        try:
            model = Classifier(file.name)
        except StageError:
            return
        parts = pieces(as_column(["habari za leo"]))
        model.predict(parts.data, parts.ends, 8)
