"""The command line: `python -m tools.lid --lid DIR --raw DIR --out DIR`."""

from __future__ import annotations

import argparse
from pathlib import Path

from tasks.annotate.language.own.reference import frequencies_beside, write_frequencies
from tasks.annotate.language.train import train
from tasks.annotate.language.words import derive_lists, lists_beside, write_lists
from tools.lid.bundle import FACTORS, collect
from tools.lid.card import write_card

MOST_BYTES = 2_000_000
"""Of the packaged model."""


def main() -> None:
    """Train the model on the bundle's text, derive its word lists, measure it, and write its card."""
    parser = argparse.ArgumentParser(prog="python -m tools.lid")
    parser.add_argument("--lid", type=Path, required=True, help="folder with train.txt, dev.txt, test.txt, label_aliases.tsv")
    parser.add_argument("--raw", type=Path, required=True, help="folder with the documents, as .jsonl.zst, in any depth")
    parser.add_argument("--out", type=Path, required=True, help="where lid.ftz and what belongs to it are written")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    collection, model = collect(given.lid, given.raw), given.out / "lid.ftz"
    collection.windows = train(collection.train, model, FACTORS)
    if model.stat().st_size > MOST_BYTES:
        raise SystemExit(f"{model}: {model.stat().st_size:,} bytes, more than {MOST_BYTES:,}; lower the cutoff")
    write_lists(lists_beside(model), derive_lists(collection.train))
    write_frequencies(frequencies_beside(model), collection.train)
    write_card(collection, given.raw, given.out)


if __name__ == "__main__":
    main()
