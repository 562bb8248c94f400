"""Files packed with gzip or Zstandard, read member by member: damage costs the members that it is in and no more.

A gzip member (RFC 1952) or Zstandard frame (RFC 8878) stands for itself. Readers stop at the first one that is broken, and
some of them take a cut file for a whole one; this one says what is lost and goes on at the next member.
"""

from __future__ import annotations

import mmap
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import zstandard

HELD = 4 << 20
"""Most bytes of a member kept back until it has ended well; only the end of a gzip member says whether it is right."""

_SKIPPABLE = frozenset(bytes([kind, 0x2A, 0x4D, 0x18]) for kind in range(0x50, 0x60))
_DICTIONARY = b"\x5d\x2a\x4d\x18"
"""Skippable frame that holds the dictionary of a .warc.zst (iipc.github.io/warc-specifications, WARC Zstandard)."""

_SAMPLE = 1 << 16


@dataclass(frozen=True, slots=True)
class Loss:
    """A stretch of the file that cannot be read. `cut`: the file ends inside a member, and all before its end was handed out.

    `members`: how many it held, as far as their headers are still there; one at least.
    `unchecked`: damage showed in a member of which `HELD` bytes or more had been handed out; some of those may be wrong.
    """

    start: int
    length: int
    members: int = 1
    cut: bool = False
    unchecked: bool = False


class End:
    """A member ended well."""


Start = Callable[[bytes], bool]
"""Whether the first bytes of a member, unpacked, are such as the format's members begin with."""


def is_text(head: bytes) -> bool:
    """Whether these bytes can be the beginning of a UTF-8 text."""
    try:
        head[:200].decode()
    except UnicodeDecodeError as error:
        return error.start > 0 and error.reason == "unexpected end of data"
    return bool(head) and b"\0" not in head[:200]


def unpack(path: Path, start: Start = is_text) -> Iterator[bytes | Loss | End]:
    """The bytes of a file packed with gzip or Zstandard (told by its first bytes), or plain; each member followed by an `End`.

    After damage reading goes on at the next place where a member begins whose bytes satisfy `start`.
    """
    if path.stat().st_size == 0:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[:4] == _Zstd.magic or data[:4] in _SKIPPABLE:
            dictionary = _dictionary(data)
            yield from _members(data, lambda: _Zstd(dictionary), _Zstd.magic, start)
        elif data[:3] == _Gzip.magic or path.name.endswith(".gz"):
            yield from _members(data, _Gzip, _Gzip.magic, start)
        else:
            for offset in range(0, len(data), HELD):
                yield data[offset : offset + HELD]
            yield End()


def record(loss: Loss, report: Counter[str]) -> None:
    """Count a loss: `damaged_parts` (members) and the `lost_bytes` of the file, `files_cut`, `unchecked_parts`."""
    if loss.cut:
        report["files_cut"] += 1
    else:
        report["damaged_parts"] += loss.members
        report["lost_bytes"] += loss.length
    if loss.unchecked:
        report["unchecked_parts"] += 1


class _Decoder(Protocol):
    step: int

    def feed(self, block: bytes) -> bytes: ...

    def unused(self) -> int | None:
        """Bytes fed after the end of the member; None before its end."""


class _Gzip:
    magic = b"\x1f\x8b\x08"
    step = 1 << 14
    """Bytes unpacked at once: at most 1,032 times as many come out."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(31)
        self.feed = self._inner.decompress

    def unused(self) -> int | None:
        return len(self._inner.unused_data) if self._inner.eof else None


class _Zstd:
    magic = b"\x28\xb5\x2f\xfd"
    step = 1 << 8
    """Of four bytes 128 KiB can come, and the library has no bound of its own."""

    def __init__(self, dictionary: zstandard.ZstdCompressionDict | None) -> None:
        self._inner = zstandard.ZstdDecompressor(dict_data=dictionary).decompressobj()
        self.feed = self._inner.decompress

    def unused(self) -> int | None:
        return len(self._inner.unused_data) if self._inner.eof else None


_ERRORS = (zlib.error, zstandard.ZstdError, MemoryError)


def _members(data: mmap.mmap, make: Callable[[], _Decoder], magic: bytes, start: Start) -> Iterator[bytes | Loss | End]:
    position, size = 0, len(data)
    header = magic
    while position < size:
        if data[position : position + 4] in _SKIPPABLE and magic == _Zstd.magic:
            position += 8 + int.from_bytes(data[position + 4 : position + 8], "little")
            continue
        if data[position] == 0 and not data[position:].strip(b"\0"):
            return  # padding to a block of a tape or disk; gzip leaves it out as well
        decoder, at, handed_out, broken = make(), position, False, False
        held: list[bytes] = []
        waiting = 0
        try:
            while decoder.unused() is None and at < size:
                block = data[at : at + decoder.step]
                piece = decoder.feed(block)
                at += len(block)
                held.append(piece)
                waiting += len(piece)
                if waiting > HELD:
                    yield b"".join(held)
                    held, waiting, handed_out = [], 0, True
        except _ERRORS:
            broken = True
        unused = decoder.unused()
        if broken or unused is None:
            following = _next(data, position + 1, make, magic, start)
            if not broken and following == size:
                yield b"".join(held)
                yield Loss(position, size - position, cut=True)
                return
            members = 1 + _headers(data[position + 1 : following], header)
            yield Loss(position, following - position, members, unchecked=handed_out)
            position = following
            continue
        yield b"".join(held)
        yield End()
        header = data[position : position + 10] if magic == _Gzip.magic else magic
        position = at - unused


def _headers(stretch: bytes, header: bytes) -> int:
    """How many members begin in a damaged stretch: those whose gzip header has the flags and the system of `header`."""
    if len(header) < 10:
        return len(re.findall(re.escape(header), stretch)) if header == _Zstd.magic else 0
    return len(re.findall(re.escape(header[:4]) + b".{4}" + re.escape(header[8:]), stretch, re.S))


def _next(data: mmap.mmap, position: int, make: Callable[[], _Decoder], magic: bytes, start: Start) -> int:
    """Where the next member begins that can be read, or at least its beginning; the length of the file if there is none."""
    while (position := data.find(magic, position)) >= 0:
        decoder, at, head = make(), position, b""
        try:
            while decoder.unused() is None and at < min(len(data), position + _SAMPLE):
                block = data[at : at + decoder.step]
                head += decoder.feed(block)[: 1024 - len(head)]
                at += len(block)
        except _ERRORS:
            head = head if at > position else b""
        if start(head):
            return position
        position += 1
    return len(data)


def _dictionary(data: mmap.mmap) -> zstandard.ZstdCompressionDict | None:
    if data[:4] != _DICTIONARY:
        return None
    content = data[8 : 8 + int.from_bytes(data[4:8], "little")]
    if content[:4] == _Zstd.magic:
        try:
            content = zstandard.ZstdDecompressor().decompress(content, max_output_size=HELD)
        except zstandard.ZstdError:
            return None
    return zstandard.ZstdCompressionDict(content)
