"""Tokens of prompts, line by line: instructions and demonstrations are the same in many prompts."""

# pyright: basic
# Tokenizers carry no types that would hold: their unknowns end in this module.

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LINES = 10_000  # whose tokens are remembered
LONGEST = 5_000  # characters of such a line
CUTS = (re.compile(r"(?=\n[A-Za-z0-9])"), re.compile(r"(?<=\n)(?=[A-Za-z0-9])"))
BREAKS = "\nĊ"  # in a vocabulary of bytes, Ċ is the line break
JOINED_AFTER_BREAK = re.compile(f"[{BREAKS}][A-Za-z0-9]")
TRIED = (  # texts in which some tokenizers look beyond a line break
    *("a.\nb", "a \nb", "a\n\nb", "a\n \nb", "a \n\n\nb: c", "1\n2", "é\nb", "?!\n\n\nb"),
    *("a\t\nb ", "a'\ns", "\nb", "\n\nb", " \nb", "a\r\nb", "a\n\r\nb", "a\u2028\nb"),
    *("a\n  b\nc", "a\n\u00a0\nb"),
)


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text in tokens.

    Attributes:
        ids: With what the tokenizer puts around every text.
        starts: Character at which each line begins; the first is 0. A line ends where the next
            one may be tokenised by itself, so it may have line breaks in it.
        before: Number of ids before each line.
    """

    ids: list[int]
    starts: list[int]
    before: list[int]


class LineTokenizer:
    """Gives the ids that a tokenizer gives for whole texts, and tokenises each line once.

    A text is cut at a line break before or behind which no token of the vocabulary reaches over.
    Whether the tokenizer looks further than that, at blanks say, is tried with some texts. Where
    one of them differs, all texts are tokenised whole.

    Args:
        tokenizer: Of the student.
        examples: Texts that are tried too.
    """

    def __init__(self, tokenizer: Any, examples: Iterable[str]) -> None:
        self.tokenizer = tokenizer
        self._known: dict[str, array[int]] = {}
        self._head, self._tail = [], []
        self._cut: re.Pattern[str] | None = None
        added = tokenizer.added_tokens_decoder.values()
        self._greedy = [str(one) for one in added if one.lstrip or one.rstrip]
        vocabulary = tokenizer.get_vocab()
        if not self._may_cut(vocabulary):
            return
        tried = [*TRIED, *self._with_breaks(vocabulary), *examples]
        whole = tokenizer(tried, verbose=False)["input_ids"]
        for cut in CUTS:
            self._cut = cut
            if [tokens.ids for tokens in self.encode(tried)] == whole:
                return
        self._cut = None

    def _may_cut(self, vocabulary: Iterable[Any]) -> bool:
        tokenizer = self.tokenizer
        if any(not isinstance(t, str) or JOINED_AFTER_BREAK.search(t) for t in vocabulary):
            return False
        whole, bare = tokenizer("a")["input_ids"], self._ids("a")
        n = next((n for n in range(len(whole)) if whole[n : n + len(bare)] == bare), None)
        if n is not None:
            self._head, self._tail = whole[:n], whole[n + len(bare) :]
        return n is not None and self._tail in ([], [tokenizer.eos_token_id])

    def _with_breaks(self, vocabulary: Iterable[str]) -> Iterator[str]:
        """Each token with a line break in it, between letters."""
        for token in vocabulary:
            if any(mark in token for mark in BREAKS):
                text = self.tokenizer.convert_tokens_to_string([token])
                yield from (f"a{token}b", f"a{text}b", f"{text}b")

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """The tokens of each text."""
        if self._cut is None:
            found = self.tokenizer(list(texts), verbose=False)["input_ids"]
            return [Tokens(ids, [0], [0]) for ids in found]
        # some added tokens take the blanks and line breaks beside them
        lines = [
            [text] if any(token in text for token in self._greedy) else self._cut.split(text)
            for text in texts
        ]
        new = self._tokenised(dict.fromkeys(line for of_text in lines for line in of_text))
        return [self._put_together(of_text, new) for of_text in lines]

    def _tokenised(self, lines: Iterable[str]) -> dict[str, array[int]]:
        """Ids of lines that are not known; a part of them is remembered."""
        new = [line for line in lines if line not in self._known]
        if not new:
            return {}
        ids = self.tokenizer(new, add_special_tokens=False, verbose=False)["input_ids"]
        found = {line: array("I", of_line) for line, of_line in zip(new, ids, strict=True)}
        for line in new:
            if len(self._known) < LINES and len(line) <= LONGEST:
                self._known[line] = found[line]
        return found

    def _put_together(self, lines: Sequence[str], new: Mapping[str, array[int]]) -> Tokens:
        ids, starts, before, start = [*self._head], list[int](), list[int](), 0
        for line in lines:
            starts.append(start)
            before.append(len(ids))
            known = self._known.get(line)
            ids.extend(new[line] if known is None else known)
            start += len(line)
        return Tokens([*ids, *self._tail], starts, before)

    def _ids(self, line: str) -> list[int]:
        new = self._tokenised([line])
        return list(new[line] if line in new else self._known[line])

    def n_tokens(self, prompt: str, tokens: Tokens) -> int:
        """Tokens that a prompt alone has, without the end of a text.

        Args:
            prompt: What a text begins with.
            tokens: Of the text.
        """
        last = self._last_line(prompt, tokens)
        if last is None:
            return n_tokens(prompt, self.tokenizer)
        line, before = last
        return before + len(self._ids(line))

    def label_ids(
        self, prompt: str, labels: Sequence[str], tokens: Tokens, delimiter: str
    ) -> tuple[tuple[int, ...], ...] | None:
        """Ids of each label as a continuation of a prompt; None where lines do not tell them."""
        last = self._last_line(prompt, tokens)
        if last is None:
            return None
        line, _ = last
        n = len(self._ids(line))
        return tuple(tuple(self._ids(line + delimiter + label)[n:]) for label in labels)

    def _last_line(self, prompt: str, tokens: Tokens) -> tuple[str, int] | None:
        """The last line of a prompt, and the number of ids before it; None if it has one line."""
        if prompt.endswith(self.tokenizer.eos_token):  # it is no part of a prompt: n_tokens
            return None
        n = bisect_left(tokens.starts, len(prompt)) - 1
        return (prompt[tokens.starts[n] :], tokens.before[n]) if n > 0 else None

    def likely_lengths(
        self, prompt: str, texts: Sequence[str], tokens: Tokens, begin: int = 0
    ) -> list[int]:
        """Tokens of a few-shot prompt and its response without the first 0, 1, ... demonstrations.

        A demonstration counts from the line of its text to that of the next text. So where blanks
        or line breaks meet anew, the number may be wrong by a few.

        Args:
            prompt: With all demonstrations.
            texts: Of the demonstrations in their order, then the text that the prompt is about.
            tokens: Of the prompt with the response.
            begin: Character behind the instruction.

        Returns:
            With the end of the text; nothing where a text is not found.
        """
        end, before = begin, list[int]()
        for text in texts:
            start = prompt.find(text, end)
            if start < 0 or len(texts) > len(tokens.starts):
                return []
            before.append(tokens.before[bisect_right(tokens.starts, start) - 1])
            end = start + len(text)
        return [len(tokens.ids) + 1 - n + before[0] for n in before]


def n_tokens(prompt: str, tokenizer: Any) -> int:
    """Tokens of a prompt, without the end of a text that some tokenizers add."""
    ids = tokenizer(prompt)["input_ids"]
    return len(ids) - (len(ids) > 1 and ids[-1] == tokenizer.eos_token_id)
