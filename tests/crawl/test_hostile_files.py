"""Small files that unfold to much, or to nothing at all: bounded in memory and time, counted or refused by their name."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from tests import REPOSITORY

GOOD = "Wakulima wa kijiji cha Mtoni wamevuna mahindi."
LINE = json.dumps({"text": GOOD}).encode() + b"\n"


def packed(block: bytes, megabytes: int, before: bytes = b"") -> bytes:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    piece = block * ((1 << 20) // len(block))
    return squeeze.compress(before) + b"".join(squeeze.compress(piece) for _ in range(megabytes)) + squeeze.flush()


def zstd(block: bytes, megabytes: int, before: bytes = b"") -> bytes:
    squeeze = zstandard.ZstdCompressor(level=3).compressobj()
    piece = block * ((1 << 20) // len(block))
    return squeeze.compress(before) + b"".join(squeeze.compress(piece) for _ in range(megabytes)) + squeeze.flush()


def table(path: Path, columns: dict[str, object], **options: object) -> None:
    pq.write_table(pa.table(columns), path, compression="zstd", **options)  # type: ignore[arg-type]


def repeated(value: str, rows: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([value]))


def with_good(path: Path, column: pa.Array) -> None:
    """A file of two row groups: one of a good row, one of the column."""
    schema = pa.schema([pa.field("text", pa.string())])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        writer.write_table(pa.table({"text": [GOOD]}))
        writer.write_table(pa.table({"text": column.cast(pa.string())}), row_group_size=1 << 30)


def bad_utf8() -> pa.Array:
    raw = pa.array([b"\xe1\xbb", GOOD.encode(), b"\xff\xfe"], pa.binary())
    return pa.Array.from_buffers(pa.string(), len(raw), raw.buffers())


def flipped(path: Path, place: float) -> None:
    table(path, {"text": [f"{GOOD} {number}" for number in range(500)]})
    data = bytearray(path.read_bytes())
    data[int(len(data) * place)] ^= 0xFF
    path.write_bytes(data)


DEEP = b'{"text": ' + b"[" * 100_000 + b"\n"

# name -> (ending, content or writer, documents at least, what the report must name)
FILES: dict[str, tuple[str, bytes | Callable[[Path], None], int, str]] = {
    # packed text
    "newlines.gz": ("jsonl.gz", packed(b"\n", 300, LINE), 1, "unpacked_too_far"),
    "newlines.zst": ("jsonl.zst", zstd(b"\n", 300, LINE), 1, "unpacked_too_far"),
    "newlines.txt.gz": ("txt.gz", packed(b"\n", 300, GOOD.encode()), 0, "unpacked_too_far"),
    "newlines.txt.zst": ("txt.zst", zstd(b"\n", 300, GOOD.encode() + b"\n"), 0, "unpacked_too_far"),
    "zeros.gz": ("jsonl.gz", packed(b"\0", 300, LINE), 1, "unpacked_too_far"),
    "zeros.zst": ("jsonl.zst", zstd(b"\0", 300, LINE), 1, "unpacked_too_far"),
    "zeros.txt.gz": ("txt.gz", packed(b"\0", 300), 0, "unpacked_too_far"),
    "blanks.txt.zst": ("txt.zst", zstd(b" ", 300), 0, "unpacked_too_far"),
    "endless-string.zst": ("jsonl.zst", zstd(b"a", 300, LINE + b'{"text": "'), 1, "too_large"),
    "endless-array.zst": ("jsonl.zst", zstd(b"[1],", 300, b'{"text": ['), 0, "too_large"),
    "line-ends-cr.gz": ("txt.gz", packed(b"\r", 300), 0, "unpacked_too_far"),
    "cr-lf.gz": ("jsonl.gz", packed(b"\r\n", 20, LINE), 1, "documents"),
    "gzip-in-gzip": ("jsonl.gz", gzip.compress(packed(b"\n", 100)), 0, "bad_json"),
    "utf-16.zst": ("txt.zst", zstd("ሀ".encode("utf-16-le"), 300, b"\xff\xfe"), 0, "unpacked_too_far"),
    "cut.gz": ("jsonl.gz", packed(b"a", 50, LINE)[:-20], 1, "files_cut"),
    "garbage.gz": ("jsonl.gz", b"\x1f\x8b\x08" + bytes(range(256)) * 10, 0, "lost_bytes"),
    "garbage.zst": ("jsonl.zst", b"\x28\xb5\x2f\xfd" + bytes(range(256)) * 10, 0, "lost_bytes"),
    "magic-only.gz": ("jsonl.gz", b"\x1f\x8b\x08" * 3000, 0, "files_cut"),
    "empty-members.gz": ("jsonl.gz", gzip.compress(b"") * 20_000 + gzip.compress(LINE), 1, "documents"),
    "empty-frames.zst": ("jsonl.zst", zstandard.compress(b"") * 20_000 + zstandard.compress(LINE), 1, "documents"),
    "skippable.zst": ("jsonl.zst", b"\x50\x2a\x4d\x18\xff\xff\xff\xff" + zstandard.compress(LINE), 0, ""),
    # lines of JSON
    "deep": ("jsonl", DEEP + LINE, 1, "bad_json"),
    "deep-objects": ("jsonl", b'{"a":' * 100_000 + b"\n" + LINE, 1, "bad_json"),
    "big-number": ("jsonl", b'{"text": ' + b"9" * 5_000_000 + b"}\n" + LINE, 1, "bad_json"),
    "big-exponent": ("jsonl", b'{"text": 1e999999999}\n' + LINE, 1, "no_text"),
    "text-is-a-list": ("jsonl", b'{"text": ["a"]}\n{"text": {"sw": "a"}}\n' + LINE, 1, "no_text"),
    "many-keys": ("jsonl", b"{" + b",".join(b'"%d":1' % n for n in range(400_000)) + b"}\n" + LINE, 1, "no_text"),
    "same-key": ("jsonl", b"{" + b'"text":"a",' * 400_000 + b'"text":"b"}\n' + LINE, 2, "documents"),
    "surrogates": ("jsonl", b'{"text": "' + rb"\ud83d" * 100_000 + b'"}\n' + LINE, 2, "documents"),
    "nul": ("jsonl", b'{"text": "a\\u0000b", "url": "\\u0000"}\n' + LINE, 2, "documents"),
    "no-json": ("jsonl", b"a\n" * 500_000 + LINE, 1, "bad_json"),
    "only-brackets": ("jsonl", b"[" * (9 << 20), 0, "too_large"),
    # Parquet
    "dictionary": ("parquet", lambda p: table(p, {"text": repeated("mahindi " * 400_000, 2000)}), 10, "unpacked_too_far"),
    "dictionary-large": ("parquet", lambda p: table(p, {"text": repeated("a" * (9 << 20), 2000)}), 0, "too_large"),
    "empty-rows": ("parquet", lambda p: table(p, {"text": repeated("", 20_000_000)}), 0, "no_text"),
    "null-rows": ("parquet", lambda p: table(p, {"text": pa.nulls(5_000_000, pa.string())}), 0, "no_text"),
    "blank-rows": ("parquet", lambda p: table(p, {"text": repeated(" \n", 5_000_000)}), 0, "no_text"),
    "page-of-zeros": ("parquet", lambda p: with_good(p, pa.array(["\0" * (1 << 30)])), 1, "lost_rows"),
    "huge-title": (
        "parquet",
        lambda p: table(p, {"text": [GOOD] * 500, "title": repeated("a" * (4 << 20), 500)}),
        0,
        "lost_rows",  # 2 GB of titles in one row group: counted, not read
    ),
    "nested-title": ("parquet", lambda p: table(p, {"text": [GOOD], "title": [[[[["a"]] * 100] * 100]]}), 1, "documents"),
    "list": ("parquet", lambda p: table(p, {"text": [["a"] * 1000]}), 0, "refused"),
    "struct": ("parquet", lambda p: table(p, {"text": [{"sw": "a"}]}), 0, "refused"),
    "numbers": ("parquet", lambda p: table(p, {"text": [1, 2]}), 0, "refused"),
    "no-text": ("parquet", lambda p: table(p, {"matini": [GOOD]}), 0, "refused"),
    "bad-utf-8": ("parquet", lambda p: table(p, {"text": bad_utf8()}), 3, "documents"),
    "times": (
        "parquet",
        lambda p: table(p, {"text": [GOOD], "fetched_at": pa.array([2**52], pa.timestamp("s"))}),
        1,
        "documents",
    ),
    "dates": ("parquet", lambda p: table(p, {"text": [GOOD], "published_at": [date(1, 1, 1)]}), 1, "documents"),
    "many-groups": ("parquet", lambda p: table(p, {"text": [GOOD] * 3000}, row_group_size=10), 3000, "documents"),
    "no-rows": ("parquet", lambda p: table(p, {"text": pa.array([], pa.string())}), 0, ""),
    "no-bytes": ("parquet", b"", 0, "unreadable_files"),
    "magic-only": ("parquet", b"PAR1PAR1", 0, "unreadable_files"),
    "index-beyond-file": ("parquet", b"PAR1" + b"\xff\xff\xff\x7f" + b"PAR1", 0, "unreadable_files"),
    "index-of-rubbish": ("parquet", b"PAR1" + b"\x15" * 5000 + (5000).to_bytes(4, "little") + b"PAR1", 0, "unreadable_files"),
    **{f"flipped-{p}": ("parquet", lambda path, p=p: flipped(path, p / 100), 0, "") for p in (5, 30, 60, 90, 97)},  # type: ignore[misc]
    # a page
    "deep-page": ("html", b"<div>" * 200_000 + b"habari", 0, ""),
    "attributes": ("html", b"<p " + b" ".join(b"a%d" % n for n in range(60_000)) + b">", 0, "extraction_timeout"),
}

# the memory that reading a file takes at most in this process and its workers (KiB), in a process of its own
READ = """
import json, resource, sys
from collections import Counter
from lang_configs.sources import FilesSource
from tasks.core.errors import StageError
from tasks.crawl.pages import extraction
from tasks.crawl.sources.files import Files
extraction.page.__kwdefaults__ = None
extraction.page.__defaults__ = (*extraction.page.__defaults__[:-1], 5.0)
resource.setrlimit(resource.RLIMIT_DATA, (3 << 30, resource.RLIM_INFINITY))
for path in sys.argv[1:]:
    report, number, error = Counter(), 0, ""
    source = Files(FilesSource(paths=[path], license="CC0-1.0"))
    try:
        for document in source.read(path, report):
            number += 1
    except StageError as refusal:
        error = str(refusal)
    print(json.dumps([path, number, dict(report), error]), flush=True)
"""
GROUPS = [list(FILES)[start : start + 12] for start in range(0, len(FILES), 12)]


def read(paths: list[Path]) -> Iterator[tuple[str, int, dict[str, int], str]]:
    command = [sys.executable, "-c", READ, *map(str, paths)]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    for line in result.stdout.splitlines():
        yield tuple(json.loads(line))


@pytest.mark.slow
@pytest.mark.parametrize("names", GROUPS, ids=lambda names: str(names[0]))
def test_a_file_costs_no_more_than_a_text(tmp_path: Path, names: list[str]) -> None:
    paths = []
    for number, name in enumerate(names):
        ending, content, _, _ = FILES[name]
        path = tmp_path / f"faili{number}.{ending}"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            content(path)
        assert path.stat().st_size < 12 << 20
        paths.append(path)
    found = list(read(paths))
    assert len(found) == len(names)
    for name, (path, number, report, error) in zip(names, found, strict=True):
        _, _, least, word = FILES[name]
        assert number >= least, (name, number, report, error)
        if word == "refused":
            assert error.startswith(Path(path).name), (name, error)
            assert "\n" not in error
        else:
            assert not error, (name, error)
            assert any(word in key for key in report) or not word, (name, number, report)
