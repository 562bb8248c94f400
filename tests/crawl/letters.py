"""A kind of source from outside the tree: text files of the web, one document each, that workers download."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import pytest
from pydantic import Field

from lang_configs.sources import Name, SourceConfig
from tasks.core.documents import Document
from tasks.crawl.sources import Estimate, UnitSource, register
from tasks.net.download import download, size
from tests.net.clock import Clock


class LettersSource(SourceConfig):
    type: Literal["letters"] = "letters"
    name: Name = "letters"
    addresses: list[str] = Field(min_length=1)
    license: str | None = None
    clock: datetime | None = None
    """By which a worker goes, so that no test has to wait for the night; the seconds that it waited are the title."""


@register
class Letters(UnitSource[LettersSource]):
    model = LettersSource

    @property
    def where(self) -> str:
        return self.config.addresses[0]

    def estimate(self) -> Estimate:
        sizes = [size(address) or 0 for address in self.config.addresses]
        return Estimate(sum(sizes), f"{len(sizes)} letters")

    def units(self) -> list[str]:
        return self.config.addresses

    def read(self, unit: str, report: Counter[str]) -> Iterator[Document]:
        with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            clock = Clock(self.config.clock).on_the_wall(patch) if self.config.clock else None
            text = download(unit, Path(folder) / "letter").read_text("latin-1")
        report["documents"] += 1
        waited = str(clock.seconds) if clock else None
        yield Document(text=text, source=self.config.name, url=unit, title=waited, license=self.config.license)
