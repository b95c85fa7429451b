"""The second half of the graph: samples to weights, weights to a checkpoint, checkpoints to scores.

What the leaderboard shows of a run it reads from ``results/run.json`` and the result folders beside
it.
"""

from __future__ import annotations

import json
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Any, cast

from distill.checkpoints import (
    check_checkpoint,
    checkpoint_name,
    fingerprint,
    load_tokenizer,
)
from distill.config import HfTeacher, Training, VllmTeacher
from distill.errors import InputError
from distill.files import copy_folder, replace_folder, write_json
from distill.report.card import write_card
from distill.report.comparison import compare
from distill.report.manifest import Manifest, ModelFacts, Stage, StepRecord, TeacherFacts
from distill.report.page import write_report
from distill.report.wording import LABELS
from distill.run.pipeline import Pipeline, StageName
from distill.run.steps import Step, in_order
from distill.student.samples import Sample

PACKAGES = ("sentibench", "torch", "transformers", "peft", "lm_eval", "accelerate", "datasets")
BEHIND_TRAINING = {"choose": {"tasks", "limit"}}  # settings that change no weight
PROBES = ("Sentence: A quiet film that stays with you.\nLabel:", "The soup was cold again.")


class Distillation(Pipeline):
    """All steps of a run, from texts to scores."""

    @property
    def stages(self) -> list[str]:
        """Training stages in their order; one where both are mixed."""
        stages: list[StageName] = []
        if self.run.knowdist:
            stages.append("knowdist")
        if self.run.icldist:
            stages.append("icldist")
        return ["mixed"] if self.run.mixed and len(stages) == 2 else list(stages)

    def train(self, stage: str) -> Step:
        """Train the student of the stage before on the stage's samples."""
        settings = {
            "training": self.training(stage).model_dump(mode="json", exclude=BEHIND_TRAINING),
            "student": [self.run.student, self._student],
            "seed": self.run.seed,
        }
        sources = self.sources(stage)
        before = self._before(stage)
        after = (
            *(self.kept(source) for source in sources),
            *([self.merge(before)] if before in self.stages else []),
        )
        return self._step(
            f"{stage}-train",
            settings,
            after,
            ("weights", "training.json", *(["candidates"] if self.training(stage).choose else [])),
            lambda: self._train(stage),
            by_all=True,
        )

    def choose(self, stage: str) -> Step:
        """Choose among the checkpoints of the stage's training, on validation items."""
        choice = self.training(stage).choose
        assert choice is not None
        return self._step(
            f"{stage}-choose",
            choice.model_dump(mode="json"),
            (self.train(stage),),
            ("weights", "development.json"),
            lambda: self._choose(stage),
        )

    def trained(self, stage: str) -> Step:
        """The step whose weights are merged."""
        return self.choose(stage) if self.training(stage).choose else self.train(stage)

    def merge(self, stage: str) -> Step:
        """Make the stage's weights an ordinary checkpoint."""
        return self._step(
            f"{stage}-merge", {}, (self.trained(stage),), ("student",), lambda: self._merge(stage)
        )

    def evaluate(self, model: str) -> Step:
        """Measure ``base``, ``teacher`` or the student of a stage."""
        evaluation = self.run.evaluation
        settings: dict[str, Any] = evaluation.model_dump(mode="json", exclude={"teacher"})
        after: tuple[Step, ...] = ()
        if model in self.stages:
            after = (self.merge(model),)
        else:
            base = model == "base"
            settings["checkpoint"] = self._student if base else fingerprint(self._checkpoint(model))
        return self._step(
            f"evaluate-{model}", settings, after, ("scores.json",), lambda: self._evaluate(model)
        )

    @property
    def measured(self) -> list[str]:
        """The models that are evaluated, as the report shows them."""
        local = self.run.teacher.backend in ("hf", "vllm") and self.run.evaluation.teacher
        return [*(["teacher"] if local else []), "base", *self.stages]

    @property
    def report(self) -> Step:
        """Write the manifest from which model card and leaderboard row are made."""
        return self._step(
            "report",
            {"config": self.run.model_dump(mode="json")},
            tuple(self.evaluate(model) for model in self.measured),
            ("../results", "../report.html"),
            self._report,
        )

    def check(self) -> None:
        """Refuse, before any work is done, checkpoints that could not be loaded later.

        Raises:
            InputError: If one is missing or damaged, or two models have one name.
        """
        from distill.student.evaluation import tasks_of
        from sentibench.harness import task_manager

        check_checkpoint("student", self.run.student)
        load_tokenizer(self.run.student)
        for stage in ("knowdist", "icldist"):
            teacher = self.teacher_of(stage)
            if isinstance(teacher, HfTeacher | VllmTeacher) and getattr(self.run, stage):
                own = f"{stage}." if teacher is not self.run.teacher else ""
                check_checkpoint(f"{own}teacher.model", teacher.model)
        tasks_of(task_manager(), self.run.evaluation.tasks, self.run.evaluation.limits)
        rows = [self.row_name(model) for model in self.measured]
        for name in rows:
            if rows.count(name) > 1:
                raise InputError(
                    f"two models of this run are called {name!r}, as are their results; rename a "
                    "checkpoint's folder"
                )

    def all_steps(self) -> list[Step]:
        """Every step, each after what it depends on."""
        return in_order([*map(self.merge, self.stages), self.report])

    def sources(self, stage: str) -> list[StageName]:
        """Whose samples a training stage learns from."""
        return ["knowdist", "icldist"] if stage == "mixed" else [cast(StageName, stage)]

    def training(self, stage: str) -> Training:
        """The settings of a training stage; those of ICLDist where both are mixed."""
        return self._stage("icldist" if stage == "mixed" else cast(StageName, stage)).training

    def _before(self, stage: str) -> str:
        """The stage that this one goes on from, ``base`` for the first."""
        return ["base", *self.stages][self.stages.index(stage)]

    @cached_property
    def _student(self) -> str:
        return fingerprint(self.run.student)

    def _checkpoint(self, model: str) -> str:
        if model in self.stages:
            return str(self.merge(model).folder / "student")
        if model == "teacher":
            return cast(str, cast(Any, self.run.teacher).model)
        return self.run.student

    def _train(self, stage: str) -> dict[str, Any]:
        from distill.student.training import train

        samples: list[Sample] = []
        for source in self.sources(stage):
            samples += self.samples(source)
        start = self._checkpoint(self._before(stage))
        folder = self.train(stage).folder
        return train(start, samples, self.training(stage), folder, seed=self.run.seed)

    def _choose(self, stage: str) -> dict[str, Any]:
        from distill.student.best_checkpoint import choose

        choice = self.training(stage).choose
        assert choice is not None
        start = self._checkpoint(self._before(stage))
        return choose(start, self.train(stage).folder, choice, self.choose(stage).folder)

    def _merge(self, stage: str) -> dict[str, Any]:
        from distill.student.merging import merge

        start = self._checkpoint(self._before(stage))
        out = self.merge(stage).folder / "student"
        gap = merge(start, self.trained(stage).folder / "weights", out, PROBES)
        return {"largest_logit_difference": gap}

    def _evaluate(self, model: str) -> dict[str, Any]:
        from distill.student.evaluation import evaluate

        step = self.evaluate(model)
        evaluation = self.run.evaluation
        results = evaluate(
            self._checkpoint(model),
            evaluation.tasks,
            step.folder / "results",
            limit=evaluation.limit,
            limits=evaluation.limits,
            dtype=evaluation.dtype,
        )
        scores = {
            name: [row["score,none"], row.get("score_stderr,none")]
            for name, row in results.items()
            if "score,none" in row
        }
        write_json(step.folder / "scores.json", scores)
        return {"scores": scores}

    def row_name(self, model: str) -> str:
        """What the leaderboard calls a model of this run."""
        return checkpoint_name(self._checkpoint(model))

    def _taught_by(self, stage: str) -> str:
        """The row of the teacher of a stage; of ICLDist's where both are mixed."""
        return self.identity("icldist" if stage == "mixed" else stage)[0].rpartition("/")[2]

    def _teacher_facts(self) -> TeacherFacts:
        """Name and revision, or those of both where the stages have teachers of their own."""
        stages = [stage for stage in ("knowdist", "icldist") if getattr(self.run, stage)]
        found = {self.identity(stage): f" ({LABELS[stage]})" for stage in stages}
        if len(found) == 1:
            found = dict.fromkeys(found, "")
        return TeacherFacts(
            name="; ".join(name + label for (name, _), label in found.items()),
            revision="; ".join(revision + label for (_, revision), label in found.items()),
        )

    def _scores(self, model: str) -> dict[str, Any]:
        path = self.evaluate(model).folder / "scores.json"
        return cast("dict[str, Any]", json.loads(path.read_text(encoding="utf-8")))

    def _report(self) -> dict[str, Any]:
        models: dict[str, ModelFacts] = {}
        for model in self.measured:
            name = self.row_name(model)
            if model == "teacher":
                facts = ModelFacts(name=name, role="teacher")
            elif model in self.stages:
                base, taught_by = self.row_name(self._before(model)), self._taught_by(model)
                facts = ModelFacts(name=name, role="student", base=base, teacher=taught_by)
            else:
                facts = ModelFacts(name=name)
            models[self._checkpoint(model)] = facts
        results = {model: self.evaluate(model).folder / "results" for model in self.measured}
        teacher = "teacher" if "teacher" in self.measured else None
        manifest = Manifest(
            name=self.run.name,
            stages=cast("tuple[Stage, ...]", tuple(self.stages)),
            scores={model: self._scores(model) for model in self.measured},
            comparison=compare(results, "base", self.stages, teacher),
            config=self.run,
            packages=versions(),
            teacher=self._teacher_facts(),
            steps={
                step.name: StepRecord(**{key: record[key] for key in StepRecord.model_fields})
                for step in in_order(self.report.after)
                if (record := step.record())
            },
            models=models,
        )
        unfinished = self.report.folder / "results"
        for model, folder in results.items():
            copy_folder(folder, unfinished / self.row_name(model))
        write_json(unfinished / "run.json", manifest.model_dump(mode="json"))
        replace_folder(unfinished, self.run.folder / "results")
        for stage in manifest.stages:
            write_card(self.merge(stage).folder / "student", stage, manifest)
        write_report(self.run.folder, manifest)
        return {"models": len(models)}


def versions() -> dict[str, str]:
    """Versions of the packages that can change a number."""
    found: dict[str, str] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
