"""The graph of a run: a function from the configuration to its steps, in order.

    texts -> ask -> filter -> train -> merge -> (again for the second stage) -> evaluate -> report

ICLDist asks twice where the teacher labels the demonstrations. Every step can be done alone; what
it needs is done first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from distill import prompts
from distill.config import ICLDist, KnowDist, Run, Texts
from distill.files import digest
from distill.filters.rules import RULES_VERSION
from distill.prompts.taxonomies import own_tasks
from distill.report.own_tasks import FILE
from distill.run import data, measuring, models, stages
from distill.run.stages import StageName, StageTeacher
from distill.steps import Step, Work
from distill.texts import cleaning
from sentibench.data.cards import TASK_VERSION
from sentibench.data.read import MINI_FOLDER
from sentibench.predict import temperatures
from sentibench.predict.checkpoints import fingerprint

BEHIND_TRAINING: Any = {"choose": {"tasks", "limit"}, "report_to": True}
"""Settings that change no weight."""
SOFT = dict.fromkeys(("loss", "soft_weight", "soft_temperature"), True)
"""Settings that change nothing where the loss is hard."""
OF_ANSWERS = {"score_choices", "label_tokens", "response_tokens"}  # how ICLDist asks for them
OF_LABELS = {"skip", "run_on", "run_on_markers", "min_kept", "allow_loss"}  # filters of labels
BESIDE_SCORES: Any = {"teacher", "agreement", "calibration"}  # what is measured besides
OF_DEMONSTRATIONS = {
    *("taxonomies", "tasks", "pool", "shots", "samples", "other_tasks"),
    *OF_ANSWERS,
}


class _Steps(dict[str, Step]):
    """Steps by name, each after what it depends on."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def add(
        self,
        name: str,
        work: Work,
        settings: Mapping[str, Any],
        after: tuple[str, ...],
        outputs: tuple[str, ...],
        **kind: bool,
    ) -> None:
        needed = tuple(self[other] for other in after)
        self[name] = Step(name, self.folder / name, settings, needed, outputs, work, **kind)


def _texts(texts: Texts) -> dict[str, Any]:
    """The settings of a source; how a table is read counts where it is not the default."""
    since = ("delimiter", "encoding", "hub", "revision")
    plain = {name for name in since if getattr(texts, name) is None}
    plain |= {"on_bad_rows"} if texts.on_bad_rows == "stop" else set()
    return texts.model_dump(mode="json", exclude=plain)


def build_steps(
    run: Run,
    teachers: Mapping[StageName, StageTeacher] | None = None,
    *,
    retry_failed: bool = False,
) -> dict[str, Step]:
    """Make every step of a run. Nothing is done yet, but checkpoints are fingerprinted.

    Args:
        run: The configuration.
        teachers: Who answers; default the configuration's.
        retry_failed: Ask again what failed before.

    Returns:
        Step by name, in an order in which each comes after what it depends on.

    Raises:
        StoreError: If the recording of a replayed teacher cannot be read.
    """
    teachers = teachers or stages.teachers_of(run)
    student = fingerprint(run.student)
    steps = _Steps(run.folder)
    tests = data.tests_of(run)
    steps.add(
        "texts",
        partial(data.draw, run, tests),
        {
            "texts": list(map(_texts, run.texts)),
            "files": _stamps(run),
            "seed": run.seed,
            "decontaminate": _compared_with(run),
            "cleaning": {**run.cleaning.model_dump(mode="json"), "rules": cleaning.VERSION},
        },
        (),
        ("texts.jsonl", "funnel.json"),
    )
    # first all that is asked: what is wrong with it must not wait for a training
    for source in stages.STAGES:
        if getattr(run, source):
            _add_data_steps(steps, run, source, teachers[source], retry_failed, tests, student)
    for stage in stages.training_stages(run):
        _add_training_steps(steps, run, stage, student)
    _add_evaluation(steps, run, student, teachers, retry_failed)
    return dict(steps)


