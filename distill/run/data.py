"""The work of the steps from texts to samples. Each reads the folders of the steps before it.

Every function does the work of one step in that step's folder, given last, and returns a summary
for people; it may be killed and called again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from distill.config import Attributes, FilterConfig, KnowDist, Run
from distill.errors import ConfigError
from distill.files import Lines, OnDemand, write_json, write_lines
from distill.filters.bias import Corrected, Pairs, without_bias
from distill.filters.funnel import Tally, count, group_of
from distill.filters.judge import Kept, Pair, judge_answers
from distill.filters.losses import check_losses
from distill.filters.reading import read_answer
from distill.prompts.attributes import Attribute, attribute_requests, listed, read_attributes
from distill.prompts.icldist import (
    coverage,
    demonstration_requests,
    each_icldist_request,
    gold_demonstrations,
)
from distill.prompts.knowdist import each_knowdist_request, opening_of
from distill.prompts.ordering import Ordering
from distill.prompts.taxonomies import (
    chosen_taxonomies,
    load_taxonomies,
    own_tasks,
    taxonomy_of,
)
from distill.run.stages import (
    StageName,
    StageTeacher,
    labels_by_teacher,
    named_tasks,
    needs_distributions,
    settings_of,
    sources_of,
    training_stages,
)
from distill.selection.difficulty import select_at_random, select_hard_samples
from distill.student.samples import Sample, SampleFiles, sample_line, write_samples
from distill.teachers.cluster import sharing
from distill.texts.cleaning import masked
from distill.texts.decontamination import Contamination, load_tests
from distill.texts.sources import Draw, Text, digest_of, each_text
from distill.workers import Share, by_processes, shared
from sentibench.errors import nearest
from sentibench.files import beside
from sentibench.remote.asking import ask, ask_waiting, outcomes
from sentibench.remote.records import Answer, Decoding, Failure, Message, Request
from sentibench.remote.store import Store
from sentibench.scoring import calibration

NOT_ANSWERED, ANSWERED = b'"answered": false', b'"answered": true'
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
    counted, given = Draw(), (run.texts, run.seed, tests(), run.cleaning)
    with sharing(run.asking) as share:
        texts = known_labels(run, each_text(*given, counted, share=share))
        rows = ({name: getattr(text, name) for name in Text.__slots__} for text in texts)
        write_lines(folder / "texts.jsonl", rows)
    counts = {"left_out": rows_of(counted.left_out), "changed": rows_of(counted.changed)}
    write_json(folder / "funnel.json", {**counts, "examples": counted.examples})
    return {"texts": counted.n_texts, **counts}


def rows_of(counts: Mapping[tuple[str, str], int]) -> list[tuple[str, str, int]]:
    """Source, reason and number of texts, sorted."""
    return [(source, why, n) for (source, why), n in sorted(counts.items())]


def known_labels(run: Run, texts: Iterable[Text]) -> Iterator[Text]:
    """Pass texts on, and refuse labels of the user's tables that no task of the run knows.

    They would not be used.

    Raises:
        ConfigError: After the last text, if there is such a label.
    """
    own = {source.source for source in run.texts if source.label_column}
    found = Counter[str]()
    for text in texts:
        if text.source in own and text.label:
            found[text.label] += 1
        yield text
    if run.icldist is None:
        return
    taxonomies = chosen_taxonomies(run.icldist)
    known = {name for one in taxonomies for name in one.names or one.classes}
    foreign = [
        (label, n)
        for label, n in found.most_common()
        if not any(one.class_of(label) for one in taxonomies)
    ]
    if not foreign:
        return
    raise ConfigError(
        f"texts.label_column: {sum(n for _, n in foreign)} texts have labels that no task of "
        f"icldist.tasks ({', '.join(run.icldist.tasks)}) knows: "
        f"{', '.join(label[:40] for label, _ in foreign[:6])}; "
        f"{nearest(foreign[0][0], sorted(known))}; map them to known labels with texts.labels, or "
        "add a task with these labels to icldist.tasks"
    )


def read_texts(folder: Path) -> Lines[Text]:
    """The texts that were drawn, which stay on the disk."""
    return Lines(folder / "texts.jsonl", lambda line: Text(**json.loads(line)))


def unlearned_texts(run: Run) -> Sequence[str]:
    """The texts of the run that nobody was asked about before, in their order.

    Texts whose answers were dropped or not selected are no fair sample, so they are left out too.
    """
    seen: set[bytes] = set()
    for stage in training_stages(run):
        for source in sources_of(run, stage):
            asked = Lines(run.folder / f"{source}-ask" / "requests.jsonl", _request_of_line)
            for request in asked:
                shown = (text for text, _ in request.meta.get("demonstrations", ()))
                seen.update(map(digest_of, (request.text, *shown)))
    found = Lines[str](None, json.loads)
    for text in read_texts(run.folder / "texts"):
        digest = digest_of(text.text)
        if digest not in seen:
            seen.add(digest)
            found.append(json.dumps(text.text).encode() + b"\n")
    return found


def label_demonstrations(
    run: Run, teacher: StageTeacher, retry_failed: bool, tests: Tests, folder: Path
) -> Summary:
    """Let the teacher label the texts that will be demonstrations."""
    assert run.icldist is not None
    texts = read_texts(run.folder / "texts")
    requests = list(masked_requests(run, demonstration_requests(texts, run.icldist, run.seed)))
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
            "knowdist.attributes: the teacher named no attribute for at least "
            f"{settings.min_texts} of {len(requests)} texts; got {example!r}; expected lines such "
            "as 'tone: sarcastic'; give more texts, lower min_texts, or take a teacher that "
            "follows instructions"
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


def each_request(
    run: Run,
    stage: StageName,
    texts: Sequence[Text],
    labels: Labels | None,
    attributes: Sequence[Attribute] = (),
    wanted: Container[int] | None = None,
) -> Iterator[Request]:
    """The questions of a stage, made one after the other.

    Args:
        run: The configuration.
        stage: Of the run.
        texts: All texts of the run.
        labels: Of demonstrations; None for gold labels, and for KnowDist, which has none.
        attributes: Of which KnowDist composes instructions.
        wanted: Numbers of the questions that are made; None for all.
    """
    found, ordering = settings_of(run, stage), Ordering(texts)
    if isinstance(found, KnowDist):
        return each_knowdist_request(ordering, found, run.seed, attributes, wanted)
    labels = gold_demonstrations(texts, found, run.seed) if labels is None else labels
    return masked_requests(run, each_icldist_request(ordering, labels, found, run.seed, wanted))


def masked_requests(run: Run, requests: Iterable[Request]) -> Iterator[Request]:
    """Requests without the personal data that ``cleaning.mask`` names.

    Texts were masked when they were drawn; demonstrations of a card and held-out items were not.
    """
    if not run.cleaning.mask:
        yield from requests
        return
    hide = partial(masked, settings=run.cleaning)
    for request in requests:
        yield replace(
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


def ask_stage(
    run: Run, stage: StageName, teacher: StageTeacher, retry_failed: bool, folder: Path
) -> Summary:
    """Ask the teacher what the stage needs, and write down what was asked.

    The steps behind this one read that file: requests are made once, by this version of the code.
    While the teacher is asked they are in another file, which does not say yet what was answered.
    """
    labelled = labels_by_teacher(run, stage)
    labels = read_labels(run.folder / "demonstrations") if labelled else None
    is_composed = attributes_of(run) and stage == "knowdist"
    attributes = read_listed(run.folder / "attributes") if is_composed else ()
    texts, waiting = read_texts(run.folder / "texts"), folder / "waiting.jsonl"
    made = each_request(run, stage, texts, labels, attributes)
    identity = teacher.name, teacher.revision
    with beside(waiting) as unfinished, unfinished.open("wb") as file:
        file.writelines(_line(request, request.key(*identity)) for request in made)
    requests = Lines(waiting, _request_of_line)
    tally, n_prompt_tokens, n_answer_tokens = Tally(), 0, 0
    with (
        Store.open(teacher.store, *identity) as store,
        beside(folder / "requests.jsonl") as unfinished,
        unfinished.open("wb") as file,
    ):
        unknown = ask_waiting(requests, teacher.load, store, retry_failed=retry_failed, what=stage)
        for number, (request, outcome) in enumerate(outcomes(requests, store, unknown)):
            tally.asked(group_of(request))
            line = requests.line(number)
            if isinstance(outcome, Failure):
                tally.failed(group_of(request), request.id, outcome)
            else:
                tally.kept(group_of(request))
                n_prompt_tokens += outcome.prompt_tokens
                n_answer_tokens += outcome.completion_tokens
                line = line.replace(NOT_ANSWERED, ANSWERED, 1)
            file.write(line)
        funnel = tally.funnel(())
        check_losses(stage, funnel, run.filters)
    summary: Summary = {
        "requests": len(requests),
        "answered": funnel.total("kept"),
        "teacher_prompt_tokens": n_prompt_tokens,
        "teacher_answer_tokens": n_answer_tokens,
    }
    if stage == "icldist":
        summary["coverage"] = {axis: dict(n) for axis, n in coverage(requests).items()}
    requests.close()
    waiting.unlink()
    return summary


def _line(request: Request, key: str) -> bytes:
    """A request as its file has it, not answered yet; ``asdict`` would be slow."""
    row = {
        "key": key,
        "answered": False,
        "id": request.id,
        "messages": request.turns,
        "text": request.text,
        "source": request.source,
        "choices": request.choices,
        "decoding": request.decoding.as_json(),
        "meta": dict(request.meta),
    }
    return json.dumps(row).encode() + b"\n"


def _keyed_request(line: bytes) -> tuple[str, Request]:
    row: Any = json.loads(line)
    decoding: Any = row["decoding"]
    decoding["stop"] = tuple(decoding["stop"])
    return row["key"], Request(
        id=row["id"],
        messages=tuple(Message(**message) for message in row["messages"]),
        text=row["text"],
        source=row["source"],
        choices=tuple(row["choices"]),
        decoding=Decoding(**decoding),
        meta=row["meta"],
    )


def _request_of_line(line: bytes) -> Request:
    return _keyed_request(line)[1]


def read_requests(folder: Path) -> Lines[tuple[str, Request]]:
    """Key and request, as they were asked; they stay on the disk."""
    return Lines(folder / "requests.jsonl", _keyed_request)


class Answered(OnDemand[Pair]):
    """Requests and what became of them, read from their file and the teacher's store."""

    def __init__(self, requests: Sequence[tuple[str, Request]], store: Store) -> None:
        self._requests, self._store = requests, store

    def one(self, number: int) -> Pair:
        """A request, and its answer or why there is none."""
        key, request = self._requests[number]
        outcome = self._store.get(key) or self._store.failure(key)
        return request, outcome or Failure("not answered", "", 0)

    def __len__(self) -> int:
        return len(self._requests)


