"""`lugha languages --identifier`: what was measured of the packaged identifier."""

from __future__ import annotations

import pytest

from tasks.annotate.language import PACKAGED
from tasks.annotate.language.confusion import facts
from tasks.annotate.language.model import classifier
from tests.flows.cli.running import command, document


def test_each_label_has_a_row_with_what_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    found = {row["label"]: row for row in document(capsys, "languages", "--identifier")}
    assert list(found) == sorted(classifier(str(PACKAGED)).labels)
    swahili = found["swh_Latn"]
    assert swahili["recall"] == facts(PACKAGED, "swh_Latn")["recall"]
    wrong = swahili["false_positives"] * swahili["others"]
    assert swahili["precision"] == round(swahili["recall"] / (swahili["recall"] + wrong), 4)
    unmeasured = [row for row in found.values() if not row["known"]]
    assert unmeasured
    assert not any("precision" in row for row in unmeasured)


def test_the_table_fits_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert command("languages", "--identifier") == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if line[:8].strip() and "_" in line[:9]]
    assert len(rows) == len(classifier(str(PACKAGED)).labels)
    assert max(map(len, rows)) <= 80
