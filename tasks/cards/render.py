"""Turns facts into Markdown: templates, and how a number, a name or a text from outside is written in them."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

from tasks.core.characters import UNSPACED_SCRIPTS, WORD_LETTERS
from tasks.evaluate.metrics import verdict

TEMPLATES = Path(__file__).parent / "templates"
DASH = "–"
UNITS = ("kB", "MB", "GB", "TB")


def render(template: str, **context: Any) -> str:
    """A card without its front matter; an unknown name in a template is an error, a value of None a dash."""
    import jinja2

    from tasks.pretrain import models

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # this is Markdown; what comes from outside goes through `cell` or `block`
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: DASH if value is None else value,
    )
    filters = (count, size, percent, decimal, duration, cell, block, quoted, unit)
    environment.filters |= {function.__name__: function for function in filters}
    facts = context["facts"]
    family = facts["training"]["family"]  # None where no model was trained
    text = environment.get_template(template).render(
        **context,
        score_table=score_table(facts["scores"]),
        family=models.find(family) if family else None,
    )
    return re.sub(r"\n{3,}", "\n\n", text)


def count(value: int | None) -> str:
    """1,234."""
    return DASH if value is None else f"{round(value):,}"


def size(value: int | None) -> str:
    """Bytes in decimal units with three digits: 1.23 MB."""
    if value is None:
        return DASH
    if value < 1000:
        return f"{value} bytes"
    power = next(power for power in range(1, len(UNITS) + 1) if value < 999.5 * 1000**power or power == len(UNITS))
    number = value / 1000**power
    return f"{number:.{max(0, 3 - len(str(int(number))))}f} {UNITS[power - 1]}"


def percent(value: float | None) -> str:
    """One decimal, and never 0.0 or 100.0 for what is not."""
    if value is None:
        return DASH
    if 0 < value < 0.05:
        return "< 0.1 %"
    if 99.95 <= value < 100:
        return "> 99.9 %"
    return f"{value:.1f} %"


def decimal(value: float | None, digits: int = 3) -> str:
    """A number with so many decimals."""
    return DASH if value is None else f"{value:,.{digits}f}"


def duration(seconds: float | None) -> str:
    """2 h 05 min, 3 min 20 s, 12 s."""
    if seconds is None:
        return DASH
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{seconds:.3g} s"


def cell(text: Any, longest: int = 80) -> str:
    """A text from outside (a licence, a domain) inside a line of Markdown: one line that is no markup, cut if very long."""
    if text is None:
        return DASH
    line = " ".join(str(text).split())
    line = line if len(line) <= longest else f"{line[: longest - 1]}…"
    return re.sub(r"([\\`*_\[\]|~$])", r"\\\1", html.escape(line, quote=False))


def block(text: str) -> str:
    """A text from outside as a code block, whose fence is longer than any in the text."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}text\n{text.strip()}\n{fence}"


def quoted(text: str) -> str:
    """A text from outside as a literal of Python inside a code block, whose fence it cannot close."""
    return json.dumps(" ".join(text.split()), ensure_ascii=False)


def unit(script: str) -> str:
    """What the cards call a word in a script (ISO 15924) that sets off no words by spaces; empty for all others."""
    if script in UNSPACED_SCRIPTS:
        return (
            "The script sets off no words by spaces, and no dictionary was used: what is called a word here is a stretch of"
            f" {WORD_LETTERS} letters with their marks on average, cut by a fixed rule. Numbers of words and tokens per word"
            " cannot be compared with those of languages that write spaces."
        )
    if script == "Tibt":
        return "What is called a word here is a syllable, as the tsheg sets it off."
    return ""


def score_table(scores: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each task and metric: its systems by name, and how the model stands to the best of its floors."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for score in scores:
        row = rows.setdefault(
            (score["task"], score["metric"]), {"task": score["task"], "metric": score["metric"], "systems": {}}
        )
        row["systems"][score["system"]] = score
    for row in rows.values():
        row |= {
            name: max((score[name] or 0 for score in row["systems"].values()), default=0) or None for name in ("n", "seeds")
        }
        row["floors"] = [{"system": system, **score} for system, score in row["systems"].items() if system != "model"]
        row["verdict"] = verdict(row["systems"].get("model", {})) or DASH
    return list(rows.values())
