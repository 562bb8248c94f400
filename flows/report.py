"""What a person reads on the terminal: a line per stage, tables, and where the results are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tasks.stage import Output

_HEADLINE = {
    "crawl": ("written", "documents written"),
    "clean": ("documents", "documents"),
    "language": ("documents", "documents labelled"),
    "quality": ("documents", "documents measured"),
    "duplicates": ("near", "near duplicates"),
    "contamination": ("items", "evaluation items looked for"),
    "select": ("kept", "documents kept"),
    "corpus": ("train_bytes", "bytes to train on"),
    "tokenizer": ("vocab_size", "pieces"),
    "tokens": ("train_tokens", "tokens to train on"),
    "pretrain": ("tokens", "tokens trained on"),
    "evaluate": ("bits_per_byte", "bits per byte on held-out text"),
}


def stage_line(label: str, manifest: Mapping[str, Any], reused: bool) -> str:
    """One line about a stage that ended: name, reused or seconds, and its most telling number."""
    spent = "reused" if reused else f"{manifest['seconds']:.1f} s"
    key, words = _HEADLINE.get(manifest["stage"], ("", ""))
    value = manifest["metrics"].get(key)
    headline = f"{value:,.4g} {words}" if isinstance(value, float) else f"{value:,} {words}" if value is not None else ""
    return f"{label:<24} {spent:>9}   {headline}".rstrip()


def print_result(release: Output, manifests: Mapping[str, Mapping[str, Any]]) -> None:
    """Where the cards, the model and the samples are, and the headline numbers."""
    metrics = manifests["evaluate"]["metrics"]
    folder = release.folder
    print()
    print(f"data card      {folder / 'corpus' / 'README.md'}")
    print(f"model card     {folder / 'model' / 'README.md'}")
    print(f"model          {folder / 'model'}")
    print(f"samples        {folder.parent.parent / 'evaluate' / manifests['evaluate']['fingerprint'] / 'samples.json'}")
    print(f"bits per byte  {metrics['bits_per_byte']:.4f} on {metrics['validation_documents']} held-out documents")
    for score in metrics["scores"]:
        if score["system"] == "model":
            print(f"{score['task']:<14} {score['metric']} {score['value']:.3f} (n = {score['n']})")
    for sample in metrics["samples"][:2]:
        print(f"\n  {sample['prompt']} ... {' '.join(sample['text'].split())[:300]}")


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table; numbers to the right."""
    from rich.console import Console
    from rich.table import Table

    cells = [[_cell(value) for value in row] for row in rows]
    grid = Table(box=None, header_style="bold", pad_edge=False)
    for number, column in enumerate(columns):
        numeric = bool(cells) and all(
            row[number].replace(",", "").replace(".", "").lstrip("-").isdigit() for row in cells if row[number]
        )
        grid.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        grid.add_row(*row)
    Console().print(grid)


def _cell(value: Any) -> str:
    from rich.markup import escape

    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else escape(str(value))
