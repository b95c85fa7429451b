"""Kept answers to training examples: token ids, and which of them are supervised.

The prompt is tokenised as the evaluation tokenises it, the response follows after one space, and
the last supervised token is the end of the text, so the student learns to stop.
"""

# pyright: basic
# Tokenizers carry no types that would hold: their unknowns end in this module.

from __future__ import annotations

import json
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.files import Lines, OnDemand
from distill.student.lines import LineTokenizer, Tokens, n_tokens
from distill.workers import shared
from sentibench.errors import InputError
from sentibench.files import beside
from sentibench.prompts.few_shot import TARGET_DELIMITER, render_few_shot

BATCH = 256  # samples that are tokenised at once
PROBES = 256  # samples with which it is tried whether lines may be tokenised apart
DOUBT = 32  # tokens that a number of tokens which was not counted may be wrong by


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

    examples: Examples
    too_long: tuple[str, ...]
    shortened: int


class Examples(OnDemand[Encoded]):
    """Encoded samples; their token ids lie in one array, as a tuple takes ten times as much.

    Args:
        n_ids: Size of the vocabulary.
    """

    def __init__(self, n_ids: int) -> None:
        self._ids = array("H" if n_ids <= 1 << 16 else "I")
        self._ends, self._n_prompts, self._dropped = array("q", [0]), array("i"), array("i")
        self._names: list[str] = []
        self._soft: dict[int, tuple[Any, tuple[float, ...]]] = {}  # words and target, where any

    def append(self, example: Encoded) -> None:
        """Add one more, behind the last."""
        if example.target:
            self._soft[len(self)] = example.words, example.target
        self._names.append(example.id)
        self._ids.extend(example.ids)
        self._ends.append(len(self._ids))
        self._n_prompts.append(example.n_prompt)
        self._dropped.append(example.dropped)

    def one(self, number: int) -> Encoded:
        """Put together from the arrays."""
        ids = tuple(self._ids[self._ends[number] : self._ends[number + 1]])
        known = self._names[number], ids, self._n_prompts[number], self._dropped[number]
        return Encoded(*known, *self._soft.get(number, ((), ())))

    def __len__(self) -> int:
        return len(self._names)

    @property
    def lengths_N(self) -> NDArray[np.int64]:
        """Tokens of each."""
        return np.diff(np.array(self._ends))

    @property
    def n_supervised(self) -> int:
        """Tokens of all that are supervised."""
        return len(self._ids) - sum(self._n_prompts)

    @property
    def n_shortened(self) -> int:
        """How many lost demonstrations."""
        return sum(n > 0 for n in self._dropped)


