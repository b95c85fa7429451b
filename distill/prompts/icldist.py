"""ICLDist (Zhang et al. 2025, section 4): the teacher answers few-shot prompts.

Two source tasks, sentiment and emotion, over unlabelled texts, diversified along four axes: label
words, label taxonomies, minimised instructions, other tasks; the number and the order of the
demonstrations vary too. The prompt is rendered by the code of the evaluation.
"""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import yaml
from jinja2 import Environment, StrictUndefined, Template

from distill.config import ICLDist
from distill.errors import InputError
from distill.records import Decoding, Message, Request
from distill.texts.sources import Text
from sentibench.prompts.few_shot import render_few_shot

HERE = Path(__file__).parent
ENVIRONMENT = Environment(undefined=StrictUndefined)
POOL = 64  # texts of a source and taxonomy that the teacher labels to serve as demonstrations
STOP = ("\n", "Sentence:")
LABEL_TOKENS = 16
PLAIN = ("sentiment_3", "emotion_4")  # the taxonomies without that axis


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """One way to cut sentiment or emotion into classes.

    Attributes:
        name: Such as ``sentiment_3``.
        task: ``sentiment`` or ``emotion``.
        classes: K canonical names.
        word_sets: Each K words, aligned with the classes; the first are the classes themselves.
        instructions: Wordings by kind, with ``{{ labels }}``.
        examples: (text, class) of our own that show the teacher what is asked.
    """

    name: str
    task: str
    classes: tuple[str, ...]
    word_sets: tuple[tuple[str, ...], ...]
    instructions: Mapping[str, tuple[str, ...]]
    examples: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        if any(len(set(words)) != len(self.classes) for words in self.word_sets):
            raise ValueError(f"taxonomy {self.name}: a word set does not fit its classes")


@cache
def load_taxonomies() -> Mapping[str, Taxonomy]:
    """The taxonomies of the package, by name."""
    raw = yaml.safe_load((HERE / "taxonomies.yaml").read_text(encoding="utf-8"))
    return {
        name: Taxonomy(
            name=name,
            task=given["task"],
            classes=tuple(given["classes"]),
            word_sets=tuple(map(tuple, given["word_sets"])),
            instructions={kind: tuple(w) for kind, w in given["instructions"].items()},
            examples=tuple((e["text"], e["label"]) for e in given["examples"]),
        )
        for name, given in raw.items()
    }


def chosen_taxonomies(stage: ICLDist) -> list[Taxonomy]:
    """The taxonomies that a stage uses."""
    known = load_taxonomies()
    return list(known.values()) if stage.taxonomies else [known[name] for name in PLAIN]


def demonstration_requests(texts: Sequence[Text], stage: ICLDist, seed: int) -> list[Request]:
    """Ask the teacher for the classes of the texts that will serve as demonstrations.

    Our own examples show it the task. Nothing is asked where demonstrations carry gold labels.
    """
    if stage.demonstrations == "gold":
        return []
    requests: list[Request] = []
    for taxonomy in chosen_taxonomies(stage):
        for text in _pool(texts, taxonomy, seed):
            rng = random.Random(f"{seed}/{taxonomy.name}/{text.id}")
            shown = [rng.choice(list(e)) for e in _by_class(taxonomy.examples, taxonomy).values()]
            rng.shuffle(shown)
            instruction = _instruction(taxonomy, "full", taxonomy.classes, 0)
            requests.append(
                Request(
                    id=f"demonstrations/{taxonomy.name}/{text.id}",
                    messages=(Message("user", render_few_shot(instruction, shown, text.text)),),
                    text=text.text,
                    source=text.source,
                    choices=taxonomy.classes if stage.score_choices else (),
                    decoding=Decoding(LABEL_TOKENS, stop=STOP, seed=seed),
                    meta={"taxonomy": taxonomy.name, "text": text.id, "gold": text.label},
                )
            )
    return requests


def gold_demonstrations(
    texts: Sequence[Text], stage: ICLDist, seed: int
) -> dict[tuple[str, str], str]:
    """(taxonomy, text id) -> class, where a text's gold label is a class of the taxonomy."""
    return {
        (taxonomy.name, text.id): cast(str, text.label)
        for taxonomy in chosen_taxonomies(stage)
        for text in _pool([t for t in texts if t.label in taxonomy.classes], taxonomy, seed)
    }


