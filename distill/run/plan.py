"""A dry run: what would be asked and trained, how much of it, and what it looks like.

No teacher is loaded or called, and nothing is written. ``Plan`` counts, ``plan_text`` shows.
"""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, cast

from distill.checkpoints import check_checkpoint, load_tokenizer
from distill.config import ReplayTeacherConfig, Run, Training
from distill.errors import InputError
from distill.prompts.icldist import (
    coverage,
    demonstration_requests,
    gold_demonstrations,
    load_taxonomies,
)
from distill.records import Answer, Request
from distill.run.data import build_requests, read_labels, read_texts, sample_of, tests_of
from distill.run.stages import (
    StageName,
    StageTeacher,
    kept_step,
    sources_of,
    training_of,
    training_stages,
)
from distill.run.steps import State, Step, states
from distill.student.samples import encode_samples
from distill.teachers.gold import gold_label
from distill.teachers.store import Store
from distill.texts.sources import Text, draw_texts
from sentibench.prompts.few_shot import TARGET_DELIMITER

# Requests of a stage whose tokens are counted, drawn at random where there are more: any share of
# them is then known to within 0.8 points (one standard error).
COUNTED = 4_000
BATCH = 512  # texts of a call to the tokenizer
EXAMPLES = 3
FREE = ("replay", "gold")  # teachers that are no model


@dataclass(frozen=True, slots=True)
class Cost:
    """Tokens of the teacher for requests that still wait."""

    prompt_tokens: float = 0
    answer_tokens: float = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.prompt_tokens + other.prompt_tokens, self.answer_tokens + other.answer_tokens
        )


@dataclass(frozen=True, slots=True)
class StagePlan:
    """What a stage would ask, and what its samples would be.

    Attributes:
        stage: ``demonstrations``, ``knowdist`` or ``icldist``.
        axes: Number of requests per value of each axis.
        n_requests: All of them.
        answered: Requests that the store answers already.
        failed: Requests that failed before, which are asked again on demand alone.
        waiting: Requests that would be asked; twins are asked once.
        unanswerable: Of those, what a recording or gold labels cannot answer.
        cost: Of the waiting requests.
        cost_basis: What its answer tokens rest on.
        prompt_tokens: Of the counted requests, by the student's tokenizer.
        response_tokens: Mean of the counted samples, the end of the text included.
        response_basis: What that rests on.
        too_long: Counted samples that do not fit with all demonstrations.
        shortened: Of those, what fits without some.
        examples: (family, kind, prompt), a few of every family.
    """

    stage: str
    axes: Mapping[str, Counter[str]]
    n_requests: int
    answered: int
    failed: int
    waiting: int
    unanswerable: int
    cost: Cost
    cost_basis: str
    prompt_tokens: tuple[int, ...]
    response_tokens: float
    response_basis: str
    too_long: int
    shortened: int
    examples: tuple[tuple[str, str, str], ...]

    @property
    def left_out(self) -> int:
        """Counted samples that do not fit without demonstrations either."""
        return self.too_long - self.shortened


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What a training stage would do; see ``distill.student.training``."""

    stage: str
    training: Training
    n_samples: int
    basis: str
    n_steps: int
    supervised_tokens: float
    tokens: float


@dataclass(frozen=True, slots=True)
class _Found:
    """What the stores hold of a stage's requests; ``answers`` is aligned with those counted."""

    answered: int
    failed: int
    waiting: tuple[Request, ...]
    unanswerable: int
    answers: Sequence[Answer | None]