def filter_stage(
    run: Run, stage: StageName, teacher: StageTeacher, tests: Tests, folder: Path
) -> Summary:
    """Keep the answers that are fit to learn from."""
    with Store.read(teacher.store) as store:
        pairs = Answered(read_requests(run.folder / f"{stage}-ask"), store)
        found = _corrected(run, pairs)
        with sharing(run.asking) as share:
            kept = _filter(f"{stage}-filter", found, run.filters, tests(), folder, share)
        summary: Summary = {"kept": len(kept), "of": len(pairs)}
        with_targets = needs_distributions(run, stage)
        if with_targets:
            summary["with_distributions"] = sum(bool(one.log_likelihoods) for one in kept)
            if run.wants_distributions and not summary["with_distributions"]:
                raise ConfigError(
                    f"{stage}: {' and '.join(run.wants_distributions)}: expected answers with "
                    f"scored labels, got none among the {len(kept)} answers of {teacher.name}; "
                    "take a teacher that scores labels (backend: hf, vllm or decisions), or remove "
                    "the setting"
                )

        def lines(rows: range) -> list[str]:
            chosen = (kept[row] for row in rows)
            scored = ((one, one.log_likelihoods if with_targets else ()) for one in chosen)
            return [sample_line(sample_of(k.request, k.response, said)) for k, said in scored]

        with beside(folder / "samples.jsonl") as unfinished, unfinished.open("w") as file:
            file.writelines(shared(lines, len(kept)))
    return summary


