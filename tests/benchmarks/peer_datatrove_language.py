"""datatrove: per-document `predict` of its fastText language identifier on whole texts, with the model file given."""

import json
import sys
from pathlib import Path

from datatrove.pipeline.readers import JsonlReader
from datatrove.utils.lid import FastTextLID
from fasttext.FastText import _FastText


def main(source: Path, model: Path, out: Path) -> None:
    identifier = FastTextLID()
    identifier._model = _FastText(str(model))  # a local file in place of the download
    with open(out / "labels.jsonl", "w", encoding="utf-8") as file:
        for document in JsonlReader(str(source.parent), glob_pattern=source.name, id_key="id")():
            (label, score), _ = identifier.predict(document)
            file.write(json.dumps([document.id, label, score]) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
