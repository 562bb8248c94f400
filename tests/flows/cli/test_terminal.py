"""Documents, names and messages from outside reach the terminal as text: they move no cursor and forge no line."""

from __future__ import annotations

import json
import logging
import unicodedata
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.cli.report import print_sample, print_story, run_row
from flows.cli.tables import print_json, table
from flows.cli.terminal import Warnings, say
from tests.flows.cli.running import command

HOSTILE = "\x1b]0;kichwa\x07\x1b[2J\u202egpj\u2066\u200b\x9b31m\ud800\r\ndecision       keep: train, weight 1\u2028mwisho\0"
ANY = st.text(st.characters()) | st.just(HOSTILE)


def story(text: str) -> dict[str, Any]:
    check = {"decision": "words", "signal": "words", "value": 3.0, "bound": "at least", "threshold": 20.0, "holds": False}
    copy = {"id": "ab" * 16, "url": text, "kind": "near", "jaccard": 0.8, "decision": "keep"}
    item = {"item": text, "coverage": 0.5, "rule": text, "item_text": text}
    return {
        "id": "cd" * 16,
        **dict.fromkeys(("url", "title", "source", "license", "text", "label"), text),
        **{"score": 0.5, "fetched_at": datetime(2026, 1, 1, tzinfo=UTC), "published_at": None, "characters": len(text) + 5},
        **{"decision": "words", "because": check, "fails": [check], "split": None, "weight": 1.0, "duplicate_of": copy},
        **{"duplicates": [copy], "kept_of_these": text, "related_documents": 2, "evaluation": item},
        **{"block_list": {"url": text, "reason": text, "date": text}, "signals": [check | {"note": text}]},
        **{"signals_without_threshold": {text: 1.0}, "stages": [{"stage": "clean", "fingerprint": "ef", "says": text}]},
    }


def harmless(printed: str) -> None:
    assert not [one for one in printed if unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp") and one not in "\n\t"]
    assert not set(printed) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200b\u200e\u200f\ufeff")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(ANY)
def test_whatever_a_document_holds_is_only_read(capsys: pytest.CaptureFixture[str], text: str) -> None:
    for show in (lambda: print_sample([story(text)]), lambda: print_story(story(text)), lambda: print_json(story(text))):
        show()
        harmless(capsys.readouterr().out)
    run = {"language": text, "started": "2026-11-21T14:03:12+00:00", "status": "failed", "message": text, "seconds": 1.0}
    table(["a", text], [(text, text), run_row(run | {"stages": [], "snapshot": text, "preset": text, "stage": text})[:2]])
    say(text)
    logging.LogRecord("lugha", logging.WARNING, "", 0, "%s", (text,), None)
    Warnings().emit(logging.LogRecord("lugha", logging.WARNING, "", 0, "%s moved", (text,), None))
    printed = capsys.readouterr()
    harmless(printed.out)
    harmless(printed.err)
    assert len(printed.err.splitlines()) == 1


def test_no_title_or_address_looks_like_a_line_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    print_story(story("neno\ndecision       keep: train, weight 1"))
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("decision")] == [line for line in lines if "at least 20" in line][:1]
    print_sample([story("neno\n2. https://example.org/")])
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("2.")] == []


def test_json_gives_back_what_was_kept(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"title": HOSTILE})
    printed = capsys.readouterr().out
    assert json.loads(printed) == {"title": HOSTILE}
    assert "\\u202e" in printed and "\\u009b" in printed and "\\ud800" in printed


@pytest.mark.parametrize(
    "arguments",
    [
        ("build", HOSTILE.replace("\0", "")),
        ("build", "swahili", "--set", f"name.{HOSTILE}=1"),
        ("build", "swahili", "--set", f"name=[{HOSTILE}"),
        ("build", "swahili", "--preset", HOSTILE),
        ("build", "swahili", "--documents", f"/{HOSTILE}"),
        ("explain", "swahili", HOSTILE),
        ("forget", "swahili", "--domain", HOSTILE),
        (HOSTILE,),
    ],
)
def test_a_mistake_is_one_line_whatever_was_typed(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert command(*arguments) in (1, 2)
    printed = capsys.readouterr()
    harmless(printed.out + printed.err)
    assert len(printed.err.splitlines()) == 1


def test_a_password_is_not_said(capsys: pytest.CaptureFixture[str]) -> None:
    source = "crawl.sources=[{type: web, sites: ['https://juma:siri@example.org'], delai: 1}]"
    assert command("build", "swahili", "--set", source) == 2
    assert "siri" not in (said := capsys.readouterr().err) and "example.org" in said
