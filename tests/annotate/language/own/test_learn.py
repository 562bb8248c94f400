"""What is learned of an invented language from documents of which a third are something else."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from tasks.annotate.language import PACKAGED, identify
from tasks.annotate.language.model import Classifier
from tasks.annotate.language.own.learn import Learned, learn
from tasks.annotate.language.own.reference import drawn, frequencies, frequencies_beside, write_frequencies
from tasks.annotate.language.pieces import as_column, normalise_all, pieces
from tests.annotate.language.own.invented import RELATIVE, Language

REFERENCE = frequencies_beside(PACKAGED)
OURS = Language(1)


def mixture(seed: int, own: int, relative: int, english: int, noise: int) -> tuple[list[str], list[str]]:
    """Documents, and what each is."""
    chance, numbers = random.Random(seed), np.random.default_rng(seed)
    texts = [OURS.document(chance) for _ in range(own)]
    for label, number in ((RELATIVE, relative), ("eng_Latn", english)):
        texts += [" ".join(words) for words in drawn(REFERENCE, label, number, numbers, (40, 200))]
    for _ in range(noise):
        texts.append(" ".join("".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 9))) for _ in range(80)))
    kinds = ["own"] * own + ["relative"] * relative + ["english"] * english + ["noise"] * noise
    order = chance.sample(range(len(texts)), len(texts))
    return [texts[place] for place in order], [kinds[place] for place in order]


@pytest.fixture(scope="module")
def learned() -> tuple[Learned, np.ndarray]:
    texts, kinds = mixture(3, own=280, relative=40, english=40, noise=40)
    return learned_from(texts), np.array(kinds)


def learned_from(texts: list[str]) -> Learned:
    guesses = [(entry.label, entry.score) for entry in identify(texts)]
    return learn([text.split() for text in normalise_all(texts)], guesses, REFERENCE, "qaa_Latn")


def test_the_language_is_what_most_documents_have_in_common(learned: tuple[Learned, np.ndarray]) -> None:
    found, kinds = learned
    taken = found.probabilities >= 0.5
    shares = {kind: taken[kinds == kind].mean() for kind in ("own", "relative", "english", "noise")}
    assert shares["own"] >= 0.95, shares
    assert shares["english"] == shares["noise"] == 0, shares
    assert shares["relative"] <= 0.1, shares
    assert (taken & (kinds == "own")).sum() >= 0.98 * taken.sum(), shares
    assert found.recall >= 0.9
    assert all(share <= 0.03 for share in found.mistaken.values())
    assert len(found.mistaken) == len(frequencies(REFERENCE))


def test_it_holds_for_documents_that_nobody_vouched_for(learned: tuple[Learned, np.ndarray], tmp_path: Path) -> None:
    texts, kinds = mixture(4, own=100, relative=50, english=50, noise=50)
    learned[0].model.write(tmp_path / "own.bin", "qaa_Latn")
    model = Classifier(str(tmp_path / "own.bin"))
    assert model.labels == ["qaa_Latn", "other"]
    read = pieces(as_column(texts), lines=False)
    places, scores = model.predict(read.data, read.ends, 2)
    sure = np.where(places == 0, scores, 0).sum(axis=1)
    taken = np.bincount(read.document, sure) / np.bincount(read.document) >= 0.5
    shares = {kind: taken[np.array(kinds) == kind].mean() for kind in ("own", "relative", "english", "noise")}
    assert shares["own"] >= 0.95, shares
    assert max(shares["english"], shares["noise"]) <= 0.02, shares
    assert shares["relative"] <= 0.1, shares


def test_the_file_is_one_that_fasttext_reads(learned: tuple[Learned, np.ndarray], tmp_path: Path) -> None:
    fasttext = pytest.importorskip("fasttext")
    learned[0].model.write(tmp_path / "own.bin", "qaa_Latn")
    library, ours = fasttext.load_model(str(tmp_path / "own.bin")), Classifier(str(tmp_path / "own.bin"))
    texts = normalise_all(mixture(5, own=5, relative=5, english=5, noise=5)[0])
    data = [text.encode() for text in texts]
    ends = np.cumsum([len(text) for text in data], dtype=np.int64)
    _, scores = ours.predict(np.frombuffer(b"".join(data), np.uint8), ends, 2)
    for text, (best, second) in zip(texts, scores.tolist(), strict=True):
        theirs = [probability for probability, _ in library.f.predict(text + "\n", 2, 0.0, "strict")]
        assert theirs == pytest.approx([best, second], abs=1e-4)


def test_the_same_documents_give_the_same_model(tmp_path: Path) -> None:
    texts = mixture(6, own=40, relative=5, english=5, noise=5)[0]
    for name in ("a", "b"):
        learned_from(texts).model.write(tmp_path / name, "qaa_Latn")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_word_counts_are_read_as_they_were_written(tmp_path: Path) -> None:
    text = {"aaa_Latn": ["Moja mbili, moja!", "tatu tatu tatu"], "bbb_Ethi": ["ሰላም ሰላም ለዓለም"]}
    write_frequencies(tmp_path / "counts", text)
    found = {
        label: dict(zip(words, counts.tolist(), strict=True))
        for label, (words, counts) in frequencies(tmp_path / "counts").items()
    }
    assert found == {"aaa_Latn": {"tatu": 3, "moja": 2, "mbili": 1}, "bbb_Ethi": {"ሰላም": 2, "ለዓለም": 1}}


def test_the_packaged_counts_know_every_label_of_the_model() -> None:
    assert set(frequencies(REFERENCE)) == set(Classifier(str(PACKAGED)).labels)
    assert REFERENCE.stat().st_size < 2_000_000
