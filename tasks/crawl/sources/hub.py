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
    from datasets import DatasetBuilder, IterableDataset

HUB = "https://huggingface.co"

BATCH_ROWS = 1000
"""Rows of a Parquet file that are read at once; by default `datasets` takes a row group, which may have none or millions."""


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
        `revision` names none. `report` counts `documents`, `no_text` (the text is missing, empty or no text), and names and
        counts the files that lack a column of others: `files_without_text`, whose rows are left out, `files_without_title`, ...
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
    rows: Iterator[_Row] | None = None
    failures = 0
    while source.max_documents is None or cursor.get("documents", 0) < source.max_documents:
        try:
            with _readable(source, f"row {cursor.get('rows', 0):,}" if rows else f"split {source.split!r}"):
                rows = rows or _read(source, state, cursor)
                row = next(rows, None)
        except _PassingError:
            failures += 1
            if failures >= ATTEMPTS:
                raise
            time.sleep(min(BACK_OFF * 2 ** (failures - 1), LONGEST_WAIT))
            rows = None  # opened again, it goes on at the file and row of the cursor
            continue
        if row is None:
            return
        failures = 0
        result = row if isinstance(row, str) else _document(*row, source)
        cursor["documents"] = cursor.get("documents", 0) + isinstance(result, Document)
        cursor["rows"] = cursor.get("rows", 0) + isinstance(row, tuple)
        yield result


_Row = str | tuple[dict[str, Any], dict[str, str]]
"""A row and its columns, field of a document -> column; or what is counted of a file."""


def _read(source: HubSource, state: Path, cursor: Cursor) -> Iterator[_Row]:
    """The rows from the cursor on, which is brought up to date; file by file, as each may have columns of its own."""
    from datasets import load_dataset_builder

    local = _is_folder(source)
    if not local:
        _keep_to_the_rules(source)
        cursor.setdefault("revision", _commit(source))
    path = str(Path(source.dataset).expanduser()) if local else source.dataset
    choice = _choice(source, cursor.get("revision"))
    builder = load_dataset_builder(path, **choice, cache_dir=str(state / "cache"))
    files = [str(file) for file in (builder.config.data_files or {}).get(source.split, [])]
    if not files:
        raise ValueError(f"there is no such split; there are {', '.join(map(str, builder.config.data_files or ()))}")
    if "file" not in cursor:
        _check_columns(source, builder, files)
        cursor["file"] = 0
    for number in range(cursor["file"], len(files)):
        dataset, found = _open(builder, source.split, files[number])
        columns = {field: column for field, column in _wanted(source).items() if column in found}
        if cursor["file"] != number:
            cursor["file"] = number
            cursor.pop("state", None)
        if "state" not in cursor:
            cursor["state"] = dataset.state_dict() if dataset is not None else None
            yield from _lacking(source, columns, files[number])
        if dataset is None or "text" not in columns:
            continue
        dataset.load_state_dict(cursor["state"])
        for row in dataset:
            cursor["state"] = dataset.state_dict()
            yield row, columns


def _open(builder: DatasetBuilder, split: str, file: str) -> tuple[IterableDataset | None, list[str]]:
    """One data file of a dataset, None if it is empty, and its columns (of JSON lines: those of the first 10 MB)."""
    builder.config.data_files = {split: [file]}
    builder.info.features = None  # of another file, or of the card of the dataset
    if hasattr(builder.config, "batch_size"):
        builder.config.batch_size = BATCH_ROWS
    try:
        dataset = builder.as_streaming_dataset(split)
    except StopIteration:
        return None, []
    if dataset.features is None:
        dataset = dataset._resolve_features()
    found = list(dataset.features or ())
    builder.info.features = dataset.info.features = None  # to which later rows would be cast: they may have other columns
    return dataset, found


def _wanted(source: HubSource) -> dict[str, str]:
    """Field of a document -> the column that the config names."""
    columns = {field: getattr(source, field) for field in ("text", "url", "title", "fetched_at", "published_at")}
    return {field: column for field, column in columns.items() if column is not None}


def _check_columns(source: HubSource, builder: DatasetBuilder, files: list[str]) -> None:
    """Raise StageError if a column that the config names is in no file; that of the address may be missing, if it does not."""
    missing = {field: column for field, column in _wanted(source).items() if field != "url" or "url" in source.model_fields_set}
    known: dict[str, None] = {}
    for file in files:
        known |= dict.fromkeys(_open(builder, source.split, file)[1])
        missing = {field: column for field, column in missing.items() if column not in known}
        if not missing:
            return
    field, column = next(iter(missing.items()))
    raise StageError(
        f"crawl.{source.name}.{field}: {source.dataset} has no column {column!r}; it has {', '.join(map(repr, known))}"
    )


def _lacking(source: HubSource, columns: dict[str, str], file: str) -> Iterator[str]:
    """What is counted of a file without a column that the config names: its rows, without text, or what they lack."""
    for field in _wanted(source):
        if field not in columns and (field != "url" or "url" in source.model_fields_set):
            yield f"files_without_{field}"
            yield f"files_without_{field}: {Path(file).name}"


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


def _document(row: dict[str, Any], columns: dict[str, str], source: HubSource) -> Document | str:
    text, url, title = (row.get(columns[name]) if name in columns else None for name in ("text", "url", "title"))
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
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
        if _is_folder(source):
            cure = "check the keys dataset, config, files and split, and the files"
        if status in (401, 403):
            cure = "ask for access on its page and log in with `hf auth login`, if it exists"
        message = (
            f"crawl.{source.name}: {what} of {_where(source)} cannot be read ({reason}); {cure}, "
            "then run the same command again: what has come so far is kept"
        )
        passing = status in BUSY or (status is None and isinstance(error, (httpx2.TransportError, ConnectionError)))
        raise (_PassingError if passing else StageError)(message) from error
