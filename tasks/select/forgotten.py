"""The block list of a language: documents that somebody asked to be taken out, and that stay out of every later build.

One JSON object per line: `url`, `domain` or `id` says what, `reason` and `date` why and since when. The file lies beside the
stages, at `workspace/<language>/forgotten.jsonl`, is changed by `lugha forget`, and lines may be added by hand. None goes but
by `lugha forget --undo`: a hidden file beside it keeps hashes of all that was asked for, so that an emptied, cut or lost list
is noticed.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import xxhash
from filelock import FileLock
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from lang_configs import ConfigError
from lang_configs.secrets import without_secrets
from tasks.core.documents import kept_line
from tasks.core.errors import StageError
from tasks.core.files import write_atomically
from tasks.net.addresses import normalise

FORGOTTEN = "forgotten.jsonl"
"""Name of the file in the language's folder of the workspace."""

ASKED = ".forgotten.asked"
"""Name of the file beside it with a hash of the key of each entry that was ever on the list and not taken off."""

_AUTHORITY = re.compile(r"\s*(?:[a-z][a-z0-9+.-]{0,30}://)?([^/?#\\\s]*)", re.IGNORECASE)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,30}://", re.IGNORECASE)
_IP = re.compile(r"[0-9.]+|[0-9a-f:]*:[0-9a-f:.]*")


class Entry(BaseModel):
    """One line of the block list: a page, a domain with all its subdomains, or one document."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    url: str | None = None
    domain: str | None = None
    id: str | None = None
    reason: str = ""
    date: str = ""

    @model_validator(mode="after")
    def _names_one_thing(self) -> Entry:
        if sum(value is not None for value in (self.url, self.domain, self.id)) != 1:
            raise ValueError("give one of url, domain and id")
        if self.id is not None and not re.fullmatch("[0-9a-fA-F]{32}", self.id):
            raise ValueError(f"{self.id!r} is no id: an id is 32 hexadecimal digits")
        if self.domain is not None and not _is_domain(self.domain):
            raise ValueError(f"{self.domain!r} is no domain, such as example.org")
        if self.url is not None and not self.url.strip():
            raise ValueError("the url is empty")
        return self

    @property
    def key(self) -> tuple[str, str]:
        """What the entry blocks, in one spelling: two entries with one key block the same documents."""
        if self.id is not None:
            return "id", self.id.lower()
        if self.domain is not None:
            return "domain", _host(self.domain)
        page, fragment = _page(self.url or "")
        return "url", f"{page}#{fragment}" if fragment else page

    @property
    def hash(self) -> str:
        """Of the key: what was asked for can be told from it, and not what it was."""
        return xxhash.xxh3_128_hexdigest("\0".join(self.key).encode("utf-8", "surrogatepass"))


class BlockList(BaseModel):
    """The entries in force."""

    model_config = ConfigDict(frozen=True)
    entries: tuple[Entry, ...] = ()

    def digest(self) -> str:
        """Identifies what is blocked, whatever the reasons, dates and order of the lines; empty if nothing is."""
        keys = sorted({entry.key for entry in self.entries})
        return xxhash.xxh3_128_hexdigest(json.dumps(keys).encode()) if keys else ""

    def find(self, identity: bytes, url: str | None) -> Entry | None:
        """The entry that blocks a document, if any.

        Of an address the scheme, a final slash and parameters that only track the reader make no difference, nor does the
        way in which it is escaped (RFC 3986 section 6.2.2): a new version of a page stays out. Fragments are compared only
        where both addresses have one: `page` blocks all of `page#1`, `page#2` ..., and `page#1` only that part.
        """
        if found := self._by_key.get(("id", identity.hex())):
            return found
        if url is None or not self._hosts:
            return None
        host = _host(url)
        labels = host.split(".")
        for start in range(len(labels)):
            if found := self._by_key.get(("domain", ".".join(labels[start:]))):
                return found
        if host not in self._hosts:
            return None
        page, fragment = _page(url)
        parts = self._parts.get(page, [])
        return next((found for part, found in parts if not part or not fragment or part == fragment), None)

    @cached_property
    def _by_key(self) -> dict[tuple[str, str], Entry]:
        return {entry.key: entry for entry in reversed(self.entries)}

    @cached_property
    def _parts(self) -> dict[str, list[tuple[str, Entry]]]:
        """Page -> the blocked fragments of it, empty for all."""
        parts: dict[str, list[tuple[str, Entry]]] = {}
        for found in self.entries:
            if found.url is not None:
                page, fragment = _page(found.url)
                parts.setdefault(page, []).append((fragment, found))
        return parts

    @cached_property
    def _hosts(self) -> frozenset[str]:
        """Hosts of blocked domains and pages: documents of all others need no closer look."""
        return frozenset(_host(entry.url or entry.domain or "") for entry in self.entries if entry.id is None)


def read(path: Path) -> BlockList:
    """The block list at `path`, empty if there never was one.

    Raises StageError for a line that cannot be read, and where entries are missing that nobody took off.
    """
    entries = _entries(path)
    if missing := _asked(path) - {one.hash for one in entries}:
        raise StageError(
            f"{path}: {len(missing):,} of its entries are gone that nobody took off with --undo; restore the file from a copy, "
            f"ask again with `lugha forget`, or, if nobody is to be forgotten any more, remove {path.with_name(ASKED)}, too"
        )
    return BlockList(entries=entries)


def remember(path: Path, listed: BlockList) -> None:
    """Keep in mind what is on the list, also what was written into it by hand: from now on it is missed if it goes."""
    if listed.entries and not {one.hash for one in listed.entries} <= _asked(path):
        with FileLock(path.with_name(f".{path.name}.lock")):
            _write_asked(path, _asked(path) | {one.hash for one in listed.entries})


def _asked(path: Path) -> set[str]:
    file = path.with_name(ASKED)
    return set(file.read_text(encoding="ascii", errors="replace").split()) if file.exists() else set()


def _write_asked(path: Path, hashes: set[str]) -> None:
    write_atomically(path.with_name(ASKED), "".join(f"{one}\n" for one in sorted(hashes)).encode())


def _entries(path: Path) -> tuple[Entry, ...]:
    if not path.exists():
        return ()
    try:
        lines = enumerate(path.read_text(encoding="utf-8-sig").split("\n"), 1)
    except UnicodeDecodeError:
        raise StageError(f"{path}: not UTF-8 text; save it as UTF-8") from None
    return tuple(_parse(line, f"{path}:{number}") for number, line in lines if line.strip())


def entry(url: str | None, domain: str | None, identity: str | None, reason: str = "") -> Entry:
    """An entry of today; raises ConfigError when it does not name exactly one page, domain or document."""
    try:
        url, reason = url and kept_line(url), kept_line(reason)
        return Entry(url=url, domain=domain, id=identity, reason=reason, date=f"{datetime.now(UTC):%Y-%m-%d}")
    except ValidationError as error:
        raise ConfigError(f"forget: {_sentence(error)}") from None


def is_public_suffix(domain: str) -> bool:
    """Whether sites of many owners are below a domain (`com`, `co.tz`, `blogspot.com`), by the list of publicsuffix.org."""
    from tld.utils import is_tld

    host = _host(domain)
    return not _IP.fullmatch(host) and ("." not in host or bool(is_tld(host, search_private=True)))


def add(path: Path, new: Entry) -> bool:
    """Append an entry, unless one with the same key is there; says whether it was appended."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        known, lines = _entries(path), _lines(path)
        if added := new.key not in [old.key for old in known]:
            lines.append(json.dumps(new.model_dump(exclude_none=True), ensure_ascii=False))
            _write(path, lines)
        _write_asked(path, _asked(path) | {one.hash for one in (*known, new)})
    return added


