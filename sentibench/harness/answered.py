"""lm-eval's view of a model that is asked in words: of a server, or of a store of its answers."""

# pyright: basic
# lm-eval carries no types that would hold: its unknowns end in this module.

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sentibench.data.cards import load_tasks
from sentibench.errors import InputError
from sentibench.versions import parts_of, require

with parts_of("lm-eval"):
    from lm_eval.api.model import LM

    require(LM, "loglikelihood(requests)", "generate_until(requests)")


@dataclass(frozen=True, slots=True)
class Question:
    """One item of a task, as a model is asked about it.

    Attributes:
        id: Unique among the items of all tasks, and the same in every run.
        task: Name of the task.
        prompt: What stands before the answer.
        sentence: The text of the item.
        labels: One of which is the answer; none where it is a list of tuples.
        elements: The parts of a tuple.
        polarities: What its polarity may be, where the task says it.
        max_tokens: Of an answer of tuples.
    """

    id: str
    task: str
    prompt: str
    sentence: str
    labels: tuple[str, ...] = ()
    elements: tuple[str, ...] = ()
    polarities: tuple[str, ...] = ()
    max_tokens: int = 0


LabelAnswer = Sequence[float] | None
"""A log-likelihood for each label, in nats; None for an answer that is no label."""


class AnsweredModel(LM):
    """A model behind two functions.

    A label that was written and not scored is certain: 0 for it, minus infinity for all others. So
    its scores are those of its answers, and say nothing of probabilities.

    Args:
        labels: Answers questions with labels, in their order.
        tuples: Answers the others, with texts.

    Attributes:
        tasks_setting: Where the user names the tasks.
    """

    tasks_setting = "evaluation.tasks"

    def __init__(
        self,
        labels: Callable[[Sequence[Question]], Sequence[LabelAnswer]],
        tuples: Callable[[Sequence[Question]], Sequence[str]],
    ) -> None:
        super().__init__()
        self._labels, self._tuples = labels, tuples

    def loglikelihood(self, requests: Sequence[Any], *_: Any, **__: Any) -> list[Any]:
        """Answer label tasks; lm-eval asks once for each label of an item."""
        self._refuse_others(requests)
        firsts = {(r.task_name, r.doc_id): r for r in requests}
        answers = self._labels([_question(request) for request in firsts.values()])
        of_items = dict(zip(firsts, answers, strict=True))
        found: list[tuple[float, bool]] = []
        for request in requests:
            place = request.doc["choices"].index(request.args[1].strip())
            answer = of_items[request.task_name, request.doc_id]
            value = math.nan if answer is None else answer[place]
            found.append((value, answer is not None and value == max(answer)))
        return found

    def generate_until(self, requests: Sequence[Any], *_: Any, **__: Any) -> list[str]:
        """Answer extraction tasks."""
        self._refuse_others(requests)
        return list(self._tuples([_question(request) for request in requests]))

    def loglikelihood_rolling(self, requests: Sequence[Any], *_: Any, **__: Any) -> list[Any]:
        """Refuse tasks that score whole texts: an answer says nothing of these."""
        raise InputError(
            f"{self.tasks_setting}: a task that scores whole texts; expected SentiBench's"
        )

    def _refuse_others(self, requests: Sequence[Any]) -> None:
        """Refuse tasks whose items this package does not know."""
        for name in {request.task_name for request in requests} - load_tasks().keys():
            raise InputError(
                f"{self.tasks_setting}: {name} is not a task of this package; this model can only "
                "be measured on tasks of sentibench"
            )


def _question(request: Any) -> Question:
    task = load_tasks()[request.task_name]
    prompt, card = request.args[0], task.card
    identity = f"evaluate/{task.name}/{request.doc['index']:06d}"
    return Question(
        id=identity,
        task=task.name,
        prompt=prompt,
        sentence=request.doc["sentence"],
        labels=card.written,
        elements=card.elements,
        polarities=card.polarities,
        max_tokens=0 if card.is_label_task else int(request.args[1]["max_gen_toks"]),
    )
