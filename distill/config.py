"""The configuration of a run: YAML at the edge, frozen models inside, unknown keys refused.

Values are read strictly: text is no number and no truth value, so that ``"12"`` or ``"no"`` is a
mistake that is named. One kind of text is read as a number: ``1e-4``, which YAML takes for text.

Every section is a class of its own; the two stages are two classes, since one class with defaults
per stage silently resets a rate when a part of it is overridden.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)

from distill.errors import ConfigError, nearest
from distill.records import Reason
from sentibench.data.cards import Source, load_cards, load_tasks
from sentibench.data.tables import HUB, OnBadRows, plain_text
from sentibench.files import write_beside

Family = Literal["analysing", "rewriting"]
Perspective = Literal["expression", "target", "emotion", "background"]
Wording = Literal["full", "short", "none"]
Schedule = Literal["cosine", "linear", "constant"]
FAMILIES: tuple[Family, ...] = ("analysing", "rewriting")
MARKERS = ("Sentence", "Review", "Text", "Tweet", "Label", "Human", "User", "Assistant")
PERSPECTIVES: tuple[Perspective, ...] = ("expression", "target", "emotion", "background")


EXPONENT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")


def _read_exponent(value: Any) -> Any:
    """The number of a text such as ``1e-4``; whatever else is left to pydantic."""
    return float(value) if isinstance(value, str) and EXPONENT.fullmatch(value) else value


# Keys of a request that other settings write.
WRITTEN_BY_US = {
    "model": "give teacher.model",
    "messages": "the prompts are written by the stages",
    "prompt": "the prompts are written by the stages",
    "response_format": "give teacher.response_format",
    "stream": "whole answers are read",
    "n": "one answer is read",
} | dict.fromkeys(
    ("max_tokens", "max_completion_tokens"),
    "give knowdist.response_tokens, icldist.label_tokens, icldist.response_tokens",
)
ADDRESS = re.compile(
    r"https?://(\[[\da-fA-F:.]+\]|[^\s/?#@:\[\]]+)(:\d{1,5})?(/[^\s?#@]*)?"  # host, port, path
)
READ = BeforeValidator(_read_exponent)
Positive = Annotated[float, Field(gt=0), READ]
NotNegative = Annotated[float, Field(ge=0), READ]
Fraction = Annotated[float, Field(gt=0, le=1), READ]
BelowOne = Annotated[float, Field(ge=0, lt=1), READ]
Share = Annotated[float, Field(ge=0, le=1), READ]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A part of the configuration; unknown keys are refused, values do not change."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={"additionalProperties": False},
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        protected_namespaces=(),
    )

    @model_validator(mode="after")
    def _knows_its_keys(self) -> Section:
        """Instead of ``extra="forbid"``, whose error does not say which keys there are."""
        for key in self.model_extra or ():
            raise ValueError(f"unknown key {key!r}; {nearest(key, type(self).model_fields)}")
        return self


class Texts(Section):
    """One source of user texts.

    Attributes:
        dataset: A dataset of the benchmark; its training split, with gold labels.
        file: By its ending: CSV, TSV, JSON, JSON lines, Parquet, or text with one text per line.
        folder: A folder written by ``datasets``' ``save_to_disk``.
        hub: A dataset of the Hugging Face hub, ``OWNER/NAME`` or ``OWNER/NAME:CONFIGURATION``.
        split: Of ``folder`` or ``hub``, where it holds several; default: train.
        column: Of the text, in a table.
        label_column: Of the gold label, in a table.
        labels: How gold labels of a table are called in this package, ``{"5 stars": "positive"}``.
        name: What reports call the source; default the dataset or the file's name.
        count: Texts drawn at most; None for all.
        mini: The package's own small texts instead of the dataset.
        delimiter: Of a CSV file; default: found.
        encoding: Of a text file; default: UTF-8, or found.
        on_bad_rows: Whether a row that is not as its header says, or has an empty label, stops the
            run, or is left out and counted.
    """

    dataset: str | None = None
    file: Path | None = None
    folder: Path | None = None
    hub: str | None = Field(default=None, pattern=r"^\w[\w.-]*(/\w[\w.-]*)?(:[\w.-]+)?$")
    split: str | None = None
    column: str = Field(default="text", min_length=1)
    label_column: str | None = Field(default=None, min_length=1)
    labels: dict[str, str] = {}
    name: str = ""
    count: Count | None = None
    mini: bool = False
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    encoding: str | None = None
    on_bad_rows: OnBadRows = "stop"

    @field_validator("labels", mode="before")
    @classmethod
    def _labels_as_written(cls, labels: Any) -> Any:
        """YAML reads 5, 5.0 and true as no texts."""
        if not isinstance(labels, dict):
            return labels
        given = cast("dict[Any, Any]", labels).items()
        return {
            plain_text(key): plain_text(value) if isinstance(value, (bool, int, float)) else value
            for key, value in given
        }

    @model_validator(mode="after")
    def _one_source(self) -> Texts:
        given = [key for key in ("dataset", "file", "folder", "hub") if getattr(self, key)]
        if len(given) != 1:
            raise ValueError(f"exactly one of dataset, file, folder, hub; got {given or 'none'}")
        if self.dataset and self.dataset not in load_cards():
            raise ValueError(
                f"dataset: unknown name {self.dataset!r}; {nearest(self.dataset, load_cards())}"
            )
        if self.labels and not self.label_column and not self.dataset:
            raise ValueError("labels: of a label_column, which is not given")
        if self.mini and not self.dataset:
            raise ValueError("mini: of a dataset of this package; remove it")
        of_files = ("delimiter", "encoding")
        of_tables = ("column", "label_column", "labels", "split", "on_bad_rows", *of_files)
        foreign = {"dataset": of_tables, "file": ("split",), "folder": of_files, "hub": of_files}[
            given[0]
        ]
        fields = type(self).model_fields
        ignored = [key for key in foreign if getattr(self, key) != fields[key].default]
        if ignored:
            why = "its training split and labels are known" if self.dataset else "it has none"
            raise ValueError(f"{', '.join(ignored)}: not of a {given[0]}, {why}; remove it")
        return self

    @property
    def source(self) -> str:
        """The name in reports."""
        name = Path(self.place.removeprefix(HUB).partition(":")[0] if self.hub else self.place)
        return self.name or self.dataset or name.stem

    @property
    def place(self) -> str:
        """What ``read_table`` reads; empty for a dataset of the benchmark."""
        return f"{HUB}{self.hub}" if self.hub else str(self.file or self.folder or "")


Change = Literal["markup", "entities", "links"]
Personal = Literal["mail", "phone", "handle"]
CHANGES: tuple[Change, ...] = get_args(Change)


class Cleaning(Section):
    """What is done to texts before they are drawn. Every change and every loss is counted.

    Attributes:
        skip: What is not done. ``markup``: tags of HTML are taken out. ``entities``: ``&amp;`` and
            its like are decoded. ``links``: bare links are taken out. ``no words``: texts without
            a letter are left out. ``case``: texts that equal another but for case and whitespace
            are left out.
        mask: Personal data that placeholders replace: mail addresses, phone numbers, handles. No
            teacher sees them, and no file of the run holds them.
    """

    skip: tuple[Change | Literal["no words", "case"], ...] = ()
    mask: tuple[Personal, ...] = ()

    @property
    def changes(self) -> tuple[Change, ...]:
        """What is changed in texts, masks apart."""
        return tuple(change for change in CHANGES if change not in self.skip)


def _template_args_of_a_chat(teacher: HfTeacher | VllmTeacher) -> HfTeacher | VllmTeacher:
    if teacher.chat_template_args and not teacher.chat:
        raise ValueError("chat_template_args: of a chat, and chat is false; set chat: true")
    return teacher


class HfTeacher(Section):
    """A local model of ``transformers``, run by the fast generation of the harness.

    Attributes:
        backend: ``hf``.
        model: A folder, or a name that transformers finds.
        dtype: Of the weights; ``auto`` for that of the checkpoint.
        batch_tokens: Tokens that go through the model at once; none to find it.
        chat: Whether prompts go through the model's chat template.
        chat_template_args: Given to that template, ``{enable_thinking: false}``.
        trust_remote_code: Whether code that comes with the checkpoint is run.
    """

    backend: Literal["hf"]
    model: str
    dtype: str = "auto"
    batch_tokens: Count | None = None
    chat: bool = False
    chat_template_args: dict[str, JsonValue] = {}
    trust_remote_code: bool = False

    _of_chat = model_validator(mode="after")(_template_args_of_a_chat)


class VllmTeacher(Section):
    """A local model run by vLLM, which is installed apart.

    Attributes:
        backend: ``vllm``.
        model: A folder, or a name that vLLM finds.
        dtype: Of the weights; ``auto`` for that of the checkpoint.
        tensor_parallel: GPUs that share the model.
        max_length: Most tokens of prompt and answer together; none for the model's own.
        chat: Whether prompts go through the model's chat template.
        chat_template_args: Given to that template, ``{enable_thinking: false}``.
        trust_remote_code: Whether code that comes with the checkpoint is run.
    """

    backend: Literal["vllm"]
    model: str
    dtype: str = "auto"
    tensor_parallel: Count = 1
    max_length: Count | None = None
    chat: bool = False
    chat_template_args: dict[str, JsonValue] = {}
    trust_remote_code: bool = False

    _of_chat = model_validator(mode="after")(_template_args_of_a_chat)


class OpenAITeacherConfig(Section):
    """A server that speaks OpenAI's /v1; the key is read from the environment.

    Attributes:
        backend: ``openai``.
        model: As the server calls it.
        base_url: ``http(s)://host/v1``, without user, password and query.
        api_key_env: The environment variable that holds the key.
        revision: Tells two models of one name apart, for example a date.
        style: Whether prompts are sent as chats or as texts to be continued.
        response_format: Sent with requests for a label: a mapping as it is, or ``label`` for a JSON
            schema whose only key ``label`` holds one of the request's labels.
        extra_body: Further keys of every request, in place of ours where they have one name; a key
            that is null is left out, ``{temperature: null, seed: null}``.
        concurrency: Requests at once.
        timeout_s: Seconds until a request is given up.
        max_attempts: How often a request is sent before it counts as failed.
        requests_per_minute: The server's limit; none for no limit.
        tokens_per_minute: The server's limit, prompts and answers together; none for no limit.
        usd_per_million_input: Price of prompt tokens in US dollars, for ``plan`` and the report.
        usd_per_million_output: The same of answer tokens.
    """

    backend: Literal["openai"]
    model: str
    base_url: str
    api_key_env: str = "OPENAI_API_KEY"
    revision: str = ""
    style: Literal["chat", "completions"] = "chat"
    response_format: Literal["label"] | dict[str, JsonValue] | None = None
    extra_body: dict[str, JsonValue] = {}
    concurrency: Count = 8
    timeout_s: Positive = 120
    max_attempts: Count = 6
    requests_per_minute: Positive | None = None
    tokens_per_minute: Positive | None = None
    usd_per_million_input: NotNegative | None = None
    usd_per_million_output: NotNegative | None = None

    def usd(self, prompt_tokens: float, answer_tokens: float) -> float | None:
        """Price in US dollars; None where a price is not set."""
        into, out = self.usd_per_million_input, self.usd_per_million_output
        if into is None or out is None:
            return None
        return (prompt_tokens * into + answer_tokens * out) / 1e6

    @field_validator("base_url")
    @classmethod
    def _holds_no_secret(cls, base_url: str) -> str:
        """It is written into manifests and pages."""
        if not ADDRESS.fullmatch(base_url):
            raise ValueError(
                "expected http(s)://host/v1 without user, password and query; a key goes into the "
                "environment variable that api_key_env names"
            )
        return base_url

    @field_validator("extra_body")
    @classmethod
    def _leaves_ours_alone(cls, body: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for key, instead in WRITTEN_BY_US.items():
            if key in body:
                raise ValueError(f"{key!r} is no extra key; {instead}")
        return body


class ReplayTeacherConfig(Section):
    """Recorded answers.

    Attributes:
        backend: ``replay``.
        store: Folder of the store.
    """

    backend: Literal["replay"]
    store: Path


class GoldTeacherConfig(Section):
    """The labels of the texts; ICLDist only.

    Attributes:
        backend: ``gold``.
    """

    backend: Literal["gold"]


TeacherConfig = Annotated[
    HfTeacher | VllmTeacher | OpenAITeacherConfig | ReplayTeacherConfig | GoldTeacherConfig,
    Field(discriminator="backend"),
]


class Lora(Section):
    """Low-rank adapters (Hu et al. 2021).

    Attributes:
        r: Rank.
        alpha: The adapter's output is scaled by ``alpha / r``.
        dropout: Share of the adapter's inputs that is dropped while training.
        target_modules: Names of layers, as in peft; ``all-linear`` for all of the decoder.
    """

    r: Count = 16
    alpha: Count = 32
    dropout: BelowOne = 0.0
    target_modules: str | list[str] = "all-linear"


class BestCheckpoint(Section):
    """Choose among checkpoints of a training by lm-eval on validation items, never on test items.

    Attributes:
        checkpoints: How many, evenly spaced; the last is the end of the training.
        tasks: Their mean score decides; of datasets with a validation split.
        limit: First items of each task.
    """

    checkpoints: int = Field(default=3, ge=2)
    tasks: tuple[str, ...] = Field(default=("sentibench_sst2",), min_length=1)
    limit: Count | None = 100

    @model_validator(mode="after")
    def _have_validation_items(self) -> BestCheckpoint:
        usable = [
            name
            for name, task in load_tasks().items()
            if task.source != "mini" and "val" in task.card.splits
        ]
        for name in self.tasks:
            if name not in usable:
                raise ValueError(
                    f"tasks: {name!r} has no validation split; {nearest(name, usable)}"
                )
        return self


class Difficulty(Section):
    """Keep the samples that are hard for a small model (CompEffDist, arXiv 2510.24425).

    Attributes:
        keep: Fraction of the samples.
        model: Under which their difficulty is measured; None for the student.
    """

    keep: Fraction
    model: str | None = None


class Training(Section):
    """What both stages set; each has defaults of its own for the rest.

    Attributes:
        method: LoRA, LoRA on a base held in 4 bits (needs bitsandbytes), or all weights.
        lora: Of the methods ``lora`` and ``qlora``.
        learning_rate: The highest; low-rank adapters need higher ones than all weights.
        epochs: Passes over the samples.
        batch_size: Samples of an optimizer step, over all processes.
        batch_tokens: Tokens, padding included, that go through a model at once.
        max_length: Most tokens of a sample; a longer one loses demonstrations, or is left out.
        schedule: How the learning rate falls after the warm-up.
        warmup_share: Share of the steps in which the learning rate rises.
        weight_decay: Of AdamW.
        betas: Of AdamW.
        precision: Of the forward pass; weights and optimizer stay in float32.
        choose: Among checkpoints; None for the end of the training.
        report_to: Services that are sent each step through transformers' own callbacks.
    """

    method: Literal["lora", "qlora", "full"] = "lora"
    lora: Lora = Lora()
    choose: BestCheckpoint | None = None
    learning_rate: Positive
    epochs: Positive = 1
    batch_size: Count = 16
    batch_tokens: Count = 2048
    max_length: int = Field(default=1024, ge=8)
    schedule: Schedule
    warmup_share: BelowOne
    weight_decay: NotNegative
    betas: tuple[BelowOne, BelowOne]
    precision: Literal["float32", "bfloat16"] = "float32"
    report_to: tuple[Literal["trackio", "tensorboard", "wandb"], ...] = ()

    def n_steps(self, n_samples: int) -> int:
        """Optimizer steps; the last batch of an epoch may not be full."""
        return math.ceil(math.ceil(n_samples / self.batch_size) * self.epochs)


class KnowDistTraining(Training):
    """KnowDist's schedule (Zhang et al. 2025, appendix): cosine, 1% warm-up, decay 0.1."""

    learning_rate: Positive = 2e-4
    schedule: Schedule = "cosine"
    warmup_share: BelowOne = 0.01
    weight_decay: NotNegative = 0.1
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.95)


