"""One measured run of ours, as a process of its own: `python quality_ours.py [--workers N] DOCUMENTS LANGUAGE OUT`.

Runs the stage `quality` as the pipeline does on document shards and their language labels, and writes `OUT/dropped.txt`: the
addresses of the documents that datatrove's thresholds drop (`quality_datatrove.sql`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tasks.annotate.quality import QUALITY, QualitySignals
from tasks.core.engines import make_engine
from tasks.core.stage import Output, Step, Work, execute


def main(documents: Path, language: Path, out: Path, workers: int) -> None:
    import duckdb

    config = QualitySignals(label="swh_Latn")
    inputs = {"clean": Output("clean", "benchmark", documents), "language": Output("language", "benchmark", language)}
    output = execute(Step(QUALITY.stage, config, inputs), out, "benchmark", Work(make_engine("processes", workers)))
    with duckdb.connect() as database:
        database.execute(f"CREATE VIEW quality AS SELECT * FROM '{output.folder}/*.parquet'")
        verdicts = (Path(__file__).parent / "quality_datatrove.sql").read_text(encoding="utf-8")
        rows = database.execute(
            f"SELECT url FROM '{documents}/*.parquet' JOIN ({verdicts}) USING (id) WHERE dropped"
        ).fetchall()
    (out / "dropped.txt").write_text("\n".join(sorted(row[0] for row in rows)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("documents", type=Path)
    parser.add_argument("language", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    main(given.documents, given.language, given.out, given.workers)
