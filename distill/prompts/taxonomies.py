"""What ICLDist asks for: sentiment, emotion, aspects, each in several ways, and own tasks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import yaml
from pydantic import TypeAdapter

from distill.config import ICLDist
from distill.errors import ConfigError
from distill.forms import SAID, Form
from sentibench.data.cards import OWN_FOLDER, OWN_FOLDERS_VARIABLE, Card, Task, load_tasks
from sentibench.data.read import demonstration_pool
from sentibench.data.tables import plain_text
from sentibench.errors import nearest

HERE = Path(__file__).parent
PLAIN = ("sentiment_3", "emotion_4", "aspects_3")  # the taxonomies without that axis
FILES = ("taxonomies.yaml", "aspects.yaml")
EXAMPLES = 4  # of a class, or of a task with tuples, that show the teacher what is asked


class Shown(NamedTuple):
    """A demonstration: a text and its label, or its tuples as a prompt writes them."""

    text: str
    label: str


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """One way to cut sentiment or emotion into classes, to ask for aspects, or an own task.

    Attributes:
        name: Such as ``sentiment_3``; of an own task its name.
        task: ``sentiment``, ``emotion``, ``aspects`` or ``own``.
        classes: K canonical names; none where the answer is a list of tuples.
        word_sets: Each K words, aligned with the classes, or with the polarities where the answer
            is a list of tuples; the first are these themselves.
        instructions: Wordings by kind; in one ``{{ labels }}`` stands for the words, ``{{ form }}``
            for the form of the answer.
        examples: Texts, with their class, that show the teacher what is asked; may be none.
        elements: Parts of a tuple, where the answer is a list of them.
        polarities: What the polarity of a tuple may be.
        forms: In which an answer may list tuples.
        names: K names of the classes in gold labels, where these differ from the classes.
        fixed: Demonstrations that every prompt of an own task shows; then nobody labels others.
    """

    name: str
    task: str
    classes: tuple[str, ...]
    word_sets: tuple[tuple[str, ...], ...]
    instructions: Mapping[str, tuple[str, ...]]
    examples: tuple[Shown, ...]
    elements: tuple[str, ...] = ()
    polarities: tuple[str, ...] = ()
    forms: tuple[Form, ...] = ("tuples",)
    fixed: tuple[Shown, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def named(self) -> tuple[str, ...]:
        """What the words of a word set stand for: the classes, or the polarities of tuples."""
        return self.classes or self.polarities

    def class_of(self, label: str | None) -> str | None:
        """The class that a gold label names; case does not count. None if it names none."""
        folded = plain_text(label or "").casefold()
        for names in (self.classes, self.names or self.classes):
            for name, of_class in zip(names, self.classes, strict=True):
                if name.casefold() == folded:
                    return of_class
        return None

    def __post_init__(self) -> None:
        if any(len(set(words)) != len(self.named) for words in self.word_sets):
            raise ValueError(f"taxonomy {self.name}: a word set does not fit its classes")

    def instruction(
        self, kind: str, words: Sequence[str], number: int, form: Form = "tuples"
    ) -> str:
        """Word the instruction.

        Args:
            kind: ``full``, ``short`` or ``none``.
            words: The label words of the prompt.
            number: Picks one of several wordings.
            form: Of the answer, where it lists tuples.
        """
        if kind == "none":
            return ""
        wordings = self.instructions[kind]
        wording = wordings[number % len(wordings)].replace("{{ labels }}", listed(words))
        return wording.replace("{{ form }}", SAID[form])


def listed(words: Sequence[str]) -> str:
    """Words as a list in a sentence: ``a, b or c``."""
    return " or ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


@cache
def load_taxonomies() -> Mapping[str, Taxonomy]:
    """The taxonomies of the package, by name."""
    files = [(HERE / name).read_text(encoding="utf-8") for name in FILES]
    given = {
        name: {"name": name, **taxonomy}
        for text in files
        for name, taxonomy in yaml.safe_load(text).items()
    }
    return TypeAdapter(dict[str, Taxonomy]).validate_python(given)


def chosen_taxonomies(stage: ICLDist) -> list[Taxonomy]:
    """The taxonomies that a stage uses, in the order of ``icldist.tasks``.

    Raises:
        ConfigError: If a name is none of ours and no own task.
    """
    ours, own = load_taxonomies(), own_tasks()
    found: dict[str, Taxonomy] = {}
    for name in stage.tasks:
        of_kind = {key: one for key, one in ours.items() if one.task == name}
        if of_kind:
            found |= {k: v for k, v in of_kind.items() if stage.taxonomies or k in PLAIN}
        elif name in ours:
            found[name] = ours[name]
        elif name in own and "target" in own[name].card.columns:
            raise ConfigError(
                f"icldist.tasks: {name} asks about a target, which texts do not have; expected a "
                "task without a target"
            )
        elif name in own:
            found[name] = taxonomy_of(own[name])
        else:
            known = dict.fromkeys([*(one.task for one in ours.values()), *ours, *own])
            raise ConfigError(
                f"icldist.tasks: unknown {name!r}; {nearest(name, known)}; for a task of your own, "
                f"put its card into ./{OWN_FOLDER} or a folder of {OWN_FOLDERS_VARIABLE}, or make "
                "it with: sentibench task new"
            )
    return list(found.values())


def own_tasks() -> dict[str, Task]:
    """The own tasks that this folder and SENTIBENCH_TASKS hold, by name."""
    return {name: task for name, task in load_tasks().items() if task.source == "own"}


@cache
def taxonomy_of(task: Task) -> Taxonomy:
    """An own task as a taxonomy: its words, wording and demonstrations."""
    card = task.card
    short = [f"{card.title}: {{{{ labels }}}}."] if card.is_label_task else [f"{card.title}."]
    return Taxonomy(
        name=task.name,
        task="own",
        classes=card.written,
        word_sets=_word_sets(card),
        instructions={"full": (card.instruction,), "short": tuple(short)},
        examples=_examples(task),
        elements=card.elements,
        polarities=card.polarities,
        fixed=tuple(Shown(one.sentence, one.answer) for one in demonstration_pool(task))
        if card.demonstrations
        else (),
        names=card.labels,
    )


def _word_sets(card: Card) -> tuple[tuple[str, ...], ...]:
    """The labels, then set by set their synonyms; a label that has no more keeps its name.

    Of a task with tuples the polarities, which have none.
    """
    sets = [card.written if card.is_label_task else card.polarities]
    for words in zip_longest(*(label.synonyms for label in card.classes)):
        named = tuple(word or name for word, name in zip(words, card.written, strict=True))
        sets += [named] if len(set(named)) == len(named) else []
    return tuple(sets)


def _examples(task: Task) -> tuple[Shown, ...]:
    """The first demonstrations of each answer's kind, short texts before long ones."""
    counts: dict[str, int] = defaultdict(int)
    found: list[Shown] = []
    for example in sorted(demonstration_pool(task), key=lambda one: len(one.sentence)):
        kind = example.label or "tuples"
        if counts[kind] < EXAMPLES and "%s" not in task.card.instruction:
            counts[kind] += 1
            found.append(Shown(example.sentence, example.answer))
    return tuple(found)
