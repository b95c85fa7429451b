"""What is measured: lm-eval on every model, and the last student beside its teacher on own tasks.

A teacher behind a server is measured by its answers. What they took is written down as they come.
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from distill.checkpoints import load_tokenizer
from distill.config import ICLDist, Run, ServerTeacherConfig
from distill.files import write_json
from distill.filters.judge import filter_answers
from distill.filters.losses import check_losses
from distill.filters.reading import label_of, read_answer, tuples_of
from distill.prompts.icldist import STOP
from distill.reasons import Reason
from distill.report.manifest import OwnTask
from distill.report.own_tasks import (
    FILE,
    Asked,
    BothAnswers,
    CountTokens,
    Usage,
    agreement,
    asked_cost,
    confusions,
    measured_cost,
    own_results,
    read_asked,
)
from distill.run.data import ask_all, masked_requests, unlearned_texts
from distill.run.stages import (
    StageTeacher,
    asked_of_student,
    checkpoint_of,
    tasks_of_agreement,
    training_stages,
    trusts,
    why_no_agreement,
)
from sentibench.data.cards import Task, load_tasks, tasks_named
from sentibench.data.read import load_split
from sentibench.predict import temperatures
from sentibench.predict.recipe import recipe_of
from sentibench.progress import progress
from sentibench.prompts.demonstrations import DEFAULT_SEED
from sentibench.prompts.few_shot import generation_settings
from sentibench.remote.records import Answer, Decoding, Failure, Message, Request
from sentibench.remote.store import Store
from sentibench.scoring.parse import answer_text, parse_strict
from sentibench.scoring.samples import newest_samples, read_samples
from sentibench.scoring.statistics import resample

if TYPE_CHECKING:  # it loads lm-eval
    from sentibench.harness.answered import LabelAnswer, Question

NOT_READING: tuple[Reason, ...] = ("contaminated", "near-duplicate", "run-on", "cut off")
"""What does not make an answer unreadable."""
USAGE = "usage.json"  # what the answers of a teacher behind a server took, by task
Summary = dict[str, Any]


def evaluate_model(
    run: Run, model: str, teacher: StageTeacher | None, retry_failed: bool, folder: Path
) -> Summary:
    """Measure ``base``, ``teacher`` or the student of a stage.

    Args:
        run: The configuration.
        model: Which one.
        teacher: Who is asked, where the model is behind a server.
        retry_failed: Ask again what failed before.
        folder: Of the step.
    """
    from distill.student.evaluation import evaluate, tasks_by_seed, tasks_of
    from sentibench.harness import task_manager

    evaluation, results, manager = run.evaluation, folder / "results", task_manager()
    rows: dict[str, list[Mapping[str, Any]]] = {}
    all_tasks = tasks_of(manager, evaluation.tasks, evaluation.limits)
    for seed, tasks in tasks_by_seed(manager, all_tasks, evaluation.seeds).items():
        measured = evaluate(
            checkpoint_of(run, model),
            tasks,
            results if seed == DEFAULT_SEED else results / f"seed-{seed}",
            limit=evaluation.limit,
            limits={task: n for task, n in evaluation.limits.items() if task in tasks},
            dtype=evaluation.dtype,
            seed=seed,
            trust_remote_code=trusts(run, model),
            load=partial(asked_model, run, teacher, retry_failed, folder) if teacher else None,
        )
        for name, row in measured.items():
            if "score,none" in row:
                rows.setdefault(name, []).append(row)
    scores = {name: _score(results, name, of_task) for name, of_task in rows.items()}
    write_json(folder / "scores.json", scores)
    return {"scores": scores}


def _score(folder: Path, task: str, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Score and standard error; of several seeds, the mean and the standard error of the mean."""
    if len(rows) == 1:
        return [rows[0]["score,none"], rows[0].get("score_stderr,none")]
    known = load_tasks()[task]
    samples = [read_samples(path, known) for path in newest_samples(folder)[task].values()]
    scores = resample(known.card, [[one.statistics["official"] for one in samples]])
    return [float(scores.values_M[0]), float(scores.draws_BM.std(ddof=1))]


