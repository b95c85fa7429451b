"""What would fail at the end of a run is refused before any work is done."""

from __future__ import annotations

from distill.checkpoints import check_checkpoint, load_tokenizer
from distill.config import HfTeacher, Run, VllmTeacher
from distill.errors import InputError
from distill.run import stages


def check_run(run: Run) -> None:
    """Refuse checkpoints, tasks and settings that could not be used later.

    Raises:
        InputError: If a checkpoint is missing or damaged, a task is unknown, adapters cannot be
            trained or merged where they are wanted, or two models have one name.
    """
    from distill.student.adapters import check_targets
    from distill.student.evaluation import tasks_of
    from sentibench.harness import task_manager

    check_checkpoint("student", run.student)
    load_tokenizer(run.student)
    for stage in stages.STAGES:
        if getattr(run, stage) is None:
            continue
        teacher = stages.teacher_config(run, stage)
        if isinstance(teacher, HfTeacher | VllmTeacher):
            own = "" if teacher is run.teacher else f"{stage}."
            check_checkpoint(f"{own}teacher.model", teacher.model)
    for stage in stages.training_stages(run):
        training = stages.training_of(run, stage)
        if training.method != "full":
            key = f"{stages.leading(stage)}.training.lora"
            check_targets(key, run.student, training.lora)
    tasks_of(task_manager(), run.evaluation.tasks, run.evaluation.limits)
    rows = [stages.row_name(run, model) for model in stages.measured(run)]
    for name in rows:
        if rows.count(name) > 1:
            raise InputError(
                f"two models of this run are called {name!r}, as are their results; rename a "
                "checkpoint's folder"
            )
