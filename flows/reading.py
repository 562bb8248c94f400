"""Documents of the last complete run, for people who read them: a sample, one document's whole story, and what a block hits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import SequenceMatcher
from math import ceil
from pathlib import Path
from typing import Any

from flows.run.results import last_run
from lang_configs import ConfigError, find, stem
from tasks.core.documents import shards
from tasks.core.errors import StageError
from tasks.evaluation_sets import EvaluationData, Item
from tasks.select.forgotten import FORGOTTEN, BlockList, Entry, add, read, remove
from tasks.select.thresholds import AFFINITY_WORDS, RATIO_WORDS, RATIOS

EXCERPT = 800
"""Characters of a document's text that are shown, unless told otherwise."""
ITEM_EXCERPT = 200
"""Characters of an evaluation item's text that are shown."""
SHORTEST_PREFIX = 6
"""Hexadecimal digits that stand for an id at least."""

Row = dict[str, Any]


class LastRun:
    """The decisions of a language's last complete run, the documents behind them, and the rules they were judged by."""

    def __init__(self, workspace: Path, language: str, evaluation: Path | None = None) -> None:
        """`evaluation`: the folder with evaluation sets, for the texts of items; default: `evaluation` in the workspace.

        Raises ConfigError where there is no such folder, and StageError for a language without a complete run.
        """
        import duckdb

        if evaluation is not None and not evaluation.is_dir():
            raise ConfigError(f"--evaluation {evaluation}: there is no such folder")
        self.language = language
        self.stages = last_run(workspace, language)
        self.manifests = {label: output.manifest() or {} for label, output in self.stages.items()}
        self.rules = self.manifests["select"]["config"]
        self.thresholds = {row["name"]: row["value"] for row in self.manifests["select"]["metrics"]["thresholds"]}
        self.forgotten = read(workspace / stem(language) / FORGOTTEN)
        self._evaluation = evaluation or workspace / "evaluation"
        self._items: dict[str, list[Item]] = {}
        self._database = duckdb.connect()
        self._database.execute(
            "CREATE TEMP TABLE decisions AS SELECT *, coalesce(duplicate_of, id) AS leader FROM read_parquet($decisions)",
            {"decisions": str(self.stages["select"].folder / "decisions.parquet")},
        )

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
        rows = self._rows(
            f"SELECT * FROM decisions WHERE {where} ORDER BY {order} LIMIT $count", {**chosen, "seed": seed, "count": count}
        )
        texts = self._texts([row["id"] for row in rows])
        return [
            self._shown(row, texts[row["id"]], characters) | {"fails": [c for c in self._checks(row) if not c["holds"]]}
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
        rows = self._rows("SELECT * FROM decisions WHERE id IN (SELECT unnest($ids)) ORDER BY source, id", {"ids": ids})
        texts = self._texts(ids)
        return [self._story(row, texts[row["id"]], characters) for row in rows]

    def matches(self, blocked: BlockList) -> list[bytes]:
        """Ids of the documents that a block list names."""
        rows = self._database.execute("SELECT id, url FROM decisions").fetchall()
        return [identity for identity, url in rows if blocked.find(identity, url)]

    def survivors(self, ids: list[bytes]) -> list[Row]:
        """Documents not among `ids` that are duplicates of one of them: one of them may take its place."""
        return self._rows(
            "SELECT id, url, decision FROM decisions WHERE id NOT IN (SELECT unnest($ids))"
            " AND leader IN (SELECT leader FROM decisions WHERE id IN (SELECT unnest($ids))) ORDER BY id",
            {"ids": ids},
        )

    def kept(self, ids: list[bytes]) -> int:
        """How many of these documents are in the corpus."""
        statement = "SELECT count(*) FROM decisions WHERE id IN (SELECT unnest($ids)) AND decision = 'keep'"
        return int(self._database.execute(statement, {"ids": ids}).fetchall()[0][0])

    def _rows(self, statement: str, parameters: Mapping[str, Any]) -> list[Row]:
        result = self._database.execute(statement, dict(parameters))
        columns = [entry[0] for entry in result.description or []]
        return [dict(zip(columns, row, strict=True)) for row in result.fetchall()]

    def _must_occur(self, decision: str) -> None:
        found = [row["decision"] for row in self._rows("SELECT DISTINCT decision FROM decisions ORDER BY 1", {})]
        if decision not in found:
            others = ", ".join(name for name in found if name != "keep")
            raise StageError(f"{decision}: no document of the last complete run has this decision; there are: {others}")

    def _source(self, part: str) -> str:
        """The source of this name, or else the only one with this in its name, whatever the case; raises StageError."""
        names = [row["source"] for row in self._rows("SELECT DISTINCT source FROM decisions ORDER BY 1", {})]
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
        ids: list[bytes] = [row["id"] for row in self._rows(statement, {"prefix": prefix})]
        if len(ids) > 1:
            raise StageError(
                f"{prefix}: {len(ids)} ids begin so; give more digits of one: {', '.join(i.hex() for i in ids[:10])}"
            )
        if not ids:
            has = "has this id" if len(prefix) == 32 else "has an id that begins so"
            raise StageError(f"{prefix}: no document of the last complete run of {self.language} {has}")
        return ids[0]

    def _texts(self, ids: list[bytes]) -> dict[bytes, Row]:
        files = [str(path) for path in shards(self.stages["clean"].folder)]
        rows = self._rows(
            "SELECT id, text, parse_filename(filename) AS shard, fetched_at AT TIME ZONE 'UTC'"
            " AS fetched_at, published_at AT TIME ZONE 'UTC' AS published_at FROM read_parquet($files, filename = true)"
            " WHERE id IN (SELECT unnest($ids))",
            {"files": files, "ids": ids},
        )
        return {row["id"]: row for row in rows}

    def _shown(self, row: Row, text: Row, characters: int) -> Row:
        return {
            "id": row["id"].hex(),
            "url": row["url"],
            "source": row["source"],
            "label": row["language"],
            "score": row["language_score"],
            "decision": row["decision"],
            "split": row["split"],
            "weight": row["weight"],
            "because": self._because(row, text["text"]),
            "characters": len(text["text"]),
            "text": text["text"][:characters],
        }

    def _because(self, row: Row, text: str) -> Row:
        """The numbers behind a decision, beside what they were held against; nothing for a document that is kept."""
        decision = row["decision"]
        if decision.endswith("_duplicate"):
            statement = "SELECT id, url FROM decisions WHERE leader = $leader AND decision = 'keep'"
            kept = self._rows(statement, {"leader": row["leader"]})
            # the same words are duplicates whatever the threshold
            held_against = {"threshold": self._threshold("duplicates")} if row["kind"] == "near" else {}
            return {
                "duplicate_of": row["duplicate_of"].hex(),
                "jaccard": row["jaccard"],
                **held_against,
                "kept": kept[0]["id"].hex() if kept else None,
                "kept_url": kept[0]["url"] if kept else None,
            }
        if decision == "contamination":
            return self._evidence(row, text) or {}
        if decision == "forgotten":
            return self._blocked(row) or {}
        if decision == "source_limit":
            limit = self.rules["rule"]["source_bytes"][row["source"]]
            return {"signal": "bytes of its source that come first by a hash", "bound": "at most", "threshold": limit}
        if decision == "empty":
            return {"signal": "words", "value": row["words"], "bound": "at least", "threshold": 1}
        return next((check for check in self._checks(row) if check["decision"] == decision), {})

    def _evidence(self, row: Row, text: str) -> Row | None:
        """The evaluation item that a document holds, how its text begins (null: not at hand), and the rule that decided."""
        if row["item"] is None:
            return None
        from tasks.annotate.contamination.kernel import EVIDENCE, VERBATIM, VERBATIM_NGRAMS

        statement = "SELECT ngrams, common FROM read_parquet($file) WHERE item = $item"
        file = self.stages["contamination"].folder / "items" / "items.parquet"
        (size,) = self._rows(statement, {"file": str(file), "item": row["item"]})
        ngrams, rare, threshold = size["ngrams"], size["ngrams"] - size["common"], self._threshold("contamination")
        if ngrams >= VERBATIM_NGRAMS and row["coverage"] >= VERBATIM:
            rule, threshold = f"at least {VERBATIM:g} of the item's {ngrams:,} n-grams, however common they are", VERBATIM
        else:
            least = max(ceil(threshold * rare), min(EVIDENCE, rare))
            rule = f"at least {least:,} of the item's {rare:,} n-grams that are not common"
        return {
            "item": row["item"],
            "coverage": row["coverage"],
            "rule": rule,
            "threshold": threshold,
            "item_text": self._item_text(row, text),
        }

    def _item_text(self, row: Row, text: str) -> str | None:
        """How the item begins; null where its file is not at hand, or is no longer the one that was measured."""
        from tasks.annotate.contamination import containment

        config = self.manifests["contamination"]["config"]
        name, split, number = row["item"].rsplit("/", 2)
        if (place := f"{name}/{split}") not in self._items:
            self._items[place] = EvaluationData.model_validate(config["data"] | {"folder": self._evaluation}).items(name, split)
        found = next((item.text for item in self._items[place][int(number) :][:1]), None)
        if found is None or abs(containment(text, [found], config["rule"]["characters"])[0] - row["coverage"]) > 1e-6:
            return None
        return found[:ITEM_EXCERPT]

    def _blocked(self, row: Row) -> Row | None:
        found = self.forgotten.find(row["id"], row["url"])
        return found.model_dump(exclude_none=True) if found else None

    def _checks(self, row: Row) -> list[Row]:
        """Every signal that has a threshold, in the order in which select looks at them."""
        rule = self.rules["rule"]
        sure = rule["sure_language_score"]
        skipped = {}
        if row["language_score"] >= sure:
            skipped["affinity"] = f"not asked from language_score {sure} on"
        if row["words"] < AFFINITY_WORDS:
            skipped["affinity"] = f"not asked of fewer than {AFFINITY_WORDS} words"
        if row["words"] < RATIO_WORDS:
            skipped |= dict.fromkeys(RATIOS, f"not asked of fewer than {RATIO_WORDS} words")
        checks = [
            ("source", "source weight", rule["sources"].get(row["source"], 1.0), "above", 0),
            ("language", "language", row["language"], "equal to", self.rules["label"]),
            ("language_score", "language_score", row["language_score"], "at least", rule["min_language_score"]),
            ("language_affinity", "affinity", row["affinity"], "at least", rule["min_affinity"]),
            ("language_lines", "line_share", row["line_share"], "at least", rule["min_line_share"]),
        ]
        for name, threshold in self.thresholds.items():
            kind, _, signal = name.partition("_")
            checks.append((f"quality_{name}", signal, row[signal], "at least" if kind == "min" else "at most", threshold))
        names = ("decision", "signal", "value", "bound", "threshold")
        found = [dict(zip(names, check, strict=True)) | {"holds": _holds(*check[2:]), "note": ""} for check in checks]
        return [
            check | {"holds": True, "note": skipped[name]} if (name := check["signal"]) in skipped else check for check in found
        ]

    def _threshold(self, stage: str) -> float:
        config = self.manifests[stage]["config"]
        return float(config.get("rule", config)["threshold"])

    def _story(self, row: Row, text: Row, characters: int) -> Row:
        cluster = self._rows("SELECT * FROM decisions WHERE leader = $leader ORDER BY id", {"leader": row["leader"]})
        others = [other for other in cluster if other["id"] != row["id"]]
        related = self._rows("SELECT count(*) AS n FROM decisions WHERE related = $related", {"related": row["related"]})
        shown = self._shown(row, text, characters)
        length, excerpt = shown.pop("characters"), shown.pop("text")
        return shown | {
            "title": row["title"],
            "license": row["license"],
            "fetched_at": text["fetched_at"],
            "published_at": text["published_at"],
            "bytes": row["bytes"],
            "signals": self._checks(row),
            "signals_without_threshold": {"lines": row["lines"]},
            "duplicate_of": next((_copy(other, row) for other in others if other["id"] == row["duplicate_of"]), None),
            "duplicates": [_copy(other, other) for other in others if other["duplicate_of"] == row["id"]],
            "kept_of_these": next((other["id"].hex() for other in cluster if other["decision"] == "keep"), None),
            "related_documents": related[0]["n"] - 1,
            "evaluation": self._evidence(row, text["text"]),
            "block_list": self._blocked(row),
            "stages": self._said(row, text),
            "characters": length,
            "text": excerpt,
        }

    def _said(self, row: Row, text: Row) -> list[Row]:
        """What each stage said of the document, with the fingerprint under which that can be found."""
        said = {
            self._crawl(text["shard"]): f"fetched {_day(text['fetched_at'])}",
            "clean": f"{row['bytes']:,} bytes of text",
            "language": f"{row['language']} {row['language_score']:.3f}",
            "quality": f"{row['words']:,.0f} words and {len(self.thresholds)} thresholds",
            "duplicates": f"stands for {row['copies']:,} documents, itself included",
            "contamination": f"{row['item']}, coverage {row['coverage']:.3f}" if row["item"] else "no evaluation item",
            "select": row["decision"],
            "corpus": f"{row['split']}, weight {row['weight']:g}" if row["split"] else "left out",
        }
        if row["duplicate_of"]:
            near = f", Jaccard {row['jaccard']:.3f}" if row["kind"] == "near" else ""
            said["duplicates"] = f"{row['kind']} duplicate of {row['duplicate_of'].hex()}{near}"
        elif row["copies"] == 1:
            said["duplicates"] = "like no other"
        return [
            {"stage": label, "fingerprint": self.stages[label].fingerprint, "says": words}
            for label, words in said.items()
            if label in self.stages
        ]

    def _crawl(self, shard: str) -> str:
        """Label of the crawl that gave a shard of clean documents; a file may name sources of its own for its documents."""
        for label, output in self.stages.items():
            name = label.removeprefix("crawl-")
            if output.stage == "crawl" and (output.folder / shard.removeprefix(f"{name}-")).is_file():
                return label
        return "crawl"


def forget(workspace: Path, language: str, entry: Entry, undo: bool) -> list[str]:
    """Put an entry on the language's block list, or take it off; returns what to tell: lines on what that does.

    Raises ConfigError for a language that neither comes with the package nor was built here, and StageError when an entry
    to be taken off is not on the list.
    """
    folder = workspace / stem(language)
    if not folder.is_dir():
        find(language)
    path = folder / FORGOTTEN
    kind, what = entry.key
    if undo:
        if not remove(path, entry):
            raise StageError(f"{path}: {kind} {what} is not on the block list; its lines are what --undo can take off")
        return [f"{kind} {what} is off the block list; the next `lugha build {language}` decides anew"]
    known = "is" if add(path, entry) else "was already"
    return [f"{kind} {what} {known} on the block list {path}", *_consequences(workspace, language, entry)]


def _consequences(workspace: Path, language: str, entry: Entry) -> list[str]:
    try:
        last = LastRun(workspace, language)
    except StageError:
        return ["no build reached its end here; every one from now on leaves it out"]
    ids = last.matches(BlockList(entries=(entry,)))
    if not ids:
        return ["no document of the last complete run matches; every later build leaves out what does"]
    lines = [f"documents of the last complete run that match: {len(ids):,}, of these in the corpus: {last.kept(ids):,}"]
    if survivors := last.survivors(ids):
        names = ", ".join(row["url"] or row["id"].hex() for row in survivors[:3])
        lines.append(f"others with the same or nearly the same words: {len(survivors):,} ({names}); one may take its place")
    lines.append(
        f"the next `lugha build {language}` leaves them out; stages and releases published before still hold their text"
    )
    return lines


def _quoted(names: list[str], most: int) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f'"{name}"' for name in names[:most]) + more


def _common(left: str, right: str) -> int:
    """Length of the longest run of characters that two names share."""
    return SequenceMatcher(None, left, right, autojunk=False).find_longest_match().size


def _holds(value: Any, bound: str, threshold: Any) -> bool:
    if value is None:  # not measured for want of text: drops nothing, as in select.sql
        return True
    if bound == "equal to":
        return bool(value == threshold)
    if bound == "above":
        return bool(value > threshold)
    return bool(value >= threshold if bound == "at least" else value <= threshold)


def _copy(other: Row, measured: Row) -> Row:
    """A document beside the one that is explained; kind and similarity are those of the one that is the duplicate."""
    return {
        "id": other["id"].hex(),
        "url": other["url"],
        "decision": other["decision"],
        "kind": measured["kind"],
        "jaccard": measured["jaccard"],
    }


def _day(time: Any) -> str:
    return f"{time:%Y-%m-%d}" if time else "not stated"
