"""The plots of the cards: SVG files whose bytes depend on nothing but the facts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.cards.render import count, percent, score_table, size
from tasks.core.files import replacing

KEPT, DROPPED, PALE, INK = "#1f6f78", "#d98032", "#c9d3d6", "#33393c"
STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a9499",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "text.parse_math": False,  # a $ in a name from outside is a $
    "svg.hashsalt": "lugha",
    "svg.fonttype": "path",
}
WIDTH = 7.4
"""Inches of every figure."""


def draw(facts: dict[str, Any], folder: Path) -> set[str]:
    """Write `<name>.svg` for each plot that has something to show; returns their names."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    drawn = set()
    settings: Any = {**matplotlib.rcParamsDefault.copy(), **STYLE}  # whatever the user's matplotlibrc says
    with matplotlib.rc_context(settings):
        for name, plot in PLOTS.items():
            figure = Figure(figsize=(WIDTH, 3), layout="constrained")
            if not plot(figure, facts):
                continue
            with replacing(folder / f"{name}.svg") as temporary:
                FigureCanvasSVG(figure).print_figure(
                    temporary, format="svg", facecolor="white", metadata={"Date": None, "Creator": None}
                )
            drawn.add(name)
    return drawn


def funnel(figure: Any, facts: dict[str, Any]) -> bool:
    """A waterfall: what each reason took away, down to what was kept."""
    rows = [row for row in facts["funnel"] if row["decision"] != "keep"]
    total, kept = facts["decided"]["documents"], facts["kept"]["documents"]
    labels, starts, widths, colours = ["all documents"], [0], [total], [PALE]
    left = total
    for row in rows:
        left -= row["documents"]
        labels.append(row["why"])
        starts.append(left)
        widths.append(row["documents"])
        colours.append(DROPPED)
    axes = _bars(figure, [*labels, "kept"], [*widths, kept], [*colours, KEPT], [*starts, 0])
    for place, (start, width) in enumerate(zip([*starts, 0], [*widths, kept], strict=True)):
        axes.text(
            (start + width) / total + 0.01, place, f"{count(width)}  ({percent(100 * width / total)})", va="center", fontsize=8
        )
    for patch in axes.patches:
        patch.set_x(patch.get_x() / total)
        patch.set_width(patch.get_width() / total)
    axes.set_xlim(0, 1.22)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.set_title("Where the documents went")
    return True


def sources(figure: Any, facts: dict[str, Any]) -> bool:
    """Kept text by source."""
    return _shares(figure, facts["sources"], "source", "Kept text by source")


def licenses(figure: Any, facts: dict[str, Any]) -> bool:
    """Kept text by licence."""
    return _shares(figure, facts["licenses"], "license", "Kept text by licence")


def domains(figure: Any, facts: dict[str, Any]) -> bool:
    """The domains with most kept documents."""
    rows = facts["domains"]
    if not rows:
        return False
    axes = _bars(figure, [_short(row["domain"]) for row in rows], [row["documents"] for row in rows], [KEPT] * len(rows))
    _label(axes, [f"{count(row['documents'])}  ({percent(row['percent'])})" for row in rows])
    axes.set_title("Domains with most documents")
    return True


def document_length(figure: Any, facts: dict[str, Any]) -> bool:
    """Words per document, on a log scale."""
    rows = facts["length_histogram"]
    axes = figure.subplots()
    edges = [10 ** (row["tenth_of_decade"] / 10) for row in rows]
    _stacked(
        axes, edges, [10 ** ((row["tenth_of_decade"] + 1) / 10) - edge for row, edge in zip(rows, edges, strict=True)], rows
    )
    axes.set_xscale("log")
    _decades(axes.xaxis, edges[0] / 1.2, edges[-1] * 1.5)
    axes.set_xlabel("words per document (log scale)")
    axes.set_title("Length of the documents")
    return True