def icldist_requests(
    texts: Sequence[Text],
    demonstrations: Mapping[tuple[str, str], str],
    stage: ICLDist,
    seed: int,
) -> list[Request]:
    """Build the few-shot prompts of the stage.

    Args:
        texts: All texts of the run; those that serve as demonstrations are not asked about in the
            same prompt.
        demonstrations: (taxonomy, text id) -> class.
        stage: Axes and number of samples.
        seed: Each sample has a generator of its own, so that changing one axis changes no other.

    Raises:
        InputError: If no taxonomy has demonstrations.
    """
    by_id = {text.id: text for text in texts}
    pools: dict[tuple[str, str], list[tuple[Text, str]]] = defaultdict(list)
    for (name, identity), label in sorted(demonstrations.items()):
        text = by_id[identity]
        pools[name, text.source].append((text, label))
    usable = sorted(key for key, pool in pools.items() if len(pool) > max(stage.shots))
    if not usable:
        given = Counter(text.label[:40] for text in texts if text.label).most_common(6)
        gold = f"gold labels: {', '.join(label for label, _ in given) or 'none'}"
        raise InputError(
            f"icldist: no taxonomy has more than {max(stage.shots)} demonstrations of one source; "
            f"got {len(texts)} texts, {gold}; give more texts, fewer shots, or in texts.labels "
            "the labels that are called positive, negative, neutral, joy, ... here"
        )
    queries: dict[str, list[Text]] = defaultdict(list)
    for text in sorted(texts, key=lambda text: text.id):
        queries[text.source].append(text)
    for source, own in queries.items():
        random.Random(f"{seed}/queries/{source}").shuffle(own)
    others = load_other_tasks(stage.other_files)
    asked: Counter[str] = Counter()
    requests: list[Request] = []
    for number in range(stage.samples):
        rng = random.Random(f"{seed}/icldist/{number}")
        if rng.random() < stage.other_tasks:
            requests.append(_other_request(number, rng, others, stage, seed))
            continue
        name, source = rng.choice(usable)
        query = queries[source][asked[source] % len(queries[source])]
        asked[source] += 1
        pool = [(t, label) for t, label in pools[name, source] if t.id != query.id]
        requests.append(_sentiment_request(number, rng, query, pool, name, stage, seed))
    return requests


def _sentiment_request(
    number: int,
    rng: random.Random,
    query: Text,
    pool: Sequence[tuple[Text, str]],
    name: str,
    stage: ICLDist,
    seed: int,
) -> Request:
    taxonomy = load_taxonomies()[name]
    set_number = rng.randrange(len(taxonomy.word_sets)) if stage.label_words else 0
    words = taxonomy.word_sets[set_number]
    kind = rng.choice(stage.instructions)
    instruction = _instruction(taxonomy, kind, words, rng.randrange(100))
    n_shots = rng.choice(stage.shots)
    if not instruction and not n_shots:
        n_shots = max(stage.shots)  # something has to say what is asked
    shown = [
        (text.text, words[taxonomy.classes.index(label)])
        for text, label in rng.sample(list(pool), n_shots)
    ]
    gold = query.label if query.label in taxonomy.classes else None
    return Request(
        id=f"icldist/{number:07d}",
        messages=(Message("user", render_few_shot(instruction, shown, query.text)),),
        text=query.text,
        source=query.source,
        choices=words if stage.score_choices else (),
        decoding=Decoding(LABEL_TOKENS, stop=STOP, seed=seed),
        meta={
            "family": taxonomy.task,
            "taxonomy": taxonomy.name,
            "label_words": "/".join(words),
            "instruction": kind if instruction else "none",
            "shots": n_shots,
            "labels": words,
            "demonstrations": shown,
            "instruction_text": instruction,
            "gold": words[taxonomy.classes.index(gold)] if gold else None,
        },
    )


