"""A dry run: what would be asked and trained, how much of it, and what it looks like.

No teacher is loaded or called, and nothing is written. ``Plan`` counts, ``plan_text`` shows.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from shutil import disk_usage
from statistics import fmean
from typing import Any, NamedTuple

from distill.checkpoints import check_checkpoint, load_tokenizer, parameters_of
from distill.config import KnowDist, ReplayTeacherConfig, Run, Training
from distill.filters.reading import read_answer
from distill.prompts.attributes import Attribute, attribute_requests
from distill.prompts.icldist import coverage, demonstration_requests
from distill.prompts.knowdist import n_knowdist_requests, opening_of
from distill.run.data import (
    Labels,
    each_request,
    known_labels,
    read_labels,
    read_listed,
    read_texts,
    rows_of,
    sample_of,
    tests_of,
    unlearned_texts,
)
from distill.run.measuring import agreement_requests, agreement_texts, evaluation_requests
from distill.run.stages import (
    STAGES,
    StageName,
    StageTeacher,
    asked_teacher,
    kept_step,
    measured,
    settings_of,
    sources_of,
    tasks_of_agreement,
    training_of,
    training_stages,
)
from distill.steps import State, Step, states
from distill.student.samples import encode_samples
from distill.teachers.gold import gold_label
from distill.texts.sources import Draw, Text, each_text
from sentibench.data.cards import load_tasks
from sentibench.errors import InputError
from sentibench.prompts.few_shot import TARGET_DELIMITER
from sentibench.remote.records import Answer, Request
from sentibench.remote.store import Store

# Requests of a stage whose tokens are counted, drawn at random where there are more: any share of
# them is then known to within 1.6 points (one standard error).
COUNTED = 1_000
# Requests of a stage that are made, and texts of a source that are looked at where they were not
# drawn yet: of more, so many are drawn at random, and what is said of all is about right.
MADE = LOOKED_AT = 20_000
EXAMPLES = 3
FREE = ("replay", "gold")  # teachers that are no model
PLACEHOLDERS = (
    Attribute("tone", 2, ("sarcastic", "friendly")),
    Attribute("intensity", 2, ("mild", "strong")),
)
Losses = list[tuple[str, str, int]]
KNOWN, LABEL, BOUND = "known", "as their longest label", "as the longest answer allowed"


class Cost(NamedTuple):
    """Tokens of the teacher for requests that still wait."""

    prompt_tokens: float = 0
    answer_tokens: float = 0


@dataclass(frozen=True, slots=True)
class StagePlan:
    """What a stage would ask, and what its samples would be.

    Attributes:
        stage: ``attributes``, ``knowdist``, ``demonstrations``, ``icldist``, or what measures:
            ``evaluation`` of the teacher, ``agreement`` of teacher and student.
        axes: Number of requests per value of each axis.
        n_requests: All of them.
        n_made: Requests that were made, drawn at random; all numbers of requests rest on them.
        answered: Requests that the store answers already.
        failed: Requests that failed before, which are asked again on demand alone.
        waiting: Requests that would be asked; equal ones are asked once.
        unanswerable: Of those, what a recording or gold labels cannot answer.
        cost: Of the waiting requests.
        cost_basis: What its answer tokens rest on.
        prompt_tokens: Of the counted requests, by the student's tokenizer.
        response_tokens: Mean of the counted samples, the end of the text included.
        response_basis: What that rests on.
        shortened: Counted samples that do not fit with all demonstrations, but without some.
        left_out: Counted samples that do not fit without demonstrations either.
        examples: (family, kind, prompt), a few of every family.
    """

    stage: str
    axes: Mapping[str, Counter[str]]
    n_requests: int
    n_made: int
    answered: int
    failed: int
    waiting: int
    unanswerable: int
    cost: Cost
    cost_basis: str
    prompt_tokens: tuple[int, ...]
    response_tokens: float
    response_basis: str
    shortened: int
    left_out: int
    examples: tuple[tuple[str, str, str], ...]


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


class _Response(NamedTuple):
    """What the student would learn to write: a text, or its most tokens where nobody knows it."""

    text: str
    tokens: int
    basis: str


class Plan:
    """Everything that ``python -m distill plan`` shows.

    Args:
        run: The configuration.
        steps: Its steps, of which what is done is read.
        teachers: Who would answer; none is loaded.

    Attributes:
        texts: Drawn anew, or those of the run where they are drawn already; of large sources some.
        n_texts: How many there are of each source.
        is_sampled: Whether that, and what is left out, is known of some texts alone.
        left_out: (source, reason, number).
        changed: (source, kind of change, number).
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
        check_checkpoint("student", run.student, trust_remote_code=run.trust_remote_code)
        self._tokenizer = load_tokenizer(run.student, trust_remote_code=run.trust_remote_code)
        self.is_sampled = False
        self.texts, self.n_texts, self.left_out, self.changed = self._draw()
        self.placeholders = self.gold = 0
        self.stages = list(self._stages())
        self.trainings = [self._training(name) for name in training_stages(run)]

    def disk(self) -> tuple[float | None, int]:
        """Bytes that students and their training take, None if unknown, and bytes that are free.

        A merged student is in float32. All weights are written once more before that, and twice
        with both moments of the optimizer while they are trained; adapters are small.
        """
        folder = self.run.out.absolute()
        there = next(path for path in (folder, *folder.parents) if path.exists())
        n = parameters_of(self.run.student)
        copies = sum(8 if one.training.method == "full" else 1 for one in self.trainings)
        return n and 4 * n * copies, disk_usage(there).free

    def teacher_of(self, stage: str) -> StageTeacher:
        """Who would answer; attributes belong to KnowDist, demonstrations and agreement do not."""
        asked = asked_teacher(self.run, "teacher", self._teachers)
        if stage == "evaluation" and asked:
            return asked
        return self._teachers["knowdist" if stage in ("knowdist", "attributes") else "icldist"]

    def is_guessed(self, stage: str) -> bool:
        """Whether requests depend on answers that are not there yet."""
        if stage == "agreement":
            kept = [kept_step(self.run, one) for one in STAGES if getattr(self.run, one)]
            return any(self._done(name) is None for name in kept)
        if stage == "knowdist":
            return self._attributes() is PLACEHOLDERS
        return stage == "icldist" and bool(self.gold + self.placeholders)

    def _done(self, name: str) -> dict[str, Any] | None:
        """Summary of a step that is done, else None."""
        is_done = self.states.get(name, ("", ""))[0] == "done"
        return self.steps[name].summary() if is_done else None

    def _draw(self) -> tuple[Sequence[Text], Counter[str], Losses, Losses]:
        summary = self._done("texts")
        if summary is not None:
            left_out, changed = (
                [tuple(r) for r in summary[key]] for key in ("left_out", "changed")
            )
            texts = read_texts(self.steps["texts"].folder)
            return texts, Counter(text.source for text in texts), left_out, changed
        run, draw = self.run, Draw()
        given = run.texts, run.seed, tests_of(run)(), run.cleaning, draw
        drawn = list(known_labels(run, each_text(*given, most=LOOKED_AT)))
        taken = Counter(text.source for text in drawn)
        for source in run.texts:
            name = source.source
            n_looked_at, n_rows = draw.looked_at[name]
            if n_looked_at == n_rows or taken[name] == source.count:
                continue
            self.is_sampled, factor = True, n_rows / n_looked_at
            taken[name] = min(round(taken[name] * factor), source.count or n_rows)
            for counts in (draw.left_out, draw.changed):
                scaled = {key: round(n * factor) for key, n in counts.items() if key[0] == name}
                counts.update({key: n - counts[key] for key, n in scaled.items()})
        return drawn, taken, rows_of(draw.left_out), rows_of(draw.changed)

    def _made(
        self, stage: StageName, labels: Labels | None, attributes: Sequence[Attribute] = ()
    ) -> tuple[list[Request], int]:
        """The requests of a stage, or some that are drawn at random; and how many there are."""
        found = settings_of(self.run, stage)
        n, n_here = (
            (n_knowdist_requests(n, found) if isinstance(found, KnowDist) else found.samples)
            for n in (self.n_texts.total(), len(self.texts))
        )
        rng = random.Random(f"{self.run.seed}/plan/made/{stage}")
        wanted = set(rng.sample(range(n_here), MADE)) if n_here > MADE else None
        made = each_request(self.run, stage, self.texts, labels, attributes, wanted)
        return list(made), n

    def _stages(self) -> Iterator[StagePlan]:
        run, texts = self.run, self.texts
        if run.knowdist:
            found = self._attributes()
            if run.knowdist.attributes:
                opening = opening_of(run.knowdist)
                asked = attribute_requests(texts, run.knowdist.attributes, run.seed, opening)
                yield self._stage("attributes", asked)
            yield self._stage("knowdist", *self._made("knowdist", None, found))
        if run.icldist:
            asked = demonstration_requests(texts, run.icldist, run.seed)
            if asked:
                yield self._stage("demonstrations", asked)
            labels = self._labels(asked) if asked else None
            yield self._stage("icldist", *self._made("icldist", labels))
        if asked_teacher(run, "teacher", self._teachers) and "teacher" in measured(run):
            yield self._stage("evaluation", evaluation_requests(run))
        is_guess = self.is_guessed("agreement")
        drawn = [text.text for text in texts] if is_guess else unlearned_texts(run)
        chosen, tasks = agreement_texts(run, drawn), tasks_of_agreement(run)
        if asked := [r for t in tasks for r in agreement_requests(run, load_tasks()[t], chosen)]:
            yield self._stage("agreement", asked)

    def _attributes(self) -> Sequence[Attribute]:
        """What the teacher listed; placeholders where it has not answered."""
        if self.run.knowdist is None or self.run.knowdist.attributes is None:
            return ()
        is_done = self._done("attributes")
        return read_listed(self.steps["attributes"].folder) if is_done else PLACEHOLDERS

    def _labels(self, asked: Sequence[Request]) -> Labels:
        """Labels of demonstrations; where the teacher has not answered, gold or placeholders."""
        if self._done("demonstrations"):
            return read_labels(self.steps["demonstrations"].folder)
        labels: dict[tuple[str, str], str] = {}
        for request in asked:
            taxonomy, label = request.meta["taxonomy"], request.meta["gold"]
            classes = request.meta["labels"] or ("[]",)
            if label not in classes:
                label = random.Random(f"{self.run.seed}/plan/{request.id}").choice(classes)
                self.placeholders += 1
            labels[taxonomy, request.meta["text"]] = label
        self.gold = len(asked) - self.placeholders
        return labels

    def _stage(self, stage: str, requests: Sequence[Request], n: int | None = None) -> StagePlan:
        n = len(requests) if n is None else n
        factor = n / len(requests)
        counted = self._counted(stage, requests)
        teacher = self.teacher_of(stage)
        backend = teacher.config.backend
        with _stores(teacher) as (own, recording):
            keys = [own.key_of(request) for request in requests]
            answered = sum(key in own for key in keys)
            failed = sum(own.failure(key) is not None for key in keys)
            waiting, unanswerable = own.waiting(requests), 0
            if backend == "replay":
                unanswerable = sum(own.key_of(request) not in recording for request in waiting)
            elif backend == "gold":
                unanswerable = sum(gold_label(request) is None for request in waiting)
            answers = [own.get(key) or recording.get(key) for key in map(own.key_of, counted)]
        pairs = zip(counted, answers, strict=True)
        responses = [_response(*pair, backend == "gold") for pair in pairs]
        prompts = [request.prompt for request in counted]
        prompt_tokens = self._lengths(prompts)
        whole = [
            prompt + TARGET_DELIMITER + response.text if response.text else prompt
            for prompt, response in zip(prompts, responses, strict=True)
        ]
        lengths = [
            n + response.tokens + 1  # the end of the text
            for n, response in zip(self._lengths(whole), responses, strict=True)
        ]
        dropped: list[int | None] = []
        if stage in STAGES:
            is_mixed = training_stages(self.run) == ["mixed"]
            limit = training_of(self.run, "mixed" if is_mixed else stage).max_length
            samples = zip(counted, responses, lengths, strict=True)
            dropped = [self._dropped(r, response, limit) for r, response, n in samples if n > limit]
        bases = Counter(response.basis for response in responses)
        cost, cost_basis = _cost(backend, prompt_tokens, waiting, answers)
        axes = coverage(requests) if stage == "icldist" else _axes(stage, requests)
        return StagePlan(
            stage=stage,
            axes={
                axis: Counter({value: round(factor * m) for value, m in counts.items()})
                for axis, counts in axes.items()
            },
            n_requests=n,
            n_made=len(requests),
            answered=round(factor * answered),
            failed=round(factor * failed),
            waiting=round(factor * len(waiting)),
            unanswerable=round(factor * unanswerable),
            cost=Cost(factor * cost.prompt_tokens, factor * cost.answer_tokens),
            cost_basis=cost_basis,
            prompt_tokens=tuple(prompt_tokens),
            response_tokens=(sum(lengths) - sum(prompt_tokens)) / len(counted),
            response_basis=", ".join(
                f"{bases[b]:,} {b}" for b in (KNOWN, LABEL, BOUND) if bases[b]
            ),
            shortened=sum(bool(n) for n in dropped),
            left_out=dropped.count(None),
            examples=_examples(requests) if stage in STAGES else (),
        )

    def _counted(self, stage: str, requests: Sequence[Request]) -> Sequence[Request]:
        """A seeded draw: an even stride would meet the same kinds of prompt again and again."""
        if len(requests) <= COUNTED:
            return requests
        rng = random.Random(f"{self.run.seed}/plan/{stage}")
        return [requests[i] for i in sorted(rng.sample(range(len(requests)), COUNTED))]

    def _dropped(self, request: Request, response: _Response, limit: int) -> int | None:
        """Demonstrations that the training would drop; None where it leaves the sample out."""
        text = response.text
        if not text:  # one token stands for as many as there may be
            text, limit = "a", limit - response.tokens + 1
        try:
            encoding = encode_samples([sample_of(request, text)], self._tokenizer, limit)
        except InputError:
            return None
        return encoding.examples[0].dropped

    def _lengths(self, texts: Sequence[str]) -> list[int]:
        return list(map(len, self._tokenizer(list(texts), verbose=False)["input_ids"]))

    def _training(self, name: str) -> TrainingPlan:
        training = training_of(self.run, name)
        stages = {stage.stage: stage for stage in self.stages}
        parts = [(*self._n_samples(s, stages[s]), stages[s]) for s in sources_of(self.run, name)]
        n_samples = sum(n for n, _, _ in parts)
        supervised = sum(n * stage.response_tokens for n, _, stage in parts)
        prompts = sum(n * fmean(stage.prompt_tokens) for n, _, stage in parts)
        return TrainingPlan(
            stage=name,
            training=training,
            n_samples=n_samples,
            basis=", ".join(dict.fromkeys(basis for _, basis, _ in parts)),
            n_steps=training.n_steps(n_samples),
            supervised_tokens=training.epochs * supervised,
            tokens=training.epochs * (prompts + supervised),
        )

    def _n_samples(self, source: StageName, stage: StagePlan) -> tuple[int, str]:
        """Samples of a source: those kept where that is known, else all requests."""
        difficulty = settings_of(self.run, source).difficulty
        keep = difficulty.keep if difficulty else 1.0
        n, basis = stage.n_requests, "before the filters"
        for name in (f"{source}-filter", kept_step(self.run, source)):
            summary = self._done(name)
            if summary is not None:
                n, basis = summary["kept"], "after the filters"
                keep = 1.0 if name.endswith("-select") else keep
        return round(n * keep * (1 - stage.left_out / len(stage.prompt_tokens))), basis