class ICLDistTraining(Training):
    """ICLDist's schedule (Zhang et al. 2025, appendix): linear, 2% warm-up, decay 0.01."""

    learning_rate: Positive = 3e-4
    schedule: Schedule = "linear"
    warmup_share: BelowOne = 0.02
    weight_decay: NotNegative = 0.01
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.999)


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
    domain: str = ""
    teacher: TeacherConfig | None = None
    difficulty: Difficulty | None = None
    training: KnowDistTraining = KnowDistTraining()


class ICLDist(Section):
    """Stage 2: the teacher answers few-shot prompts, the student learns to answer alike.

    Attributes:
        samples: Few-shot prompts.
        shots: Numbers of demonstrations that a prompt may have, drawn evenly.
        demonstrations: Whether their labels are gold (where the source has them) or the teacher's.
        tasks: What is asked: ``sentiment``, ``emotion``, one of their taxonomies such as
            ``sentiment_3``, or an own task by its name.
        pool: Texts of each source and taxonomy that are labelled to be demonstrations; default: as
            many as the samples need.
        label_words: Whether labels appear under other words than the usual ones.
        taxonomies: Whether classes are cut in other ways (two, three, five polarities; emotions).
        instructions: Kinds of instruction, drawn evenly.
        other_tasks: Share of the samples that are not about sentiment.
        other_files: JSON lines of more such tasks, ``{"task", "instruction", "input", "output"}``.
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
    other_files: tuple[Path, ...] = ()
    score_choices: bool = True
    label_tokens: Count = 64
    response_tokens: Count = 128
    difficulty: Difficulty | None = None
    training: ICLDistTraining = ICLDistTraining()


class Evaluation(Section):
    """What the harness measures.

    Attributes:
        tasks: Names as after ``lm_eval --tasks``.
        limit: First items of each task; None for all.
        limits: Task -> first items, where they are not ``limit``: long texts cost more.
        dtype: Of the weights; bfloat16 is faster where the machine multiplies it.
        teacher: Whether the teacher is measured too.
        agreement: Texts that the last student did not learn from, on which its answers to own tasks
            are compared with the teacher's, at most; 0 for none.
    """

    tasks: tuple[str, ...] = ("sentibench",)
    limit: Count | None = None
    limits: dict[str, Count] = {}
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    teacher: bool = True
    agreement: int = Field(default=100, ge=0)


class FilterConfig(Section):
    """What makes an answer unfit. One that has to be a label is only judged as a label.

    Attributes:
        skip: Reasons that are not checked; the funnel names them.
        refusal_words: A refusal has at most this many words (by whitespace).
        cut_off: What happens to an answer that reached the token limit.
        copied_share: An answer is a copy if at least this fraction of its words lies in runs of
            five words of the user text.
        example_share: The same of the prompt around the text, where worked examples are: what is
            taken from them says nothing of the text, but a set phrase is.
        repetition_share: An answer repeats itself if at least this fraction of its runs of four
            words are repeats, or of its characters lie in one short pattern repeated.
        repetition_words: Fewer words are not searched for repeated runs.
        repeated_lines: So many copies of one line, at least half of all lines, are a repetition.
        run_on: What happens to an answer that goes on into another review or turn.
        run_on_markers: Words that, before a colon at the beginning of a line, open another review;
            those of the prompt are found in the prompt.
        min_words: Fewest words of a free answer (by whitespace).
        max_words: Most words of a free answer (by whitespace).
        near_duplicate_similarity: Jaccard similarity of the runs of five words from which on two
            free answers are the same; in (0, 1].
        min_kept: Share of the requests that has to be left after a step that asks or filters;
            below it the run stops and says why.
        allow_loss: Whether the run goes on all the same, as long as anything is left.
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
                raise ValueError(f"nothing is learnt from an empty answer; remove {reason!r}")
        return skip


