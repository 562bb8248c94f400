"""Imports run one way, and only flows knows Prefect (the contracts are in pyproject.toml)."""

from __future__ import annotations

import pytest

from tests import REPOSITORY


def test_import_contracts_hold(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from importlinter.cli import lint_imports

    monkeypatch.chdir(REPOSITORY)
    assert lint_imports(no_cache=True) == 0, capsys.readouterr().out