def _other_request(
    number: int,
    rng: random.Random,
    others: Mapping[str, Sequence[Mapping[str, str]]],
    stage: ICLDist,
    seed: int,
) -> Request:
    task = rng.choice(sorted(others))
    rows = list(others[task])
    n_shots = min(max(1, rng.choice(stage.shots)), len(rows) - 1)
    query, *shown = rng.sample(rows, n_shots + 1)
    labels = tuple(sorted({row["output"] for row in rows}))
    closed = len(labels) <= len(rows) // 2
    kind = rng.choice([k for k in stage.instructions if k != "short"] or ["full"])
    instruction = query["instruction"] if kind == "full" else ""
    pairs = [(row["input"], row["output"]) for row in shown]
    return Request(
        id=f"icldist/{number:07d}",
        messages=(Message("user", render_few_shot(instruction, pairs, query["input"])),),
        text=query["input"],
        source="other tasks",
        choices=labels if stage.score_choices and closed else (),
        decoding=Decoding(LABEL_TOKENS if closed else 128, stop=STOP, seed=seed),
        meta={
            "family": "other",
            "taxonomy": task,
            "label_words": "/".join(labels) if closed else "free",
            "instruction": kind,
            "shots": n_shots,
            "labels": labels if closed else (),
            "demonstrations": pairs,
            "instruction_text": instruction,
            "gold": query["output"],
        },
    )


def load_other_tasks(files: Iterable[Path] = ()) -> dict[str, list[Mapping[str, str]]]:
    """Our non-sentiment tasks and the user's, by name.

    Raises:
        InputError: If a line lacks one of the four keys, or a task has fewer than three rows.
    """
    tasks: dict[str, list[Mapping[str, str]]] = defaultdict(list)
    for path in (HERE / "other_tasks.jsonl", *files):
        try:
            lines = path.read_text(encoding="utf-8-sig").rstrip("\n").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"icldist.other_files: {path}: cannot be read; {error}") from None
        for number, line in enumerate(lines, 1):
            try:
                row: Any = json.loads(line)
                given = {key: row[key] for key in ("task", "instruction", "input", "output")}
            except (ValueError, TypeError, KeyError, RecursionError):
                raise InputError(
                    f"{path} line {number}: expected an object with the texts task, instruction, "
                    f"input, output; got {line[:60]!r}"
                ) from None
            if not all(isinstance(value, str) for value in given.values()):
                raise InputError(f"{path} line {number}: expected four texts; got {line[:60]!r}")
            tasks[given["task"]].append(given)
    for task, rows in tasks.items():
        if len(rows) < 3:
            raise InputError(f"icldist.other_files: task {task!r} has {len(rows)} rows; expected 3")
    return dict(tasks)


def coverage(requests: Iterable[Request]) -> dict[str, Counter[str]]:
    """How many requests there are per value of each axis."""
    axes = ("family", "taxonomy", "label_words", "instruction", "shots")
    table: dict[str, Counter[str]] = {axis: Counter() for axis in axes}
    for request in requests:
        for axis in axes:
            table[axis][str(request.meta[axis])] += 1
    return table


def _pool(texts: Sequence[Text], taxonomy: Taxonomy, seed: int) -> list[Text]:
    """The first texts of every source in the taxonomy's own order."""
    order = sorted(texts, key=lambda text: text.id)
    random.Random(f"{seed}/pool/{taxonomy.name}").shuffle(order)
    taken: Counter[str] = Counter()
    pool: list[Text] = []
    for text in order:
        if taken[text.source] < POOL:
            taken[text.source] += 1
            pool.append(text)
    return pool


def _by_class(
    examples: Sequence[tuple[str, str]], taxonomy: Taxonomy
) -> dict[str, list[tuple[str, str]]]:
    return {name: [e for e in examples if e[1] == name] for name in taxonomy.classes}


@cache
def _template(wording: str) -> Template:
    return ENVIRONMENT.from_string(wording)


def _instruction(taxonomy: Taxonomy, kind: str, words: Sequence[str], number: int) -> str:
    if kind == "none":
        return ""
    wordings = taxonomy.instructions[kind]
    *first, last = words
    return _template(wordings[number % len(wordings)]).render(
        labels=f"{', '.join(first)} or {last}"
    )
