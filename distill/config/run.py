"""The whole of a run, with its filters and its evaluation.

The two stages are two classes, since one class with defaults per stage silently resets a rate when
a part of it is overridden.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from distill.config.section import Count, Fraction, Section, Share
from distill.config.sources import Cleaning, Texts
from distill.config.stages import ICLDist, KnowDist
from distill.config.teachers import Asking, TeacherConfig, VllmTeacher
from distill.reasons import Reason
from sentibench.data.cards import Source, load_tasks

SCORING = ("hf", "vllm", "decisions", "replay")  # backends; a recording holds what its teacher gave
MARKERS = ("Sentence", "Review", "Text", "Tweet", "Label", "Human", "User", "Assistant")


class Evaluation(Section):
    """What the harness measures.

    Attributes:
        tasks: Names of tasks or groups, as for ``lm_eval --tasks``.
        limit: Items of each task that are measured, from its first one; ``null`` for all.
        limits: The same for single tasks, by name, in place of ``limit``.
        seeds: Seeds of the demonstrations, by task or group. A score is the mean over the seeds of
            its task. A task that is not named has the seed 42.
        dtype: Type of the weights of all measured models. ``bfloat16`` is faster if the processor
            supports it.
        teacher: Whether the teacher is measured too.
        agreement: Own tasks only: largest number of texts on which the answers of teacher and last
            student are compared. The teacher was not asked about these texts before. 0 for no
            comparison.
        calibration: Largest number of validation items of each label task from which the
            temperature of the last student is fitted. A task with fewer than 20 such items gets no
            temperature. 0 for no temperature at all.
    """

    tasks: tuple[str, ...] = ("sentibench",)
    limit: Count | None = None
    limits: dict[str, Count] = Field(default={})
    seeds: dict[str, tuple[int, ...]] = Field(default={})
    dtype: Literal["float32", "bfloat16", "float16", "int8"] = "float32"
    teacher: bool = True
    agreement: int = Field(default=100, ge=0)
    calibration: int = Field(default=100, ge=0)

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        for name, of_task in seeds.items():
            if not of_task or len(set(of_task)) < len(of_task):
                raise ValueError(f"{name}: got {list(of_task)}, expected different seeds; name one")
        return seeds


class FilterConfig(Section):
    """Which answers are dropped. Labels are not checked for refusals, copies, repetition or length.

    Attributes:
        skip: Reasons that are not checked.
        refusal_words: An answer with more words, separated by whitespace, is no refusal.
        cut_off: An answer that reached the token limit is dropped, or cut after its last sentence.
        copied_share: An answer is a copy if at least this fraction of its words is in runs of five
            words that also occur in the user text.
        example_share: Like ``copied_share``, but for runs of words that occur in the rest of the
            prompt, where the worked examples are.
        repetition_share: An answer repeats itself if at least this fraction of its runs of four
            words are repeats, or this fraction of its characters is one short repeated pattern.
        repetition_words: Answers with fewer words are not searched for repeated runs of words.
        repeated_lines: An answer repeats itself if one line occurs this often and is at least half
            of all lines.
        run_on: An answer that continues with another review or turn is dropped, or cut there.
        run_on_markers: An answer continues with another review if a later line begins with one of
            these words and a colon. The words with which the prompt marks its texts count too.
        min_words: Fewest words of a prose answer, separated by whitespace.
        max_words: Largest number of words of a prose answer, separated by whitespace.
        near_duplicate_similarity: Two prose answers are duplicates if the Jaccard similarity of
            their runs of five words is at least this.
        min_kept: For each step that asks or filters: the smallest share of its requests that must
            be left after the step. Below it, the run stops and prints the reasons.
        allow_loss: Whether the run continues below ``min_kept``, as long as anything is left.
    """

    skip: tuple[Reason, ...] = ()
    refusal_words: Count = 60
    cut_off: Literal["drop", "last sentence"] = "drop"
    copied_share: Fraction = 0.9
    example_share: Fraction = 0.5
    repetition_share: Fraction = 0.4
    repetition_words: int = Field(default=20, ge=4)
    repeated_lines: int = Field(default=4, ge=2)
    run_on: Literal["drop", "cut"] = "drop"
    run_on_markers: tuple[str, ...] = MARKERS
    min_words: Count = 1
    max_words: Count = 1024
    near_duplicate_similarity: Fraction = 0.8
    min_kept: Share = 0.5
    allow_loss: bool = False

    @field_validator("skip")
    @classmethod
    def _empty_stays_on(cls, skip: tuple[Reason, ...]) -> tuple[Reason, ...]:
        for reason in ("empty", "only reasoning"):
            if reason in skip:
                raise ValueError(
                    f"got {reason!r}, which is always checked: nothing can be learnt from an "
                    "empty answer; remove it"
                )
        return skip


class Run(Section):
    """The whole of a distillation run.

    Attributes:
        name: Name of the run's folder below ``out``, and the first part of the students' names.
        student: Checkpoint of the student before training: a folder, or a name that transformers
            finds.
        trust_remote_code: Whether code that comes with the student's checkpoint is run.
        teacher: The model that answers.
        asking: How requests are sent to the teacher.
        texts: Sources of user texts.
        cleaning: How texts are cleaned before they are drawn.
        knowdist: Stage 1; ``null`` to leave it out.
        icldist: Stage 2; ``null`` to leave it out.
        mixed: Whether there is only one training, on the samples of both stages, with the settings
            ``icldist.training``.
        filters: Which answers the student learns from.
        evaluation: What is measured.
        out: Folder of the runs. Runs with the same folder share the answers of a teacher.
        seed: Seed of all random draws except one: the demonstrations of the evaluation are drawn
            with ``evaluation.seeds``.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    student: str
    trust_remote_code: bool = False
    teacher: TeacherConfig
    asking: Asking = Asking()
    texts: tuple[Texts, ...] = Field(min_length=1)
    cleaning: Cleaning = Cleaning()
    knowdist: KnowDist | None = None
    icldist: ICLDist | None = None
    mixed: bool = False
    filters: FilterConfig = FilterConfig()
    evaluation: Evaluation = Evaluation()
    out: Path = Path("runs")
    seed: int = Field(default=42, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _has_a_stage(self) -> Run:
        names = [texts.source for texts in self.texts]
        repeated = {name for name in names if names.count(name) > 1}
        if repeated:
            raise ValueError(
                f"texts: got the name {', '.join(sorted(repeated))} for more than one source, "
                "expected different names; set name for each source"
            )
        if self.knowdist is None and self.icldist is None:
            raise ValueError("nothing to do; add a section knowdist, icldist or both")
        if self.mixed and (self.knowdist is None or self.icldist is None):
            raise ValueError(
                "mixed: got true for one stage, expected two; add knowdist and icldist, or remove "
                "mixed"
            )
        if self.knowdist and (self.knowdist.teacher or self.teacher).backend == "gold":
            raise ValueError(
                "teacher.backend: got gold, which has only labels, but KnowDist needs a teacher "
                "that writes; set knowdist.teacher to another one"
            )
        if self.icldist and self.icldist.demonstrations == "gold":
            if not any(texts.dataset or texts.label_column for texts in self.texts):
                raise ValueError(
                    "icldist.demonstrations: got gold, but no source of texts has labels; give "
                    "texts a dataset or a label_column, or set demonstrations: teacher"
                )
        elif self.icldist and self.teacher.backend == "gold":
            raise ValueError(
                "teacher.backend: got gold, which needs icldist.demonstrations: gold; set that, or "
                "take another teacher"
            )
        return self

    @model_validator(mode="after")
    def _has_room_for_workers(self) -> Run:
        own = (self.knowdist and self.knowdist.teacher) or self.teacher
        for teacher in (own, self.teacher):
            if self.asking.engine != "ray" or not isinstance(teacher, VllmTeacher):
                continue
            if self.asking.gpus < teacher.tensor_parallel:
                raise ValueError(
                    f"asking.gpus: got {self.asking.gpus:g}; expected at least "
                    f"{teacher.tensor_parallel}, the number of GPUs in the teacher's "
                    "tensor_parallel; raise the one, or lower the other"
                )
        return self

    @model_validator(mode="after")
    def _has_distributions(self) -> Run:
        of_texts = self.knowdist and self.knowdist.difficulty
        if of_texts and of_texts.by == "confidence":
            raise ValueError(
                "knowdist.difficulty.by: got confidence, but no labels are scored in KnowDist; "
                "expected difficulty or random"
            )
        if self.icldist and self.wants_distributions:
            backend, wanted = self.teacher.backend, self.wants_distributions[0]
            if backend not in SCORING or not self.icldist.score_choices:
                got = backend if backend not in SCORING else "icldist.score_choices: false"
                raise ValueError(
                    f"{wanted}: expected a teacher that scores labels (backend: hf, vllm or "
                    f"decisions, with icldist.score_choices), got {got}; change that, or remove "
                    "this setting"
                )
        return self

    @property
    def wants_distributions(self) -> list[str]:
        """The settings that need the teacher's distributions; the mixed loss does without."""
        if self.icldist is None:
            return []
        training, difficulty = self.icldist.training, self.icldist.difficulty
        by_confidence = difficulty is not None and difficulty.by == "confidence"
        return [
            *(["icldist.training.loss: soft"] if training.loss == "soft" else []),
            *(["icldist.difficulty.by: confidence"] if by_confidence else []),
            *(["icldist.correct_bias: true"] if self.icldist.correct_bias else []),
        ]

    @property
    def compared_with(self) -> Source | None:
        """The test sets whose texts must not be trained on; None where nobody looks.

        Those of the benchmark; of own tasks alone where nothing else is read or measured. Own tasks
        are looked at in any case.
        """
        if "contaminated" in self.filters.skip:
            return None
        if all(texts.mini for texts in self.texts):
            return "mini"
        known = load_tasks()
        measured = {known[name].source for name in self.evaluation.tasks if name in known}
        is_own = measured == {"own"} and set(self.evaluation.tasks) <= set(known)
        is_own &= not any(texts.dataset for texts in self.texts)
        return "own" if is_own else "real"

    @property
    def folder(self) -> Path:
        """Where everything of the run lies."""
        return self.out / self.name
