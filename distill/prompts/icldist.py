"""ICLDist (Zhang et al. 2025, section 4): the teacher answers few-shot prompts.

Source tasks (the paper: sentiment and emotion; here aspects and own tasks too) over unlabelled
texts, diversified along four axes: label words, label taxonomies, minimised instructions, other
tasks; the number and the order of the demonstrations vary too, and the form of a list of tuples.
The prompt is rendered by the code of the evaluation.
"""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count, cycle
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, cast

from pydantic import TypeAdapter, ValidationError

from distill.config import ICLDist
from distill.forms import Form, write
from distill.prompts import OTHER_TASKS
from distill.prompts.ordering import Ordering
from distill.prompts.taxonomies import Shown, Taxonomy, chosen_taxonomies
from distill.texts.sources import Text
from sentibench.errors import InputError, refuse_missing
from sentibench.prompts.few_shot import render_few_shot
from sentibench.remote.records import Decoding, Message, Request
from sentibench.scoring.parse import parse_strict

POOL = 64  # most texts of a source and taxonomy that are labelled to serve as demonstrations
STOP = ("\n", "Sentence:")
STOP_OF_LINES = ("Sentence:",)


def demonstration_requests(texts: Sequence[Text], stage: ICLDist, seed: int) -> list[Request]:
    """Ask the teacher for the classes of the texts that will serve as demonstrations.

    Our own examples show it the task. Nothing is asked where demonstrations carry gold labels.
    """
    if stage.demonstrations == "gold":
        return []
    requests: list[Request] = []
    ordering = Ordering(texts)
    size = pool_size(ordering, stage)
    for taxonomy in chosen_taxonomies(stage):
        for text in _pool(ordering, taxonomy, seed, 0 if taxonomy.fixed else size):
            rng = random.Random(f"{seed}/{taxonomy.name}/{text.id}")
            shown = _examples(rng, taxonomy)
            instruction = taxonomy.instruction("full", taxonomy.named, 0)
            n_tokens = stage.label_tokens if taxonomy.classes else stage.response_tokens
            requests.append(
                Request(
                    id=f"demonstrations/{taxonomy.name}/{text.id}",
                    messages=(Message("user", render_few_shot(instruction, shown, text.text)),),
                    text=text.text,
                    source=text.source,
                    choices=taxonomy.classes if stage.score_choices else (),
                    decoding=Decoding(n_tokens, stop=STOP, seed=seed),
                    meta={
                        "family": taxonomy.name,
                        "taxonomy": taxonomy.name,
                        "labels": taxonomy.classes,
                        **_tuples_of(taxonomy, taxonomy.polarities, "tuples"),
                        "text": text.id,
                        "gold": text.label,
                    },
                )
            )
    return requests


def pool_size(ordering: Ordering, stage: ICLDist) -> int:
    """How many texts of a source and taxonomy are labelled to serve as demonstrations.

    As many as there are samples of the pair, so that few are shown often; at least twice as many as
    a prompt shows, since some labels are lost; none where no prompt shows any.
    """
    if not max(stage.shots):
        return 0
    n_pairs = len(chosen_taxonomies(stage)) * len(set(ordering.sources))
    n_samples = math.ceil(stage.samples * (1 - stage.other_tasks) / max(n_pairs, 1))
    return stage.pool or min(POOL, max(2 * max(stage.shots) + 1, n_samples))


def _examples(rng: random.Random, taxonomy: Taxonomy) -> list[Shown]:
    """One example of each class, in any order; of tuples a few; none where there are none."""
    by_class: dict[str, list[Shown]] = defaultdict(list)
    for example in taxonomy.examples:
        by_class[example.label].append(example)
    shown = [rng.choice(by_class[name]) for name in taxonomy.classes if name in by_class]
    shown = shown if taxonomy.classes else list(taxonomy.examples)
    rng.shuffle(shown)
    return shown


def _tuples_of(taxonomy: Taxonomy, polarities: Sequence[str], form: Form) -> dict[str, Any]:
    """What an answer of tuples is made of; nothing of taxonomies with classes."""
    if not taxonomy.elements:
        return {}
    return {"elements": taxonomy.elements, "polarities": tuple(polarities), "form": form}


def gold_demonstrations(
    texts: Sequence[Text], stage: ICLDist, seed: int
) -> dict[tuple[str, str], str]:
    """(taxonomy, text id) -> class, where a text's gold label is a class of the taxonomy."""
    ordering = Ordering(texts)
    size = pool_size(ordering, stage)

    def labelled(taxonomy: Taxonomy) -> Iterator[tuple[tuple[str, str], str]]:
        class_of = cache(taxonomy.class_of)
        pool = _pool(ordering, taxonomy, seed, size, lambda n: bool(class_of(ordering.labels[n])))
        for text in pool:
            yield (taxonomy.name, text.id), cast(str, class_of(text.label))

    return {key: label for one in chosen_taxonomies(stage) for key, label in labelled(one)}


