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
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.files import Lines, OnDemand
from distill.workers import shared
from sentibench.errors import InputError
from sentibench.files import beside
from sentibench.prompts.few_shot import TARGET_DELIMITER, render_few_shot

BATCH = 256  # samples that are tokenised at once
LAST_LINES = 10_000  # of prompts, whose tokens are remembered
LABELS_COMPARED = 32  # samples whose labels are tokenised both ways
PROBES = 1_000  # samples among which these are sought
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
        samples: May stay on the disk: each is read once.
        tokenizer: Of the student.
        max_length: Tokens of a sample at most.

    Raises:
        InputError: If no sample fits.
        ProcessLostError: If a process was killed.
    """
    examples, too_long = Examples(len(tokenizer)), list[str]()
    prompts = PromptLengths(tokenizer)

    def encoded(start: int, stop: int) -> list[Encoded | str]:
        batch = samples[start:stop]
        pairs = zip(batch, _encode_batch(batch, prompts, max_length), strict=True)
        return [example or sample.id for sample, example in pairs]

    # some here, as they tell how prompts and labels are counted in all processes
    first = encoded(0, BATCH)
    prompts.compare_labels(samples[:: max(1, len(samples) // PROBES)], max_length)
    n = len(first)
    others = shared(lambda r: encoded(n + r.start, n + r.stop), len(samples) - n, BATCH)
    for example in chain(first, others):
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


class PromptLengths:
    """How many tokens of a sample are its prompt: as many as the prompt alone has.

    To tokenise every prompt a second time would double the work. Where the tokenizer cuts a text
    into words first, what stands before the last line break of a prompt is the same tokens in the
    prompt and in the sample, and the last lines of prompts are few. Both ways are compared on the
    first batch; where they differ once, all prompts are tokenised.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        backend = getattr(tokenizer, "backend_tokenizer", None)
        self._may_cut = backend is not None and backend.pre_tokenizer is not None
        self._is_checked = False
        self._n_to_compare = LABELS_COMPARED
        self._last_lines: dict[str, list[int]] = {}

    def of(self, prompts: Sequence[str], encoded: Any) -> list[int]:
        """Tokens of each prompt.

        Args:
            prompts: Of a batch.
            encoded: What the tokenizer made of the prompts with their responses.
        """
        if not self._may_cut:
            return [_n_tokens(prompt, self.tokenizer) for prompt in prompts]
        found = [self._by_last_line(prompt, encoded[n]) for n, prompt in enumerate(prompts)]
        if not self._is_checked:
            whole = [_n_tokens(prompt, self.tokenizer) for prompt in prompts]
            pairs = zip(found, whole, strict=True)
            self._may_cut, self._is_checked = all(n in (None, m) for n, m in pairs), True
            return whole
        pairs = zip(prompts, found, strict=True)
        return [_n_tokens(prompt, self.tokenizer) if n is None else n for prompt, n in pairs]

    def _by_last_line(self, prompt: str, encoding: Any) -> int | None:
        """None where the last line break begins no token."""
        cut = prompt.rfind("\n")
        first = encoding.char_to_token(cut) if cut > 0 else None
        if first is None or encoding.token_to_chars(first)[0] != cut:
            return None
        line = prompt[cut:]
        ids = self._line(line)
        # the last token of a prompt may be another one where something follows
        is_same = encoding.ids[first : first + len(ids) - 1] == ids[:-1]
        return first + len(ids) if is_same and len(ids) > 1 else None

    def _line(self, line: str) -> list[int]:
        ids = self._last_lines.get(line)
        if ids is None:
            ids = list(self.tokenizer(line, add_special_tokens=False)["input_ids"])
            if len(self._last_lines) < LAST_LINES:
                self._last_lines[line] = ids
        return ids

    def words(
        self, prompt: str, labels: Sequence[str], n_prompt: int, encoded: Any, number: int
    ) -> tuple[tuple[int, ...], ...]:
        """Ids of each label as a continuation of a prompt; the first ones compare both ways."""
        if not labels:
            return ()
        can_cut = self._may_cut and self._n_to_compare >= 0
        if not can_cut or self._by_last_line(prompt, encoded[number]) is None:
            return _words(prompt, labels, n_prompt, self.tokenizer)
        line = prompt[prompt.rfind("\n") :]
        n_before = len(self._line(line))
        lines = [self._line(line + TARGET_DELIMITER + label) for label in labels]
        found = tuple(tuple(ids[n_before:]) for ids in lines)
        if self._n_to_compare:
            whole = _words(prompt, labels, n_prompt, self.tokenizer)
            self._n_to_compare = self._n_to_compare - 1 if found == whole else -1
            return whole
        return found

    def compare_labels(self, samples: Sequence[Sample], max_length: int) -> None:
        """Compare both ways on the first of these samples with labels; few of them do not count."""
        labelled = [sample for sample in samples if sample.labels][:LABELS_COMPARED]
        if labelled and self._n_to_compare > 0:
            _encode_batch(labelled, self, max_length)
        if self._n_to_compare > 0:
            self._n_to_compare = -1

    def likely_lengths(self, sample: Sample, encoded: Any, number: int) -> list[int]:
        """Tokens of a sample and its end with 0, 1, ... of its demonstrations dropped.

        A demonstration counts from its text to the next text. The tokens are those of the whole
        sample, so where the texts meet anew, the number may be wrong by a few.

        Args:
            sample: With all its demonstrations.
            encoded: What the tokenizer made of the batch.
            number: Of the sample in the batch.

        Returns:
            Nothing where the texts are not found, or the tokenizer does not cut into words.
        """
        texts = [*(text for text, _ in sample.demonstrations), sample.text]
        if not self._may_cut or len(texts) < 2:
            return []
        encoding, end, begins = encoded[number], len(sample.instruction), list[int]()
        for text in texts:
            start = sample.prompt.find(text, end)
            token = encoding.char_to_token(start) if start >= 0 else None
            if token is None:
                return []
            begins.append(token)
            end = start + len(text)
        return [len(encoding.ids) + 1 - begin + begins[0] for begin in begins]


