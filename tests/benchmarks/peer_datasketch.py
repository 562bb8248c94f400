"""datasketch by its bulk call, as its documentation shows it for many documents; `MinHashLSH(threshold=0.7, num_perm=128)`."""

import itertools
import json
import re
import sys
from pathlib import Path

from datasketch import MinHash, MinHashLSH

PART = 1000
"""Documents whose signatures are made at once."""

source, out = Path(sys.argv[1]), Path(sys.argv[2])
index = MinHashLSH(threshold=0.7, num_perm=128)
with open(source, encoding="utf-8") as lines, open(out / "kept.jsonl", "w") as kept, open(out / "removed.txt", "w") as removed:
    while part := list(itertools.islice(lines, PART)):
        rows = [json.loads(line) for line in part]
        shingles = []
        for row in rows:
            words = re.findall(r"\w+", row["text"].lower())
            shingles.append([" ".join(words[start : start + 5]).encode() for start in range(max(len(words) - 4, 1))])
        for line, row, minhash in zip(part, rows, MinHash.bulk(shingles, num_perm=128), strict=True):
            if index.query(minhash):
                removed.write(row["id"] + "\n")
            else:
                index.insert(row["id"], minhash)
                kept.write(line)