class Plan:
    """Everything that ``python -m distill plan`` shows.

    Args:
        run: The configuration.
        steps: Its steps, of which what is done is read.
        teachers: Who would answer; none is loaded.

    Attributes:
        texts: Drawn anew, or those of the run where they are drawn already.
        left_out: [source, reason, number].
        stages: In the order in which the teacher is asked.
        trainings: In their order.
        placeholders: Labels of demonstrations that nobody gave.
        gold: Labels of demonstrations that are gold in the teacher's place.

    Raises:
        InputError: If texts or the student's tokenizer cannot be read.
    """

    def __init__(
        self,
        run: Run,
        steps: Mapping[str, Step],
        teachers: Mapping[StageName, StageTeacher],
    ) -> None:
        self.run, self.steps, self._teachers = run, steps, teachers
        self.states: dict[str, tuple[State, str]] = states(steps.values())
        check_checkpoint("student", self.run.student)
        self._tokenizer = load_tokenizer(self.run.student)
        self.texts, self.left_out = self._draw()
        self.placeholders = self.gold = 0
        self.stages = list(self._stages())
        self.trainings = [self._training(name) for name in training_stages(run)]

    def teacher_of(self, stage: str) -> StageTeacher:
        """Who would answer a stage; demonstrations belong to ICLDist."""
        return self._teachers["knowdist" if stage == "knowdist" else "icldist"]

    def _done(self, name: str) -> dict[str, Any] | None:
        """Summary of a step that is done, else None."""
        if self.states.get(name, ("", ""))[0] != "done":
            return None
        return cast("dict[str, Any]", self.steps[name].record())["summary"]

    def _draw(self) -> tuple[list[Text], list[tuple[str, str, int]]]:
        summary = self._done("texts")
        if summary is not None:
            left_out = [tuple(row) for row in summary["left_out"]]
            return read_texts(self.steps["texts"].folder), left_out
        draw = draw_texts(self.run.texts, self.run.seed, tests_of(self.run)())
        return list(draw.texts), [(*key, n) for key, n in sorted(draw.left_out.items())]

    def _stages(self) -> Iterator[StagePlan]:
        if self.run.knowdist:
            yield self._stage("knowdist", build_requests(self.run, "knowdist", self.texts, None))
        if self.run.icldist:
            asked = demonstration_requests(self.texts, self.run.icldist, self.run.seed)
            if asked:
                yield self._stage("demonstrations", asked)
            labels = self._labels(asked)
            yield self._stage("icldist", build_requests(self.run, "icldist", self.texts, labels))

    def _labels(self, asked: Sequence[Request]) -> Mapping[tuple[str, str], str]:
        """Labels of demonstrations; where the teacher has not answered, gold or placeholders."""
        stage = self.run.icldist
        assert stage is not None
        if stage.demonstrations == "gold":
            return gold_demonstrations(self.texts, stage, self.run.seed)
        if self._done("demonstrations"):
            return read_labels(self.steps["demonstrations"].folder)
        labels: dict[tuple[str, str], str] = {}
        for request in asked:
            classes = load_taxonomies()[request.meta["taxonomy"]].classes
            label = request.meta["gold"]
            if label in classes:
                self.gold += 1
            else:
                label = random.Random(f"{self.run.seed}/plan/{request.id}").choice(classes)
                self.placeholders += 1
            labels[request.meta["taxonomy"], request.meta["text"]] = label
        return labels

    def _stage(self, stage: str, requests: Sequence[Request]) -> StagePlan:
        counted = self._counted(stage, requests)
        found = self._look_up(stage, requests, counted)
        prompts = [request.prompt for request in counted]
        prompt_tokens = self._lengths(prompts)
        backend = self.teacher_of(stage).config.backend
        cost, cost_basis = _cost(backend, prompt_tokens, found)
        responses, lengths, basis = self._responses(
            counted, prompt_tokens, found.answers, gold=backend == "gold"
        )
        too_long = shortened = 0
        if stage != "demonstrations":
            limit = self._training_of(cast(StageName, stage)).max_length
            over = [i for i, length in enumerate(lengths) if length > limit]
            dropped = [self._dropped(counted[i], responses[i], limit) for i in over]
            fit = [n for n in dropped if n is not None]
            shortened = sum(n > 0 for n in fit)
            too_long = shortened + len(over) - len(fit)
        supervised = [n - p for n, p in zip(lengths, prompt_tokens, strict=True)]
        return StagePlan(
            stage=stage,
            axes=coverage(requests) if stage == "icldist" else _axes(stage, requests),
            n_requests=len(requests),
            answered=found.answered,
            failed=found.failed,
            waiting=len(found.waiting),
            unanswerable=found.unanswerable,
            cost=cost,
            cost_basis=cost_basis,
            prompt_tokens=tuple(prompt_tokens),
            response_tokens=fmean(supervised),
            response_basis=basis,
            too_long=too_long,
            shortened=shortened,
            examples=() if stage == "demonstrations" else _examples(requests),
        )

    def _counted(self, stage: str, requests: Sequence[Request]) -> list[Request]:
        """A seeded draw: an even stride would meet the same kinds of prompt again and again."""
        if len(requests) <= COUNTED:
            return list(requests)
        rng = random.Random(f"{self.run.seed}/plan/{stage}")
        return [requests[i] for i in sorted(rng.sample(range(len(requests)), COUNTED))]

    def _look_up(
        self, stage: str, requests: Sequence[Request], counted: Sequence[Request]
    ) -> _Found:
        teacher = self.teacher_of(stage)
        config, name = teacher.config, (teacher.name, teacher.revision)
        keys = [request.key(*name) for request in requests]
        with ExitStack() as stack:
            own = _open(teacher.store, stack)
            is_replay = isinstance(config, ReplayTeacherConfig)
            recording = _open(config.store, stack) if is_replay else None
            stores = [store for store in (own, recording) if store is not None]
            failed = {key for key, _ in own.failures()} if own else set[str]()
            is_answered = {key: own is not None and key in own for key in keys}
            waiting = {
                key: request
                for key, request in zip(keys, requests, strict=True)
                if not is_answered[key] and key not in failed
            }
            unanswerable = 0
            if is_replay:
                unanswerable = sum(not any(key in store for store in stores) for key in waiting)
            elif config.backend == "gold":
                unanswerable = sum(gold_label(request) is None for request in waiting.values())
            answers = [
                next(filter(None, (store.get(request.key(*name)) for store in stores)), None)
                for request in counted
            ]
        return _Found(
            answered=sum(is_answered[key] for key in keys),
            failed=sum(key in failed for key in keys),
            waiting=tuple(waiting.values()),
            unanswerable=unanswerable,
            answers=answers,
        )

    def _responses(
        self,
        counted: Sequence[Request],
        prompt_tokens: Sequence[int],
        answers: Sequence[Answer | None],
        *,
        gold: bool,
    ) -> tuple[list[str | int], list[int], str]:
        """What the student would learn to write.

        Returns:
            The response of every sample, or its most tokens where nobody knows it; tokens of the
            whole samples, the end of the text included; what they rest on.
        """
        responses: list[str | int] = []
        n_known = n_labels = 0
        for request, answer in zip(counted, answers, strict=True):
            known = answer.text.strip() if answer else ""
            known = known or (gold and gold_label(request)) or ""
            labels = request.choices or request.meta.get("labels") or ()
            n_known += bool(known)
            n_labels += bool(labels and not known)
            longest = max(labels, key=len) if labels else request.decoding.max_new_tokens
            responses.append(known or longest)
        texts = [
            request.prompt + TARGET_DELIMITER + (response if isinstance(response, str) else "")
            for request, response in zip(counted, responses, strict=True)
        ]
        lengths = [
            1 + (n if isinstance(response, str) else n_prompt + response)
            for response, n, n_prompt in zip(
                responses, self._lengths(texts), prompt_tokens, strict=True
            )
        ]
        n_bound = len(counted) - n_known - n_labels
        parts = [
            (n_known, "known"),
            (n_labels, "as their longest label"),
            (n_bound, "as the longest answer allowed"),
        ]
        return responses, lengths, ", ".join(f"{n:,} {what}" for n, what in parts if n)

    def _dropped(self, request: Request, response: str | int, limit: int) -> int | None:
        """Demonstrations that the training would drop; None where it leaves the sample out."""
        if isinstance(response, int):  # one token stands for as many as there may be
            response, limit = "a", limit - response + 1
        try:
            sample = sample_of(request, response)
            return encode_samples([sample], self._tokenizer, limit).examples[0].dropped
        except InputError:
            return None

    def _lengths(self, texts: Sequence[str]) -> list[int]:
        found: list[int] = []
        for start in range(0, len(texts), BATCH):
            batch = self._tokenizer(list(texts[start : start + BATCH]), verbose=False)
            found += map(len, batch["input_ids"])
        return found

    def _training_of(self, source: StageName) -> Training:
        """The settings under which samples of a source are trained on."""
        stages = training_stages(self.run)
        stage = next(s for s in stages if source in sources_of(self.run, s))
        return training_of(self.run, stage)

    def _training(self, name: str) -> TrainingPlan:
        training = training_of(self.run, name)
        n_samples, supervised, tokens = 0, 0.0, 0.0
        bases: list[str] = []
        for source in sources_of(self.run, name):
            stage = next(stage for stage in self.stages if stage.stage == source)
            n, basis = self._n_samples(source, stage)
            n_samples += n
            bases += [basis] if basis not in bases else []
            supervised += n * stage.response_tokens
            tokens += n * (fmean(stage.prompt_tokens) + stage.response_tokens)
        n_steps = math.ceil(math.ceil(n_samples / training.batch_size) * training.epochs)
        epochs = training.epochs
        return TrainingPlan(
            name,
            training,
            n_samples,
            ", ".join(bases),
            n_steps,
            epochs * supervised,
            epochs * tokens,
        )

    def _n_samples(self, source: StageName, stage: StagePlan) -> tuple[int, str]:
        """Samples of a source: those kept where that is known, else all requests."""
        found = self.run.knowdist if source == "knowdist" else self.run.icldist
        keep = found.difficulty.keep if found and found.difficulty else 1.0
        n, basis = stage.n_requests, "before the filters"
        for name in (f"{source}-filter", kept_step(self.run, source)):
            summary = self._done(name)
            if summary is not None:
                n, basis = summary["kept"], "after the filters"
                keep = 1.0 if name.endswith("-select") else keep
        return round(n * keep * (1 - stage.left_out / len(stage.prompt_tokens))), basis


