"""Kept answers to training examples: token ids, and which of them are supervised.

The prompt is tokenised as the evaluation tokenises it, the response follows after one space, and
the last supervised token is the end of the text, so the student learns to stop.
"""

# pyright: basic
# Tokenizers carry no types that would hold: their unknowns end in this module.

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from distill.files import write_lines
from sentibench.errors import InputError
from sentibench.prompts.few_shot import TARGET_DELIMITER, render_few_shot


@dataclass(frozen=True, slots=True)
class Sample:
    """What a student learns from.

    Attributes:
        id: Of the request.
        prompt: What the student is shown.
        response: What it is to write.
        instruction: Of a few-shot prompt, else empty.
        demonstrations: (text, label) of a few-shot prompt; the first are dropped first where the
            prompt is too long.
        text: The text that the prompt is about.
        labels: Between which the teacher chose, where its distribution is learnt too.
        target: The teacher's distribution over them.
    """

    id: str
    prompt: str
    response: str
    text: str
    instruction: str = ""
    demonstrations: tuple[tuple[str, str], ...] = ()
    labels: tuple[str, ...] = ()
    target: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.labels) != len(self.target):
            raise ValueError(f"sample {self.id}: labels and target differ in number")
        if not self.prompt.strip() or not self.response.strip():
            raise ValueError(f"sample {self.id}: prompt and response must not be empty")


@dataclass(frozen=True, slots=True)
class Encoded:
    """A sample as the model sees it.

    Attributes:
        ids: Prompt, response, end of text.
        n_prompt: The ids behind these are supervised; at least two of them, the last is the end.
        dropped: Demonstrations left out to fit.
        words: Ids of each label as a continuation of the prompt.
        target: The teacher's distribution over the labels.
    """

    id: str
    ids: tuple[int, ...]
    n_prompt: int
    dropped: int
    words: tuple[tuple[int, ...], ...] = ()
    target: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.n_prompt <= len(self.ids) - 2:
            raise ValueError(f"sample {self.id}: no response token is supervised")


@dataclass(frozen=True, slots=True)
class Encoding:
    """All samples that fit, and what had to give way.

    Attributes:
        examples: In the order of the samples.
        too_long: Samples that do not fit without demonstrations either; they are left out.
        shortened: Samples that lost demonstrations.
    """

    examples: tuple[Encoded, ...]
    too_long: tuple[str, ...]
    shortened: int


def encode_samples(samples: Sequence[Sample], tokenizer: Any, max_length: int) -> Encoding:
    """Tokenise samples; demonstrations give way first, then the sample.

    Raises:
        InputError: If no sample fits.
    """
    encoded = [_encode(sample, tokenizer, max_length) for sample in samples]
    examples = tuple(example for example in encoded if example is not None)
    if not examples:
        raise InputError(
            f"training.max_length: none of {len(samples)} samples fits {max_length} tokens; "
            "raise it or give shorter texts"
        )
    pairs = zip(samples, encoded, strict=True)
    too_long = tuple(sample.id for sample, example in pairs if example is None)
    return Encoding(examples, too_long, sum(example.dropped > 0 for example in examples))


def _encode(sample: Sample, tokenizer: Any, max_length: int) -> Encoded | None:
    for dropped in range(len(sample.demonstrations) + 1):
        prompt = sample.prompt
        if dropped:
            shown = sample.demonstrations[dropped:]
            if not shown and not sample.instruction:
                return None  # nothing would say what is asked
            prompt = render_few_shot(sample.instruction, shown, sample.text)
        before = tokenizer(prompt)["input_ids"]
        whole = _ids(prompt + TARGET_DELIMITER + sample.response.strip(), tokenizer)
        if before and before[-1] == tokenizer.eos_token_id and len(before) > 1:
            before = before[:-1]
        if len(whole) + 1 <= max_length:
            # the response begins where the evaluation cuts, lm-eval's own rule
            ids = (*whole, tokenizer.eos_token_id)
            texts = [prompt + TARGET_DELIMITER + label for label in sample.labels]
            words = tuple(tuple(_ids(text, tokenizer)[len(before) :]) for text in texts)
            return Encoded(sample.id, ids, len(before), dropped, words, sample.target)
    return None


def _ids(text: str, tokenizer: Any) -> list[int]:
    """Ids without an end of text: some tokenizers close every text themselves."""
    ids = list(tokenizer(text)["input_ids"])
    return ids[:-1] if ids[-1] == tokenizer.eos_token_id else ids


def write_samples(samples: Iterable[Sample], path: Path) -> None:
    """Write JSON lines, beside and renamed into place."""
    rows = map(asdict, samples)
    hard = {"labels", "target"}  # which samples without a distribution do not have
    write_lines(path, ({k: v for k, v in row.items() if v or k not in hard} for row in rows))


def read_samples(path: Path) -> Iterator[Sample]:
    """Read what ``write_samples`` wrote.

    Raises:
        InputError: With the line that is no sample.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot be read; {error.strerror}") from None
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            shown = tuple((text, label) for text, label in row.pop("demonstrations"))
            labels, target = tuple(row.pop("labels", ())), tuple(row.pop("target", ()))
            yield Sample(**row, demonstrations=shown, labels=labels, target=target)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"{path} line {number}: no sample; {error}") from None