def asked_model(run: Run, teacher: StageTeacher, retry_failed: bool, folder: Path) -> Any:
    """A model for lm-eval whose answers are the teacher's, by its store and this package's readers.

    Answers are read as those that a student learns from: tuples too, in more forms than the
    benchmark reads. What is no label, or was not answered, counts as a wrong answer; where too many
    are, the run stops.

    Args:
        run: The configuration.
        teacher: Who is asked.
        retry_failed: Ask again what failed before.
        folder: Where it is written down what the answers took, and what could not be read.
    """
    from sentibench.harness.answered import AnsweredModel

    settings = run.icldist or ICLDist()

    def outcomes(questions: Sequence[Question]) -> Iterator[tuple[Request, Answer | Failure]]:
        requests = [_request_of(question, settings, run.seed) for question in questions]
        requests = list(masked_requests(run, requests))
        asked, usage = _ask(requests, teacher, "evaluate-teacher", run, retry_failed)
        reading = run.filters.model_copy(update={"skip": NOT_READING})
        _, funnel = filter_answers(asked, reading, None)
        write_json(folder / f"{questions[0].task}.funnel.json", funnel.model_dump(mode="json"))
        check_losses("evaluate-teacher", funnel, run.filters)
        used = folder / USAGE
        known, task = _read_usage(used), questions[0].task
        if usage.asked or task not in known:  # else a killed evaluation goes on
            known[task] = usage
        write_json(used, {name: one.model_dump() for name, one in known.items()})
        yield from asked

    def labels(questions: Sequence[Question]) -> list[LabelAnswer]:
        return [_label_answer(request, outcome) for request, outcome in outcomes(questions)]

    def tuples(questions: Sequence[Question]) -> list[str]:
        return [_tuples_answer(request, outcome) for request, outcome in outcomes(questions)]

    return AnsweredModel(labels, tuples)


def _ask(
    requests: Sequence[Request],
    teacher: StageTeacher,
    what: str,
    run: Run,
    retry_failed: bool = False,
) -> tuple[list[tuple[Request, Answer | Failure]], Usage]:
    """Ask as ``ask_all`` does, and count what it took."""
    with Store.read(teacher.store, (teacher.name, teacher.revision)) as store:
        n_waiting = len(store.waiting(requests))
    start = time.monotonic()
    asked = ask_all(requests, teacher, what, retry_failed, run.filters)
    seconds = time.monotonic() - start
    answers = [outcome for _, outcome in asked if isinstance(outcome, Answer)]
    return asked, Usage(
        texts=len(answers),
        prompt_tokens=sum(answer.prompt_tokens for answer in answers),
        answer_tokens=sum(answer.completion_tokens for answer in answers),
        asked=n_waiting,
        seconds=seconds if n_waiting else 0.0,
    )


def _read_usage(path: Path) -> dict[str, Usage]:
    """Task -> what the answers took; none where the file is not there or not in its form."""
    try:
        return TypeAdapter(dict[str, Usage]).validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return {}


def _request_of(question: Question, settings: ICLDist, seed: int) -> Request:
    of_tuples = max(question.max_tokens, settings.response_tokens)
    return Request(
        id=question.id,
        messages=(Message("user", question.prompt),),
        text=question.sentence,
        source=question.task,
        choices=question.labels if settings.score_choices else (),
        decoding=Decoding(settings.label_tokens, stop=STOP, seed=seed)
        if question.labels
        else Decoding(of_tuples, stop=STOP[1:], seed=seed),
        meta={
            "family": question.task,
            "labels": question.labels,
            "elements": question.elements,
            "polarities": question.polarities,
        },
    )


def _label_answer(request: Request, outcome: Answer | Failure) -> LabelAnswer:
    if isinstance(outcome, Failure):
        return None
    if outcome.log_likelihoods:
        return outcome.log_likelihoods
    label = label_of(read_answer(request, outcome).text, request.labels)
    if label is None:
        return None
    return [0.0 if name == label else -math.inf for name in request.labels]


def _tuples_answer(request: Request, outcome: Answer | Failure) -> str:
    if isinstance(outcome, Failure):
        return ""
    text = read_answer(request, outcome).text
    return (request.meta["polarities"] and tuples_of(text, request)) or text


