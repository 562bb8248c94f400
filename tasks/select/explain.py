"""Why a document was kept or dropped: the numbers behind a decision, beside what they were held against, and its whole story.

Everything is read from one run: the rules, with the values that they had, are those in the manifest of its `select`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from math import ceil
from pathlib import Path
from typing import Any

from tasks.annotate.annotator import resolved
from tasks.core.artifacts import Annotations, Decisions, Documents
from tasks.core.errors import StageError
from tasks.core.parquet import exact, scan
from tasks.core.stage import Output
from tasks.evaluation_sets import EvaluationData, Item
from tasks.select import SelectConfig
from tasks.select.forgotten import BlockList
from tasks.select.rules import rules
from tasks.select.thresholds import Threshold

ITEM_EXCERPT = 200
"""Characters of an evaluation item's text that are shown."""

Row = dict[str, Any]


@contextlib.contextmanager
def _damage_explained(place: Path) -> Iterator[None]:
    """Raise StageError for what DuckDB raises: the statements are ours, so what is wrong is a file."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        reason = str(error).partition("\n")[0][:200]
        raise StageError(
            f"{place}: documents of the last complete run cannot be read ({reason});"
            " run `lugha build` again, which makes anew what is damaged"
        ) from error


class Explainer:
    """The decisions of one run, and the rules that they were made by."""

    def __init__(self, outputs: Mapping[str, Output], forgotten: BlockList, evaluation: Path) -> None:
        """`outputs` are those of the run by label; `evaluation` is the folder with evaluation sets, for the texts of items."""
        import duckdb

        self.outputs, self.forgotten = outputs, forgotten
        self.manifests = {label: output.manifest() or {} for label, output in outputs.items()}
        self.config = SelectConfig.model_validate(self.manifests["select"]["config"])
        measured = [Threshold(**row) for row in self.manifests["select"]["metrics"]["thresholds"]]
        self.values = self.config.values(measured)
        self._evaluation = evaluation
        self._items: dict[str, list[Item]] = {}
        self._database = duckdb.connect()
        self.query(
            "CREATE TEMP TABLE decisions AS SELECT *, coalesce(duplicate_of, id) AS leader FROM " + scan(),
            {"files": [exact(Decisions(outputs["select"].folder).table)]},
        )

    def query(self, statement: str, parameters: Mapping[str, Any]) -> list[Row]:
        """Rows of a query on `decisions` (and `leader`: what a document is a duplicate of); StageError for damaged files."""
        with _damage_explained(self.outputs["select"].folder.parents[1]):
            result = self._database.execute(statement, dict(parameters))
        columns = [entry[0] for entry in result.description or []]
        return [dict(zip(columns, row, strict=True)) for row in result.fetchall()]

    def texts(self, ids: list[bytes]) -> dict[bytes, Row]:
        """Text, dates and shard of documents, by id."""
        files = [exact(path) for path in Documents(self.outputs["clean"].folder).shards()]
        rows = self.query(
            "SELECT id, text, parse_filename(filename) AS shard, fetched_at AT TIME ZONE 'UTC'"
            " AS fetched_at, published_at AT TIME ZONE 'UTC' AS published_at FROM "
            + scan("filename = true")
            + " WHERE id IN (SELECT unnest($ids))",
            {"files": files, "ids": ids},
        )
        return {row["id"]: row for row in rows}

    def shown(self, row: Row, text: Row, characters: int) -> Row:
        """A document for reading: what was decided and why, and how its text begins."""
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

    def checks(self, row: Row) -> list[Row]:
        """Every rule with a threshold, in the order in which they are asked."""
        found = []
        for rule in rules(self.config.annotations):
            if rule.bound == "nothing":
                continue
            note = rule.not_asked(row, self.values)
            found.append(
                {
                    "decision": rule.decision,
                    "signal": rule.signal.replace("source_weight", "source weight"),
                    "value": row[rule.signal],
                    "bound": rule.bound,
                    "threshold": resolved(rule.threshold, self.values),
                    "holds": bool(note) or rule.holds(row[rule.signal], self.values),
                    "note": note,
                }
            )
        return found

    def _because(self, row: Row, text: str) -> Row:
        """The numbers behind a decision, beside what they were held against; nothing for a document that is kept."""
        decision = row["decision"]
        if decision.endswith("_duplicate"):
            statement = "SELECT id, url FROM decisions WHERE leader = $leader AND decision = 'keep'"
            kept = self.query(statement, {"leader": row["leader"]})
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
            return self.blocked(row) or {}
        if decision == "source_limit":
            limit = self.config.rule.source_bytes[row["source"]]
            return {"signal": "bytes of its source that come first by a hash", "bound": "at most", "threshold": limit}
        return next((check for check in self.checks(row) if check["decision"] == decision), {})

    def _evidence(self, row: Row, text: str) -> Row | None:
        """The evaluation item that a document holds, how its text begins (null: not at hand), and the rule that decided."""
        if row["item"] is None:
            return None
        from tasks.annotate.contamination.kernel import EVIDENCE, VERBATIM, VERBATIM_NGRAMS

        statement = f"SELECT ngrams, common FROM {scan()} WHERE item = $item"
        file = Annotations(self.outputs["contamination"].folder).shard("items/items.parquet")
        (size,) = self.query(statement, {"files": [exact(file)], "item": row["item"]})
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

        config, (name, split, number) = self.manifests["contamination"]["config"], row["item"].rsplit("/", 2)
        if (place := f"{name}/{split}") not in self._items:
            data = EvaluationData.model_validate(config["data"] | {"folder": self._evaluation})
            self._items[place] = data.protected(name, split)
        found = next((item.text for item in self._items[place][int(number) :][:1]), None)
        if found is None or abs(containment(text, [found], config["rule"]["characters"])[0] - row["coverage"]) > 1e-6:
            return None
        return found[:ITEM_EXCERPT]

    def blocked(self, row: Row) -> Row | None:
        """The entry of the block list that names a document."""
        found = self.forgotten.find(row["id"], row["url"])
        return found.model_dump(exclude_none=True) if found else None

    def _threshold(self, stage: str) -> float:
        config = self.manifests[stage]["config"]
        return float(config.get("rule", config)["threshold"])

    def story(self, row: Row, text: Row, characters: int) -> Row:
        """All there is to say of one document."""
        cluster = self.query("SELECT * FROM decisions WHERE leader = $leader ORDER BY id", {"leader": row["leader"]})
        others = [other for other in cluster if other["id"] != row["id"]]
        related = self.query("SELECT count(*) AS n FROM decisions WHERE related = $related", {"related": row["related"]})
        shown = self.shown(row, text, characters)
        length, excerpt = shown.pop("characters"), shown.pop("text")
        return shown | {
            "title": row["title"],
            "license": row["license"],
            "fetched_at": text["fetched_at"],
            "published_at": text["published_at"],
            "bytes": row["bytes"],
            "signals": self.checks(row),
            "signals_without_threshold": {"lines": row["lines"]},
            "duplicate_of": next((_copy(other, row) for other in others if other["id"] == row["duplicate_of"]), None),
            "duplicates": [_copy(other, other) for other in others if other["duplicate_of"] == row["id"]],
            "kept_of_these": next((other["id"].hex() for other in cluster if other["decision"] == "keep"), None),
            "related_documents": related[0]["n"] - 1,
            "evaluation": self._evidence(row, text["text"]),
            "block_list": self.blocked(row),
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
            "quality": f"{row['words']:,.0f} words and {len(rules(self.config.annotations))} rules",
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
            {"stage": label, "fingerprint": self.outputs[label].fingerprint, "says": words}
            for label, words in said.items()
            if label in self.outputs
        ]

    def _crawl(self, shard: str) -> str:
        """Label of the crawl that gave a shard of clean documents; a file may name sources of its own for its documents."""
        for label, output in self.outputs.items():
            name = label.removeprefix("crawl.")
            if output.stage == "crawl" and (output.folder / shard.removeprefix(f"{name}-")).is_file():
                return label
        return "crawl"


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