def _encode_batch(
    samples: Sequence[Sample], prompts: PromptLengths, max_length: int
) -> list[Encoded | None]:
    tokenizer = prompts.tokenizer
    texts = [sample.prompt + TARGET_DELIMITER + sample.response.strip() for sample in samples]
    encoded = tokenizer(texts, verbose=False)
    lengths = prompts.of([sample.prompt for sample in samples], encoded)
    found: list[Encoded | None] = []
    for n, (sample, n_prompt) in enumerate(zip(samples, lengths, strict=True)):
        ids = _without_end(encoded["input_ids"][n], tokenizer)
        if len(ids) + 1 > max_length:
            likely = prompts.likely_lengths(sample, encoded, n)
            found.append(_shortened(sample, likely, prompts, max_length))
        else:
            words = prompts.words(sample.prompt, sample.labels, n_prompt, encoded, n)
            whole = (*ids, tokenizer.eos_token_id)
            found.append(Encoded(sample.id, whole, n_prompt, 0, words, sample.target))
    return found


def _shortened(
    sample: Sample, likely: Sequence[int], prompts: PromptLengths, max_length: int
) -> Encoded | None:
    """What ``_encode`` gives for a sample that is too long whole, mostly by one tokenisation.

    Args:
        sample: The sample.
        likely: Its length with 0, 1, ... demonstrations dropped, or nothing where none is known.
        prompts: Of the tokenizer.
        max_length: Tokens of a sample at most.
    """
    last = len(sample.demonstrations) - (not sample.instruction)
    if last < 1:
        return None
    if not likely:
        return _encode(sample, prompts.tokenizer, max_length, 1)
    dropped = next((n for n in range(1, last) if likely[n] <= max_length), last)
    best: Encoded | None = None
    while 0 < dropped <= last:
        prompt = render_few_shot(sample.instruction, sample.demonstrations[dropped:], sample.text)
        text = prompt + TARGET_DELIMITER + sample.response.strip()
        encoded = prompts.tokenizer([text], verbose=False)
        ids = _without_end(encoded["input_ids"][0], prompts.tokenizer)
        if abs(len(ids) + 1 - likely[dropped]) > DOUBT:
            return _encode(sample, prompts.tokenizer, max_length, 1)
        if len(ids) + 1 > max_length:
            if best or dropped == last:
                return best
            dropped += 1
            continue
        n_prompt = prompts.of([prompt], encoded)[0]
        words = prompts.words(prompt, sample.labels, n_prompt, encoded, 0)
        whole = (*ids, prompts.tokenizer.eos_token_id)
        best = Encoded(sample.id, whole, n_prompt, dropped, words, sample.target)
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
        whole = _ids(prompt + TARGET_DELIMITER + sample.response.strip(), tokenizer)
        if len(whole) + 1 <= max_length:
            # the response begins where the evaluation cuts, lm-eval's own rule
            n_prompt = _n_tokens(prompt, tokenizer)
            ids = (*whole, tokenizer.eos_token_id)
            words = _words(prompt, sample.labels, n_prompt, tokenizer)
            return Encoded(sample.id, ids, n_prompt, dropped, words, sample.target)
    return None


def _words(
    prompt: str, labels: Sequence[str], n_prompt: int, tokenizer: Any
) -> tuple[tuple[int, ...], ...]:
    texts = [prompt + TARGET_DELIMITER + label for label in labels]
    return tuple(tuple(_ids(text, tokenizer)[n_prompt:]) for text in texts)


def _n_tokens(prompt: str, tokenizer: Any) -> int:
    before = tokenizer(prompt)["input_ids"]
    ends = len(before) > 1 and before[-1] == tokenizer.eos_token_id
    return len(before) - ends


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
