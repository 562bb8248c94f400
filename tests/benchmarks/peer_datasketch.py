"""datasketch as its documentation shows it: `update` for each shingle, `MinHashLSH(threshold=0.7, num_perm=128)`."""

import json
import re
import sys
from pathlib import Path

from datasketch import MinHash, MinHashLSH

source, out = Path(sys.argv[1]), Path(sys.argv[2])
index = MinHashLSH(threshold=0.7, num_perm=128)
with open(source, encoding="utf-8") as lines, open(out / "kept.jsonl", "w") as kept, open(out / "removed.txt", "w") as removed:
    for line in lines:
        row = json.loads(line)
        words = re.findall(r"\w+", row["text"].lower())
        minhash = MinHash(num_perm=128)
        for start in range(max(len(words) - 4, 1)):
            minhash.update(" ".join(words[start : start + 5]).encode())
        if index.query(minhash):
            removed.write(row["id"] + "\n")
        else:
            index.insert(row["id"], minhash)
            kept.write(line)