def each_icldist_request(
    ordering: Ordering,
    demonstrations: Mapping[tuple[str, str], str],
    stage: ICLDist,
    seed: int,
    wanted: Container[int] | None = None,
) -> Iterator[Request]:
    """Build the few-shot prompts of the stage.

    Args:
        ordering: Of all texts; none is asked about in a prompt that shows it with its answer.
        demonstrations: (taxonomy, text id) -> class.
        stage: Axes and number of samples.
        seed: Each sample has a generator of its own, so that changing one axis changes no other.
        wanted: Numbers of the prompts that are made; None for all.

    Raises:
        InputError: If no taxonomy has demonstrations.
    """
    texts = ordering.texts
    taxonomies = {taxonomy.name: taxonomy for taxonomy in chosen_taxonomies(stage)}
    fixed = {name: {shown.text for shown in taxonomies[name].fixed} for name in taxonomies}
    of_demonstrations = {identity for _, identity in demonstrations}
    by_id: dict[str, Text] = {}
    not_fixed: set[tuple[str, str]] = set()  # a source has a text that is no fixed demonstration
    for text in texts:
        if text.id in of_demonstrations:
            by_id[text.id] = text
        not_fixed.update((name, text.source) for name in fixed if text.text not in fixed[name])
    pools: dict[tuple[str, str], list[tuple[Text, str]]] = defaultdict(list)
    for (name, identity), label in sorted(demonstrations.items()):
        text = by_id[identity]
        pools[name, text.source].append((text, label))
    sources = sorted(set(ordering.sources))
    usable = [
        (name, source)
        for name in sorted(taxonomies)
        for source in sources
        if (name, source) in not_fixed
        and (len(pools[name, source]) > max(stage.shots) or not max(stage.shots) or fixed[name])
    ]
    if not usable:
        if stage.demonstrations == "gold":
            given = Counter(text.label[:40] for text in texts if text.label).most_common(6)
            got = f"gold labels: {', '.join(label for label, _ in given) or 'none'}"
            called = "positive, negative, neutral, joy, ..."
            way = f"map your labels to {called} in texts.labels"
        else:
            got = f"{len(demonstrations)} labels that the teacher gave"
            way = "another teacher (demonstrations/funnel.json quotes the unread answers)"
        raise InputError(
            f"icldist: no taxonomy has more than {max(stage.shots)} demonstrations of one source; "
            f"got {len(texts)} texts, {got}; give more texts, fewer shots, or {way}"
        )
    queries = {
        source: cycle(
            ordering.shuffled(
                f"{seed}/queries/{source}", lambda n, source=source: ordering.sources[n] == source
            )
        )
        for source in sources
    }
    others = load_other_tasks(stage.other_files, lists=stage.other_lists)
    for number in range(stage.samples):
        rng = random.Random(f"{seed}/icldist/{number}")
        is_other = rng.random() < stage.other_tasks
        name, source = ("", "") if is_other else rng.choice(usable)
        drawn = None if is_other else next(queries[source])  # also where it is not wanted
        while drawn is not None and fixed[name] and texts[drawn].text in fixed[name]:
            drawn = next(queries[source])
        if wanted is not None and number not in wanted:
            continue
        if drawn is None:
            question = _other_question(rng, others, stage)
        else:
            query = texts[drawn]
            pool = [(t, label) for t, label in pools[name, source] if t.id != query.id]
            question = _sentiment_question(rng, query, pool, taxonomies[name], stage)
        yield _request(f"icldist/{number:07d}", question, stage, seed)


class _Question(NamedTuple):
    """What a few-shot prompt is made of; without labels the answer is a free text."""

    family: str
    taxonomy: str
    labels: tuple[str, ...]
    wording: str
    instruction: str
    shown: list[Shown]
    text: str
    source: str
    gold: str | None
    tuples: Mapping[str, Any] = MappingProxyType({})


def _sentiment_question(
    rng: random.Random,
    query: Text,
    pool: list[tuple[Text, str]],
    taxonomy: Taxonomy,
    stage: ICLDist,
) -> _Question:
    set_number = rng.randrange(len(taxonomy.word_sets)) if stage.label_words else 0
    words = taxonomy.word_sets[set_number]
    word_of = dict(zip(taxonomy.named, words, strict=True))
    wording = rng.choice(stage.instructions)
    number, n_shots = rng.randrange(100), rng.choice(stage.shots)
    if wording == "none" and not n_shots:  # something has to say what is asked
        n_shots, wording = (max(stage.shots), wording) if max(stage.shots) else (0, "full")
    if taxonomy.fixed:
        drawn = list(taxonomy.fixed[:n_shots])
    else:
        drawn = [Shown(text.text, label) for text, label in rng.sample(pool, n_shots)]
    form = rng.choice(taxonomy.forms)
    if not taxonomy.classes and all(label == write([]) for _, label in drawn):
        wording = "full"  # nothing that is shown says which form and which words are meant
    instruction = taxonomy.instruction(wording, words, number, form)
    if taxonomy.classes:
        shown = [Shown(text, word_of.get(label, label)) for text, label in drawn]
    else:
        shown = [Shown(text, _rewritten(label, taxonomy, word_of, form)) for text, label in drawn]
    labels: tuple[str, ...] = words if taxonomy.classes else ()
    kind = taxonomy.task, taxonomy.name, labels, wording, instruction, shown
    gold = word_of.get(taxonomy.class_of(query.label) or "")
    return _Question(*kind, query.text, query.source, gold, _tuples_of(taxonomy, words, form))