def evaluation_requests(run: Run) -> list[Request]:
    """What a teacher behind a server is asked when it is measured, as lm-eval will ask it.

    Raises:
        InputError: If a task of the evaluation is none of this package.
    """
    from distill.student.evaluation import tasks_by_seed
    from sentibench.harness import render_prompts, task_manager

    evaluation, requests = run.evaluation, list[Request]()
    tasks = tasks_named(evaluation.tasks, "evaluation.tasks")
    of_seeds = tasks_by_seed(task_manager(), [task.name for task in tasks], evaluation.seeds)
    for task, seed in ((t, s) for s, names in of_seeds.items() for t in tasks if t.name in names):
        examples = load_split(task, "test").examples
        sentences = {example.index: example.sentence for example in examples}
        limit = evaluation.limits.get(task.name, evaluation.limit)
        rows = render_prompts(task, seed=seed, shots=task.card.shots, limit=limit)
        prompts = {row["index"]: (row["prompt"], sentences[row["index"]]) for row in rows}
        requests += _requests(run, task, "evaluate", prompts)
    return requests


def agreement_texts(run: Run, unlearned: Sequence[str]) -> list[str]:
    """The texts on which teacher and last student are compared, of those not learned from."""
    n = min(run.evaluation.agreement, len(unlearned))
    return random.Random(f"{run.seed}/agreement").sample(unlearned, n)


def agreement_requests(run: Run, task: Task, texts: Sequence[str]) -> list[Request]:
    """What the teacher is asked about these texts; the student's prompts are the same."""
    recipe = recipe_of(task)
    asked = {number: (recipe.prompt(text, recipe.shots), text) for number, text in enumerate(texts)}
    return _requests(run, task, "agreement", asked)


def _requests(
    run: Run, task: Task, step: str, asked: Mapping[int, tuple[str, str]]
) -> list[Request]:
    """Requests for prompts and their texts, by number."""
    from sentibench.harness.answered import Question

    card, settings = task.card, run.icldist or ICLDist()
    questions = [
        Question(
            id=f"{step}/{task.name}/{number:06d}",
            task=task.name,
            prompt=prompt,
            sentence=text,
            labels=card.written,
            elements=card.elements,
            polarities=card.polarities,
            max_tokens=0 if card.is_label_task else generation_settings()["max_gen_toks"],
        )
        for number, (prompt, text) in asked.items()
    ]
    requests = [_request_of(question, settings, run.seed) for question in questions]
    return list(masked_requests(run, requests))


def ask_both(run: Run, teacher: StageTeacher, folder: Path) -> Summary:
    """Ask teacher and last student about texts that nobody was asked about before."""
    unlearned = unlearned_texts(run)
    texts = agreement_texts(run, unlearned)
    answers: dict[str, tuple[BothAnswers, ...]] = {}
    usage: dict[str, Usage] = {}
    reason = "" if texts else "the teacher was asked about every text of the run; give more texts"
    for name in tasks_of_agreement(run) if texts else ():
        task = load_tasks()[name]
        asked, usage[name] = _ask(agreement_requests(run, task, texts), teacher, "agreement", run)
        label_of = dict(zip(task.card.written, task.card.labels, strict=True))
        of_teacher = [one and label_of.get(one, one) for one in starmap(_answer_of, asked)]
        of_student = _student_answers(run, name, texts)
        both = zip(texts, of_teacher, of_student, strict=True)
        answers[name] = tuple(BothAnswers(*one) for one in both)
    found = Asked(answers=answers, usage=usage, reason=reason)
    write_json(folder / FILE, found.model_dump(mode="json"))
    return {"texts": len(texts), "unlearned": len(unlearned)}


def _answer_of(request: Request, outcome: Answer | Failure) -> str | None:
    """A label's word, or a list of tuples; None for an answer that cannot be read."""
    if isinstance(outcome, Failure):
        return None
    if request.labels:
        return label_of(read_answer(request, outcome).text, request.labels)
    read = parse_strict(len(request.elements), answer_text(_tuples_answer(request, outcome)))
    return None if read.problem or None in read.tuples else _listed(read.tuples)


