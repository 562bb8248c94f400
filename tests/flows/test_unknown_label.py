"""A language that the model does not know is said before anything is fetched, with the labels near it and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.run.request import Request
from lang_configs import ConfigError


def request(folder: Path, code: str, script: str, more: str = "", until: str | None = None) -> Request:
    (folder / "a.txt").write_text("Habari za leo")
    (folder / "lugha.yaml").write_text(f"name: X\ncode: {code}\nscript: {script}\n{more}")
    return Request(str(folder / "lugha.yaml"), documents=[str(folder / "a.txt")], workspace=folder / "w", until=until)


@pytest.mark.parametrize(
    ("code", "script", "near"),
    [
        ("yor", "Arab", "yor_Latn"),
        ("srp", "Nkoo", "srp_"),
        ("sww", "Latn", "swh_Latn"),
        ("qqq", "Zyyy", "none"),
        ("tir", "Latn", "tir_Ethi"),
    ],
)
def test_an_unknown_label(code: str, script: str, near: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"the model has no label {code}_{script}, so that every document would be") as error:
        request(tmp_path, code, script).resolve()
    for words in (f"near it: {near}" if near != "swh_Latn" else near, "language.label", "lugha train-lid", "lugha.yaml"):
        assert words in str(error.value)


@pytest.mark.parametrize(
    ("code", "script", "more", "until"),
    [
        ("swh", "Latn", "", None),
        ("sww", "Latn", "language: {label: swh_Latn}\n", None),
        ("sww", "Latn", "", "clean"),
        ("sww", "Latn", f"language: {{model: 'https://example.org/a.ftz', sha256: '{'0' * 64}'}}\n", None),
    ],
)
def test_what_is_known_or_cannot_be_known_yet(code: str, script: str, more: str, until: str | None, tmp_path: Path) -> None:
    request(tmp_path, code, script, more, until).resolve()
