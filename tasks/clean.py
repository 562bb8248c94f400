"""Cleaning: the text that everything after it reads. Unicode, white space, HTML leftovers; personal data masked.

Nothing is dropped: a document that becomes empty stays, and select names the reason.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lang_configs.schema import Clean
from tasks.documents import SCHEMA, batches, shards, write_table
from tasks.stage import Metrics, Work

EMAIL_MASK, PHONE_MASK = "[email]", "[phone]"

_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-fA-F]{1,6}|[a-zA-Z]\w{1,30});")
_LINE_ENDS = re.compile(r"\r\n?|[\v\f\u0085\u2028\u2029]")
_ODD_SPACES = re.compile("[\\t\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000\u2581]+")
"""Tabs, no-break spaces and their like; and U+2581, which SentencePiece would read as a space."""
_RUNS = re.compile(r" {2,}")
_BREAKS = re.compile(r" ?\n ?(?:\n ?)+")
_INVISIBLE = re.compile(
    "[\\x00-\\x08\\x0e-\\x1f\\x7f-\\x84\\x86-\\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff"
    "\ufff9-\ufffd\ud800-\udfff]"
)
"""Controls, soft hyphens, zero-width and direction marks, replacement characters; not the joiners that scripts need."""
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.)+[^\W\d_]{2,24}(?![\w-])")


def clean(inputs: Mapping[str, Path], config: Clean, out: Path, work: Work) -> Metrics:
    """Write the documents of all raw folders in `inputs` (source name -> folder), cleaned: one shard for each raw shard.

    A document keeps the id it was crawled with; a second document with the same id is counted as `repeated` and left out.
    """
    raw = {f"{name}-{shard.stem}": shard for name, folder in sorted(inputs.items()) for shard in shards(folder)}
    repeated = _repeated_rows(list(raw.values()))
    items = {name: (str(path), name, config.model_dump(), repeated.get(path, [])) for name, path in raw.items()}
    parts = work.units(_clean_shard, items, out)
    total: Counter[str] = Counter()
    for part in parts.values():
        total.update(part)
    return dict(sorted(total.items()))


def clean_text(text: str, phone: re.Pattern[str] | None = None, mask_email: bool = True) -> tuple[str, int, int]:
    """The text as every later stage sees it, and how many e-mail addresses and phone numbers were masked.

    NFC; HTML entities resolved; invisible characters removed; runs of blanks become one, of empty lines one empty line.
    """
    if "&" in text:
        text = _ENTITY.sub(lambda match: html.unescape(match.group()), text)
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    text = _LINE_ENDS.sub("\n", text)
    text = _INVISIBLE.sub("", text)
    text = _RUNS.sub(" ", _ODD_SPACES.sub(" ", text))
    text = _BREAKS.sub("\n\n", text).replace(" \n", "\n").replace("\n ", "\n").strip()
    emails = phones = 0
    if mask_email and "@" in text:
        text, emails = _EMAIL.subn(EMAIL_MASK, text)
    if phone is not None:
        text, phones = phone.subn(PHONE_MASK, text)
    return text, emails, phones


def phone_pattern(countries: list[int]) -> re.Pattern[str] | None:
    """Phone numbers of the given calling codes: international (+254 7xx ..., 00254 ...) and national (07xx ...).

    Numbers of 9 (in a few plans 8 or 10) digits after the code, in groups set off by blanks, dots or hyphens.
    """
    if not countries:
        return None
    codes = "|".join(str(code) for code in sorted(countries))
    prefix = rf"(?:(?:\+|00)(?:{codes})[ .-]?(?:\(0\)[ .-]?)?|(?:{codes})(?=[67])|0(?=[1-9]\d))"
    return re.compile(rf"(?<![\w+.,/-]){prefix}[1-9](?:[ .-]?\d){{7,9}}(?![\d/-]|[.,]\d)")


def _repeated_rows(paths: list[Path]) -> dict[Path, list[int]]:
    """Rows whose id stood in an earlier row or shard already (overlapping inputs, pages under two seeds)."""
    if not paths:
        return {}
    numbers = [pq.read_metadata(path).num_rows for path in paths]
    ids = pa.concat_tables([pq.read_table(path, columns=["id"]) for path in paths]).column("id")
    seen: set[bytes] = set()
    found: dict[Path, list[int]] = {}
    position = 0
    for path, count in zip(paths, numbers, strict=True):
        for row, value in enumerate(ids.slice(position, count).to_pylist()):
            if value in seen:
                found.setdefault(path, []).append(row)
            seen.add(value)
        position += count
    return found


def _clean_shard(unit: tuple[str, str, dict[str, Any], list[int]], out: Path) -> Metrics:
    path, name, settings, repeated = Path(unit[0]), unit[1], Clean.model_validate(unit[2]), set(unit[3])
    phone = phone_pattern(settings.phone_countries) if settings.mask_phone else None
    counts: Counter[str] = Counter(documents=0, bytes_in=0, bytes=0, emails=0, phones=0, changed=0, empty=0, repeated=0)
    tables = []
    position = 0
    for batch in batches(path):
        rows = [row for row in range(len(batch)) if position + row not in repeated]
        counts["repeated"] += len(batch) - len(rows)
        position += len(batch)
        table = pa.Table.from_batches([batch])
        if len(rows) < len(batch):
            table = table.take(pa.array(rows, pa.int64()))
        texts, sizes = [], []
        for text in table.column("text").to_pylist():
            cleaned, emails, phones = clean_text(text, phone, settings.mask_email)
            size = len(cleaned.encode())
            texts.append(cleaned)
            sizes.append(size)
            counts["emails"] += emails
            counts["phones"] += phones
            counts["changed"] += cleaned != text
            counts["empty"] += not cleaned
            counts["bytes"] += size
        counts["documents"] += len(rows)
        counts["bytes_in"] += sum(table.column("bytes").to_pylist())
        table = table.set_column(SCHEMA.get_field_index("text"), SCHEMA.field("text"), pa.array(texts, pa.string()))
        tables.append(table.set_column(SCHEMA.get_field_index("bytes"), SCHEMA.field("bytes"), pa.array(sizes, pa.int32())))
    write_table(pa.concat_tables(tables), out / f"{name}.parquet")
    return dict(counts)
