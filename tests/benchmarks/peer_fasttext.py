"""fastText's own `predict`, by the library or by its fork fasttext-predict: `python peer_fasttext.py all|one MODEL STRINGS`.

With "all" it gets all strings in one call, with "one" (all that the fork can do) one after the other. Without strings it only
reads the model and classifies one.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

K, ROUNDS = 8, 5
Best = list[tuple[str, float]]
"""The best label of each string and its probability, "" and 0 where nothing is known."""


def opened(way: str, model: str) -> Callable[[list[str]], Best]:
    """What gives the best label of each string, the model being read."""
    import fasttext

    theirs = fasttext.load_model(model)
    if way == "one":
        return lambda texts: [_first(*theirs.predict(text, k=K)) for text in texts]
    return lambda texts: [_first(*found) for found in zip(*theirs.predict(texts, k=K), strict=True)]


def _first(labels: Sequence[str], scores: Sequence[float]) -> tuple[str, float]:
    # the library adds 0.00001 to each probability before it takes the logarithm
    return (labels[0].removeprefix("__label__"), float(scores[0]) - 1e-5) if len(labels) else ("", 0.0)


def take(open_model: Callable[[], Callable[[list[str]], Best]], strings: Path) -> str:
    """What reading the model (bytes) and classifying the strings (least seconds of one thread) takes, as JSON."""
    texts, process = json.loads(strings.read_text()), psutil.Process()
    before = process.memory_info().rss
    predict = open_model()
    predict(texts[:10])  # ours is compiled
    seconds = []
    for _ in range(ROUNDS):
        started = time.thread_time()
        best = predict(texts)
        seconds.append(time.thread_time() - started)
    return json.dumps({"seconds": min(seconds), "memory": process.memory_info().rss - before, "best": best})


if __name__ == "__main__":
    way, model = sys.argv[1:3]
    if len(sys.argv) > 3:
        import fasttext  # noqa: F401  is no part of the memory that the model takes

        print(take(lambda: opened(way, model), Path(sys.argv[3])))
    else:
        opened(way, model)(["habari za leo"])
