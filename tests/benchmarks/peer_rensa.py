"""rensa: R-MinHash with the parameters of FineWeb-2 (14 bands of 8 rows)."""

import json
import re
import sys
from pathlib import Path

from rensa import RMinHash, RMinHashLSH

source, out = Path(sys.argv[1]), Path(sys.argv[2])
index = RMinHashLSH(threshold=0.7, num_perm=112, num_bands=14)
with open(source, encoding="utf-8") as lines, open(out / "kept.jsonl", "w") as kept, open(out / "removed.txt", "w") as removed:
    for number, line in enumerate(lines):
        row = json.loads(line)
        words = re.findall(r"\w+", row["text"].lower())
        minhash = RMinHash(num_perm=112, seed=1)
        minhash.update([" ".join(words[start : start + 5]) for start in range(max(len(words) - 4, 1))])
        if index.query(minhash):
            removed.write(row["id"] + "\n")
        else:
            index.insert(number, minhash)
            kept.write(line)
