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
        texts: Number of texts whose attributes the teacher is asked for.
        min_texts: An attribute is used if the teacher named it in at least this many of ``texts``.
        values: Largest number of values of an attribute that a prompt offers.
        share: Share of KnowDist's requests that are composed from attributes. The others use our
            templates.
        tokens: Largest number of new tokens of a list of attributes.
    """

    texts: Count = 200
    min_texts: Count = 3
    values: Count = 6
    share: Fraction = 0.5
    tokens: Count = 80


class KnowDist(Section):
    """Stage 1: the teacher explains and restates texts; the student learns what the teacher wrote.

    Attributes:
        samples: Requests to the teacher, at most one for each pair of text and template.
        families: Kinds of request: to explain a text, to restate it.
        perspectives: What a request asks about; ``[]`` for nothing in particular.
        few_shot: Whether prompts show two worked examples, for a teacher that does not follow
            instructions.
        templates: A folder of Jinja files that replace our files of the same names.
        response_tokens: Largest number of new tokens of an answer, reasoning included.
        temperature: Temperature of the teacher; 0 for greedy decoding.
        attributes: Composes a part of the requests from attributes that the teacher names; ``null``
            for our templates alone.
        domain: What all texts are, in a few words, such as "reviews of kitchen goods". The prompts
            begin with it.
        teacher: The teacher of this stage alone; ``null`` for that of the run. A model that labels
            well may write badly.
        difficulty: Trains on the hard samples alone; ``null`` for all samples.
        training: Training of the student in this stage.
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
        shots: Possible numbers of demonstrations. For each prompt one of these numbers is drawn,
            all with the same probability.
        demonstrations: Who labels the demonstrations. ``teacher``: the teacher. ``gold``: only
            texts with a gold label become demonstrations.
        tasks: What prompts ask for: ``sentiment``, ``emotion``, ``aspects`` (with their polarity),
            a taxonomy of these such as ``sentiment_3``, or an own task by its name.
        pool: Number of texts, for each source and taxonomy, that get labels so that they can be
            demonstrations; default: as many as the samples need, at most 64.
        label_words: Whether some prompts have other words than the usual ones for the labels.
        taxonomies: Whether the prompts of one task use different sets of classes: two, three or
            five polarities, three, four or six emotions, aspects with or without neutral polarity.
        instructions: Kinds of instruction. Each prompt has one of them, drawn evenly.
        other_tasks: Share of the samples that are not about sentiment.
        other_lists: Whether our other tasks include those with lists as answers.
        other_files: Files with more other tasks, in JSON lines:
            ``{"task", "instruction", "input", "output"}``.
        correct_bias: Whether the teacher's preference for some label words is removed: its
            probabilities are divided by their mean over all texts. The classes must be about
            equally frequent.
        label_tokens: Largest number of new tokens of an answer that is a label. A model that writes
            its reasoning needs 1024 or more. Not for scored labels: no token is written for them.
        response_tokens: Largest number of new tokens of any other answer, such as a list of aspects
            or the answer of another task.
        score_choices: Whether a teacher with log-likelihoods scores the label words. Otherwise it
            writes its answer.
        difficulty: Trains on the hard samples alone; ``null`` for all samples.
        training: Training of the student in this stage.
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
