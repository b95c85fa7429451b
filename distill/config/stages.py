"""The two stages: KnowDist and ICLDist."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from distill.config.section import BelowOne, Count, Fraction, NotNegative, Section
from distill.config.teachers import TeacherConfig
from distill.config.training import Difficulty, ICLDistTraining, KnowDistTraining

Family = Literal["analysing", "rewriting"]
Perspective = Literal["expression", "target", "emotion", "background"]
Wording = Literal["full", "short", "none"]
FAMILIES: tuple[Family, ...] = ("analysing", "rewriting")
OF_KNOWDIST = (*FAMILIES, "attributes")  # families of KnowDist's requests
PERSPECTIVES: tuple[Perspective, ...] = ("expression", "target", "emotion", "background")


class Attributes(Section):
    """Instructions composed from attributes that the teacher lists (CompEffDist, 2510.24425).

    Attributes:
        texts: So many texts are read for attributes.
        min_texts: An attribute is used if it was named in so many of them.
        values: Values of an attribute that a prompt may offer, at most.
        share: Of KnowDist's requests that are composed from them; the others are ours.
        tokens: New tokens of a list of attributes, at most.
    """

    texts: Count = 200
    min_texts: Count = 3
    values: Count = 6
    share: Fraction = 0.5
    tokens: Count = 80


class KnowDist(Section):
    """Stage 1: the teacher explains and restates texts, the student learns what it wrote.

    Attributes:
        samples: Requests to the teacher.
        families: Kinds of task: to explain a text, to restate it.
        perspectives: What a request asks about; empty for no particular one.
        few_shot: Show two worked examples, for a teacher that follows no instructions.
        templates: A folder with Jinja files named like ours that replace them.
        response_tokens: New tokens of an answer at most, those of reasoning included.
        temperature: Of the teacher; 0 is greedy.
        attributes: Compose instructions from attributes that the teacher lists; None for ours
            alone.
        domain: What all texts are, in a few words, such as "reviews of kitchen goods"; the prompts
            say so.
        teacher: Of this stage alone; None for the run's. A model that labels well may write badly.
        difficulty: Train on the hard samples alone; None for all.
        training: Of this stage.
    """

    samples: Count = 1000
    families: tuple[Family, ...] = Field(default=FAMILIES, min_length=1)
    perspectives: tuple[Perspective, ...] = PERSPECTIVES
    few_shot: bool = False
    templates: Path | None = None
    response_tokens: Count = 160
    temperature: NotNegative = 0.0
    attributes: Attributes | None = None
    domain: str = ""
    teacher: TeacherConfig | None = None
    difficulty: Difficulty | None = None
    training: KnowDistTraining = KnowDistTraining()

    @model_validator(mode="after")
    def _follows_instructions(self) -> KnowDist:
        if self.few_shot and self.attributes:
            raise ValueError(
                "attributes: got both attributes and few_shot: true, expected one of them; prompts "
                "composed from attributes show no worked examples; remove one"
            )
        return self


class ICLDist(Section):
    """Stage 2: the teacher answers few-shot prompts, the student learns to answer alike.

    Attributes:
        samples: Few-shot prompts.
        shots: Numbers of demonstrations that a prompt may have, drawn evenly.
        demonstrations: Whether their labels are gold (where the source has them) or the teacher's.
        tasks: What is asked: ``sentiment``, ``emotion``, ``aspects`` (pairs of an aspect and its
            polarity), one of their taxonomies such as ``sentiment_3``, or an own task by its name.
        pool: Texts of each source and taxonomy that are labelled to be demonstrations; default: as
            many as the samples need.
        label_words: Whether labels appear under other words than the usual ones.
        taxonomies: Whether classes are cut in other ways (two, three, five polarities; emotions;
            aspects with and without neutral ones).
        instructions: Kinds of instruction, drawn evenly.
        other_tasks: Share of the samples that are not about sentiment.
        other_lists: Whether these include tasks whose answers are lists, as those of extraction.
        other_files: JSON lines of more such tasks, ``{"task", "instruction", "input", "output"}``.
        correct_bias: Whether a liking of the teacher for some label words is taken out of what it
            scored, by the mean over all texts. For texts whose classes are about equally frequent.
        label_tokens: New tokens of an answer that is a label, at most; a model that thinks aloud
            needs 1024 or more. Where labels are scored, nothing is written.
        response_tokens: New tokens of a free answer, of other tasks, at most.
        score_choices: Whether a teacher that sees likelihoods scores the label words; else it
            writes its answer.
        difficulty: Train on the hard samples alone; None for all.
        training: Of this stage.
    """

    samples: Count = 1000
    shots: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(1, 2, 3, 4, 5), min_length=1)
    demonstrations: Literal["teacher", "gold"] = "teacher"
    tasks: tuple[str, ...] = Field(default=("sentiment", "emotion"), min_length=1)
    pool: Count | None = None
    label_words: bool = True
    taxonomies: bool = True
    instructions: tuple[Wording, ...] = Field(default=("full", "short", "none"), min_length=1)
    other_tasks: BelowOne = 0.2
    other_lists: bool = True
    other_files: tuple[Path, ...] = ()
    score_choices: bool = True
    correct_bias: bool = False
    label_tokens: Count = 64
    response_tokens: Count = 128
    difficulty: Difficulty | None = None
    training: ICLDistTraining = ICLDistTraining()

    @model_validator(mode="after")
    def _aspects_by_the_teacher(self) -> ICLDist:
        named = [task for task in self.tasks if task.split("_")[0] == "aspects"]
        if named and self.demonstrations == "gold":
            raise ValueError(
                f"tasks: got {named[0]} with demonstrations: gold; texts have no gold labels of "
                "aspects; set demonstrations: teacher"
            )
        return self
