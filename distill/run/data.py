"""The work of the steps from texts to samples. Each reads the folders of the steps before it.

Every function does the work of one step in that step's folder, given last, and returns a summary
for people; it may be killed and called again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from distill.config import KnowDist, Run
from distill.errors import ConfigError
from distill.files import write_json, write_lines
from distill.filters.judge import filter_answers
from distill.prompts.icldist import (
    coverage,
    demonstration_requests,
    gold_demonstrations,
    icldist_requests,
    load_taxonomies,
)
from distill.prompts.knowdist import knowdist_requests
from distill.records import Answer, Failure, Request
from distill.run.stages import StageName, StageTeacher, labels_by_teacher, settings_of
from distill.student.difficulty import select_hard_samples
from distill.student.samples import Sample, read_samples, write_samples
from distill.teachers.asking import ask
from distill.teachers.store import Store
from distill.texts.decontamination import Contamination, load_tests
from distill.texts.sources import Text, draw_texts

REQUEST = TypeAdapter(Request)
Tests = Callable[[], Contamination | None]
Labels = Mapping[tuple[str, str], str]
"""(taxonomy, text id) -> class."""
Summary = dict[str, Any]


def tests_of(run: Run) -> Tests:
    """A function that loads, once, what must not be trained on.

    It returns None where that check is switched off.
    """

    @cache
    def load() -> Contamination | None:
        source = run.compared_with
        return source and Contamination.of_texts(load_tests(source))

    return load


def draw(run: Run, tests: Tests, folder: Path) -> Summary:
    """Draw the texts and check them against the test sets."""
    drawn = draw_texts(run.texts, run.seed, tests(), run.cleaning)
    write_lines(folder / "texts.jsonl", map(asdict, drawn.texts))
    counts = {"left_out": rows_of(drawn.left_out), "changed": rows_of(drawn.changed)}
    write_json(folder / "funnel.json", {**counts, "examples": drawn.examples})
    return {"texts": len(drawn.texts), **counts}


def rows_of(counts: Mapping[tuple[str, str], int]) -> list[tuple[str, str, int]]:
    """Source, reason and number of texts, sorted."""
    return [(source, why, n) for (source, why), n in sorted(counts.items())]


def read_texts(folder: Path) -> list[Text]:
    """The texts that were drawn."""
    content = (folder / "texts.jsonl").read_text(encoding="utf-8")
    return [Text(**json.loads(line)) for line in content.splitlines()]


def label_demonstrations(
    run: Run, teacher: StageTeacher, retry_failed: bool, folder: Path
) -> Summary:
    """Let the teacher label the texts that will be demonstrations."""
    assert run.icldist is not None
    requests = demonstration_requests(read_texts(run.folder / "texts"), run.icldist, run.seed)
    asked = _ask(requests, teacher, "demonstrations", retry_failed)
    classes = [(request, _class_of(request, answer)) for request, answer in asked]
    labels = [[r.meta["taxonomy"], r.meta["text"], label] for r, label in classes if label]
    write_json(folder / "labels.json", labels)
    return {"labelled": len(labels), "unreadable": len(asked) - len(labels)}


def read_labels(folder: Path) -> Labels:
    """The classes that the teacher gave."""
    rows = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    return {(taxonomy, text): label for taxonomy, text, label in rows}


def build_requests(
    run: Run, stage: StageName, texts: Sequence[Text], labels: Labels | None
) -> list[Request]:
    """The questions of a stage.

    Args:
        run: The configuration.
        stage: Of the run.
        texts: All texts of the run.
        labels: Of demonstrations; None for gold labels, and for KnowDist, which has none.
    """
    found = settings_of(run, stage)
    if isinstance(found, KnowDist):
        return knowdist_requests(texts, found, run.seed)
    labels = gold_demonstrations(texts, found, run.seed) if labels is None else labels
    return icldist_requests(texts, labels, found, run.seed)


def ask_stage(
    run: Run, stage: StageName, teacher: StageTeacher, retry_failed: bool, folder: Path
) -> Summary:
    """Ask the teacher what the stage needs, and write down what was asked.

    The steps behind this one read that file: requests are made once, by this version of the code.
    """
    labelled = labels_by_teacher(run, stage)
    labels = read_labels(run.folder / "demonstrations") if labelled else None
    requests = build_requests(run, stage, read_texts(run.folder / "texts"), labels)
    asked = _ask(requests, teacher, stage, retry_failed)
    answered = {request.id for request, _ in asked}
    keys = (request.key(teacher.name, teacher.revision) for request in requests)
    rows = (
        {"key": key, "answered": request.id in answered} | asdict(request)
        for key, request in zip(keys, requests, strict=True)
    )
    write_lines(folder / "requests.jsonl", rows)
    summary: Summary = {
        "requests": len(requests),
        "answered": len(asked),
        "teacher_prompt_tokens": sum(answer.prompt_tokens for _, answer in asked),
        "teacher_answer_tokens": sum(answer.completion_tokens for _, answer in asked),
    }
    if stage == "icldist":
        summary["coverage"] = {axis: dict(n) for axis, n in coverage(requests).items()}
    return summary


def read_requests(folder: Path) -> list[tuple[str, Request]]:
    """Key and request, as they were asked."""
    with (folder / "requests.jsonl").open(encoding="utf-8") as file:
        return [(row["key"], REQUEST.validate_python(row)) for row in map(json.loads, file)]


def filter_stage(
    run: Run, stage: StageName, teacher: StageTeacher, tests: Tests, folder: Path
) -> Summary:
    """Keep the answers that are fit to learn from."""
    pairs: list[tuple[Request, Answer | Failure]] = []
    with Store.read(teacher.store) as store:
        for key, request in read_requests(run.folder / f"{stage}-ask"):
            outcome = store.get(key) or store.failure(key)
            pairs.append((request, outcome or Failure("not answered", "", 0)))
    kept, funnel = filter_answers(pairs, run.filters, tests())
    samples = [sample_of(one.request, one.response) for one in kept]
    write_samples(samples, folder / "samples.jsonl")
    write_json(folder / "funnel.json", funnel.model_dump(mode="json"))
    if not samples:
        raise ConfigError(
            f"{stage}: no answer of {len(pairs)} is fit to learn from; see {folder / 'funnel.json'}"
        )
    return {"kept": len(samples), "of": len(pairs)}


def select_hard(run: Run, stage: StageName, folder: Path) -> Summary:
    """Keep the samples that are hard for a small model."""
    from distill.student.difficulty_of_samples import measure_difficulty

    found = settings_of(run, stage)
    assert found.difficulty is not None
    samples = list(read_samples(run.folder / f"{stage}-filter" / "samples.jsonl"))
    model = found.difficulty.model or run.student
    training = found.training
    measured = measure_difficulty(samples, model, training.max_length, training.batch_tokens)
    requests = read_requests(run.folder / f"{stage}-ask")
    groups = {request.id: _group_of(request) for _, request in requests}
    chosen = set(select_hard_samples(measured, groups, found.difficulty.keep, run.seed))
    if not chosen:
        raise ConfigError(
            f"{stage}.difficulty.keep: none of {len(samples)} samples is left; raise it"
        )
    write_samples((s for s in samples if s.id in chosen), folder / "samples.jsonl")
    write_json(folder / "difficulty.json", measured)
    return {"kept": len(chosen), "of": len(samples)}


def sample_of(request: Request, response: str) -> Sample:
    """What a student learns of an answer."""
    return Sample(
        id=request.id,
        prompt=request.prompt,
        response=response,
        text=request.text,
        instruction=request.meta.get("instruction_text", ""),
        demonstrations=tuple((t, label) for t, label in request.meta.get("demonstrations", ())),
    )


def _ask(
    requests: Sequence[Request], teacher: StageTeacher, what: str, retry_failed: bool
) -> list[tuple[Request, Answer]]:
    with Store.open(teacher.store, teacher.name, teacher.revision) as store:
        return ask(requests, teacher.load, store, retry_failed=retry_failed, what=what)


def _group_of(request: Request) -> str:
    """The prompts among which difficulties are compared: one wording, one set of classes."""
    meta = request.meta
    return f"{meta['family']}/{meta.get('taxonomy') or meta.get('perspective')}"


def _class_of(request: Request, answer: Answer) -> str | None:
    """The class that an answer names, None if it names none."""
    written = answer.text.strip().rstrip(".").casefold()
    classes = load_taxonomies()[request.meta["taxonomy"]].classes
    return next((name for name in classes if name.casefold() == written), None)
