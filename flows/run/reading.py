"""Documents of the last complete run, for people who read them: a sample, and one document's whole story."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from pathlib import Path

from flows.run.results import last_run
from lang_configs import ConfigError, stem
from tasks.core.errors import StageError
from tasks.select.explain import Explainer, Row
from tasks.select.forgotten import FORGOTTEN, BlockList, Entry, read

EXCERPT = 800
"""Characters of a document's text that are shown, unless told otherwise."""
SHORTEST_PREFIX = 6
"""Hexadecimal digits that stand for an id at least."""


class LastRun:
    """The documents of a language's last complete run that decided on any."""

    def __init__(self, workspace: Path, language: str, evaluation: Path | None = None) -> None:
        """`evaluation`: the folder with evaluation sets, for the texts of items; default: `evaluation` in the workspace.

        Raises ConfigError where there is no such folder, and StageError for a language without a complete run.
        """
        if evaluation is not None and not evaluation.is_dir():
            raise ConfigError(f"--evaluation {evaluation}: there is no such folder")
        self.language = language
        outputs = last_run(workspace, language, having="select")
        forgotten = read(workspace / stem(language) / FORGOTTEN)
        self.explainer = Explainer(outputs, forgotten, evaluation or workspace / "evaluation")

    def sample(
        self, decision: str | None, kept: bool, source: str | None, count: int, seed: int, characters: int = EXCERPT
    ) -> list[Row]:
        """`count` documents in the order of a hash of id and seed: only kept ones, of one decision, of one source, or any.

        `source` is the name of a source or a part of it, `characters` the length that texts are cut to. The hash is salted:
        select orders by a hash of id and seed, too, and without a salt the first documents would be those it held out.
        Raises StageError for a decision that no document has, and for a source that is unknown or ambiguous.
        """
        if decision is not None:
            self._must_occur(decision)
        wanted = {"decision": "keep" if kept else decision, "source": None if source is None else self._source(source)}
        chosen = {column: value for column, value in wanted.items() if value is not None}
        where = " AND ".join(f"{column} = ${column}" for column in chosen) or "true"
        order = "md5('sample ' || $seed::VARCHAR || ' ' || hex(id)), id"
        rows = self.explainer.query(
            f"SELECT * FROM decisions WHERE {where} ORDER BY {order} LIMIT $count", {**chosen, "seed": seed, "count": count}
        )
        texts = self.explainer.texts([row["id"] for row in rows])
        return [
            self.explainer.shown(row, texts[row["id"]], characters)
            | {"fails": [c for c in self.explainer.checks(row) if not c["holds"]]}
            for row in rows
        ]

    def stories(self, name: str, characters: int = EXCERPT) -> list[Row]:
        """All there is to say of the document with this id, or of each one with this address; `characters` as in `sample`.

        An id may be cut to its first six digits or more. Raises StageError when there is no such document, or when the ids
        of several begin so.
        """
        name = name.strip()
        if re.fullmatch("[0-9a-fA-F]{1,32}", name):
            ids = [self._by_prefix(name)]
        elif not (ids := self.matches(BlockList(entries=(Entry(url=name),))) if name else []):
            raise StageError(f"{name}: no document of the last complete run of {self.language} has this address")
        rows = self.explainer.query(
            "SELECT * FROM decisions WHERE id IN (SELECT unnest($ids)) ORDER BY source, id", {"ids": ids}
        )
        texts = self.explainer.texts(ids)
        return [self.explainer.story(row, texts[row["id"]], characters) for row in rows]

    def matches(self, blocked: BlockList) -> list[bytes]:
        """Ids of the documents that a block list names."""
        rows = self.explainer.query("SELECT id, url FROM decisions", {})
        return [row["id"] for row in rows if blocked.find(row["id"], row["url"])]

    def survivors(self, ids: list[bytes]) -> list[Row]:
        """Documents not among `ids` that are duplicates of one of them: one of them may take its place."""
        return self.explainer.query(
            "SELECT id, url, decision FROM decisions WHERE id NOT IN (SELECT unnest($ids))"
            " AND leader IN (SELECT leader FROM decisions WHERE id IN (SELECT unnest($ids))) ORDER BY id",
            {"ids": ids},
        )

    def kept(self, ids: list[bytes]) -> int:
        """How many of these documents are in the corpus."""
        statement = "SELECT count(*) AS n FROM decisions WHERE id IN (SELECT unnest($ids)) AND decision = 'keep'"
        return int(self.explainer.query(statement, {"ids": ids})[0]["n"])

    def _must_occur(self, decision: str) -> None:
        found = [row["decision"] for row in self.explainer.query("SELECT DISTINCT decision FROM decisions ORDER BY 1", {})]
        if decision not in found:
            others = ", ".join(name for name in found if name != "keep")
            raise StageError(f"{decision}: no document of the last complete run has this decision; there are: {others}")

    def _source(self, part: str) -> str:
        """The source of this name, or else the only one with this in its name, whatever the case; raises StageError."""
        names = [row["source"] for row in self.explainer.query("SELECT DISTINCT source FROM decisions ORDER BY 1", {})]
        folded = part.casefold()
        found = [name for name in names if folded in name.casefold()]
        exact = [name for name in found if name == part] or [name for name in found if name.casefold() == folded]
        if len(exact or found) == 1:
            return (exact or found)[0]
        if found:
            raise StageError(f"{part}: {len(found)} sources have this in their names; give more of one: {_quoted(found, 10)}")
        alike = sorted(names, key=lambda name: (-_common(folded, name.casefold()), name))
        raise StageError(f"{part}: no source has this in its name; of {len(names)} the most alike are: {_quoted(alike[:5], 5)}")

    def _by_prefix(self, prefix: str) -> bytes:
        if len(prefix) < SHORTEST_PREFIX:
            raise StageError(f"{prefix}: too short; give the first {SHORTEST_PREFIX} digits of an id or more")
        statement = "SELECT id FROM decisions WHERE starts_with(hex(id), upper($prefix)) ORDER BY id"
        ids: list[bytes] = [row["id"] for row in self.explainer.query(statement, {"prefix": prefix})]
        if len(ids) > 1:
            raise StageError(
                f"{prefix}: {len(ids)} ids begin so; give more digits of one: {', '.join(i.hex() for i in ids[:10])}"
            )
        if not ids:
            has = "has this id" if len(prefix) == 32 else "has an id that begins so"
            raise StageError(f"{prefix}: no document of the last complete run of {self.language} {has}")
        return ids[0]


def _quoted(names: list[str], most: int) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f'"{name}"' for name in names[:most]) + more


def _common(left: str, right: str) -> int:
    """Length of the longest run of characters that two names share."""
    return SequenceMatcher(None, left, right, autojunk=False).find_longest_match().size
