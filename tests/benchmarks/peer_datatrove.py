"""datatrove: its four MinHash steps with the parameters of FineWeb-2 (14 buckets of 8, word 5-grams, swh_Latn), one worker."""

import json
import sys
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.hashing import HashConfig


def main(source: Path, out: Path) -> None:
    config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8, hash_config=HashConfig(precision=64))

    def reader() -> JsonlReader:
        return JsonlReader(str(source.parent), glob_pattern=source.name, id_key="id")

    def writer(name: str) -> JsonlWriter:
        return JsonlWriter(str(out / name), output_filename="${rank}.jsonl", compression=None)

    signatures, buckets, clusters = (str(out / name) for name in ("signatures", "buckets", "clusters"))
    steps = [
        ([reader(), MinhashDedupSignature(signatures, config, language="swh_Latn")], 1),
        ([MinhashDedupBuckets(signatures, buckets, config=config)], config.num_buckets),
        ([MinhashDedupCluster(buckets, clusters, config=config)], 1),
        ([reader(), MinhashDedupFilter(clusters, exclusion_writer=writer("removed")), writer("kept")], 1),
    ]
    for number, (pipeline, tasks) in enumerate(steps):
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=str(out / f"log{number}")).run()
    rows = [json.loads(line)["id"] for path in (out / "removed").glob("*.jsonl") for line in path.read_text().splitlines()]
    (out / "removed.txt").write_text("\n".join(rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