def encode_samples(samples: Sequence[Sample], tokenizer: Any, max_length: int) -> Encoding:
    """Tokenise samples; demonstrations give way first, then the sample.

    Where there are many, the cores of this machine share them.

    Args:
        samples: May stay on the disk: each is read once, and some twice.
        tokenizer: Of the student.
        max_length: Tokens of a sample at most.

    Raises:
        InputError: If no sample fits.
        ProcessLostError: If a process was killed.
    """
    examples, too_long = Examples(len(tokenizer)), list[str]()
    probes = samples[:: max(1, len(samples) // PROBES)]
    lines = LineTokenizer(tokenizer, (_text(sample.prompt, sample) for sample in probes))

    def encoded(rows: range) -> list[Encoded | str]:
        batch = samples[rows.start : rows.stop]
        pairs = zip(batch, _encode_batch(batch, lines, max_length), strict=True)
        return [example or sample.id for sample, example in pairs]

    for example in shared(encoded, len(samples), BATCH):
        if isinstance(example, str):
            too_long.append(example)
        else:
            examples.append(example)
    if not examples:
        raise InputError(
            f"training.max_length: none of {len(too_long)} samples fits {max_length} tokens; "
            "raise it or give shorter texts"
        )
    return Encoding(examples, tuple(too_long), examples.n_shortened)


def _encode_batch(
    samples: Sequence[Sample], lines: LineTokenizer, max_length: int
) -> list[Encoded | None]:
    texts = [_text(sample.prompt, sample) for sample in samples]
    found: list[Encoded | None] = []
    for sample, tokens in zip(samples, lines.encode(texts), strict=True):
        if len(_without_end(tokens.ids, lines.tokenizer)) + 1 > max_length:
            found.append(_shortened(sample, tokens, lines, max_length))
        else:
            found.append(_encoded(sample, sample.prompt, tokens, lines))
    return found


def _text(prompt: str, sample: Sample) -> str:
    return prompt + TARGET_DELIMITER + sample.response.strip()


def _encoded(
    sample: Sample, prompt: str, tokens: Tokens, lines: LineTokenizer, dropped: int = 0
) -> Encoded:
    """A sample in tokens; its words are those of a label behind the prompt."""
    tokenizer, words = lines.tokenizer, None
    n_prompt = lines.n_tokens(prompt, tokens)
    if sample.labels:
        words = lines.label_ids(prompt, sample.labels, tokens, TARGET_DELIMITER)
    if words is None:
        words = _words(prompt, sample.labels, n_prompt, tokenizer)
    ids = (*_without_end(tokens.ids, tokenizer), tokenizer.eos_token_id)
    return Encoded(sample.id, ids, n_prompt, dropped, words, sample.target)


def _shortened(
    sample: Sample, whole: Tokens, lines: LineTokenizer, max_length: int
) -> Encoded | None:
    """What ``_encode`` gives for a sample that is too long whole, mostly by one tokenisation.

    Args:
        sample: The sample.
        whole: Its tokens with all demonstrations.
        lines: The tokenizer.
        max_length: Tokens of a sample at most.
    """
    last = len(sample.demonstrations) - (not sample.instruction)
    if last < 1:
        return None
    texts = [*(text for text, _ in sample.demonstrations), sample.text]
    likely = lines.likely_lengths(sample.prompt, texts, whole, len(sample.instruction))
    if not likely:
        return _encode(sample, lines.tokenizer, max_length, 1)
    dropped = next((n for n in range(1, last) if likely[n] <= max_length), last)
    best: Encoded | None = None
    while 0 < dropped <= last:
        prompt = render_few_shot(sample.instruction, sample.demonstrations[dropped:], sample.text)
        (tokens,) = lines.encode([_text(prompt, sample)])
        n = len(_without_end(tokens.ids, lines.tokenizer)) + 1
        if abs(n - likely[dropped]) > DOUBT:
            return _encode(sample, lines.tokenizer, max_length, 1)
        if n > max_length:
            if best or dropped == last:
                return best
            dropped += 1
            continue
        best = _encoded(sample, prompt, tokens, lines, dropped)
        dropped -= 1
        if likely[dropped] > max_length + DOUBT:
            break
    return best


def _encode(
    sample: Sample, tokenizer: Any, max_length: int, first_dropped: int = 0
) -> Encoded | None:
    """The plain way, which all others agree with: every text is tokenised whole."""
    for dropped in range(first_dropped, len(sample.demonstrations) + 1):
        prompt = sample.prompt
        if dropped:
            shown = sample.demonstrations[dropped:]
            if not shown and not sample.instruction:
                return None  # nothing would say what is asked
            prompt = render_few_shot(sample.instruction, shown, sample.text)
        whole = _ids(_text(prompt, sample), tokenizer)
        if len(whole) + 1 <= max_length:
            # the response begins where the evaluation cuts, lm-eval's own rule
            n_prompt = n_tokens(prompt, tokenizer)
            ids = (*whole, tokenizer.eos_token_id)
            words = _words(prompt, sample.labels, n_prompt, tokenizer)
            return Encoded(sample.id, ids, n_prompt, dropped, words, sample.target)
    return None


def _words(
    prompt: str, labels: Sequence[str], n_prompt: int, tokenizer: Any
) -> tuple[tuple[int, ...], ...]:
    texts = [prompt + TARGET_DELIMITER + label for label in labels]
    return tuple(tuple(_ids(text, tokenizer)[n_prompt:]) for text in texts)


def _ids(text: str, tokenizer: Any) -> list[int]:
    return _without_end(list(tokenizer(text)["input_ids"]), tokenizer)


def _without_end(ids: list[int], tokenizer: Any) -> list[int]:
    """Ids without an end of text: some tokenizers close every text themselves."""
    return ids[:-1] if ids[-1] == tokenizer.eos_token_id else ids


def write_samples(samples: Iterable[Sample], path: Path) -> None:
    """Write JSON lines, beside and renamed into place."""
    with beside(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        file.writelines(map(sample_line, samples))


def sample_line(sample: Sample) -> str:
    """One line of what ``write_samples`` writes; a sample without a distribution names none."""
    hard = ("labels", "target")
    row = {name: getattr(sample, name) for name in Sample.__slots__}
    return json.dumps({k: v for k, v in row.items() if v or k not in hard}) + "\n"


class SampleFiles(OnDemand[Sample]):
    """Samples of one or more files, one after the other; they stay on the disk.

    Args:
        paths: What ``write_samples`` wrote.

    Raises:
        InputError: If a file cannot be read; later, with the line that is no sample.
    """

    def __init__(self, *paths: Path) -> None:
        self._paths = paths
        self._files = [_sample_lines(path) for path in paths]
        self._ends = list(accumulate(map(len, self._files)))

    def one(self, number: int) -> Sample:
        """The sample of a line."""
        place = bisect_right(self._ends, number)
        line = number - (self._ends[place - 1] if place else 0)
        try:
            return self._files[place][line]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(
                f"{self._paths[place]} line {line + 1}: not a sample; got {error}; run the step "
                "that writes this file again"
            ) from None

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0


def _sample_lines(path: Path) -> Lines[Sample]:
    try:
        return Lines(path, sample_of_line)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read; got {error.strerror}, expected a file of samples; run the "
            "step that writes it again"
        ) from None


def sample_of_line(line: bytes) -> Sample:
    """Read one line of what ``write_samples`` wrote."""
    row = json.loads(line)
    shown = tuple((text, label) for text, label in row.pop("demonstrations"))
    labels, target = tuple(row.pop("labels", ())), tuple(row.pop("target", ()))
    return Sample(**row, demonstrations=shown, labels=labels, target=target)
