"""The work of the steps from texts to samples. Each reads the folders of the steps before it.

Every function does the work of one step in that step's folder, given last, and returns a summary
for people; it may be killed and called again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from distill.config import Attributes, FilterConfig, KnowDist, Run
from distill.errors import ConfigError
from distill.files import write_json, write_lines
from distill.filters.bias import Corrected, Pairs, without_bias
from distill.filters.funnel import count
from distill.filters.judge import Kept, filter_answers
from distill.filters.losses import check_losses
from distill.filters.reading import read_answer
from distill.prompts.attributes import Attribute, attribute_requests, listed, read_attributes
from distill.prompts.icldist import (
    coverage,
    demonstration_requests,
    gold_demonstrations,
    icldist_requests,
)
from distill.prompts.knowdist import knowdist_requests, opening_of
from distill.prompts.taxonomies import (
    chosen_taxonomies,
    load_taxonomies,
    own_tasks,
    taxonomy_of,
)
from distill.run.stages import (
    StageName,
    StageTeacher,
    kept_step,
    labels_by_teacher,
    named_tasks,
    needs_distributions,
    settings_of,
    sources_of,
    training_stages,
)
from distill.selection.difficulty import select_hard_samples
from distill.student.samples import Sample, read_samples, write_samples
from distill.texts.cleaning import masked
from distill.texts.decontamination import Contamination, load_tests
from distill.texts.sources import Text, draw_texts
from sentibench.errors import nearest
from sentibench.remote.asking import ask
from sentibench.remote.records import Answer, Failure, Request
from sentibench.remote.store import Store
from sentibench.scoring import calibration

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
        return source and Contamination.of_texts(load_tests(source, named_tasks(run)))

    return load


def draw(run: Run, tests: Tests, folder: Path) -> Summary:
    """Draw the texts and check them against the test sets."""
    drawn = draw_texts(run.texts, run.seed, tests(), run.cleaning)
    refuse_unknown_labels(run, drawn.texts)
    write_lines(folder / "texts.jsonl", map(asdict, drawn.texts))
    counts = {"left_out": rows_of(drawn.left_out), "changed": rows_of(drawn.changed)}
    write_json(folder / "funnel.json", {**counts, "examples": drawn.examples})
    return {"texts": len(drawn.texts), **counts}


def rows_of(counts: Mapping[tuple[str, str], int]) -> list[tuple[str, str, int]]:
    """Source, reason and number of texts, sorted."""
    return [(source, why, n) for (source, why), n in sorted(counts.items())]


def refuse_unknown_labels(run: Run, texts: Sequence[Text]) -> None:
    """Refuse labels of the user's tables that no task of the run knows: they would not be used.

    Raises:
        ConfigError: If there is such a label.
    """
    if run.icldist is None:
        return
    taxonomies = chosen_taxonomies(run.icldist)
    own = {source.source for source in run.texts if source.label_column}
    known = {name for one in taxonomies for name in one.names or one.classes}
    given = (text.label for text in texts if text.source in own and text.label)
    foreign = Counter(
        label for label in given if not any(one.class_of(label) for one in taxonomies)
    ).most_common()
    if not foreign:
        return
    raise ConfigError(
        f"texts.label_column: {sum(n for _, n in foreign)} texts have labels that no task of "
        f"icldist.tasks ({', '.join(run.icldist.tasks)}) knows: "
        f"{', '.join(label[:40] for label, _ in foreign[:6])}; "
        f"{nearest(foreign[0][0], sorted(known))}; translate them with texts.labels, or add the "
        "task that has them"
    )


def read_texts(folder: Path) -> list[Text]:
    """The texts that were drawn."""
    content = (folder / "texts.jsonl").read_text(encoding="utf-8")
    return [Text(**json.loads(line)) for line in content.splitlines()]


def unlearned_texts(run: Run) -> list[str]:
    """The texts of the run that the last student did not learn from, in their order."""
    learned: set[str] = set()
    for stage in training_stages(run):
        for source in sources_of(run, stage):
            for sample in read_samples(run.folder / kept_step(run, source) / "samples.jsonl"):
                learned |= {sample.text, *(text for text, _ in sample.demonstrations)}
    drawn = dict.fromkeys(text.text for text in read_texts(run.folder / "texts"))
    return [text for text in drawn if text not in learned]


def label_demonstrations(
    run: Run, teacher: StageTeacher, retry_failed: bool, tests: Tests, folder: Path
) -> Summary:
    """Let the teacher label the texts that will be demonstrations."""
    assert run.icldist is not None
    texts = read_texts(run.folder / "texts")
    requests = masked_requests(run, demonstration_requests(texts, run.icldist, run.seed))
    asked = ask_all(requests, teacher, "demonstrations", retry_failed, run.filters)
    kept = _filter("demonstrations", _corrected(run, asked), run.filters, tests(), folder)
    labels = [[k.request.meta["taxonomy"], k.request.meta["text"], k.response] for k in kept]
    write_json(folder / "labels.json", labels)
    n_answered = sum(isinstance(outcome, Answer) for _, outcome in asked)
    return {"labelled": len(labels), "unreadable": n_answered - len(labels)}


def read_labels(folder: Path) -> Labels:
    """The classes that the teacher gave."""
    rows = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    return {(taxonomy, text): label for taxonomy, text, label in rows}


def list_attributes(run: Run, teacher: StageTeacher, retry_failed: bool, folder: Path) -> Summary:
    """Let the teacher list the attributes of which instructions are composed.

    Raises:
        ConfigError: If no attribute was named often enough.
    """
    settings = attributes_of(run)
    assert run.knowdist is not None
    assert settings is not None
    texts, opening = read_texts(run.folder / "texts"), opening_of(run.knowdist)
    requests = attribute_requests(texts, settings, run.seed, opening)
    asked = ask_all(requests, teacher, "attributes", retry_failed, run.filters)
    answers = [read_answer(r, a).text for r, a in asked if isinstance(a, Answer)]
    found = read_attributes(answers, settings)
    if not found:
        example = " ".join(answers[0][:80].split()) if answers else "no answer"
        raise ConfigError(
            f"knowdist.attributes: none was named in {settings.min_texts} of {len(requests)} "
            f"texts; got {example!r}; expected lines such as 'tone: sarcastic'; give more texts, "
            "lower min_texts, or take a teacher that follows instructions"
        )
    write_json(folder / "attributes.json", [asdict(one) for one in found])
    return {
        "texts": len(requests),
        "answered": len(answers),
        "unreadable": sum(not listed(answer) for answer in answers),
        "attributes": len(found),
    }


def read_listed(folder: Path) -> list[Attribute]:
    """The attributes that the teacher listed."""
    rows = json.loads((folder / "attributes.json").read_text(encoding="utf-8"))
    return [Attribute(row["name"], row["n_texts"], tuple(row["values"])) for row in rows]


def attributes_of(run: Run) -> Attributes | None:
    """The settings of instructions composed from attributes, where the run has any."""
    return run.knowdist and run.knowdist.attributes


def build_requests(
    run: Run,
    stage: StageName,
    texts: Sequence[Text],
    labels: Labels | None,
    attributes: Sequence[Attribute] = (),
) -> list[Request]:
    """The questions of a stage.

    Args:
        run: The configuration.
        stage: Of the run.
        texts: All texts of the run.
        labels: Of demonstrations; None for gold labels, and for KnowDist, which has none.
        attributes: Of which KnowDist composes instructions.
    """
    found = settings_of(run, stage)
    if isinstance(found, KnowDist):
        return knowdist_requests(texts, found, run.seed, attributes)
    labels = gold_demonstrations(texts, found, run.seed) if labels is None else labels
    return masked_requests(run, icldist_requests(texts, labels, found, run.seed))


def masked_requests(run: Run, requests: Sequence[Request]) -> list[Request]:
    """Requests without the personal data that ``cleaning.mask`` names.

    Texts were masked when they were drawn; demonstrations of a card and held-out items were not.
    """
    if not run.cleaning.mask:
        return list(requests)
    hide = partial(masked, settings=run.cleaning)
    return [
        replace(
            request,
            messages=tuple(replace(m, content=hide(m.content)) for m in request.messages),
            text=hide(request.text),
            meta={**request.meta}
            | {
                key: [(hide(text), label) for text, label in request.meta[key]]
                for key in ("demonstrations",)
                if key in request.meta
            },
        )
        for request in requests
    ]


def ask_stage(
    run: Run, stage: StageName, teacher: StageTeacher, retry_failed: bool, folder: Path
) -> Summary:
    """Ask the teacher what the stage needs, and write down what was asked.

    The steps behind this one read that file: requests are made once, by this version of the code.
    """
    labelled = labels_by_teacher(run, stage)
    labels = read_labels(run.folder / "demonstrations") if labelled else None
    is_composed = attributes_of(run) and stage == "knowdist"
    attributes = read_listed(run.folder / "attributes") if is_composed else ()
    requests = build_requests(run, stage, read_texts(run.folder / "texts"), labels, attributes)
    asked = ask_all(requests, teacher, stage, retry_failed, run.filters)
    answers = {request.id: answer for request, answer in asked if isinstance(answer, Answer)}
    keys = (request.key(teacher.name, teacher.revision) for request in requests)
    rows = (
        {"key": key, "answered": request.id in answers} | asdict(request)
        for key, request in zip(keys, requests, strict=True)
    )
    write_lines(folder / "requests.jsonl", rows)
    summary: Summary = {
        "requests": len(requests),
        "answered": len(answers),
        "teacher_prompt_tokens": sum(answer.prompt_tokens for answer in answers.values()),
        "teacher_answer_tokens": sum(answer.completion_tokens for answer in answers.values()),
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
    found = _corrected(run, pairs)
    kept = _filter(f"{stage}-filter", found, run.filters, tests(), folder)
    summary: Summary = {"kept": len(kept), "of": len(pairs)}
    said: dict[str, tuple[float, ...]] = {}
    if needs_distributions(run, stage):
        answers = [(r.id, a.log_likelihoods) for r, a in found.pairs if isinstance(a, Answer)]
        said = {identity: scores for identity, scores in answers if scores}
        summary["with_distributions"] = sum(k.request.id in said for k in kept)
        if run.wants_distributions and not summary["with_distributions"]:
            raise ConfigError(
                f"{stage}: {' and '.join(run.wants_distributions)}; expected answers that scored "
                f"labels, got none among {len(kept)} of {teacher.name}: take a teacher that scores "
                "labels (backend: hf, vllm or decisions), or leave these settings out"
            )
    samples = [sample_of(k.request, k.response, said.get(k.request.id, ())) for k in kept]
    write_samples(samples, folder / "samples.jsonl")
    return summary


def select_hard(run: Run, stage: StageName, folder: Path) -> Summary:
    """Keep the samples that are hard for a small model."""
    from distill.selection.difficulty_of_samples import measure_confidence, measure_difficulty

    found = settings_of(run, stage)
    assert found.difficulty is not None
    samples = list(read_samples(run.folder / f"{stage}-filter" / "samples.jsonl"))
    model = found.difficulty.model or run.student
    training = found.training
    trust = {"trust_remote_code": run.trust_remote_code}
    if found.difficulty.by == "confidence":
        measured = measure_confidence(samples, model, **trust)
    else:
        measured = measure_difficulty(
            samples, model, training.max_length, training.batch_tokens, **trust
        )
    requests = read_requests(run.folder / f"{stage}-ask")
    groups = {request.id: _group_of(request) for _, request in requests}
    chosen = set(select_hard_samples(measured, groups, found.difficulty.keep, run.seed))
    with_targets = found.difficulty.by == "confidence"
    if not chosen:
        raise ConfigError(
            f"{stage}.difficulty.keep: none of {len(samples)} samples is left; raise it"
        )
    unscored = {s.id for s in samples if not s.target} if with_targets else set[str]()
    kept = [sample for sample in samples if sample.id in chosen | unscored]
    write_samples(kept, folder / "samples.jsonl")
    write_json(folder / "difficulty.json", measured)
    return {"kept": len(kept), "of": len(samples)}


def sample_of(request: Request, response: str, log_likelihoods: Sequence[float] = ()) -> Sample:
    """What a student learns of an answer; with log-likelihoods of the choices, the distribution."""
    scores_NK = np.array([log_likelihoods])
    target = calibration.probabilities(scores_NK)[0].tolist() if log_likelihoods else ()
    return Sample(
        id=request.id,
        prompt=request.prompt,
        response=response,
        text=request.text,
        instruction=request.meta.get("instruction_text", ""),
        demonstrations=tuple((t, label) for t, label in request.meta.get("demonstrations", ())),
        labels=request.choices if log_likelihoods else (),
        target=tuple(target),
    )


def ask_all(
    requests: Sequence[Request],
    teacher: StageTeacher,
    what: str,
    retry_failed: bool,
    config: FilterConfig,
) -> list[tuple[Request, Answer | Failure]]:
    """Ask a teacher, and refuse to go on where too many did not get an answer.

    Args:
        requests: In any order.
        teacher: Whose store holds what was answered before.
        what: The step, for the bar and for errors.
        retry_failed: Ask again what failed before.
        config: The share that has to be left.
    """
    with Store.open(teacher.store, teacher.name, teacher.revision) as store:
        asked = ask(requests, teacher.load, store, retry_failed=retry_failed, what=what)
    failed = [(request, outcome) for request, outcome in asked if isinstance(outcome, Failure)]
    answered = [(request, ()) for request, outcome in asked if isinstance(outcome, Answer)]
    check_losses(what, count(requests, failed, [], answered, ()), config)
    return asked


def _corrected(run: Run, pairs: Pairs) -> Corrected:
    """Answers without the teacher's bias, where that is wanted."""
    return without_bias(pairs) if run.icldist and run.icldist.correct_bias else Corrected(pairs)


def _filter(
    step: str,
    found: Corrected,
    config: FilterConfig,
    tests: Contamination | None,
    folder: Path,
) -> list[Kept]:
    """What is fit to learn from; what became of the rest is written down first."""
    taxonomies = [*load_taxonomies().values(), *map(taxonomy_of, own_tasks().values())]
    words = sorted({word for one in taxonomies for words in one.word_sets for word in words})
    kept, funnel = filter_answers(found.pairs, config, tests, words)
    counts = {"corrected": found.moved, "not_corrected": found.as_they_were}
    funnel = funnel.model_copy(update=counts)
    write_json(folder / "funnel.json", funnel.model_dump(mode="json"))
    check_losses(step, funnel, config, folder / "funnel.json")
    return kept


def _group_of(request: Request) -> str:
    """The prompts among which difficulties are compared: one wording, one set of classes."""
    meta = request.meta
    return f"{meta['family']}/{meta.get('taxonomy') or meta.get('perspective')}"