def _student_answers(run: Run, task: str, texts: Sequence[str]) -> list[str | None]:
    from sentibench.predict.classifier import Classifier, Labelled

    student = Classifier(
        checkpoint_of(run, training_stages(run)[-1]),
        task,
        dtype=run.evaluation.dtype,
        trust_remote_code=run.trust_remote_code,
    )
    with progress(f"agreement on {task}", "text", len(texts)) as bar:
        answers = student(texts, lambda numbers, _: bar.update(len(numbers)))
    return [
        one.label
        if isinstance(one, Labelled)
        else (_listed(tuple(t.values()) for t in one.tuples) if one.readable else None)
        for one in answers
    ]


def calibrated_tasks(run: Run) -> dict[str, str]:
    """Label tasks of the last student -> why no temperature can be fitted; empty where one can."""
    limit = run.evaluation.calibration
    tasks = tasks_named(asked_of_student(run), "evaluation.tasks") if limit else ()
    asked = {task.name: task for task in tasks if task.card.is_label_task}
    return {name: temperatures.why_not(task, limit) for name, task in sorted(asked.items())}


def calibrate_student(run: Run, folder: Path) -> Summary:
    """Fit the temperatures of the last student, and put them beside its weights.

    What was fitted before a kill is not fitted again.
    """
    from sentibench.predict.classifier import Classifier

    checkpoint, limit = checkpoint_of(run, training_stages(run)[-1]), run.evaluation.calibration
    without: dict[str, str] = {}
    for name, reason in calibrated_tasks(run).items():
        if reason:
            print(f"no temperature for {name}: {reason}", file=sys.stderr)
            without[name] = reason
        if reason or name in temperatures.load(str(folder)):
            continue
        task = load_tasks()[name]
        student = Classifier(
            checkpoint,
            name,
            target="each item's own",
            dtype=run.evaluation.dtype,
            trust_remote_code=run.trust_remote_code,
        )
        with progress(f"calibrate {name}", "text", temperatures.n_items(task, limit)) as bar:
            ask = partial(student.log_likelihoods, on_answer=bar.update)
            temperatures.save(folder, name, temperatures.fit(task, ask, limit))
    fitted = temperatures.load(str(folder))
    for name, one in fitted.items():
        temperatures.save(Path(checkpoint), name, one)
    at_an_end = [name for name, one in fitted.items() if one.is_at_an_end]
    return {
        "temperatures": {name: round(one.temperature, 3) for name, one in fitted.items()},
        **({"at_an_end": at_an_end} if at_an_end else {}),
        **({"no_temperature": without} if without else {}),
    }


def _listed(tuples: Iterable[Any]) -> str:
    """A set of tuples as a text that is the same for equal sets."""
    return str(sorted(set(tuples)))


def own_facts(run: Run, results: Mapping[str, Path]) -> dict[str, OwnTask]:
    """What was found out on the own tasks that were measured."""
    asked, found = read_asked(run.folder / "agreement"), dict[str, OwnTask]()
    used = _read_usage(run.folder / "evaluate-teacher" / USAGE)
    last = training_stages(run)[-1]
    for task, files in own_results(results).items():
        costs = {
            "teacher" if model == "teacher" else "student": measured_cost(
                files[model], task, _counter(run, model)
            )
            for model in ("teacher", last)
            if model in files
            and not (model == "teacher" and isinstance(run.teacher, ServerTeacherConfig))
        }
        if isinstance(run.teacher, ServerTeacherConfig):
            usages = [of[task] for of in (used, asked.usage) if task in of]
            costs = {"teacher": asked_cost(usages, run.teacher), **costs}
        reason = why_no_agreement(run, task) or asked.reason
        found[task] = OwnTask(
            labels=load_tasks()[task].card.labels,
            confusion=confusions(files, task),
            agreement=agreement(asked.answers.get(task, ()), reason),
            costs={model: cost for model, cost in costs.items() if cost},
        )
    return found


def _counter(run: Run, model: str) -> CountTokens:
    """Counts tokens by the tokenizer of a model on this machine."""
    trust = trusts(run, model)
    tokenizer = load_tokenizer(checkpoint_of(run, model), trust_remote_code=trust)

    def count(texts: Sequence[str]) -> int:
        ids = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        return sum(map(len, ids))

    return count