class Run(Section):
    """The whole of a distillation run.

    Attributes:
        name: Of the folder below ``out``, and of the students.
        student: A checkpoint that transformers loads.
        trust_remote_code: Whether code that comes with the student's checkpoint is run.
        teacher: Who answers.
        texts: Sources of user texts.
        cleaning: What is done to the texts first.
        knowdist: Stage 1; None to leave it out.
        icldist: Stage 2; None to leave it out.
        mixed: Train once, on the samples of both stages, with ICLDist's training settings.
        filters: Which answers are learnt from.
        evaluation: What is measured.
        out: Runs that share it share the answers of a teacher.
        seed: Of every draw.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    student: str
    trust_remote_code: bool = False
    teacher: TeacherConfig
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
        twins = {name for name in names if names.count(name) > 1}
        if twins:
            raise ValueError(
                f"texts: {', '.join(sorted(twins))} is the name of more than one source; give each "
                "a name of its own"
            )
        if self.knowdist is None and self.icldist is None:
            raise ValueError("nothing to do: give knowdist, icldist or both")
        if self.mixed and (self.knowdist is None or self.icldist is None):
            raise ValueError("mixed: of two stages; give knowdist and icldist")
        if self.knowdist and (self.knowdist.teacher or self.teacher).backend == "gold":
            raise ValueError("teacher.backend: gold has labels alone; give knowdist.teacher")
        if self.icldist and self.icldist.demonstrations == "gold":
            if not any(texts.dataset or texts.label_column for texts in self.texts):
                raise ValueError("icldist.demonstrations: gold, but no source of texts has labels")
        elif self.icldist and self.teacher.backend == "gold":
            raise ValueError("teacher.backend: gold needs icldist.demonstrations: gold")
        return self

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


def _parsed(text: str, mistake: str) -> Any:
    """The value of a YAML text; the mistake says where and what if it is none."""
    try:
        return yaml.load(text, _NoTwins)
    # its constructors raise whatever Python does, as for the date 2024-13-45
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise ConfigError(f"{mistake}; {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ConfigError(f"{mistake}; nested too deeply") from None


class _NoTwins(yaml.SafeLoader):
    """YAML in which no key stands twice: the first would be lost without a word."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for place, key in enumerate(keys):
            is_truth = key.value.lower() in ("true", "false")  # yes, no and on are read as these
            if key.tag.rpartition(":")[2] in ("bool", "null") and not is_truth:
                what = f"key {key.value!r} is read as a {key.tag.rpartition(':')[2]}; quote it"
                raise yaml.MarkedYAMLError(None, None, what, key.start_mark)
            if key.value in [before.value for before in keys[:place]]:
                what = f"key {key.value!r} is there twice; remove one"
                raise yaml.MarkedYAMLError(None, None, what, key.start_mark)
        return node


