"""What measured thresholds do to real text among ever more junk: `python tests/benchmarks/thresholds.py`.

Text of one language (`thresholds_corpus.py`) is mixed with junk; the stages `quality` and `select` measure the mix and decide
as they do in a build. The language is taken for granted, and copies are not looked for: both would take out junk before. A
document counts as what it was meant to be. Two kinds of junk are no matter of these thresholds, and are told apart from the
rest: chains in which each pair of words is one of the language, and other languages that the identifier takes for this one.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from data import DEFAULT_BUNDLE
from heading import heading
from thresholds_corpus import Text, junk, language

from tasks.annotate.quality import QualitySignals, quality
from tasks.core.documents import Document
from tasks.select import decide
from tests.pipeline import run, write_documents
from tests.select.judged import config, world_of

CHOSEN_ON = ("xho_Latn", "lin_Latn", "kin_Latn", "tsn_Latn")
SEEN = ("swh_Latn", "amh_Ethi")
"""Two of the four languages that the bounds were set on."""
UNSEEN = (
    "zul_Latn", "sna_Latn", "som_Latn", "lug_Latn", "orm_Latn", "run_Latn", "twi_Latn", "tir_Ethi",
    "fin_Latn", "kor_Hang", "mar_Deva", "tel_Telu",
)  # fmt: skip
"""Languages that nothing was chosen on."""
SHARES = (0.0, 0.2, 0.4, 0.6)
MOST, FEW, DRAWS = 2_000, 100, 2
"""Documents of a mix, at most; of a small crawl, and how many of these are drawn."""
BEYOND = ("chain of word pairs", "other language")
VOUCHED = 150
"""Documents of the most frequent genre that come from a source that is vouched for."""


class Outcome(NamedTuple):
    """Of each document whether it was kept, by genre of text and kind of junk."""

    text: dict[str, list[bool]]
    junk: dict[str, list[bool]]

    def kept(self, *genres: str) -> float:
        """Share of the text, or of some genres, that was kept."""
        return _mean(kept for genre, found in self.text.items() if not genres or genre in genres for kept in found)

    def dropped(self, *kinds: str) -> float:
        """Share of the junk, or of some kinds, that was dropped; without BEYOND if no kind is named."""
        chosen = kinds or tuple(kind for kind in self.junk if kind not in BEYOND)
        return 1 - _mean(kept for kind in chosen for kept in self.junk.get(kind, []))


def _mean(values: Iterable[bool]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else float("nan")


def mix(bundle: Path, label: str, share: float, number: int = MOST, draw: int = 0) -> list[Text]:
    """Text of a language and this share of junk: so many documents, or as many as there is text for."""
    text = language(bundle, label)[0]
    wanted = min(number - round(share * number), len(text))
    bad = junk(bundle, label, MOST)
    chance = random.Random(f"{label} {draw}")
    found = chance.sample(text, wanted)
    return found + chance.sample(bad, min(len(bad), round(wanted * share / (1 - share))))


def judge(documents: Sequence[Text], label: str, folder: Path, vouched: bool = False) -> Outcome:
    """Measure and decide as the stages `quality` and `select` do; some text of its first genre is `vouched` for, or none."""
    shutil.rmtree(folder, ignore_errors=True)
    mixed = random.Random(5).sample(documents, len(documents))
    genres = [one.kind for one in mixed if one.source == "text"]
    first = max(sorted(set(genres)), key=genres.count)
    places = [place for place, one in enumerate(mixed) if one.source == "text" and one.kind == first][: VOUCHED * vouched]
    sources = ["vouched" if place in set(places) else one.source for place, one in enumerate(mixed)]
    written = [Document(one.text, source, one.kind) for one, source in zip(mixed, sources, strict=True)]
    inputs = world_of(write_documents(folder / "clean", written), folder, label)
    run(quality, folder / "quality", QualitySignals(label=label), inputs)
    trusted = ("vouched",) if vouched else ()
    settings = config().model_copy(update={"label": label, "trusted": trusted})
    found = Outcome(defaultdict(list), defaultdict(list))
    for row in decide(inputs | {"quality": folder / "quality"}, settings)[0].to_pylist():
        if row["source"] != "vouched":  # what was learned from is not scored
            group = found.junk if row["source"] == "junk" else found.text
            group[row["url"]].append(row["decision"] == "keep")
    return found


def together(outcomes: Iterable[Outcome]) -> Outcome:
    """All documents of several outcomes."""
    whole = Outcome(defaultdict(list), defaultdict(list))
    for outcome in outcomes:
        for group, found in zip(whole, outcome, strict=True):
            for kind, kept in found.items():
                group[kind] += kept
    return whole


def cells(found: dict[float, Outcome]) -> list[str]:
    """Text, stories and junk by share; of stories nothing where there are fewer than twenty."""
    told = [
        outcome.kept("stories") if len(outcome.text.get("stories", ())) >= 20 else float("nan") for outcome in found.values()
    ]
    return [
        _row(outcome.kept() for outcome in found.values()), _row(told),
        _row(outcome.dropped() for share, outcome in found.items() if share),
    ]  # fmt: skip


def _row(values: Iterable[float]) -> str:
    found = list(values)
    return " ".join(f"{value:.3f}".lstrip("0") if value < 1 else "1" for value in found) if not np.isnan(found).any() else ""


def measure(bundle: Path, label: str, folder: Path) -> tuple[list[str], Outcome]:
    """The cells of a language's row, and what became of the largest mix with most junk."""
    large = {share: judge(mix(bundle, label, share), label, folder) for share in SHARES}
    vouched = {SHARES[-1]: judge(mix(bundle, label, SHARES[-1]), label, folder, vouched=True)}
    small = {
        share: together(judge(mix(bundle, label, share, FEW, draw), label, folder) for draw in range(DRAWS))
        for share in (SHARES[0], SHARES[-1])
    }
    documents = f"{len(mix(bundle, label, 0)):,}"
    return [documents, *cells(large), *cells(vouched)[::2], *cells(small)], large[SHARES[-1]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE, help="folder of real text (LUGHA_BUNDLE)")
    parser.add_argument("--languages", nargs="*", default=[*UNSEEN, *CHOSEN_ON, *SEEN], help="labels")
    given = parser.parse_args()
    columns = ["language", "documents", "text kept", "stories", "junk dropped", "text, vouched", "junk, vouched"]
    columns += ["text of 100", "stories of 100", "junk of 100"]
    print(f"{heading()}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    found = {}
    for label in given.languages:
        with tempfile.TemporaryDirectory() as folder:
            row, found[label] = measure(given.bundle, label, Path(folder) / "mix")
        print(f"| {label} | {' | '.join(row)} |", flush=True)
    print("\n| kind of junk | dropped of 60 % | worst language |\n|---|---:|---|")
    unseen = {label: outcome for label, outcome in found.items() if label in UNSEEN} or found
    for kind in sorted({kind for outcome in unseen.values() for kind in outcome.junk}):
        shares = {label: outcome.dropped(kind) for label, outcome in unseen.items() if outcome.junk.get(kind)}
        worst = min(shares, key=lambda label: shares[label])
        print(f"| {kind} | {together(unseen.values()).dropped(kind):.2f} | {worst} {shares[worst]:.2f} |")


if __name__ == "__main__":
    main()
