"""The whole pipeline on one screen: which stage reads which, and the section of the config that each one gets.

`run` decides what becomes of a step: run in this process (`lugha build`), as a Prefect task, or not at all (`lugha plan`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel

from lang_configs import LanguageConfig
from lang_configs.schema import LanguageId
from lang_configs.sources import Source
from lang_configs.training import Pretrain, Tokenizer, Tokens
from tasks.annotate.annotator import Annotator, Judged
from tasks.annotate.contamination import CONTAMINATION, ContaminationConfig
from tasks.annotate.duplicates import DUPLICATES
from tasks.annotate.language import LANGUAGE, knows, knows_well
from tasks.annotate.language.confusion import UNMEASURED_SCORE, threshold
from tasks.annotate.language.own import IDENTIFIER, OwnIdentifier
from tasks.annotate.quality import QUALITY, QualitySignals
from tasks.cards import CARDS, CardsConfig
from tasks.clean import CLEAN
from tasks.core.stage import ANY, Output, Result, Step
from tasks.corpus import CORPUS
from tasks.crawl import CRAWL, identity
from tasks.evaluate import EVALUATE, TASK, EvaluateConfig, TaskConfig
from tasks.evaluation_sets import EvaluationData
from tasks.pretrain import PRETRAIN
from tasks.release import RELEASE
from tasks.select import SELECT, SelectConfig
from tasks.select.forgotten import BlockList
from tasks.tokenizer import TOKENIZER
from tasks.tokenizer.sizes import TokenizerForModel
from tasks.tokens import TOKENS

Run = Callable[[Step], Result]
Made = Mapping[str, Result]
"""What a run holds, by label."""
Dag = Callable[[LanguageConfig, "Given", Run], Made]
Configure = Callable[[LanguageConfig, "Given"], BaseModel]


@dataclass(frozen=True)
class Given:
    """What a run gets beside the config: the name of its snapshot, the command line that repeats it (for the cards), where
    evaluation sets lie, the block list, and the stage after which it ends.
    """

    snapshot: str
    command: str
    evaluation: Path | None = None
    forgotten: BlockList = field(default_factory=BlockList)
    until: str | None = None


ANNOTATORS: tuple[tuple[Annotator, Configure], ...] = (
    (CONTAMINATION, lambda config, given: ContaminationConfig(rule=config.contamination, data=_evaluation_data(config, given))),
    (LANGUAGE, lambda config, given: identification(config)),
    (QUALITY, lambda config, given: QualitySignals(label=identification(config).label)),
    (DUPLICATES, lambda config, given: config.duplicates),
)
"""Who writes columns beside the documents, in the order in which their rules are asked."""


def build_lm(
    config: LanguageConfig, given: Given, run: Run, annotators: tuple[tuple[Annotator, Configure], ...] = ANNOTATORS
) -> Made:
    """crawl ... -> corpus -> tokenizer -> tokens -> pretrain -> evaluate, task ... -> cards -> release; returns all."""
    made = dict(build_corpus(config, given, run, annotators))
    made |= tokenize(config, run, made)
    made |= train(config.pretrain, config, given, run, made)
    made["cards"] = write_cards(config, given, run, made)
    parts = {role: made[role] for role in RELEASE.inputs if role != ANY} | dict(measured_tasks(made))
    return made | {"release": run(Step(RELEASE, config.release, parts))}


def build_corpus(
    config: LanguageConfig, given: Given, run: Run, annotators: tuple[tuple[Annotator, Configure], ...] = ANNOTATORS
) -> Made:
    """crawl ... -> clean -> annotators -> select -> corpus; returns them by label."""
    raw = {source.name: run(_crawl(config, given, source)) for source in config.crawl.sources}
    made = {f"crawl.{name}": result for name, result in raw.items()}
    made["clean"] = run(Step(CLEAN, config.clean, raw))
    if learns_language(config):
        own = OwnIdentifier(label=str(identification(config).label), trusted=trusted(config))
        made["identifier"] = run(Step(IDENTIFIER, own, {"clean": made["clean"]}))
    judged: list[Judged] = []
    for annotator, configure in annotators:
        name, settings = annotator.stage.name, configure(config, given)
        roles = [*annotator.stage.inputs, *(role for role in annotator.stage.optional if role in made)]
        made[name] = run(Step(annotator.stage, settings, {role: made[role] for role in roles}))
        judged.append(annotator.judged(getattr(settings, "values", dict)()))
    annotations = {one.name: made[one.name] for one in judged}
    selection = _selection(config, given, tuple(judged))
    made["select"] = run(Step(SELECT, selection, {"clean": made["clean"], **annotations}))
    made["corpus"] = run(Step(CORPUS, config.corpus, {"clean": made["clean"], "select": made["select"]}))
    return made


def tokenize(config: LanguageConfig, run: Run, made: Made) -> Made:
    """tokenizer -> tokens; returns them by label."""
    pieces = run(Step(TOKENIZER, _tokenizer(config), {"corpus": made["corpus"]}))
    return {"tokenizer": pieces, "tokens": run(Step(TOKENS, Tokens(), {"corpus": made["corpus"], "tokenizer": pieces}))}


def train(settings: Pretrain, config: LanguageConfig, given: Given, run: Run, made: Made, name: str = "") -> Made:
    """pretrain -> evaluate, task ...; a run that holds several models gives each but the first a `name`: `pretrain.teacher`."""
    suffix = f".{name}" if name else ""
    files = {"tokens": made["tokens"], "tokenizer": made["tokenizer"]}
    model = run(Step(PRETRAIN, settings, files, label=f"pretrain{suffix}"))
    masking = settings.masking if settings.model.masked else None
    read = {"pretrain": model, "tokenizer": made["tokenizer"]}
    return {model.label: model, **measure(config, _evaluation_data(config, given), run, read, made["corpus"], masking, suffix)}


def measure(
    config: LanguageConfig,
    data: EvaluationData,
    run: Run,
    model: Mapping[str, Output],
    corpus: Output,
    masking: float | None = None,
    suffix: str = "",
) -> Made:
    """evaluate, and a task for each set of which there are files, of a `model` by role; returns them by label."""
    rule = config.evaluate.model_dump()
    made = [
        run(Step(EVALUATE, EvaluateConfig(**rule, masking=masking), {**model, "corpus": corpus}, label=f"evaluate{suffix}"))
    ]
    for entry in data.sets:
        if entry.task != "none" and (entry.format == "sections" or data.paths(entry.name)):
            settings = TaskConfig(**rule, data=EvaluationData(sets=[entry], folder=data.folder))
            read = {**model, "corpus": corpus} if entry.format == "sections" else dict(model)
            made.append(run(Step(TASK, settings, read, label=f"task.{entry.name}{suffix}")))
    return {one.label: one for one in made}


def measured_tasks(made: Made) -> Made:
    """What was measured on the run's first model, set by set."""
    return {label: one for label, one in made.items() if one.stage == TASK.name and label.count(".") == 1}


