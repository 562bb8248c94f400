"""Rows of a dataset of the Hugging Face Hub, streamed, or of local Parquet or JSON lines files."""

from __future__ import annotations

import errno
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from lang_configs.sources import HubSource
from tasks.core.documents import Document
from tasks.core.errors import StageError
from tasks.crawl.batches import Cursor, resumable
from tasks.crawl.sources import Estimate, StreamSource, register
from tasks.net import public
from tasks.net.download import ATTEMPTS, BACK_OFF, BUSY, LONGEST_WAIT
from tasks.net.link import hooks
from tasks.net.rules import refuse_offline

if TYPE_CHECKING:
    from datasets import IterableDataset

HUB = "https://huggingface.co"


@register
class Hub(StreamSource[HubSource]):
    """A dataset of the Hub, or a folder that is laid out like one."""

    model = HubSource

    @property
    def where(self) -> str:
        return _where(self.config)

    def estimate(self) -> Estimate:
        """Bytes of the data files of the split: all of them, although `max_documents` may need fewer. Asks for their list."""
        from datasets import load_dataset_builder
        from huggingface_hub import HfFileSystem

        source = self.config
        if _is_folder(source):
            return Estimate(0, "a dataset on this machine")
        with _readable(source, "its list of files"), TemporaryDirectory() as cache:
            _keep_to_the_rules(source)
            builder = load_dataset_builder(source.dataset, **_choice(source, _commit(source)), cache_dir=cache)
            files = [str(file) for file in (builder.config.data_files or {}).get(source.split, [])]
            sizes = [int(HfFileSystem().info(file)["size"]) for file in files]
        most = "" if source.max_documents is None else f", of which {source.max_documents:,} documents are read"
        return Estimate(sum(sizes), f"{len(files)} files of {source.dataset}{most}")

    def documents(self, state: Path, report: Counter[str]) -> Iterator[Document]:
        """Yield the rows of a dataset in its order, as documents; `state` keeps what was read, see `resumable`.

        A killed crawl goes on in the shard and at the row where it was, at the same commit of the repository even when
        `revision` names none. `report` counts `documents` and `no_text` (the text is missing, empty or no string).
        Raises StageError when the dataset cannot be reached or read, or lacks the split or a column that the config names.
        """
        yield from resumable(state / "rows", lambda cursor: _rows(self.config, state, cursor), report)


def _is_folder(source: HubSource) -> bool:
    return Path(source.dataset).expanduser().is_dir()


def _where(source: HubSource) -> str:
    """The folder, or the page of the dataset on the Hub that this machine asks (`HF_ENDPOINT`)."""
    if _is_folder(source):
        return source.dataset
    return f"{os.environ.get('HF_ENDPOINT', HUB).rstrip('/')}/datasets/{source.dataset}"


def _rows(source: HubSource, state: Path, cursor: Cursor) -> Iterator[Document | str]:
    local = _is_folder(source)
    columns: dict[str, str] = {}
    rows: Iterator[dict[str, Any]] | None = None
    failures = 0
    while source.max_documents is None or cursor.get("documents", 0) < source.max_documents:
        try:
            with _readable(source, f"row {cursor.get('rows', 0):,}" if rows else f"split {source.split!r}"):
                if rows is None:
                    if not local:
                        _keep_to_the_rules(source)
                        cursor.setdefault("revision", _commit(source))
                    dataset = _open(source, local, state, cursor)
                    columns, rows = _columns(source, dataset), iter(dataset)
                row = next(rows, None)
        except _PassingError:
            failures += 1
            if failures >= ATTEMPTS:
                raise
            time.sleep(min(BACK_OFF * 2 ** (failures - 1), LONGEST_WAIT))
            rows = None  # opened again, it goes on at the shard and row of the cursor
            continue
        if row is None:
            return
        failures = 0
        result = _document(row, columns, source)
        cursor["documents"] = cursor.get("documents", 0) + isinstance(result, Document)
        cursor["rows"] = cursor.get("rows", 0) + 1
        cursor["state"] = dataset.state_dict()
        yield result


