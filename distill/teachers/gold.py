"""The labels of the texts as teacher: supervised fine-tuning, to compare with or to make a teacher.

A small model tuned on gold labels of one dataset can teach a smaller one on the texts of others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from distill.records import Answer, Failure, Request


class GoldTeacher:
    """Answers few-shot prompts with the gold label of their text, where it has one."""

    name, revision = "gold", "1"

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Answer | Failure]]:
        """Yield the gold label under the words of the prompt; see ``Teacher``."""
        for request in requests:
            gold = request.meta.get("gold")
            # KnowDist asks for texts, where a label is no answer
            if "labels" in request.meta and isinstance(gold, str):
                yield request, Answer(gold, "choice" if request.choices else "stop")
            else:
                yield request, Failure("no gold label", "the text has no label to answer with")