def _add_data_steps(
    steps: _Steps,
    run: Run,
    stage: StageName,
    teacher: StageTeacher,
    retry_failed: bool,
    tests: data.Tests,
    student: str,
) -> None:
    """What makes samples of one stage."""
    found = stages.settings_of(run, stage)
    known: dict[str, Any] = {"teacher": [teacher.name, teacher.revision], "seed": run.seed}
    known |= _mask(run)
    first: tuple[str, ...] = ()  # what has to be answered before the stage can ask
    if stages.labels_by_teacher(run, stage):
        first = ("demonstrations",)
        steps.add(
            "demonstrations",
            partial(data.label_demonstrations, run, teacher, retry_failed, tests),
            {
                **known,
                **found.model_dump(mode="json", include=OF_DEMONSTRATIONS),
                "filters": run.filters.model_dump(mode="json", include=OF_LABELS),
                "rules": RULES_VERSION,
                **_bias(run),
                "prompts": prompts.fingerprints("demonstrations"),
                "cards": own_cards(run.icldist.tasks if run.icldist else ()),
            },
            ("texts",),
            ("labels.json", "funnel.json"),
            asks=True,
        )
    if isinstance(found, KnowDist) and found.attributes:
        first = ("attributes",)
        steps.add(
            "attributes",
            partial(data.list_attributes, run, teacher, retry_failed),
            {
                **known,
                **found.attributes.model_dump(mode="json", exclude={"share"}),
                "domain": found.domain,
                "prompts": prompts.fingerprints("attributes"),
            },
            ("texts",),
            ("attributes.json",),
            asks=True,
        )
    kind, files = _prompts_of(found)
    if isinstance(found, ICLDist):
        known["cards"] = own_cards(found.tasks)
    steps.add(
        f"{stage}-ask",
        partial(data.ask_stage, run, stage, teacher, retry_failed),
        {
            **found.model_dump(
                mode="json", exclude={"training", "teacher", "difficulty", "correct_bias"}
            ),
            **known,
            "backend": teacher.config.backend,
            "files": {str(path): digest(path) for path in files if path.exists()},
            "prompts": prompts.fingerprints(kind),
        },
        ("texts", *first),
        ("requests.jsonl",),
        asks=True,
    )
    with_targets = stages.needs_distributions(run, stage)
    steps.add(
        f"{stage}-filter",
        partial(data.filter_stage, run, stage, teacher, tests),
        {
            "filters": run.filters.model_dump(mode="json"),
            "rules": RULES_VERSION,
            "decontaminate": _compared_with(run),
            "teacher": known["teacher"],
            **_bias(run),
            **({"distributions": True} if with_targets else {}),
        },
        (f"{stage}-ask",),
        ("samples.jsonl", "funnel.json"),
    )
    if found.difficulty:
        by, model = found.difficulty.by, found.difficulty.model
        after = (f"{stage}-filter",)
        if by != "random":
            after = (*after, f"{stage}-difficulty")  # so that another share needs no model
            steps.add(
                after[-1],
                partial(data.measure_samples, run, stage),
                {
                    "by": by,
                    "model": fingerprint(model) if model else student,
                    "max_length": found.training.max_length,
                },
                (f"{stage}-filter",),
                ("difficulty.json",),
            )
        steps.add(
            f"{stage}-select",
            partial(data.select_samples, run, stage),
            {"keep": found.difficulty.keep, "by": by, "seed": run.seed},
            after,
            ("samples.jsonl",),
        )


def _add_training_steps(steps: _Steps, run: Run, stage: str, student: str) -> None:
    """Train the student of the stage before on the stage's samples, and make it a checkpoint."""
    training, previous = stages.training_of(run, stage), stages.before(run, stage)
    start = stages.checkpoint_of(run, previous)
    kept = [stages.kept_step(run, source) for source in stages.sources_of(run, stage)]
    soft = stages.learns_distributions(run, stage)
    last = f"{stage}-train"
    steps.add(
        last,
        partial(models.train_stage, run, training, start, kept),
        {
            "training": training.model_dump(
                mode="json", exclude=BEHIND_TRAINING | ({} if soft else SOFT)
            ),
            "student": [run.student, student],
            "seed": run.seed,
        },
        (*kept, *(() if previous == "base" else (f"{previous}-merge",))),
        ("weights", "training.json", *(("candidates",) if training.choose else ())),
        by_all=True,
    )
    if training.choose:
        work = partial(models.choose_checkpoint, run, training.choose, start, run.folder / last)
        settings = training.choose.model_dump(mode="json")
        steps.add(f"{stage}-choose", work, settings, (last,), ("weights", "development.json"))
        last = f"{stage}-choose"
    work = partial(models.merge_stage, run, stage, start, run.folder / last / "weights")
    names = sorted(stages.asked_of_student(run))
    settings = {
        "tasks": names,
        "cards": own_cards(names),
        "shots": models.trained_shots(run, stage),
        **_mask(run),
    }
    steps.add(f"{stage}-merge", work, settings, (last,), ("student",))


