"""What would fail at the end of a run is refused before any work is done."""

from __future__ import annotations

from importlib.util import find_spec

from distill.checkpoints import check_checkpoint, load_tokenizer
from distill.config import HfTeacher, Run, VllmTeacher
from distill.errors import ConfigError
from distill.prompts.taxonomies import chosen_taxonomies
from distill.run import stages
from sentibench.data.cards import Card, load_cards, load_groups, load_tasks
from sentibench.data.fetch import data_home, ensure_dataset
from sentibench.errors import DataError, InputError


def datasets_of(run: Run) -> list[Card]:
    """The datasets that a run reads: texts, test sets that these are compared with, tasks."""
    names = {texts.dataset for texts in run.texts if not texts.mini}
    if run.compared_with == "real":
        names |= load_cards().keys()
    tasks = {**load_groups(), **{name: (task,) for name, task in load_tasks().items()}}
    for name in run.evaluation.tasks:
        names |= {task.card.name for task in tasks.get(name, ()) if task.source == "real"}
    return [card for name, card in load_cards().items() if name in names]


def missing_datasets(run: Run) -> str:
    """Which of them are not on this machine and the ways out, in one line; empty if none."""

    def is_here(card: Card) -> bool:
        folder = data_home() / "datasets" / card.folder
        return all((folder / f"{split}.json").is_file() for split in card.splits)

    missing = [card.name for card in datasets_of(run) if not is_here(card)]
    if not missing:
        return ""
    names = missing if len(missing) < len(load_cards()) else []
    fetch = " ".join(["sentibench fetch", *names])
    own = (
        "; or, for texts of your own, set filters.skip=[contaminated]: their overlap with test "
        "sets is then not checked"
    )
    return (
        f"datasets are missing; download them with `{fetch}`, or use the "
        "package's own small texts: set mini: true for each dataset in texts, and "
        "evaluation.tasks=[sentibench_mini]"
        + (own if any(texts.dataset is None for texts in run.texts) else "")
    )


def bring_datasets(run: Run) -> None:
    """Fetch the datasets that a run reads, where they are not here.

    Raises:
        InputError: If one cannot be brought; the message names the ways out.
    """
    for card in datasets_of(run):
        try:
            ensure_dataset(card)
        except DataError as error:
            raise InputError(f"{missing_datasets(run) or card.name}; {error}") from None


def check_tasks(run: Run) -> None:
    """Refuse tasks of the evaluation that nobody knows. No data is read.

    Raises:
        InputError: If there is one.
    """
    from sentibench.harness import refuse_unknown, task_manager

    refuse_unknown(task_manager(), run.evaluation.tasks, "evaluation.tasks")


def check_labels(run: Run) -> None:
    """Refuse labels that no task asks for. No data is read, and no checkpoint.

    Raises:
        InputError: If a ``label_column`` is given and no task of ICLDist has labels, or a task of
            ICLDist is unknown.
    """
    taxonomies = chosen_taxonomies(run.icldist) if run.icldist else []
    unused = [texts for texts in run.texts if texts.label_column]
    if unused and not any(taxonomy.classes for taxonomy in taxonomies):
        asked = f"icldist.tasks={list(run.icldist.tasks)}" if run.icldist else "no icldist"
        raise ConfigError(
            f"texts.{unused[0].source}.label_column: got {unused[0].label_column!r}, expected "
            f"none: with {asked} no task asks for labels; remove label_column (and labels), or "
            "name a task with labels in icldist.tasks"
        )


def check_run(run: Run) -> None:
    """Refuse checkpoints, tasks and settings that could not be used later.

    Raises:
        InputError: If a checkpoint is missing or damaged, a package that logs is not installed, a
            dataset is missing and cannot be brought, a task is unknown, adapters cannot be trained
            or merged where they are wanted, or two models have one name.
    """
    from distill.student.adapters import check_targets
    from distill.student.evaluation import tasks_by_seed, tasks_of
    from sentibench.harness import task_manager

    check_tasks(run)
    if run.asking.engine == "ray" and find_spec("ray") is None:
        raise InputError(
            "asking.engine: the package ray is not installed; run: pip install "
            "'sentibench[ray]', or set asking.engine=local"
        )
    trust = {"trust_remote_code": run.trust_remote_code}
    check_checkpoint("student", run.student, **trust)
    load_tokenizer(run.student, **trust)
    for stage in stages.STAGES:
        if getattr(run, stage) is None:
            continue
        teacher = stages.teacher_config(run, stage)
        if isinstance(teacher, HfTeacher | VllmTeacher):
            own = "" if teacher is run.teacher else f"{stage}."
            check_checkpoint(
                f"{own}teacher.model", teacher.model, trust_remote_code=teacher.trust_remote_code
            )
    for stage in stages.training_stages(run):
        training = stages.training_of(run, stage)
        for package in training.report_to:
            if find_spec(package) is None:
                raise InputError(
                    f"{stages.leading(stage)}.training.report_to: the package {package} is not "
                    f"installed; run: pip install {package}, or remove it from this setting"
                )
        if training.method != "full":
            key = f"{stages.leading(stage)}.training.lora"
            check_targets(key, run.student, training.lora, **trust)
    bring_datasets(run)
    manager = task_manager()
    tasks = tasks_of(manager, run.evaluation.tasks, run.evaluation.limits)
    tasks_by_seed(manager, tasks, run.evaluation.seeds)
    rows = [stages.row_name(run, model) for model in stages.measured(run)]
    for name in rows:
        if rows.count(name) > 1:
            raise InputError(
                f"got the name {name!r} for two models of this run, expected different names; "
                "rename the folder of one checkpoint"
            )