def load_config(path: Path, overrides: Sequence[str] = ()) -> Run:
    """Read a configuration and apply ``section.key=value`` overrides, values as YAML.

    Raises:
        ConfigError: One line with the place of the first mistake, what was expected, and what is
            near.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read; {error}") from None
    raw = _parsed(text, f"{path}: no YAML")
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected a mapping of settings; got {type(raw).__name__}")
    given = {path.name: _as_json(path.name, raw)}
    for override in overrides:
        _override(cast("dict[str, Any]", raw), override)
        given[repr(override)] = _as_json(repr(override), raw)
    *_, whole = given.values()
    run = _validated(whole)
    if isinstance(run, Run):
        return run
    # the file's, or the first override's with which the mistake was there
    blamed = next(where for where, text in given.items() if _validated(text) == run)
    raise ConfigError(f"{blamed}: {run}")


def _as_json(where: str, raw: Any) -> str:
    """The settings as JSON, where a list may be a tuple, a text a path and a number a key."""
    try:
        return json.dumps(raw)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: settings that JSON cannot hold; {error}") from None


def _validated(text: str) -> Run | str:
    """The configuration, or its first mistake."""
    try:
        return Run.model_validate_json(text)
    except ValidationError as error:
        return _first_mistake(error)


def _override(raw: dict[str, Any], override: str) -> None:
    name, separator, value = override.partition("=")
    if not separator or not name:
        raise ConfigError(f"{override!r}: expected section.key=value")
    *sections, key = name.split(".")
    for section in sections:
        below = raw.setdefault(section, {})
        if not isinstance(below, dict):
            raise ConfigError(f"{override!r}: {section} is no section but {below!r}")
        raw = cast("dict[str, Any]", below)
    raw[key] = _parsed(value, f"{override!r}: the value is no YAML")


def _first_mistake(error: ValidationError) -> str:
    """One line: place, what is wrong, what was got, and what is near."""
    first = cast("dict[str, Any]", error.errors()[0])
    pairs = zip(("", *first["loc"]), first["loc"], strict=False)  # pydantic names the backend too
    place = [str(part) for above, part in pairs if above != "teacher"]
    if first["type"] == "union_tag_invalid":  # the only union is that of teachers
        tag, known = first["ctx"]["tag"], first["ctx"]["expected_tags"].replace("'", "").split(", ")
        return f"{'.'.join(place)}.backend: unknown name {tag!r}; {nearest(tag, known)}"
    is_missing = first["type"] in ("missing", "union_tag_not_found")
    if first["type"] == "union_tag_not_found":
        place, first["msg"] = [*place, "backend"], "field required"
    message = first["msg"].removeprefix("Value error, ")
    line = ": ".join(filter(None, (".".join(place), message[0].lower() + message[1:])))
    if is_missing:  # perhaps misspelt: sections know their keys once they have all
        known = {key for section in Section.__subclasses__() for key in section.model_fields}
        given: list[str] = first["input"]
        for key in [key for key in given if key not in known]:
            is_near = get_close_matches(key, place[-1:])
            line += f"; unknown key {key!r}" + (f"; did you mean {place[-1]!r}?" if is_near else "")
    if is_missing or first["type"] == "value_error":
        return line
    got = first["input"]
    is_text = isinstance(got, str) and first["type"].startswith(("float", "int", "bool"))
    return f"{line}; got {got!r}{' (text)' if is_text else ''}"


def save_config(run: Run, path: Path) -> None:
    """Write the resolved configuration, every default filled in."""
    write_beside(
        path, yaml.safe_dump(run.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    )
