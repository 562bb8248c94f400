"""Makes `tasks/crawl/formats/namespaces.tsv`: how each Wikipedia calls its namespaces of files and categories.

From mwconstants (MIT, research team of the Wikimedia Foundation), which asked the API of each Wikipedia for its names and
aliases: `uv run --with mwconstants==0.1.0 python -m tools.namespaces`.
"""

from __future__ import annotations

from collections import defaultdict
from importlib import import_module
from importlib.metadata import version

from tasks.crawl.formats.namespaces import HIDDEN, TABLE, folded


def main() -> None:
    """Write the table: a line for each Wikipedia, its code and the names that are not English."""
    constants = import_module("mwconstants.constants.c_namespaces")
    found: defaultdict[str, set[str]] = defaultdict(set)
    for code, spaces in constants.NAMESPACE_ALIASES.items():
        for name, about in spaces.items():
            if about.get("canonical") in ("Media", "File", "Category"):
                found[code] |= {folded(alias) for alias in (name, *about.get("aliases", ()))} - HIDDEN
    rows = [f"{code}\t{'|'.join(sorted(names))}" for code, names in sorted(found.items()) if names]
    head = f"# of mwconstants {version('mwconstants')} (MIT), by python -m tools.namespaces"
    TABLE.write_text("\n".join([head, *rows]) + "\n", "utf-8")


if __name__ == "__main__":
    main()
