"""Rows of a dataset of the Hugging Face Hub, streamed, or of local Parquet or JSON lines files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from lang_configs.schema import HubSource
from tasks.crawl.batches import Cursor, resumable
from tasks.crawl.link import refuse_offline
from tasks.documents import Document
from tasks.stage import StageError

if TYPE_CHECKING:
    from datasets import IterableDataset

HUB = "https://huggingface.co/datasets/"


def documents(source: HubSource, state: Path, report: Counter[str]) -> Iterator[Document]:
    """Yield the rows of a dataset in its order, as documents; `state` keeps what was read, see `resumable`.

    A killed crawl goes on in the shard and at the row where it was, at the same commit of the repository even when
    `revision` names none. `report` counts `documents` and `no_text` (the text is missing, empty or no string).
    Raises StageError when the dataset cannot be reached or read, or lacks the split or a column that the config names.
    """
    yield from resumable(state / "rows", lambda cursor: _rows(source, state, cursor), report)


def estimate(source: HubSource) -> tuple[int | None, str]:
    """Bytes of the data files of the split, and how many they are; all of them, although `max_documents` may need fewer.

    Asks the Hub for the list of files only. Raises StageError as `documents` does.
    """
    from datasets import load_dataset_builder
    from huggingface_hub import HfFileSystem

    folder = Path(source.dataset).expanduser()
    if folder.is_dir():
        return 0, "a dataset on this machine"
    refuse_offline(HUB + source.dataset)
    try:
        with TemporaryDirectory() as cache:
            builder = load_dataset_builder(source.dataset, source.config, revision=_commit(source), cache_dir=cache)
        files = [str(file) for file in (builder.config.data_files or {}).get(source.split, [])]
        sizes = [int(HfFileSystem().info(file)["size"]) for file in files]
    except _problems() as error:
        raise _unreadable(source, "its list of files", error) from error
    most = "" if source.max_documents is None else f", of which {source.max_documents:,} documents are read"
    return sum(sizes), f"{len(files)} files of {source.dataset}{most}"


def _rows(source: HubSource, state: Path, cursor: Cursor) -> Iterator[Document | str]:
    folder = Path(source.dataset).expanduser()
    if not folder.is_dir():
        refuse_offline(HUB + source.dataset)
        cursor.setdefault("revision", _commit(source))
    dataset = _open(source, folder, state, cursor)
    columns = _columns(source, dataset)
    rows = iter(dataset)
    while source.max_documents is None or cursor.get("documents", 0) < source.max_documents:
        try:
            row = next(rows)
        except StopIteration:
            return
        except _problems() as error:
            raise _unreadable(source, f"row {cursor.get('rows', 0):,}", error) from error
        result = _document(row, columns, source)
        cursor["documents"] = cursor.get("documents", 0) + isinstance(result, Document)
        cursor["rows"] = cursor.get("rows", 0) + 1
        cursor["state"] = dataset.state_dict()
        yield result


def _commit(source: HubSource) -> str:
    """The commit that `revision` stands for now: a branch can move while a crawl rests."""
    from huggingface_hub import HfApi

    try:
        return str(HfApi().dataset_info(source.dataset, revision=source.revision, timeout=30).sha)
    except _problems() as error:
        raise _unreadable(source, "its description", error) from error


def _open(source: HubSource, folder: Path, state: Path, cursor: Cursor) -> IterableDataset:
    from datasets import load_dataset

    local = folder.is_dir()
    try:
        dataset = load_dataset(
            str(folder) if local else source.dataset,
            source.config,
            split=source.split,
            revision=cursor.get("revision"),
            streaming=True,
            cache_dir=str(state / "cache"),
        )
        if dataset.features is None:
            dataset = dataset._resolve_features()
    except _problems() as error:
        raise _unreadable(source, f"split {source.split!r}", error) from error
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


def _problems() -> tuple[type[Exception], ...]:
    """What the libraries raise for a network, repository or file that cannot be used."""
    import httpx2
    import pyarrow as pa
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    return (OSError, ValueError, httpx2.HTTPError, HfHubHTTPError, HFValidationError, DatasetsError, pa.ArrowException)


def _unreadable(source: HubSource, what: str, error: Exception) -> StageError:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    return StageError(
        f"crawl.{source.name}: {what} of {source.dataset} cannot be read ({reason}); check the network and the keys dataset, "
        "config, split and revision, then run the same command again: what has come so far is kept"
    )
