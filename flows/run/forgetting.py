"""A takedown: what is put on the block list of a language, and what that does to its last corpus and its next one."""

from __future__ import annotations

import shlex
from pathlib import Path

from flows.run.reading import LastRun
from flows.run.results import NoRunError, check_language
from lang_configs import ConfigError, stem
from tasks.core.errors import StageError
from tasks.select.forgotten import FORGOTTEN, BlockList, Entry, add, is_public_suffix, read, remove


def forget(workspace: Path, language: str, entry: Entry, copies: bool, undo: bool) -> list[str]:
    """Put an entry on the language's block list, or take it off; returns what to tell: lines on what that does.

    `copies`: with the other documents of the last complete run that have the same or nearly the same words. Raises ConfigError
    for a language that neither comes with the package nor was built here, and for a domain under which many have their sites;
    StageError when an entry to be taken off is not on the list.
    """
    check_language(workspace, language)
    path = workspace / stem(language) / FORGOTTEN
    kind, what = entry.key
    if undo:
        if not remove(path, entry):
            raise StageError(f"{path}: {kind} {what} is not on the block list; its lines are what --undo can take off")
        return [f"{kind} {what} is off the block list; the next `lugha build {language}` decides anew"]
    if entry.domain is not None and is_public_suffix(entry.domain):
        raise ConfigError(
            f"forget: --domain {what}: sites of many owners are below it, and all would be forgotten; name the domain of one"
            " site, such as example.org"
        )
    known = "is" if add(path, entry) else "was already"
    read(path)  # raises StageError for a list of which something else is gone
    return [
        f"{kind} {what} {known} on the block list {path}",
        *_consequences(workspace, language, entry, path if copies else None),
    ]


def _consequences(workspace: Path, language: str, entry: Entry, with_copies: Path | None) -> list[str]:
    try:
        last = LastRun(workspace, language)
    except NoRunError:
        return ["no build reached its end here; every one from now on leaves it out"]
    except StageError as error:
        copies = ", nor its copies looked for" if with_copies is not None else ""
        return [f"every build from now on leaves it out; what it was in was not counted{copies}: {error}"]
    kind, what = entry.key
    ids = last.matches(BlockList(entries=(entry,)))
    if not ids:
        lines = ["no document of the last complete run matches; every later build leaves out what does"]
        if with_copies is not None:
            lines.append(
                "its copies were not looked for: they are known of the last complete run's documents alone; once a run has read"
                " the document, say this again"
            )
        return lines
    lines = [f"documents of the last complete run that match: {len(ids):,}, of these in the corpus: {last.kept(ids):,}"]
    if survivors := last.survivors(ids):
        names = ", ".join(row["url"] or row["id"].hex() for row in survivors[:3])
        found = f"others with the same or nearly the same words: {len(survivors):,} ({names})"
        if with_copies is None:
            how = f"`lugha forget {language} --{kind} {shlex.quote(what)} --copies` takes them out, too"
            lines.append(f"{found}; one may take its place: {how}")
        else:
            for row in survivors:
                copy = {"url": row["url"]} if row["url"] else {"id": row["id"].hex()}
                add(with_copies, Entry(**copy, reason=f"copy of {kind} {what}", date=entry.date))
            lines.append(f"{found}; they are on the block list, too")
    lines.append(
        f"the next `lugha build {language}` leaves them out; stages and releases published before still hold their text"
    )
    return lines
