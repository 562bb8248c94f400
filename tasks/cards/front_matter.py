"""The YAML at the head of a card, which the Hub reads (huggingface.co/docs/hub/datasets-cards and model-cards)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from tasks.evaluate.metrics import HELD_OUT

if TYPE_CHECKING:
    from lang_configs.schema import Release

SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "1B<n<10B", "10B<n<100B")
"""The Hub's size categories, by number of documents: each is ten times the one before."""


class CardLanguage(BaseModel):
    """How the language is called: English name, own name, ISO 639-3 code, ISO 15924 script, code of the Hub's tag."""

    model_config = ConfigDict(frozen=True)
    name: str
    autonym: str | None = None
    code: str
    script: str
    hub_code: str | None = None


def dataset_front_matter(facts: dict[str, Any], language: CardLanguage, release: Release) -> str:
    """Front matter of the data card."""
    from huggingface_hub import DatasetCardData

    datasets = sorted(row["origin"] for row in facts["crawls"] if row["type"] == "hub")
    return _yaml(
        DatasetCardData(
            pretty_name=f"{language.name} corpus",
            language=[language.hub_code or language.code],
            license=release.license.lower(),  # the Hub's way to write SPDX ids
            annotations_creators=["no-annotation"],
            language_creators=["found"],
            multilinguality=["monolingual"],
            size_categories=[size_category(facts["kept"]["documents"])],
            source_datasets=["original", *(f"extended|{name}" for name in datasets)],
            task_categories=["text-generation"],
            task_ids=["language-modeling"],
            language_details=f"{language.code}_{language.script}",
            tags=["lugha"],
            configs=[
                {
                    "config_name": "default",
                    "data_files": [{"split": row["split"], "path": f"{row['split']}-*.parquet"} for row in facts["splits"]],
                }
            ],
        )
    )


def model_front_matter(facts: dict[str, Any], language: CardLanguage, release: Release) -> str:
    """Front matter of the model card; the model's own scores become its model-index."""
    from huggingface_hub import EvalResult, ModelCardData

    task = "fill-mask" if facts["training"]["objective"] == "masked" else "text-generation"
    held_out = {row["metric"]: row["value"] for row in facts["pseudo"]} | facts["held_out"]
    text: dict[str, Any] = {"task_type": task, "dataset_type": f"lugha-{language.code}", "dataset_split": "test"}
    results = [
        EvalResult(
            dataset_name=f"{language.name} corpus, held-out text",
            metric_type=metric.name,
            metric_value=held_out[metric.name],
            **text,
        )
        for metric in HELD_OUT
        if metric.comparable and held_out.get(metric.name) is not None
    ]
    results += [
        EvalResult(
            task_type="text-classification",
            dataset_type=score["task"],
            dataset_name=score["task"],
            metric_type=score["metric"],
            metric_value=score["value"],
        )
        for score in facts["scores"]
        if score["system"] == "model" and score["value"] is not None
    ]
    return _yaml(
        ModelCardData(
            model_name=f"{language.name} {'masked ' if task == 'fill-mask' else ''}language model",
            language=[language.hub_code or language.code],
            license=release.model_license.lower(),
            library_name="transformers",
            pipeline_tag=task,
            tags=["lugha"],
            eval_results=results or None,
        )
    )


def size_category(documents: int) -> str:
    """The Hub's name for a number of documents."""
    return SIZES[min(max(len(str(documents)) - 3, 0), len(SIZES) - 1)]


def _yaml(data: Any) -> str:
    text: str = data.to_yaml(line_break="\n")
    return text
