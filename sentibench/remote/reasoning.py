"""The reasoning of a model that shows it, told from its answer by the marks of its family."""

from __future__ import annotations

import re

# Opening and closing marks, from the reasoning parsers of vLLM and SGLang. The names are tags.
TAGS = "think|thinking|thought|thoughts|reasoning|seed:think|longcat_think"
PAIRS = {
    "[THINK]": "[/THINK]",  # Mistral
    "<|START_THINKING|>": "<|END_THINKING|>",  # Cohere
    "<|channel>": "<channel|>",  # Gemma 4
    "<|begin_of_thought|>": "<|end_of_thought|>",  # OpenThinker
    "◁think▷": "◁/think▷",  # Kimi
    "<unused94>": "<unused95>",  # MedGemma
}
_PLAIN = "|".join(re.escape(mark) for pair in PAIRS.items() for mark in pair)
MARK = re.compile(rf"<(?P<close>/)?(?P<tag>(?i:{TAGS}))(?:\s[^<>]{{0,80}})?>|{_PLAIN}")
CHANNEL = "<|channel|>"  # gpt-oss: analysis, commentary and final one after the other
FINAL = re.compile(r"<\|channel\|>\s{0,5}final.{0,80}?<\|message\|>", re.DOTALL)
END_OF_FINAL = re.compile(r"<\|(?:end|return|start|call|channel)\|>")
BARE_ANALYSIS = re.compile(r"analysis(?=[A-Z])")  # the same where special tokens were left out
GRANITE = re.compile(r"here(?: is|['’]s) my thought process:", re.IGNORECASE)
GRANITE_ANSWER = re.compile(r"here(?: is|['’]s) my response:", re.IGNORECASE)
WRAPPERS = (
    ("<answer>", "</answer>"),  # Hunyuan
    ("<response>", "</response>"),
    ("<|START_RESPONSE|>", "<|END_RESPONSE|>"),
    ("<|begin_of_solution|>", "<|end_of_solution|>"),
)


def without_reasoning(text: str) -> tuple[str, str, bool]:
    """Take the reasoning off what a model wrote.

    Returns:
        The answer, empty where the reasoning never ended; the reasoning, empty where there is
        none; whether it was closed without being opened.
    """
    stripped = text.strip()
    if CHANNEL in text:
        *_, final = [None, *FINAL.finditer(text)]
        if final is None:
            return "", stripped, False
        end = END_OF_FINAL.search(text, final.end())
        answer = text[final.end() : end.start() if end else None]
        return _unwrapped(answer), text[: final.start()].strip(), False
    if BARE_ANALYSIS.match(stripped):
        before, found, after = stripped.rpartition("assistantfinal")
        return (_unwrapped(after), before, False) if found else ("", stripped, False)
    if GRANITE.match(stripped):
        found = GRANITE_ANSWER.search(stripped)
        if found is None:
            return "", stripped, False
        return _unwrapped(stripped[found.end() :]), stripped[: found.start()].strip(), False
    return _without_marked(text)


def _without_marked(text: str) -> tuple[str, str, bool]:
    """The same for reasoning between an opening and a closing mark."""
    answer: list[str] = []
    thoughts: list[str] = []
    start, closing, began_inside = 0, "", False
    for mark in MARK.finditer(text):
        found = mark[0] if mark["tag"] is None else f"<{mark['close'] or ''}{mark['tag'].lower()}>"
        opens = PAIRS.get(found, "") if mark["tag"] is None else f"</{mark['tag'].lower()}>"
        is_opening = bool(opens) and not mark["close"]
        if closing and found != closing:
            continue  # said within the reasoning
        (thoughts if closing else answer).append(text[start : mark.start()])
        start = mark.end()
        if is_opening:
            closing = opens
        elif closing:
            closing = ""
        else:  # all that was written so far was reasoning
            thoughts += answer
            answer, began_inside = [], True
    (thoughts if closing else answer).append(text[start:])
    return _unwrapped("".join(answer)), "".join(thoughts).strip(), began_inside


def _unwrapped(answer: str) -> str:
    answer = answer.strip()
    for opening, closing in WRAPPERS:
        if answer.startswith(opening):
            answer = answer.removeprefix(opening).removesuffix(closing).strip()
    return answer


def open_mark(prompt: str) -> str:
    """The mark of reasoning that a prompt leaves open at its end; empty if there is none."""
    *_, last = [None, *MARK.finditer(prompt)]
    if last is None or prompt[last.end() :].strip():
        return ""
    return last[0] if last[0] in PAIRS or (last["tag"] and not last["close"]) else ""


def is_mark(token: str) -> bool:
    """Whether a special token of a tokenizer has to be kept for the reasoning to be found."""
    return bool(MARK.fullmatch(token)) or token in (CHANNEL, "<|message|>")