def measure_samples(run: Run, stage: StageName, folder: Path) -> Summary:
    """Measure how hard each sample is for a small model."""
    from distill.selection.difficulty_of_samples import measure_confidence, measure_difficulty

    found = settings_of(run, stage)
    assert found.difficulty is not None
    samples = _kept_samples(run, stage)
    model = found.difficulty.model or run.student
    training = found.training
    trust = {"trust_remote_code": run.trust_remote_code}
    if found.difficulty.by == "confidence":
        measured = measure_confidence(samples, model, **trust)
    else:
        measured = measure_difficulty(
            samples, model, training.max_length, training.batch_tokens, **trust
        )
    write_json(folder / "difficulty.json", measured)
    return {"measured": len(measured), "of": len(samples)}


def select_samples(run: Run, stage: StageName, folder: Path) -> Summary:
    """Keep a share of the samples: hard ones more often, or at random."""
    found = settings_of(run, stage)
    assert found.difficulty is not None
    samples, keep = _kept_samples(run, stage), found.difficulty.keep
    if found.difficulty.by == "random":
        chosen = set(select_at_random((sample.id for sample in samples), keep, run.seed))
    else:
        file = run.folder / f"{stage}-difficulty" / "difficulty.json"
        measured: dict[str, float] = json.loads(file.read_text("utf-8"))
        asked = read_requests(run.folder / f"{stage}-ask")
        groups = {request.id: _group_of(request) for _, request in asked}
        chosen = set(select_hard_samples(measured, groups, keep, run.seed))
    if not chosen:
        raise ConfigError(
            f"{stage}.difficulty.keep: got {found.difficulty.keep:g}, which keeps none of "
            f"{len(samples)} samples; expected at least one; raise it"
        )
    if found.difficulty.by == "confidence":
        chosen |= {sample.id for sample in samples if not sample.target}
    kept = (sample for sample in samples if sample.id in chosen)
    write_samples(kept, folder / "samples.jsonl")
    return {"kept": len(SampleFiles(folder / "samples.jsonl")), "of": len(samples)}


def _kept_samples(run: Run, stage: StageName) -> SampleFiles:
    return SampleFiles(run.folder / f"{stage}-filter" / "samples.jsonl")


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
    share: Share = by_processes,
) -> Sequence[Kept]:
    """What is fit to learn from; what became of the rest is written down first."""
    taxonomies = [*load_taxonomies().values(), *map(taxonomy_of, own_tasks().values())]
    words = sorted({word for one in taxonomies for words in one.word_sets for word in words})
    kept, funnel = judge_answers(found.pairs, config, tests, words, share)
    counts = {"corrected": found.moved, "not_corrected": found.as_they_were}
    funnel = funnel.model_copy(update=counts)
    write_json(folder / "funnel.json", funnel.model_dump(mode="json"))
    check_losses(step, funnel, config, folder / "funnel.json")
    return kept


def _group_of(request: Request) -> str:
    """The prompts among which difficulties are compared: one wording, one set of classes."""
    meta = request.meta
    return f"{meta['family']}/{meta.get('taxonomy') or meta.get('perspective')}"
