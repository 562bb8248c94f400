"""The 333 real pages of the data bundle."""

from __future__ import annotations

import io
import json
from pathlib import Path


def real_pages(bundle: Path) -> list[dict[str, str]]:
    import zstandard

    with open(bundle / "html" / "pages.jsonl.zst", "rb") as handle:
        return [json.loads(line) for line in io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(handle))]
