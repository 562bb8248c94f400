"""The C++ compiler of torch.compile on a CPU."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

WITHOUT = "-fno-tree-slp-vectorize"
"""GCC 12 vectorises straight-line code across the tiles in which torch's kernels transpose bf16 (AVX-512) and reads them
before they are written: gradients of keys are NaN or garbage. Without it kernels are right, and no slower (measured, 12.2)."""


def compiler(cache: Path) -> dict[str, str]:
    """The environment variable that makes torch.compile use g++ without what it gets wrong; empty where there is no g++.

    torch has no setting for flags, so it is given a script, below `cache`, that adds one. A compiler that the user named by
    CXX and that is no g++ is left alone.
    """
    asked = os.environ.get("CXX") or "g++"
    found = shutil.which(asked)
    script = cache / "compiler" / "g++"  # torch knows the kind of a compiler by its name
    if sys.platform != "linux" or found is None or "g++" not in Path(found).name or Path(found) == script:
        return {}
    text = f'#!/bin/sh\nexec {shlex.quote(str(Path(found).absolute()))} "$@" {WITHOUT}\n'.encode()
    try:
        if not script.is_file() or script.read_bytes() != text:
            script.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=script.parent, delete=False) as handle:
                handle.write(text)
            Path(handle.name).chmod(0o755)  # before it has its name: another training may look for it at this moment
            Path(handle.name).replace(script)
    except OSError:  # a home that cannot be written to: what comes of g++ is compared before it is used
        return {}
    return {"CXX": str(script)}