def _cost(backend: str, prompt_tokens: Sequence[int], found: _Found) -> tuple[Cost, str]:
    """Tokens of the waiting requests: as the teacher counted so far, else as the student."""
    if not found.waiting:
        return Cost(), "nothing waits"
    answers = [answer for answer in found.answers if answer]
    told = [
        (answer.prompt_tokens, n)
        for answer, n in zip(found.answers, prompt_tokens, strict=True)
        if answer and answer.prompt_tokens
    ]
    scale = sum(n for n, _ in told) / sum(n for _, n in told) if told else 1.0
    prompts = fmean(prompt_tokens) * scale * len(found.waiting)
    written = [a.completion_tokens for a in answers if a.completion_tokens]
    free = [r for r in found.waiting if not (r.choices and backend == "hf")]
    if not free:
        return Cost(prompts), "it scores label words and writes nothing"
    if written:
        mean = fmean(written)
        expected = sum(min(mean, request.decoding.max_new_tokens) for request in free)
        return Cost(prompts, expected), f"mean of {len(written):,} answers in the store"
    bound = sum(request.decoding.max_new_tokens for request in free)
    return Cost(prompts, bound), "a bound: every answer at its longest"


def _open(folder: Path, stack: ExitStack) -> Store | None:
    """A store for reading, if there is one."""
    return stack.enter_context(Store.read(folder)) if (folder / "store.json").is_file() else None


def _axes(stage: str, requests: Sequence[Request]) -> dict[str, Counter[str]]:
    names = ("taxonomy",) if stage == "demonstrations" else ("family", "perspective")
    kinds = ("/".join(str(r.meta[name] or "none") for name in names) for r in requests)
    return {"/".join(names): Counter(kinds)}


def _examples(requests: Sequence[Request]) -> tuple[tuple[str, str, str], ...]:
    """The first prompts of every family, as they are sent."""
    found: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for request in requests:
        family = str(request.meta["family"])
        kind = request.meta.get("perspective") or request.meta.get("taxonomy") or "none"
        if len(found[family]) < EXAMPLES:
            found[family].append((family, str(kind), request.prompt))
    return tuple(example for family in found.values() for example in family)
