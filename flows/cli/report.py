"""What a person reads on the terminal: a line per stage, tables, and where the results are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.cli.tables import cell, table
from flows.cli.terminal import legible, say
from tasks.core import artifacts
from tasks.core.shown import shown_line
from tasks.core.stage import Metrics, Result

if TYPE_CHECKING:
    from lang_configs.schema import Runtime
    from tasks.pretrain.estimate import Estimate


def stage_line(result: Result) -> str:
    """One line about a step that ended: label, reused or seconds, and its most telling number."""
    spent = "reused" if result.reused or not result.record else f"{result.record['seconds']:.1f} s"
    return f"{result.label:<24} {spent:>9}   {result.headline}".rstrip()


def run_row(run: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """A row of `lugha status`: language, when the run began, how it is, and all else there is to say."""
    ran = [not stage["reused"] for stage in run["stages"]]
    said = [f"{sum(ran)} stages run, {len(ran) - sum(ran)} reused", f"snapshot {run['snapshot']}"]
    said += [f"preset {run['preset']}"] if run["preset"] else []
    process, stage = run.get("process"), run.get("stage")
    place = f"process {process['id']} on {process['host']}" if process else "unknown process"
    if run["status"] == "running":
        said = [f"{stage or 'begins'} since {_time(run.get('stage_started') or run['started'])} ({place})", *said]
    elif run["status"] == "completed":
        said = [f"after {_hours(run['seconds'])}", *said]
    else:
        at = f" in {stage}" if stage else ""
        why = f": {shown_line(run['message']).rstrip('.')}" if run["message"] else ""
        gone = f", {place} is gone" if run["status"] == "killed" else ""
        said = [f"after {_hours(run['seconds'])}{at}{gone}{why}", *said]
        said += ["the same command goes on from there"] if run["status"] in ("killed", "interrupted") else []
    return str(run["language"]), _time(run["started"]), str(run["status"]), "; ".join(said)


def _time(moment: str) -> str:
    return f"{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M}"


def results(language: str, made: Mapping[str, Result]) -> dict[str, Any]:
    """What a build made, for programs: its stages, the folders that people look for, and what the evaluation measured."""
    return {
        "language": language,
        "stages": [
            {
                "label": one.label,
                "stage": one.stage,
                "fingerprint": one.fingerprint,
                "folder": one.folder,
                "reused": one.reused,
                "seconds": (one.record or {}).get("seconds"),
            }
            for one in made.values()
        ],
        **{name.replace(" ", "_"): path for name, path in _places(made).items()},
        "scores": made["evaluate"].metrics | {"scores": _scores(made)} if "evaluate" in made else None,
    }


def print_result(made: Mapping[str, Result], place: Runtime) -> None:
    """Where the cards, the corpus, the model and the samples are, and the headline numbers; of what the run made of them.

    `place` says where the energy of the training was used, and at what price.
    """
    say()
    for name, path in _places(made).items():
        say(f"{name:<14} {path}")
    if (kwh := made["pretrain"].metrics.get("kwh") if "pretrain" in made else None) is not None:
        say(f"energy         {_energy(kwh, place)}")
    if "evaluate" in made:
        _print_scores(made["evaluate"].metrics, _scores(made))


def _energy(kwh: float, place: Runtime) -> str:
    from tasks.pretrain.emissions import footprint

    used = footprint(kwh, place)
    cost = "" if used["cost"] is None else f", {used['cost']:,.3g} {used['currency']}"
    return f"{1000 * kwh:,.3g} Wh, {used['co2_grams']:,.3g} g CO2 ({used['grid']}){cost}"


def _places(made: Mapping[str, Result]) -> dict[str, Path]:
    if "release" in made:
        release = artifacts.Release(made["release"].folder)
        places = {"data card": release.corpus / "README.md", "model card": release.model / "README.md", "model": release.model}
    else:
        cards = {"data card": artifacts.Cards(made["cards"].folder).data_card} if "cards" in made else {}
        places = cards | {name: made[name].folder for name in ("corpus", "tokenizer", "pretrain") if name in made}
    if "evaluate" in made:
        places["samples"] = artifacts.Scores(made["evaluate"].folder).samples
    return places


def _scores(made: Mapping[str, Result]) -> list[Metrics]:
    """Those of the run's model: of held-out text and of its tasks."""
    from flows.dag import measured_tasks

    return [score for one in (made["evaluate"], *measured_tasks(made).values()) for score in one.metrics.get("scores", [])]


