"""The parts of a fastText model file (0.9.3, `FastText::loadModel`): numbers, words and matrices, decoded as they are read."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np


class FormatError(Exception):
    """What is wrong with a file."""


class Reader:
    """The parts of a model file, one after the other."""

    def __init__(self, path: Path) -> None:
        self._data = np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8)
        self._at = 0

    def take(self, layout: str) -> tuple[Any, ...]:
        """Values of a struct layout."""
        return struct.unpack(layout, self._bytes(struct.calcsize(layout)).tobytes())

    def flag(self) -> bool:
        return bool(self.take("<?")[0])

    def word(self) -> tuple[bytes, int, bool]:
        """An entry of the dictionary: word, count, and whether it is a label."""
        near = self._data[self._at : self._at + 4096].tobytes()
        if (length := near.find(b"\0")) < 0:
            raise FormatError("its dictionary is damaged")
        self._at += length + 1
        count, kind = self.take("<qb")
        return near[:length], count, kind == 1

    def array(self, kind: str, count: int) -> np.ndarray:
        """Numbers of one type, not copied."""
        return self._bytes(np.dtype(kind).itemsize * count).view(kind)

    def dense(self) -> np.ndarray:
        """A matrix, float32[rows, dimensions]."""
        rows, columns = self.take("<qq")
        if rows < 0 or not 0 < columns < 10_000:
            raise FormatError("a matrix is damaged")
        return self.array("<f4", rows * columns).reshape(rows, columns)

    def quantised(self) -> np.ndarray:
        """A matrix stored by product quantisation (Jegou et al. 2011), decoded: float32[rows, dimensions]."""
        with_norms, rows, columns, size = self.take("<?qqi")
        if rows < 1 or not 0 < columns < 10_000 or size % rows:
            raise FormatError("a matrix is damaged")
        codes = self.array("u1", size).reshape(rows, -1)
        decoded = self._decode(codes, columns)
        if with_norms:
            decoded *= self._decode(self.array("u1", rows).reshape(rows, 1), 1)
        return decoded

    def _decode(self, codes: np.ndarray, columns: int) -> np.ndarray:
        dim, parts, width, last = self.take("<4i")
        if dim != columns or codes.shape[1] != parts or (parts - 1) * width + last != dim:
            raise FormatError("a quantiser is damaged")
        centroids = self.array("<f4", 256 * dim)
        out = np.empty((len(codes), dim), np.float32)
        for part in range(parts):
            wide = width if part < parts - 1 else last
            table = centroids[256 * part * width :][: 256 * wide].reshape(256, wide)
            out[:, part * width : part * width + wide] = table[codes[:, part]]
        return out

    def _bytes(self, size: int) -> np.ndarray:
        if size < 0 or self._at + size > len(self._data):
            raise FormatError("it ends too early")
        self._at += size
        return np.array(self._data[self._at - size : self._at]) if size < 1 << 20 else self._aligned(size)

    def _aligned(self, size: int) -> np.ndarray:
        part = self._data[self._at - size : self._at]
        return part if part.ctypes.data % 8 == 0 else np.array(part)