@contextmanager
def _stores(teacher: StageTeacher) -> Generator[tuple[Store, Store]]:
    """The teacher's answers, and what is replayed where it is a recording."""
    config, identity = teacher.config, (teacher.name, teacher.revision)
    with Store.read(teacher.store, identity) as own:
        if not isinstance(config, ReplayTeacherConfig):
            yield own, own
            return
        with Store.read(config.store, identity) as recording:
            yield own, recording


def _response(request: Request, answer: Answer | None, is_gold: bool) -> _Response:
    known = read_answer(request, answer).text if answer else ""
    known = known or (is_gold and gold_label(request)) or ""
    if known:
        return _Response(known, 0, KNOWN)
    if labels := request.labels:
        return _Response(max(labels, key=len), 0, LABEL)
    return _Response("", request.decoding.max_new_tokens, BOUND)


def _cost(
    backend: str,
    prompt_tokens: Sequence[int],
    waiting: Sequence[Request],
    answers: Sequence[Answer | None],
) -> tuple[Cost, str]:
    """Tokens of the waiting requests: as the teacher counted so far, else as the student."""
    if not waiting:
        return Cost(), "nothing waits"
    told = [
        (answer.prompt_tokens, n)
        for answer, n in zip(answers, prompt_tokens, strict=True)
        if answer and answer.prompt_tokens
    ]
    scale = sum(n for n, _ in told) / sum(n for _, n in told) if told else 1.0
    prompts = fmean(prompt_tokens) * scale * len(waiting)
    scores = backend in ("hf", "vllm")
    bounds = [r.decoding.max_new_tokens for r in waiting if not (scores and r.choices)]
    if not bounds:
        return Cost(prompts), "it scores label words and writes nothing"
    written = [a.completion_tokens for a in answers if a and a.completion_tokens]
    if not written:
        return Cost(prompts, sum(bounds)), "a bound: every answer at its longest"
    expected = sum(min(fmean(written), bound) for bound in bounds)
    return Cost(prompts, expected), f"mean of {len(written):,} answers in the store"


def _axes(stage: str, requests: Sequence[Request]) -> dict[str, Counter[str]]:
    if stage != "knowdist":
        kind = "taxonomy" if stage == "demonstrations" else "task"
        return {kind: Counter(str(request.meta["family"]) for request in requests)}
    names = ("family", "perspective")
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
