"""A language that the model does not know is said before anything is fetched, with the labels near it and the way out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from flows.run.plan import Plan
from flows.run.request import Request
from lang_configs import ConfigError
from lang_configs.schema import LanguageId
from tasks.annotate.language import PACKAGED, knows_well
from tasks.annotate.language.confusion import facts


def request(folder: Path, code: str, script: str, more: str = "", until: str | None = None, trusted: bool = False) -> Request:
    (folder / "a.txt").write_text("Habari za leo")
    source = f"{{type: files, name: shelf, paths: ['{folder / 'a.txt'}'], trusted: {str(trusted).lower()}}}"
    (folder / "lugha.yaml").write_text(f"name: X\ncode: {code}\nscript: {script}\ncrawl: {{sources: [{source}]}}\n{more}")
    return Request(str(folder / "lugha.yaml"), workspace=folder / "w", until=until)


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
    with pytest.raises(ConfigError, match=f"the identifier does not know {code}_{script} .*every document would be") as error:
        request(tmp_path, code, script).resolve()
    for words in (f"near it: {near}" if near != "swh_Latn" else near, "language.label", "`trusted: true`", "--documents"):
        assert words in str(error.value)
    assert "lugha.yaml" in str(error.value)


def test_an_unknown_label_with_text_that_is_vouched_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    asked = request(tmp_path, "sww", "Latn", trusted=True)
    assert "identifier" in [step.label for step in Plan(asked).all()]
    (said,) = {record.getMessage() for record in caplog.records}
    assert "does not know sww_Latn (labels near it: " in said
    assert "made for this run from the text that you vouch for: shelf" in said
    given = replace(request(tmp_path, "sww", "Latn"), documents=[str(tmp_path / "a.txt")])
    steps = Plan(given).all()
    assert [step.label for step in steps][:4] == ["crawl.documents", "clean", "identifier", "contamination"]
    assert "identifier" not in [step.label for step in Plan(request(tmp_path, "swh", "Latn", trusted=True)).all()]


def test_a_label_that_is_hardly_known(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert not facts(PACKAGED, "vai_Vaii")["known"]
    assert "identifier" not in [step.label for step in Plan(request(tmp_path, "vai", "Vaii")).all()]
    assert not caplog.records
    assert "identifier" in [step.label for step in Plan(request(tmp_path, "vai", "Vaii", trusted=True)).all()]
    (said,) = {record.getMessage() for record in caplog.records}
    assert "does not know vai_Vaii well; one that knows it well is made for this run" in said


@pytest.mark.parametrize(
    ("label", "well"),
    [
        ("swh_Latn", True),
        ("amh_Ethi", True),
        ("zul_Latn", False),
        ("xho_Latn", False),
        ("vai_Vaii", False),
        ("qqq_Latn", False),
    ],
)
def test_a_label_is_known_well_if_it_is_found_and_told_from_its_neighbours(label: str, well: bool) -> None:
    assert knows_well(LanguageId(label=label)) is well


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
