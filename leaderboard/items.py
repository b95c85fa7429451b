"""Items and answers: what the sample browser shows, and the items that no model got right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from leaderboard.runs.entries import Entry
from sentibench.data.cards import Task
from sentibench.scoring.parse import answer_text, parse_strict
from sentibench.scoring.samples import SampleText

Marks = list[tuple[str, str]]
PRIVATE_USE = range(0xE000, 0xF900)  # characters of Unicode that mean nothing by themselves


@dataclass(frozen=True, slots=True)
class ItemText:
    """An item of a test set; ``gold`` as the prompt writes it."""

    index: int
    sentence: str
    gold: str


@dataclass(frozen=True, slots=True)
class Prompts:
    """The prompts of a task, without the repetitions: demonstrations stand in many of them.

    Attributes:
        blocks: What stands between blank lines in any prompt, each text once.
        ways: For each way of asking, N lists of positions in ``blocks``; these blocks, joined by
            blank lines, are the prompt. An empty list where an item was not asked.
        way_of: Row key -> position in ``ways``; rows whose prompts were not logged are left out.
        mark: A letter that stands in ``blocks`` for the item's own sentence, and in no prompt;
            empty where prompts hold all letters that could.
    """

    blocks: Sequence[str] = ()
    ways: Sequence[Sequence[Sequence[int]]] = ()
    way_of: Mapping[str, int] = field(default_factory=dict[str, int])
    mark: str = chr(PRIVATE_USE[0])


@dataclass(frozen=True, slots=True)
class TaskItems:
    """N items of a task and what the rows answered, by their key.

    Attributes:
        answers: N texts; empty where an item was not asked.
        right: N letters: 1 right, 0 wrong, - not asked.
        marks: Of tuples: per item (tuple, found, missed or invented).
        prompts: What the rows were asked, like ``answers`` with the first seed.
    """

    items: Sequence[ItemText]
    answers: Mapping[str, Sequence[str]]
    right: Mapping[str, str]
    marks: Mapping[str, Sequence[Marks]]
    prompts: Prompts = Prompts()


@dataclass(frozen=True, slots=True)
class HardItem:
    """An item that no model got right: hard, or a candidate for an error in the gold.

    Attributes:
        index: Position in the test file.
        runs: How many asked it, at least two.
        text: None where the texts were not read.
    """

    task: str
    index: int
    runs: int
    text: SampleText | None


def _comparable(entries: Sequence[Entry], task: str) -> list[Entry]:
    """The entries over the items of the benchmark; all that ran a task where there is none."""
    asked = [entry for entry in entries if task in entry.runs]
    return [entry for entry in asked if entry.is_pinned(task)] or asked


def build_items(entries: Sequence[Entry], tasks: Sequence[Task]) -> dict[str, TaskItems]:
    """Texts, gold and answers per task, for the sample browser. Not for ``--no-text``."""
    found: dict[str, TaskItems] = {}
    for task in [task.name for task in tasks]:
        samples = {e.key: e.runs[task][0].samples for e in entries if task in e.runs}
        texts = {
            text.index: text
            for entry in _comparable(entries, task)
            for text in samples[entry.key].texts
        }
        items = [ItemText(i, texts[i].sentence, texts[i].gold) for i in sorted(texts)]
        if not items:
            continue
        answers: dict[str, list[str]] = {}
        right: dict[str, str] = {}
        asked: dict[str, list[str]] = {}
        marks: dict[str, list[Marks]] = {}
        for key, of_row in samples.items():
            every = {text.index: text for text in of_row.texts}
            hits = dict(zip(every, of_row.right.tolist(), strict=True))
            own = {i: text for i, text in every.items() if i in texts and _same(text, texts[i])}
            answers[key] = [own[i.index].answer if i.index in own else "" for i in items]
            asked[key] = [own[i.index].prompt if i.index in own else "" for i in items]
            right[key] = "".join("01"[hits[i.index]] if i.index in own else "-" for i in items)
            if n_elements := len(of_row.task.card.elements):
                marks[key] = [
                    _marks(n_elements, own[i.index]) if i.index in own else [] for i in items
                ]
        found[task] = TaskItems(items, answers, right, marks, _prompts(asked, items))
    return found


def _same(one: SampleText, other: SampleText) -> bool:
    return (one.sentence, one.gold) == (other.sentence, other.gold)


def _prompts(asked: Mapping[str, Sequence[str]], items: Sequence[ItemText]) -> Prompts:
    """Take prompts apart.

    Args:
        asked: Row key -> N prompts. Rows of one protocol and seed have the same.
        items: The N items.
    """
    numbers: dict[tuple[str, ...], int] = {}
    way_of = {
        key: numbers.setdefault(tuple(prompts), len(numbers))
        for key, prompts in asked.items()
        if any(prompts)
    }
    every = [prompt for prompts in numbers for prompt in prompts]
    mark = next((m for m in map(chr, PRIVATE_USE) if not any(m in p for p in every)), "")
    blocks: dict[str, int] = {}

    def taken_apart(prompt: str, sentence: str) -> list[int]:
        if not prompt:
            return []
        before, found, after = (
            prompt.rpartition(sentence) if sentence and mark else ("", "", prompt)
        )
        parts = f"{before}{found and mark}{after}".split("\n\n")
        return [blocks.setdefault(part, len(blocks)) for part in parts]

    ways = [
        [taken_apart(prompt, item.sentence) for prompt, item in zip(prompts, items, strict=True)]
        for prompts in numbers
    ]
    return Prompts(list(blocks), ways, way_of, mark)


def _marks(n_elements: int, text: SampleText) -> Marks:
    """Tuples of gold and answer with what became of them: found, missed or invented (exactly)."""
    answer = parse_strict(n_elements, answer_text(text.answer))
    guesses = Counter(t if t is not None else ("malformed tuple",) for t in answer.tuples)
    gold = Counter(t for t in parse_strict(n_elements, text.gold).tuples if t is not None)
    return [
        (", ".join(parts), mark)
        for mark, counted in (
            ("found", gold & guesses),
            ("missed", gold - guesses),
            ("invented", guesses - gold),
        )
        for parts in counted.elements()
    ]


def hardest_items(entries: Sequence[Entry], tasks: Sequence[Task]) -> list[HardItem]:
    """Items that no language model got right, in the order of the tasks.

    Entries over other data are out, and what is no language model: one that always says the same
    label is right by it.
    """
    entries = [entry for entry in entries if entry.wording != "nobody"]
    hardest: list[HardItem] = []
    for task in [task.name for task in tasks]:
        asked: Counter[int] = Counter()
        solved: set[int] = set()
        texts: dict[int, SampleText] = {}
        for samples in (
            run.samples for entry in _comparable(entries, task) for run in entry.runs[task]
        ):
            asked.update(samples.indices.tolist())
            solved.update(samples.indices[samples.right].tolist())
            texts |= {text.index: text for text in samples.texts}
        hardest += [
            HardItem(task, index, asked[index], texts.get(index))
            for index in sorted(asked)
            if asked[index] > 1 and index not in solved
        ]
    return hardest
