"""datatrove: its three quality filters with the settings of FineWeb-2 for swh_Latn, one worker, JSON lines to JSON lines."""

import json
import sys
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.filters import FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter


def main(source: Path, out: Path) -> None:
    def writer(name: str) -> JsonlWriter:
        return JsonlWriter(str(out / name), output_filename="${rank}.jsonl", compression=None)

    language = "swh_Latn"
    filters = [
        GopherRepetitionFilter(
            language=language,
            dup_line_frac=0.302,
            dup_para_frac=0,
            dup_line_char_frac=0,
            dup_para_char_frac=0,
            top_n_grams=((2, 0.396), (3, 0.282), (4, 0.231)),
            dup_n_grams=((5, 0.193), (6, 0.17), (7, 0.155), (8, 0.14), (9, 0.126), (10, 0.113)),
            exclusion_writer=writer("removed-repetition"),
        ),
        FineWebQualityFilter(
            language=language,
            short_line_thr=999,
            char_duplicates_ratio=0.1,
            line_punct_thr=0.143,
            new_line_ratio=0.167,
            exclusion_writer=writer("removed-fineweb"),
        ),
        GopherQualityFilter(
            language=language,
            min_avg_word_length=3,
            max_avg_word_length=9,
            max_non_alpha_words_ratio=0.802,
            stop_words=["ya", "na", "wa", "katika", "kwa", "ni", "la", "za", "mwaka"],
            exclusion_writer=writer("removed-gopher"),
        ),
    ]
    reader = JsonlReader(str(source.parent), glob_pattern=source.name, id_key="id")
    LocalPipelineExecutor([reader, *filters, writer("kept")], tasks=1, workers=1, logging_dir=str(out / "log")).run()
    dropped = []
    for path in out.glob("removed-*/*.jsonl"):
        for line in path.read_text(encoding="utf-8").rstrip("\n").split("\n"):
            row = json.loads(line)
            dropped.append((row["metadata"]["url"], row["metadata"].get("filter_reason", path.parent.name)))
    (out / "dropped.txt").write_text("\n".join(sorted(url for url, _ in dropped)))
    (out / "reasons.json").write_text(json.dumps(dict(sorted(dropped)), indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
