"""JSON records that tell when they were damaged: the manifest of an output, the record of a run, that of a unit.

A record holds, as its last key, the SHA-256 of the rest. A bit that flips inside a number leaves valid JSON behind; this does
not let it pass.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from tasks.core.files import write_atomically

SEAL = "sha256"


class DamagedError(Exception):
    """A record is not what was written; the message says what is wrong with it, without its path."""


def write_record(path: Path, facts: dict[str, Any]) -> None:
    """Write a JSON object with its seal, so that `path` holds all of it or what it held before."""
    text = json.dumps({**facts, SEAL: _seal(facts)}, indent=1, ensure_ascii=False)
    write_atomically(path, text.encode("utf-8", errors="backslashreplace"))


def read_record(path: Path, schema: type[BaseModel] | None = None) -> dict[str, Any]:
    """A record as it was written, without its seal; raises DamagedError for any other content, OSError if it cannot be read.

    `schema` holds of the values what readers rely on. A record of a version of this program that wrote no seal passes if it
    fits the schema.
    """
    try:
        facts = json.loads(path.read_bytes().decode("utf-8"))
    except (FileNotFoundError, PermissionError):
        raise
    except OSError as error:
        raise DamagedError(f"it cannot be read: {(error.strerror or str(error)).lower()}") from None
    except (ValueError, RecursionError):
        raise DamagedError("it is no JSON: cut off or overwritten") from None
    if not isinstance(facts, dict):
        raise DamagedError("it is no JSON object")
    if SEAL in facts and facts.pop(SEAL) != _seal(facts):
        raise DamagedError("its content does not have the checksum that was written with it")
    if schema is not None:
        try:
            schema.model_validate(facts, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            raise DamagedError(f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg'].lower()}") from None
    return facts


def _seal(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, ensure_ascii=True, sort_keys=False).encode()).hexdigest()