def _decades(axis: Any, least: float, most: float) -> None:
    """A log scale from least to most with plain numbers at 1, 2 and 5 of each decade, ten at most."""
    powers = range(len(str(int(most))))
    ticks = [digit * 10**power for power in powers for digit in (1, 2, 5) if least < digit * 10**power < most]
    axis.set_ticks(ticks[:: 1 + len(ticks) // 10], minor=False)
    axis.set_ticks([], minor=True)
    axis.set_major_formatter(lambda value, _: count(value))
    axis.axes.set(**{f"{axis.axis_name}lim": (least, most)})


def language_score(figure: Any, facts: dict[str, Any]) -> bool:
    """Confidence of language identification in the label that it gave."""
    rows = facts["score_histogram"]
    if not rows:
        return False
    axes = figure.subplots()
    _stacked(axes, [row["fiftieth"] / 50 for row in rows], [1 / 50] * len(rows), rows)
    thresholds = [
        row["value"] for row in facts["settings"] if row["stage"] == "select" and row["key"].endswith("min_language_score")
    ]
    for threshold in map(float, thresholds):
        axes.axvline(threshold, color=INK, linewidth=1, linestyle="--")
        axes.text(threshold, 1.0, f" least score {threshold:g}", transform=axes.get_xaxis_transform(), va="top", fontsize=8)
    axes.set_xlabel("language score of a document")
    axes.set_title("Confidence of language identification")
    return True


def duplicate_clusters(figure: Any, facts: dict[str, Any]) -> bool:
    """How many copies one text had, both axes logarithmic."""
    rows = facts["clusters"]
    if not rows:
        return False
    axes = figure.subplots()
    axes.plot([row["size"] for row in rows], [row["clusters"] for row in rows], "o", color=KEPT, markersize=5)
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis, name, least in ((axes.xaxis, "size", 1.5), (axes.yaxis, "clusters", 0.7)):
        _decades(axis, least, max(row[name] for row in rows) * 2)
    axes.set_xlabel("documents with (nearly) the same text")
    axes.set_ylabel("clusters")
    axes.set_title("Sizes of the duplicate clusters")
    return True


def tokenizer_sizes(figure: Any, facts: dict[str, Any]) -> bool:
    """What each size of vocabulary gives (bytes per token) and costs (computation per byte), the chosen one marked."""
    rows = facts["tokenizer_sizes"]
    if not rows:
        return False
    pieces = [row["vocab_size"] for row in rows]
    panels = (("bytes_per_token", "Bytes per token"), ("megaflops_per_byte", "Training MFLOP per byte of text"))
    for axes, (name, title) in zip(figure.subplots(1, 2), panels, strict=True):
        axes.plot(pieces, [row[name] for row in rows], color=KEPT, linewidth=1.2, marker="o", markersize=4)
        axes.plot(*next((row["vocab_size"], row[name]) for row in rows if row["chosen"]), "o", color=DROPPED, label="chosen")
        axes.set_xscale("log", base=2)
        axes.set_xticks(pieces, [count(size) for size in pieces])
        axes.set_xticks([], minor=True)
        axes.set_xlabel("pieces")
        axes.set_title(title)
        axes.legend(fontsize=8)
    return True


def training(figure: Any, facts: dict[str, Any]) -> bool:
    """Loss and, of causal models, bits per byte over the tokens read, with the held-out value at the end."""
    masked = facts["training"]["objective"] == "masked"
    finals = {"bits_per_byte": facts["held_out"]["bits_per_byte"], "loss": facts["masked_prediction"]["loss"]}
    titles = {"loss": f"Training loss (nats per {'masked ' if masked else ''}token)", "bits_per_byte": "Bits per byte"}
    panels = [
        (name, title, [(row["tokens"], row[name]) for row in facts["curve"] if row[name] is not None])
        for name, title in titles.items()
    ]
    panels = [panel for panel in panels if panel[2]]
    if not panels:
        return False
    for axes, (name, title, points) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        axes.plot(
            *zip(*points, strict=True), color=KEPT, linewidth=1.2, marker="" if len(points) > 30 else ".", label="training run"
        )
        if looks := [(row["tokens"], seen) for row in facts["curve"] if (seen := row[f"validation_{name}"]) is not None]:
            axes.plot(*zip(*looks, strict=True), "o", color=DROPPED, markersize=3.5, label="some held-out windows")
        axes.xaxis.set_major_formatter(lambda value, _: _short_number(value))
        axes.set_xlabel("tokens read")
        axes.set_title(title)
        if (final := finals[name]) is not None:
            axes.axhline(final, color=DROPPED, linewidth=1.2, linestyle="--", label=f"held-out text, at the end: {final:.3f}")
        axes.legend(fontsize=8)
    return True


def scores(figure: Any, facts: dict[str, Any]) -> bool:
    """The model's scores with their intervals, among the floors of each task."""
    rows = score_table(facts["scores"])
    if not rows:
        return False
    figure.set_size_inches(WIDTH, 1.2 + 0.55 * len(rows))
    axes = figure.subplots()
    marks = {
        "model": ("o", KEPT),
        "tfidf": ("s", DROPPED),
        "random-init": ("^", "#7a6fae"),
        "majority": ("|", INK),
        "frequent-tag": ("|", INK),
    }
    for place, row in enumerate(rows):
        for system, score in row["systems"].items():
            mark, colour = marks.get(system, ("x", INK))
            if score["value"] is None:
                continue
            if score["low"] is not None and score["high"] is not None:
                axes.plot([score["low"], score["high"]], [place, place], color=colour, linewidth=2, alpha=0.45)
            axes.plot(
                score["value"],
                place,
                mark,
                color=colour,
                markersize=11 if mark == "|" else 6,
                markeredgewidth=2 if mark == "|" else 0,
            )
    for system, (mark, colour) in marks.items():
        if any(system in row["systems"] for row in rows):
            axes.plot([], [], mark, color=colour, markersize=6, markeredgewidth=2 if mark == "|" else 0, label=system)
    axes.set_yticks(range(len(rows)), [_short(f"{row['task']}, {row['metric'].replace('_', ' ')}") for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="x", color="#e6eaec")
    axes.set_axisbelow(True)
    axes.set_title("Scores against the floors (95 % intervals)")
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.2 - 0.15 / len(rows)), ncols=4)
    return True


PLOTS = {
    plot.__name__: plot
    for plot in (
        funnel,
        sources,
        licenses,
        domains,
        document_length,
        language_score,
        duplicate_clusters,
        tokenizer_sizes,
        training,
        scores,
    )
}


def _bars(figure: Any, labels: Sequence[str], widths: Sequence[float], colours: Sequence[str], starts: Any = 0) -> Any:
    figure.set_size_inches(WIDTH, 0.7 + 0.27 * len(labels))
    axes = figure.subplots()
    axes.barh(range(len(labels)), widths, left=starts, color=colours, height=0.72)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    return axes


def _label(axes: Any, texts: Sequence[str]) -> None:
    """Write each bar's value at its end, and take away the axis that it makes needless."""
    longest = max(patch.get_width() for patch in axes.patches) or 1
    for patch, text in zip(axes.patches, texts, strict=True):
        axes.text(patch.get_width() + longest * 0.012, patch.get_y() + patch.get_height() / 2, text, va="center", fontsize=8)
    axes.set_xlim(0, longest * 1.22)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)


def _shares(figure: Any, rows: list[dict[str, Any]], name: str, title: str) -> bool:
    if not rows:
        return False
    rows = rows[:20]
    axes = _bars(figure, [_short(row[name]) for row in rows], [row["bytes"] for row in rows], [KEPT] * len(rows))
    _label(axes, [f"{size(row['bytes'])}  ({percent(row['percent'])})" for row in rows])
    axes.set_title(title)
    return True


def _stacked(axes: Any, lefts: Sequence[float], widths: Sequence[float], rows: list[dict[str, Any]]) -> None:
    kept, dropped = [row["kept"] for row in rows], [row["dropped"] for row in rows]
    line = {"align": "edge", "edgecolor": "white", "linewidth": 0.4}
    axes.bar(lefts, kept, widths, color=KEPT, label="kept", **line)
    axes.bar(lefts, dropped, widths, bottom=kept, color=DROPPED, label="dropped", **line)
    axes.yaxis.set_major_formatter(lambda value, _: count(value))
    axes.set_ylabel("documents")
    axes.legend(fontsize=8)


def _short(text: str, longest: int = 40) -> str:
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _short_number(value: float) -> str:
    for limit, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:g}{unit}"
    return f"{value:g}"
