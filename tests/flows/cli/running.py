"""Commands run in this process, as their entry point runs them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flows.cli import main


def command(*arguments: object) -> int:
    """The exit code of `lugha ARGUMENTS`; what is no known mistake is raised."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def document(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    """The one JSON document that a command prints."""
    assert command(*arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)