def remove(path: Path, old: Entry) -> bool:
    """Take the entries with the key of `old` off the list; says whether there was one, also if its line is gone already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        known, lines, asked = _entries(path), _lines(path), _asked(path)
        kept = [line for line, other in zip(lines, known, strict=True) if other.key != old.key]
        if old.hash in asked:  # first: what is on the list and not in mind is no damage
            _write_asked(path, asked - {old.hash})
        if kept != lines:
            _write(path, kept)
    return kept != lines or old.hash in asked


def _lines(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [line for line in text.split("\n") if line.strip()]


def _write(path: Path, lines: list[str]) -> None:
    write_atomically(path, "".join(f"{line}\n" for line in lines).encode())


def _parse(line: str, place: str) -> Entry:
    try:
        return Entry.model_validate_json(line)
    except ValidationError as error:
        raise StageError(
            f"{place}: {_sentence(error)}; a line is one JSON object with url, domain or id, and reason and date"
        ) from None


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return (f"{place}: " if place else "") + first["msg"].removeprefix("Value error, ")


def _is_domain(text: str) -> bool:
    rest = _AUTHORITY.sub("", text, count=1)
    return re.fullmatch(r"[a-z0-9_:.-]+", _host(text)) is not None and not rest.strip("/ ")


def _page(url: str) -> tuple[str, str]:
    """One spelling of an address without its scheme and a final slash, and its fragment; what is no web address stays."""
    address, _, fragment = without_secrets(url.strip()).partition("#")
    address = address if _SCHEME.match(address) else f"https://{address}"
    normal = normalise(address) or address
    return normal[len(scheme[0]) if (scheme := _SCHEME.match(normal)) else 0 :].rstrip("/"), fragment


def _host(url: str) -> str:
    """Host of an address with or without its scheme, in lower case and ASCII; empty if it has none."""
    match = _AUTHORITY.match(url)
    return _ascii_host(match[1]) if match else ""


@lru_cache(maxsize=1 << 16)
def _ascii_host(authority: str) -> str:
    return urlsplit(normalise(f"https://{authority}/") or "").hostname or ""