def write_cards(config: LanguageConfig, given: Given, run: Run, made: Made) -> Result:
    """The cards of what there is: of the data alone where no model was trained."""
    facts = {name: getattr(config, name) for name in ("name", "autonym", "code", "script", "hub_code")}
    return run(Step(CARDS, CardsConfig(language=facts, release=config.release, command=given.command), made))


STAGES = (
    *(CRAWL, CLEAN, IDENTIFIER, *(annotator.stage for annotator, _ in ANNOTATORS), SELECT, CORPUS),
    *(TOKENIZER, TOKENS, PRETRAIN, EVALUATE, TASK, CARDS, RELEASE),
)
"""Every stage in the order of the DAG."""


class _ReachedError(Exception):
    """The stage that a run was to end with has run."""


def complete(dag: Dag, config: LanguageConfig, given: Given, run: Run) -> Made:
    """Run a DAG to its end, or through the stage `given.until` and then the cards of what there is by then.

    Raises ValueError when two steps have one label.
    """
    made: dict[str, Result] = {}

    def watched(step: Step) -> Result:
        reached = given.until and any(given.until in (result.stage, label) for label, result in made.items())
        if reached and given.until not in (step.stage.name, step.label):
            raise _ReachedError
        if step.label in made:
            raise ValueError(f"two steps of the run have the label {step.label!r}")
        made[step.label] = run(step)
        return made[step.label]

    try:
        dag(config, given, watched)
    except _ReachedError:
        if "corpus" in made and "cards" not in made:
            made["cards"] = write_cards(config, given, run, made)
    return made


def _crawl(config: LanguageConfig, given: Given, source: Source) -> Step:
    """A source of pages in many languages gives those in the language of the config, unless it names others; so with scripts.

    Pages in a language that is not known yet would all be taken for others.
    """
    wanted = [] if learns_language(config) else [config.label, *config.language.accept]
    defaults = {"languages": wanted, "script": config.script}
    unsaid = {key: value for key, value in defaults.items() if getattr(source, key, value) is None}
    return Step(CRAWL, source.model_copy(update=unsaid), {}, identity(source, given.snapshot), f"crawl.{source.name}")


def _selection(config: LanguageConfig, given: Given, annotations: tuple[Judged, ...]) -> SelectConfig:
    rule = config.select
    if rule.min_language_score is None:
        least = UNMEASURED_SCORE if learns_language(config) else threshold(config.language, config.label)
        rule = rule.model_copy(update={"min_language_score": least})
    return SelectConfig(
        label=identification(config).label,
        annotations=annotations,
        quality=config.quality,
        rule=rule,
        trusted=vouched if len(vouched := trusted(config)) < len(config.crawl.sources) else (),
        forgotten=given.forgotten,
    )


def identification(config: LanguageConfig) -> LanguageId:
    """The section `language` with the label that it stands for where it names none."""
    return config.language.model_copy(update={"label": config.language.label or config.label})


def learns_language(config: LanguageConfig) -> bool:
    """Whether a run makes an identifier of its own: the packaged one does not know the language, or not well, and there is text
    that the user vouches for.
    """
    settings = identification(config)
    return not knows(settings) or (bool(trusted(config)) and not knows_well(settings))


def trusted(config: LanguageConfig) -> tuple[str, ...]:
    """The sources that the user vouches for."""
    return tuple(source.name for source in config.crawl.sources if source.trusted)


def _evaluation_data(config: LanguageConfig, given: Given) -> EvaluationData:
    """The evaluation sets that this run can hold: sections of a web source only where that source is crawled."""
    crawled = {source.name for source in config.crawl.sources}
    sets = [entry for entry in config.evaluation if entry.format != "sections" or entry.source in crawled]
    return EvaluationData(sets=sets, folder=given.evaluation)


def _tokenizer(config: LanguageConfig) -> Tokenizer:
    """The config of the tokenizer, with the model that its size is chosen for where there are several."""
    if isinstance(config.tokenizer.vocab_size, int):
        return config.tokenizer
    return TokenizerForModel(**config.tokenizer.model_dump(), model=config.pretrain.model)