def _keep_to_the_rules(source: HubSource) -> None:
    """Refuse the source offline, and let the Hub's client keep the rate and the hours."""
    import httpx2
    from huggingface_hub import set_client_factory

    refuse_offline(_where(source))
    timeout = httpx2.Timeout(60.0, connect=20.0)  # its own client would wait for ever
    set_client_factory(
        lambda: httpx2.Client(follow_redirects=True, timeout=timeout, transport=public.transport(), event_hooks=hooks())
    )


def _commit(source: HubSource) -> str:
    """The commit that `revision` stands for now: a branch can move while a crawl rests."""
    from huggingface_hub import HfApi

    return str(HfApi().dataset_info(source.dataset, revision=source.revision, timeout=30).sha)


def _choice(source: HubSource, revision: str | None) -> dict[str, Any]:
    """The arguments of `datasets` that say which part of a dataset is meant."""
    if source.files is None:
        return {"name": source.config, "revision": revision}
    return {"data_files": {source.split: source.files.replace("{config}", source.config or "")}, "revision": revision}


def _open(source: HubSource, local: bool, state: Path, cursor: Cursor) -> IterableDataset:
    from datasets import load_dataset

    path = str(Path(source.dataset).expanduser()) if local else source.dataset
    choice = _choice(source, cursor.get("revision"))
    dataset = load_dataset(path, **choice, split=source.split, streaming=True, cache_dir=str(state / "cache"))
    if dataset.features is None:
        dataset = dataset._resolve_features()
    if "state" in cursor:
        dataset.load_state_dict(cursor["state"])
    return dataset


def _columns(source: HubSource, dataset: IterableDataset) -> dict[str, str]:
    """Field of a document -> column; the address may be missing, unless the config names its column."""
    found = list(dataset.features or ())
    columns = {name: getattr(source, name) for name in ("text", "url", "title", "fetched_at", "published_at")}
    for name, column in list(columns.items()):
        if column is not None and column not in found:
            if name == "url" and "url" not in source.model_fields_set:
                columns[name] = None
                continue
            raise StageError(
                f"crawl.{source.name}.{name}: {source.dataset} has no column {column!r}; it has {', '.join(map(repr, found))}"
            )
    return {name: column for name, column in columns.items() if column is not None}


def _document(row: dict[str, Any], columns: dict[str, str], source: HubSource) -> Document | str:
    text, url, title = (row.get(columns[name]) if name in columns else None for name in ("text", "url", "title"))
    if not isinstance(text, str) or not text.strip():
        return "no_text"
    if source.line_break:
        text = text.replace(source.line_break, "\n")
    return Document(
        text=text,
        source=source.name,
        url=url if isinstance(url, str) else None,
        title=title if isinstance(title, str) else None,
        license=source.license,
        fetched_at=_moment(row.get(columns.get("fetched_at", ""))),
        published_at=_moment(row.get(columns.get("published_at", ""))),
    )


def _moment(value: object) -> datetime | None:
    """A date of a dataset in UTC: a timestamp or ISO 8601, without a zone taken as UTC; None for anything else."""
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value or ""))
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


class _PassingError(StageError):
    """The Hub is busy, or the line broke."""


@contextmanager
def _readable(source: HubSource, what: str) -> Iterator[None]:
    """Turn what the libraries raise for a network, repository or file that cannot be used into one sentence.

    They say nowhere what that may be, and decompress and parse what a server sends: whatever they raise counts.
    """
    import httpx2

    try:
        yield
    except StageError:
        raise
    except Exception as error:
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        status = getattr(getattr(error, "response", None), "status_code", None)
        cure = "check the network and the keys dataset, config, files, split and revision"
        if type(error).__name__ in ("CastError", "ArrowInvalid", "ArrowTypeError", "DatasetGenerationCastError"):
            cure = "its files differ in their columns: choose those of one kind with the key `files`"
        elif _is_folder(source):
            cure = "check the keys dataset, config, files and split, and the files"
        if status in (401, 403):
            cure = "ask for access on its page and log in with `hf auth login`, if it exists"
        message = (
            f"crawl.{source.name}: {what} of {_where(source)} cannot be read ({reason}); {cure}, "
            "then run the same command again: what has come so far is kept"
        )
        passing = status in BUSY or (status is None and isinstance(error, (httpx2.TransportError, ConnectionError)))
        raise (_PassingError if passing else StageError)(message) from error
