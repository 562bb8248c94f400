"""Artifacts: what the stages publish. Each type knows the files of its folder, so that no stage knows those of another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SPLITS = ("train", "validation", "test")
"""What is learned from; what every choice is made on (checkpoint, vocabulary); what nothing chose on, and cards report."""
HELD_OUT = SPLITS[1:]


@dataclass(frozen=True)
class Artifact:
    """A published folder."""

    folder: Path


class Documents(Artifact):
    """Documents, a row each of Parquet shards (`tasks.core.documents.SCHEMA`)."""

    def shards(self) -> list[Path]:
        """The shards in order."""
        return sorted(self.folder.glob("*.parquet"))

    def shard(self, name: str) -> Path:
        """The shard of this name."""
        return self.folder / name


class Annotations(Documents):
    """Columns keyed by the `id` of the documents; a shard has the name of the documents' shard that it annotates."""


class Identifier(Artifact):
    """What tells one language from all others."""

    @property
    def model(self) -> Path:
        """A fastText model with the label of the language, and another for the rest."""
        return self.folder / "identifier.bin"

    @property
    def facts(self) -> Path:
        """What was measured of it, as JSON."""
        return self.folder / "facts.json"


class Decisions(Artifact):
    """One decision for each document, with the signals that it rests on."""

    @property
    def table(self) -> Path:
        """The decisions, a row for each document."""
        return self.folder / "decisions.parquet"


class Corpus(Artifact):
    """The text that is kept, in shards for each split."""

    def shards(self, split: str) -> list[Path]:
        """The shards of a split in order; there may be none."""
        return sorted(self.folder.glob(f"{split}-*.parquet"))

    def shard(self, split: str, number: str) -> Path:
        """The shard of a split with the number of the documents' shard that it was filtered from."""
        return self.folder / f"{split}-{number}.parquet"


class Tokenizer(Artifact):
    """A tokenizer for SentencePiece, and the same for transformers."""

    @property
    def model(self) -> Path:
        """The model of SentencePiece."""
        return self.folder / "tokenizer.model"

    @property
    def transformers(self) -> Path:
        """Folder for `AutoTokenizer`."""
        return self.folder / "hf"


class TokenFiles(Artifact):
    """The corpus as flat files of token ids, to be read by memory map; see `tasks.tokens`."""

    @property
    def meta(self) -> Path:
        """What is in the files: number format, ids of the special tokens, sizes."""
        return self.folder / "meta.json"

    def ids(self, split: str) -> Path:
        """Token ids of a split, document after document."""
        return self.folder / f"{split}.bin"

    def offsets(self, split: str) -> Path:
        """Where each document begins, in tokens, and where the last one ends (int64)."""
        return self.folder / f"{split}.offsets.npy"

    def sizes(self, split: str) -> Path:
        """UTF-8 bytes of the text of each document (int32)."""
        return self.folder / f"{split}.bytes.npy"


class Model(Artifact):
    """A trained model as a stock class of transformers, and the curves of its training."""

    @property
    def transformers(self) -> Path:
        """Folder for `AutoModel...`: configuration and weights."""
        return self.folder / "model"

    @property
    def curves(self) -> Path:
        """A row for each logging step."""
        return self.folder / "metrics.parquet"


class Scores(Artifact):
    """What was measured on a model: the numbers are its metrics; what they are computed from, and texts, lie beside them."""

    @property
    def evaluation(self) -> Path:
        """The metrics, and how each was measured."""
        return self.folder / "evaluation.json"

    @property
    def documents(self) -> Path:
        """Of held-out text: a row for each document."""
        return self.folder / "documents.parquet"

    @property
    def predictions(self) -> Path:
        """Of a task: a row for each item, system and run."""
        return self.folder / "predictions.parquet"

    @property
    def samples(self) -> Path:
        """Prompts and what the model made of them."""
        return self.folder / "samples.json"


class Cards(Artifact):
    """The data card and, where a model was trained, the model card, with their plots and the SQL of every number."""

    @property
    def data_card(self) -> Path:
        """Markdown for the corpus."""
        return self.folder / "data_card.md"

    @property
    def model_card(self) -> Path:
        """Markdown for the model."""
        return self.folder / "model_card.md"

    @property
    def facts(self) -> Path:
        """Every number of the cards with its SQL."""
        return self.folder / "facts.json"

    @property
    def plots(self) -> Path:
        """Folder of SVG files."""
        return self.folder / "plots"


class Release(Artifact):
    """A folder that can be handed out as it is."""

    @property
    def corpus(self) -> Path:
        """For `load_dataset`; its card is the README."""
        return self.folder / "corpus"

    @property
    def model(self) -> Path:
        """For `from_pretrained`; its card is the README."""
        return self.folder / "model"
