"""The one name that an installation takes: in a wheel, this package holds `flows`, `tasks` and `lang_configs`.

Those names are too general for `site-packages`, and too good to lengthen in every import of the project. So whatever enters
a process of its own comes through this package: the command, the flow of a deployment, a call on a Dask worker. Importing it
makes the three names mean ours, whatever lies in the current folder and whatever other distributions have installed.

Raises ImportError, with the file, where another module already has one of the names.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

NAMES = ("flows", "tasks", "lang_configs")
_HERE = Path(__file__).resolve().parent
ROOT = _HERE if (_HERE / "flows").is_dir() else _HERE.parents[2]
"""The folder of the three packages: this one in an installed wheel, the top of the repository in an editable install."""


def call(pickled: bytes) -> Any:
    """Call a pickled function without arguments.

    A Dask worker that was started by hand looks functions up by the name of their module; of ours it must find this one alone.
    """
    return pickle.loads(pickled)()


def _refuse_foreign() -> None:
    for name in NAMES:
        module = sys.modules.get(name)
        if module is None:
            continue
        found = Path(module.__file__ or next(iter(module.__path__)))  # a folder without __init__.py has no file
        if found.resolve() != ROOT / name / "__init__.py":
            raise ImportError(
                f"{found} was imported as `{name}`, the name of a package of lugha: import lugha before it, "
                "or run lugha in a process of its own, by the command `lugha`"
            )


_refuse_foreign()
sys.path[:] = [str(ROOT), *(entry for entry in sys.path if entry != str(ROOT))]