def _add_evaluation(
    steps: _Steps,
    run: Run,
    student: str,
    teachers: Mapping[StageName, StageTeacher],
    retry_failed: bool,
) -> None:
    """Measure teacher, base and the student of every stage; then the report of it all."""
    known: dict[str, Any] = run.evaluation.model_dump(mode="json", exclude=BESIDE_SCORES)
    if not run.evaluation.seeds:  # runs that were measured before do not say them
        del known["seeds"]
    known["cards"] = own_cards(run.evaluation.tasks)
    if TASK_VERSION != "1.0":  # what runs that do not say it were measured with
        known["task_version"] = TASK_VERSION
    for model in stages.measured(run):
        after = (f"{model}-merge",) if model in stages.training_stages(run) else ()
        asked = stages.asked_teacher(run, model, teachers)
        work = partial(measuring.evaluate_model, run, model, asked, retry_failed)
        settings = dict(known)
        if asked:
            how = (run.icldist or ICLDist()).model_dump(mode="json", include=OF_ANSWERS)
            settings |= {"teacher": [asked.name, asked.revision], "seed": run.seed, **how}
            settings |= {"rules": RULES_VERSION, "mask": run.cleaning.mask}
        elif not after:
            same = model == "base"
            settings["checkpoint"] = (
                student if same else fingerprint(stages.checkpoint_of(run, model))
            )
        kind = {"asks": asked is not None}
        steps.add(f"evaluate-{model}", work, settings, after, ("scores.json",), **kind)
    last = stages.training_stages(run)[-1]
    kept = [stages.kept_step(run, s) for s in stages.STAGES if getattr(run, s)]
    if tasks := stages.tasks_of_agreement(run):
        assert run.icldist is not None
        teacher = teachers["icldist"]
        steps.add(
            "agreement",
            partial(measuring.ask_both, run, teacher),
            {
                "teacher": [teacher.name, teacher.revision],
                "cards": own_cards(tasks),
                "texts": run.evaluation.agreement,
                "dtype": run.evaluation.dtype,
                "seed": run.seed,
                **run.icldist.model_dump(mode="json", include=OF_ANSWERS),
            },
            ("texts", *kept, f"{last}-merge"),
            (FILE,),
        )
    asked = measuring.calibrated_tasks(run)
    calibrated = [name for name, reason in asked.items() if not reason]
    files = (temperatures.FILE, f"../{last}-merge/student/{temperatures.FILE}")
    if asked:
        steps.add(
            "calibrate",
            partial(measuring.calibrate_student, run),
            {
                "tasks": calibrated,
                "cards": own_cards(calibrated),
                "items": run.evaluation.calibration,
                "dtype": run.evaluation.dtype,
            },
            (f"{last}-merge",),
            files if calibrated else (),  # a student that is made anew has lost the second
        )
    steps.add(
        "report",
        partial(models.report_run, run, teachers, steps),
        {"config": run.model_dump(mode="json", exclude={"asking"})},  # which changes no number
        (
            *(f"evaluate-{model}" for model in stages.measured(run)),
            *(["agreement"] if tasks else []),
            *(["calibrate"] if asked else []),
        ),
        ("../results", "../report.html"),
    )


def _bias(run: Run) -> dict[str, bool]:
    """Whether labels are corrected; nothing where they are not, as in runs made before."""
    return {"correct_bias": True} if run.icldist and run.icldist.correct_bias else {}


def _mask(run: Run) -> dict[str, Any]:
    """What is masked in a card's demonstrations too; nothing where nothing is, as in old runs."""
    return {"mask": run.cleaning.mask} if run.cleaning.mask else {}


def _compared_with(run: Run) -> list[Any] | None:
    """What must not be trained on: the source of test sets and the own cards."""
    return run.compared_with and [run.compared_with, own_cards(stages.named_tasks(run))]


def own_cards(names: Iterable[str]) -> dict[str, str]:
    """What tells two states of the own tasks among some names apart: the hash of the card."""
    tasks = own_tasks()
    return {name: digest(cast(Path, tasks[name].card.path)) for name in names if name in tasks}


def _stamps(run: Run) -> dict[str, Any]:
    """What tells two states of the texts' files apart: of the user's files size and time."""
    is_mini = any(source.mini for source in run.texts)
    stamps: dict[str, Any] = {"mini": digest(MINI_FOLDER)} if is_mini else {}
    for path in (path for source in run.texts for path in source.files):
        for file in path.rglob("*") if path.is_dir() else [path]:
            if file.exists():
                stamps[str(file)] = [file.stat().st_size, file.stat().st_mtime_ns]
    return stamps


def _prompts_of(found: KnowDist | ICLDist) -> tuple[prompts.Kind, Sequence[Path]]:
    """What a stage's prompts are made of: data of the package, files of the user."""
    if isinstance(found, ICLDist):
        return "icldist", found.other_files
    own = [found.templates] if found.templates else []
    return "knowdist_few_shot" if found.few_shot else "knowdist", own