def _print_scores(measured: Metrics, scores: list[Metrics]) -> None:
    metrics = legible(measured)
    if metrics["objective"] == "masked":
        tokens, documents = metrics["pseudo_tokens"], metrics["pseudo_documents"]
        say(f"pseudo-perplexity {metrics['pseudo_perplexity']:.1f} on {tokens:,} tokens of {documents:,} test documents")
    else:
        say(f"bits per byte  {metrics['bits_per_byte']:.4f} on {metrics['test_documents']:,} test documents")
    for score in scores:
        if score["system"] == "model":
            say(f"{score['task']:<14} {score['metric']} {score['value']:.3f} (n = {score['n']})")
    for sample in metrics["samples"][:2]:
        say(f"\n  {sample['prompt']} ... {sample['text'][:300]}")
    for gap in metrics["filled"][:2]:
        say(f"\n  {gap['text']}\n  {', '.join(guess['guess'] for guess in gap['guesses'])}")


def print_training(estimate: Estimate | None, note: str) -> None:
    """What a training will take, or why that is not known."""
    if estimate is None:
        say(f"training: {note}")
        return
    kwh = f"{estimate.kwh:,.3g} kWh" if estimate.kwh >= 0.1 else f"{1000 * estimate.kwh:,.3g} Wh"
    cost = "" if estimate.cost is None else f"{estimate.cost:,.3g} {estimate.currency}"
    rows = [
        ("model", f"{estimate.parameters:,} parameters, {estimate.precision} on {estimate.device}"),
        ("speed", f"{estimate.tokens_per_second:,.0f} tokens per second"),
        ("tokens", f"{estimate.tokens:,}, until pretrain.{estimate.ends_by} is used up"),
        ("time", f"{_hours(estimate.seconds)}"),
        ("memory", f"{estimate.memory_bytes / 1e9:.2f} GB"),
        ("energy", f"{kwh}, {estimate.energy}"),
        ("CO2", f"{estimate.co2_grams:,.3g} g ({estimate.grid})"),
        ("price", cost or "runtime.price_per_kwh is not set"),
        *(("note", words) for words in estimate.notes),
    ]
    table(["training", "about"], rows)


def _hours(seconds: float) -> str:
    return (
        f"{seconds / 3600:,.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min" if seconds >= 100 else f"{seconds:.0f} s"
    )


def print_sample(documents: Iterable[Mapping[str, Any]]) -> None:
    """Documents for reading: what was decided and why in two or three lines, then how the text begins."""
    for number, document in enumerate(map(legible, documents), 1):
        say(f"{number}. {document['url'] or 'no address'}")
        say(f"   {document['id']}, source {document['source']}, {document['label']} {document['score']:.3f}")
        say(f"   {_decided(document)}")
        if others := [check for check in document["fails"] if check["decision"] != document["decision"]]:
            say(f"   fails, too: {'; '.join(_check(check) for check in others)}")
        if document["because"].get("item_text"):
            say(f"   {document['because']['item']}: {document['because']['item_text']}")
        say(f"\n{_excerpt(document)}\n")


def print_story(story: Mapping[str, Any]) -> None:
    """One document's whole story: provenance, decision, signals, duplicates, evaluation item, stages, and its beginning."""
    story = legible(story)
    facts = {
        "address": story["url"] or "none",
        "id": story["id"],
        "title": story["title"] or "none",
        "source": f"{story['source']}, licence {story['license'] or 'not stated'}",
        "dates": f"fetched {_day(story['fetched_at'])}, published {_day(story['published_at'])}",
        "decision": _decided(story),
        "duplicate of": _copies([story["duplicate_of"]] if story["duplicate_of"] else []),
        "stands for": _copies(story["duplicates"]),
        "kept of these": story["kept_of_these"] or "none",
        "related": f"{story['related_documents']:,} more on its side of the split",
        "evaluation": _item(story["evaluation"]) if story["evaluation"] else "no item",
        "item text": (story["evaluation"] or {}).get("item_text") or "",
        "block list": _entry(story["block_list"], story["decision"]),
    }
    if not story["duplicate_of"] and not story["duplicates"]:
        del facts["kept of these"]
    if not facts["item text"]:
        del facts["item text"]
    for name, value in facts.items():
        say(f"{name:<14} {value}")
    say()
    by_signal: dict[str, list[Mapping[str, Any]]] = {}
    for check in story["signals"]:
        by_signal.setdefault(check["signal"], []).append(check)
    signals = [_signal(checks) for checks in by_signal.values()]
    signals += [(name, value, "no threshold", "") for name, value in story["signals_without_threshold"].items()]
    table(["signal", "value", "threshold", ""], signals)
    say()
    table(["stage", "fingerprint", "says"], [(s["stage"], s["fingerprint"], s["says"]) for s in story["stages"]])
    say(f"\n{_excerpt(story)}\n")


