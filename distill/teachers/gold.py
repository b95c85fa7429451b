"""The labels of the texts as teacher: supervised fine-tuning, to compare with or to make a teacher.

A small model tuned on gold labels of one dataset can teach a smaller one on the texts of others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sentibench.remote.records import Answer, Failure, Request


def gold_label(request: Request) -> str | None:
    """The label of the request's text under the words of its prompt; None where it has none.

    KnowDist asks for texts, where a label is no answer.
    """
    gold = request.meta.get("gold")
    return gold if "labels" in request.meta and isinstance(gold, str) else None


class GoldTeacher:
    """Answers few-shot prompts with the gold label of their text, where it has one."""

    name, revision = "gold", "1"

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Answer | Failure]]:
        """Yield the gold label under the words of the prompt; see ``Teacher``."""
        for request in requests:
            gold = gold_label(request)
            if gold is None:
                yield request, Failure("no gold label", "the text has no label to answer with")
            else:
                yield request, Answer(gold, "choice" if request.choices else "stop")
