"""What is never kept nor said: passwords, tokens and signatures in addresses, and the folders of this machine in paths."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_plus

_ADDRESS = re.compile(r"(?:\b[a-z][a-z0-9+.-]{0,30}:)?//[^\s\"<>]+", re.IGNORECASE)
_USER = re.compile(r"//(?:[^/?#]*@|[^/?#:@\[]+:(?!\d{0,5}(?:[/?#]|$))[^@]*@)")
"""The user and the password, up to the last `@` of the authority; also where the password holds a `/`, `?` or `#` as it is."""
_SECRET = re.compile(
    r"token|secret|passw|pwd|passphrase|signature|credential|jwt|hmac|bearer|api.?key|access.?key|private.?key|key.?pair.?id"
    r"|session.?(?:id|key)|sessid|(?:^|[^a-z])(?:auth|oauth|authorization|sig|sid|pass|pw)(?:$|[^a-z])",
    re.IGNORECASE,
)
"""Names of parameters whose values let somebody in: of AWS, Google, Azure and OAuth, of sessions, and what people call them."""
_KEY = re.compile(r"[\w-]{20,}")
"""A value of a parameter that is called `key` and no more, from which on it is one of an interface, not a word."""
_FOLDERS = re.compile(r"(?:file:/*|[a-z]:[\\/]|\\\\|/|~[\w.-]*[\\/]|\.\.?[\\/])(?=\S).*", re.IGNORECASE | re.DOTALL)
"""A path that says where something lies on this machine."""


def without_secrets(text: str) -> str:
    """A text whose addresses have no user, no password, and no parameter that lets somebody in; all else is as it was.

    Two addresses that differ in nothing else become one: what is identified by its address does not change with a password.
    """
    return _ADDRESS.sub(lambda match: _address(match[0]), text) if "//" in text else text


def without_folders(text: str) -> str:
    """The name alone of what `text` is a path to, if it is one that says where on this machine: absolute, `~` or `..`."""
    if not _FOLDERS.fullmatch(text):
        return text
    name = re.split(r"[\\/]", text.removeprefix("file:").rstrip("\\/"))[-1]
    return f"file:{name}" if text.startswith("file:") else name


def within(value: Any, change: Callable[[str], str]) -> Any:
    """A value of JSON, changed in each of its texts and keys."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(key) if isinstance(key, str) else key: within(entry, change) for key, entry in value.items()}
    return [within(entry, change) for entry in value] if isinstance(value, (list, tuple)) else value


def _address(address: str) -> str:
    address = _USER.sub("//", address, count=1)
    whole = address.rstrip(":;,.!)]}'")  # of the sentence around it
    kept, *rest = re.split(r"([?&;#])", whole)
    owed = ""  # the mark of a parameter that is gone stands for that of the next one: `?token=1&a=2` is `?a=2`
    for mark, part in zip(rest[::2], rest[1::2], strict=True):
        if _lets_in(part):
            owed = mark if mark in "?#" else owed
            continue
        kept += (mark if mark in "?#" else owed or mark) + part
        owed = ""
    return kept + address[len(whole) :]


def _lets_in(part: str) -> bool:
    name, equals, value = part.partition("=")
    if not equals:
        return False
    name, value = unquote_plus(name), unquote_plus(value)
    named = _SECRET.search(name) is not None or (name.lower() == "key" and _KEY.fullmatch(value) is not None)
    return named or ("//" in value and without_secrets(value) != value)