def _decided(document: Mapping[str, Any]) -> str:
    """A decision with the numbers behind it, in one line."""
    because, decision = document["because"], document["decision"]
    if decision == "keep":
        held_out = {"validation": " (held out for choices)", "test": " (held out: nothing chooses on it)"}.get(
            document["split"], ""
        )
        return f"keep: {document['split']}{held_out}, weight {document['weight']:g}"
    if "jaccard" in because:
        copy = f"the same words as {because['duplicate_of']}"
        if "threshold" in because:
            copy = f"Jaccard {because['jaccard']:.3f} with {because['duplicate_of']}, at least {because['threshold']:g}"
        return f"{decision}: {copy}; {because['kept']} is kept"
    if "item" in because:
        return f"{decision}: {_item(because)}"
    if "signal" in because:
        return f"{decision}: {_check(because)}"
    return f"{decision}: {_entry(because if because.get('date') is not None else None, decision)}"


def _check(check: Mapping[str, Any]) -> str:
    measured = f" {cell(check['value'])}" if "value" in check else ""  # a source's limit is held against no value
    return f"{check['signal']}{measured}, must be {check['bound']} {check['threshold']}"


def _signal(checks: Sequence[Mapping[str, Any]]) -> tuple[str, Any, str, str]:
    """A row about one signal and all its thresholds."""
    first = checks[0]
    value = "not measured" if first["value"] is None else first["value"]
    fails = "" if all(check["holds"] for check in checks) else "fails"
    thresholds = ", ".join(f"{check['bound']} {cell(check['threshold'])}" for check in checks)
    return first["signal"], value, thresholds, fails or first["note"]


def _item(evidence: Mapping[str, Any]) -> str:
    return f"{evidence['item']}, coverage {evidence['coverage']:.3f}; it has {evidence['rule']}"


def _entry(entry: Mapping[str, Any] | None, decision: str) -> str:
    if entry is None:
        return "no longer on the block list; the next build decides anew" if decision == "forgotten" else "not on it"
    what = next(f"{kind} {entry[kind]}" for kind in ("url", "domain", "id") if kind in entry)
    reason = f", {entry['reason']}" if entry["reason"] else ""
    return f"{what} since {entry['date'] or 'an unknown date'}{reason}" + (
        "" if decision == "forgotten" else "; the next build leaves it out"
    )


def _copies(copies: Sequence[Mapping[str, Any]], most: int = 10) -> str:
    lines = [f"{copy['id']} ({_alike(copy)}, {copy['decision']}) {copy['url'] or ''}" for copy in copies[:most]]
    more = [f"and {len(copies) - most:,} more"] if len(copies) > most else []
    return f"\n{'':<15}".join(lines + more) or "none"


def _alike(copy: Mapping[str, Any]) -> str:
    return f"near, Jaccard {copy['jaccard']:.3f}" if copy["kind"] == "near" else str(copy["kind"])


def _day(time: Any) -> str:
    return f"{time:%Y-%m-%d}" if time else "not stated"


def _excerpt(document: Mapping[str, Any]) -> str:
    """The text, indented; a mark where it is cut, with its full length in characters."""
    lines = [f"   | {line}" for line in document["text"].splitlines()]
    if (shown := len(document["text"])) < document["characters"]:
        lines.append(f"   [cut: {shown:,} of {document['characters']:,} characters; --characters N shows more]")
    return "\n".join(lines)