def _rewritten(answer: str, taxonomy: Taxonomy, word_of: Mapping[str, str], form: Form) -> str:
    """A demonstration's tuples in another form, with other words for the polarities."""
    tuples = parse_strict(len(taxonomy.elements), answer).tuples
    place = taxonomy.elements.index("polarity")
    renamed = [
        (*one[:place], word_of.get(one[place], one[place]), *one[place + 1 :])
        for one in tuples
        if one is not None
    ]
    return write(renamed, form)


def _other_question(
    rng: random.Random, others: Mapping[str, Sequence[OtherRow]], stage: ICLDist
) -> _Question:
    task = rng.choice(sorted(others))
    rows = others[task]
    n_shots = min(max(1, rng.choice(stage.shots)), len(rows) - 1)
    query, *shown = rng.sample(rows, n_shots + 1)
    labels = tuple(sorted({row.output for row in rows}))
    labels = labels if len(labels) <= len(rows) // 2 else ()
    wording = rng.choice([w for w in stage.instructions if w != "short"] or ["full"])
    instruction = query.instruction if wording == "full" else ""
    pairs = [Shown(row.input, row.output) for row in shown]
    kind = "other", task, labels, wording, instruction, pairs
    return _Question(*kind, query.input, "other tasks", query.output)


def _request(identity: str, question: _Question, stage: ICLDist, seed: int) -> Request:
    labels, shown, instruction = question.labels, question.shown, question.instruction
    n_tokens = stage.label_tokens if labels else stage.response_tokens
    form = question.tuples.get("form")
    return Request(
        id=identity,
        messages=(Message("user", render_few_shot(instruction, shown, question.text)),),
        text=question.text,
        source=question.source,
        choices=labels if stage.score_choices else (),
        decoding=Decoding(n_tokens, stop=STOP_OF_LINES if form == "lines" else STOP, seed=seed),
        meta={
            "family": question.family,
            "taxonomy": question.taxonomy,
            "label_words": "/".join(labels or question.tuples.get("polarities", ())) or "free",
            "form": "label" if labels else "free",
            "instruction": question.wording,
            "shots": len(shown),
            "labels": labels,
            "demonstrations": shown,
            "instruction_text": instruction,
            "gold": question.gold,
            **question.tuples,
        },
    )


@dataclass(frozen=True, slots=True)
class OtherRow:
    """A line of a file of other tasks."""

    task: str
    instruction: str
    input: str
    output: str


OTHER_ROW = TypeAdapter(OtherRow)


def load_other_tasks(
    files: Iterable[Path] = (), *, lists: bool = True
) -> dict[str, list[OtherRow]]:
    """Our non-sentiment tasks and the user's, by name; ours with lists for answers or without.

    Raises:
        InputError: If a line lacks one of the four keys, or a task has fewer than three rows.
    """
    tasks: dict[str, list[OtherRow]] = defaultdict(list)
    for path in (*OTHER_TASKS[: 2 if lists else 1], *files):
        refuse_missing(path, "JSON lines of other tasks", "icldist.other_files: ")
        try:
            lines = path.read_text(encoding="utf-8-sig").rstrip("\n").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"icldist.other_files: {path}: cannot be read; {error}") from None
        for number, line in enumerate(lines, 1):
            try:
                row = OTHER_ROW.validate_json(line)
            except ValidationError:
                raise InputError(
                    f"{path} line {number}: expected an object with the texts task, instruction, "
                    f"input, output; got {line[:60]!r}"
                ) from None
            tasks[row.task].append(row)
    for task, rows in tasks.items():
        if len(rows) < 3:
            raise InputError(f"icldist.other_files: task {task!r} has {len(rows)} rows; expected 3")
    return dict(tasks)


def coverage(requests: Iterable[Request]) -> dict[str, Counter[str]]:
    """How many requests there are per value of each axis."""
    axes = ("family", "taxonomy", "label_words", "form", "instruction", "shots")
    found = {axis: Counter[str]() for axis in axes}
    for request in requests:
        for axis in axes:
            found[axis][str(request.meta[axis])] += 1
    return found


def _pool(
    ordering: Ordering,
    taxonomy: Taxonomy,
    seed: int,
    size: int,
    fits: Callable[[int], bool] | None = None,
) -> list[Text]:
    """The first texts of every source in the taxonomy's own order."""
    place = defaultdict[str, Iterator[int]](count)  # within the source
    order = ordering.shuffled(f"{seed}/pool/{taxonomy.name}", fits)
    return [ordering.texts[n] for n in order if next(place[ordering.sources[n]]) < size]
