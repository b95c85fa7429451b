"""A teacher made of rules, behind a local server that speaks OpenAI's /v1.

It stands in for a real model, so that the whole way can be tried without one: word lists and
rules answer, nothing is learnt, and the answers are about as good as that. Swap it for a real
server by changing the address in the run's configuration.

python docs/own_data/server.py --port 8000
python docs/own_data/server.py --score docs/own_data/reviews.csv

Prompts are read in two forms: ``Sentence: ... Label:`` with or without demonstrations, answered by
a label or a list of (aspect, polarity); and ``Text: ...`` with a last line such as
``Explanation:``, answered in prose. ``stop`` and the token limit hold as with a real model, for
thinking aloud too. A token is a word by whitespace.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from configparser import ConfigParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

MODEL = "rules"
MAX_BODY_BYTES = 1 << 20
NEGATORS = r"not|no|never|without|hardly|nothing|none|neither|nor|cannot|\w+n['’]t"
ASKS_FIRST = re.compile(
    r"(?:(?:hi|hello|hey)\b[^,]*, |sorry[^,]*, but |quick one: )?"
    r"(?:do|does|did|is|are|can|could|may|will|would|has|have|how|what|which|where|when|why|who|any)\b"
)
ASKS_POLITELY = re.compile(
    r"would like to know|i'd like to know|wondering|let me know|could you|can you|"
    r"is it possible|is there|any chance"
)

_words = ConfigParser(delimiters="=", interpolation=None)
_words.read(Path(__file__).with_name("words.ini"), encoding="utf-8")


def _listed(section: str) -> dict[str, list[str]]:
    return {
        key: value.replace("\n", " ").strip().split(", ") for key, value in _words[section].items()
    }


def _any_of(words: Sequence[str]) -> re.Pattern[str]:
    """A pattern that finds one of some words; a star stands for any ending."""
    longest_first = sorted(words, key=len, reverse=True)
    parts = "|".join(re.escape(word).replace(r"\*", r"\w*") for word in longest_first)
    return re.compile(rf"(?<!\w)(?:{parts})(?!\w)", re.IGNORECASE)


MEANINGS = {word: meaning for meaning, words in _listed("labels").items() for word in words}
FEELINGS = {meaning: _any_of(words) for meaning, words in _listed("feelings").items()}
TARGETS, DISHES = (_any_of(words) for words in _listed("things").values())
NEGATED = re.compile(rf"\b(?:{NEGATORS})\b(?:\W+\w+){{0,2}}\W+$", re.IGNORECASE)
CONTRAST = re.compile(r"\b(?:but|yet|however|shame|except|although|though)\b", re.IGNORECASE)
LIST_OF_LABELS = re.compile(r"((?:[\w -]+, )*[\w -]+?),? or ([\w-]+(?: [\w-]+)?)", re.IGNORECASE)


class Prompt(NamedTuple):
    """What was asked: labels and demonstrations of a few-shot prompt, or none of them."""

    instruction: str
    demonstrations: list[tuple[str, str]]
    text: str
    last: str  # the word before the last colon, such as Label


def read_prompt(content: str) -> Prompt:
    """Take a prompt apart; where it has no form that is known, all of it is the text."""
    content = content.strip()
    last = re.search(r"\n\s*([A-Z][\w ]{2,30}):$", content)
    if last is None:
        return Prompt("", [], content, "")
    opening = "Sentence" if last[1] == "Label" else "Text"
    before, *items = re.split(rf"(?:^|\n\n){opening}: ", content)
    pairs = [re.split(rf"\n\s*{last[1]}:", item, maxsplit=1) for item in items]
    pairs = [(pair[0].strip(), pair[-1].strip()) for pair in pairs if len(pair) == 2]
    if not pairs:
        return Prompt("", [], content, "")
    return Prompt(before.strip(), pairs[:-1], pairs[-1][0], last[1])


def sentences_of(text: str) -> list[str]:
    """Sentences without blanks around them; a line break ends one too."""
    return [part.strip() for part in re.findall(r"[^.?!\n]+[.?!]*", text) if part.strip(" \"'”")]


class Found(NamedTuple):
    """A word that carries feeling, and for what it speaks."""

    word: str
    weight: float  # above zero: for praise


def feelings_in(text: str) -> list[Found]:
    """The words for and against; "not" turns them round, and what follows "but" counts more."""
    found: list[Found] = []
    sentences = sentences_of(text)
    for sentence in sentences:
        turn = [match.start() for match in CONTRAST.finditer(sentence)]
        own: list[Found] = []
        for sign, meaning in ((1.0, "positive"), (-1.0, "negative")):
            for match in FEELINGS[meaning].finditer(sentence):
                weight = sign * (-0.7 if NEGATED.search(sentence[: match.start()]) else 1)
                weight *= 0.5 if turn and match.start() < turn[-1] else 1
                own.append(Found(match[0], weight))
        if not own:
            own = [Found(m[0], -0.4) for m in re.finditer(NEGATORS, sentence, re.IGNORECASE)]
        found += own
    short = [s for s in sentences if len(s.split()) <= 3]
    if short and sum(w for _, w in found if w < 0) <= -1:  # "Brilliant." after a complaint
        ironic = {m[0] for s in short for m in FEELINGS["positive"].finditer(s)}
        found = [Found(w, -abs(x)) if w in ironic else Found(w, x) for w, x in found]
    return found


def asking(text: str) -> float:
    """How much of a text asks something, in [0, 1]."""
    sentences = sentences_of(text)
    n_asked = sum(
        sentence.rstrip(' "”').endswith("?")
        or bool(ASKS_POLITELY.search(sentence.lower()))
        or (not sentence.endswith((".", "!")) and bool(ASKS_FIRST.match(sentence.lower())))
        for sentence in sentences
    )
    return n_asked / max(len(sentences), 1)


def profile(text: str) -> dict[str, float]:
    """How strongly a text speaks for each meaning that a label can have."""
    found = feelings_in(text)
    plus = sum(weight for _, weight in found if weight > 0)
    minus = -sum(weight for _, weight in found if weight < 0)
    scores = {m: float(len(p.findall(text))) for m, p in FEELINGS.items()}
    scores |= {"positive": plus, "negative": minus, "neutral": 0.6}
    scores |= {"very positive": 2 * (plus - minus - 2), "very negative": 2 * (minus - plus - 2)}
    return scores | {"question": 4 * asking(text)}


def labels_in(instruction: str) -> list[str]:
    """The labels of the longest list "a, b or c"; what stands before the first is left out."""
    longest: list[str] = []
    for match in LIST_OF_LABELS.finditer(instruction):
        names = [*match[1].split(", "), match[2]]
        names = [_known_end(name.strip()) for name in names]
        names[-1] = names[-1] if names[-1].lower() in MEANINGS else names[-1].split()[0]
        longest = names if len(names) >= len(longest) else longest
    return longest


def _known_end(name: str) -> str:
    parts = name.split()
    ends = [" ".join(parts[place:]) for place in range(len(parts))]
    return next((end for end in ends if end.lower() in MEANINGS), ends[-1] if ends else "")


def choose(prompt: Prompt, allowed: Sequence[str] = ()) -> str:
    """Choose a label for the text of a prompt.

    Labels whose name is known are compared by what the text speaks for. Otherwise the answer is
    the label of the demonstration that is most alike.

    Args:
        prompt: Its instruction or its demonstrations name the labels.
        allowed: The labels, where the request lists them.
    """
    shown = [label for _, label in prompt.demonstrations]
    labels = list(allowed) or labels_in(prompt.instruction)
    if not allowed and not set(shown) <= set(labels):
        labels = list(dict.fromkeys(shown))
    labels = labels or ["positive", "negative", "neutral"]
    scores = profile(prompt.text)
    if all(label.lower() in MEANINGS for label in labels):
        of = {label: scores.get(MEANINGS[label.lower()], 0.0) for label in labels}
        return max(labels, key=lambda label: (of[label], MEANINGS[label.lower()] == "negative"))
    if not prompt.demonstrations:
        named = [label for label in labels if label.lower() in prompt.text.lower()]
        return (named or labels)[0]
    words = set(re.findall(r"\w+", prompt.text.lower()))

    def likeness(pair: tuple[str, str]) -> float:
        theirs, other = profile(pair[0]), set(re.findall(r"\w+", pair[0].lower()))
        apart = sum(abs(scores[meaning] - theirs[meaning]) for meaning in scores)
        return len(words & other) / len(words | other) - apart / 10

    return max(prompt.demonstrations, key=likeness)[1]


def extract(text: str) -> list[tuple[str, str]]:
    """The things of a meal that a text judges, each with the sentiment of its clause."""
    found: dict[str, str] = {}
    for clause in re.split(
        r"[.;!?:\n]+|, |\bbut\b|\b(?:and|while|though)\b(?= (?:the|a|our|my)\b)", text
    ):
        weight = sum(found.weight for found in feelings_in(clause))
        polarity = "neutral" if abs(weight) < 0.3 else "positive" if weight > 0 else "negative"
        for match in re.finditer(rf"{DISHES.pattern}(?: {DISHES.pattern})*", clause, re.IGNORECASE):
            found.setdefault(match[0], polarity)
    return list(found.items())


EMOTIONS = {
    "negative": ("annoyed", "disappointed", "fed up"),
    "positive": ("pleased", "delighted", "content"),
    "neutral": ("calm", "unmoved", "matter-of-fact"),
    "question": ("curious", "unsure", "in need of advice"),
}
EXPECTED = {
    "negative": "one expects that such a thing works and that promises are kept",
    "positive": "few writers take the trouble to tell of what merely works",
    "neutral": "facts like these are told without taking sides",
    "question": "somebody who asks has not made up their mind yet",
}
SHARES = {
    "negative": ("is not as it should be", "lets the writer down", "is blamed"),
    "positive": ("is better than expected", "is praised", "does its work well"),
    "neutral": ("is mentioned without a judgement", "is only described", "is neither good nor bad"),
    "question": ("is what the writer wants to know about", "raises a question", "is asked about"),
}
PERSPECTIVES = {
    "emotion": r"\bfeels\b|feeling and its strength|how strongly",
    "background": r"circumstances|situation behind|has to know|without knowing",
    "target": r"passes judgement|what is judged",
    "expression": r"\bwording\b|which words",
}


def explain(prompt: Prompt) -> str:
    """Explain or restate a text in two or three sentences, from the perspective that is asked for.

    The same prompt gets the same answer.
    """
    rng = random.Random(f"{prompt.instruction}\n{prompt.text}")
    scores = profile(prompt.text)
    tone = max(EMOTIONS, key=lambda meaning: scores[meaning])
    feeling = rng.choice(EMOTIONS[tone])
    strength = "mildly" if scores[tone] < 1.5 else "clearly" if scores[tone] < 4 else "strongly"
    things = [match[0] for match in TARGETS.finditer(prompt.text)] or ["experience"]
    thing = max(dict.fromkeys(things), key=things.count).lower()
    if re.search(r"\bre(?:state|write|phrase)", prompt.instruction.lower()):
        return _restate(rng, prompt.text, thing, feeling, strength, tone)
    sign = {"negative": -1, "positive": 1}.get(tone, 0)
    words = list(dict.fromkeys(f.word for f in feelings_in(prompt.text) if f.weight * sign > 0))[:3]
    quoted = " and ".join(f'"{word}"' for word in words)
    shares = rng.choice(SHARES[tone])
    parts = {
        "expression": f"{quoted} carr{'ies' if len(words) == 1 else 'y'} the feeling here."
        if words
        else rng.choice(
            [
                "No single word carries feeling; the facts have to speak.",
                f"The wording about the {thing} is plain and names no feeling.",
            ]
        ),
        "target": rng.choice([f"The {thing} {shares}.", f"It is the {thing} that {shares[3:]}."])
        if shares.startswith("is ")
        else f"The {thing} {shares}.",
        "emotion": f"The writer is {strength} {feeling}.",
        "background": f"In matters of a {thing}, {EXPECTED[tone]}.",
    }
    asked = [view for view, mark in PERSPECTIVES.items() if re.search(mark, prompt.instruction)]
    first = asked[0] if asked else "expression"
    second = rng.choice([view for view in parts if view != first])
    overall = rng.choice(
        [f"Overall the text is {_kind(tone)}.", f"So the sentiment is {_kind(tone)}."]
    )
    return " ".join([parts[first], parts[second], overall])


def _kind(tone: str) -> str:
    return "an open question" if tone == "question" else tone


def _restate(
    rng: random.Random, text: str, thing: str, feeling: str, strength: str, tone: str
) -> str:
    """The text in calm writing, with the feeling named before or after it."""
    plain = " ".join(re.sub(r"[^\w\s.,;:?'’\"%()-]", " ", text).split())
    plain = re.sub(r"\b[A-Z]{4,}\b", lambda match: match[0].lower(), plain)
    if tone == "question":
        named = f"I am {feeling} and would like to know more about the {thing}."
    else:
        reason = {"negative": "not satisfied", "positive": "satisfied"}.get(tone, "impartial")
        named = rng.choice(
            [
                f"I am {strength} {feeling} about the {thing}, and altogether {reason}.",
                f"My feeling about the {thing} is plain: I am {strength} {feeling} and {reason}.",
            ]
        )
    return " ".join([named, plain] if rng.random() < 0.5 else [plain.rstrip(".,;:") + ".", named])


class Style(NamedTuple):
    """How the server answers, whatever is asked."""

    thinks: bool = False
    fenced: bool = False
    delay_s: float = 0.0


def answer(content: str, style: Style, response_format: Any = None) -> str:
    """Answer one prompt."""
    prompt = read_prompt(content)
    field, allowed = labels_of(response_format)
    asks_list = re.search(r"\btuples?\b|\(aspect|list of", prompt.instruction) or any(
        label.startswith("[") for _, label in prompt.demonstrations
    )
    if prompt.last not in ("Label", "") and not allowed:
        written = explain(prompt)
    elif asks_list and not allowed:
        written = str(extract(prompt.text))
    else:
        written = choose(prompt, allowed)
        if allowed or style.fenced:
            written = json.dumps({field: written}, ensure_ascii=False)
        if style.fenced:
            written = f"```json\n{written}\n```"
    if style.thinks:
        words = ", ".join(found.word for found in feelings_in(prompt.text)) or "no word of feeling"
        written = f"<think>\nI am asked about a text. In it I see: {words}.\n</think>\n\n{written}"
    return written


def labels_of(response_format: Any) -> tuple[str, list[str]]:
    """The field and the labels of a JSON schema; "label" and none where there is no enumeration."""
    if isinstance(response_format, Mapping):
        for key, value in response_format.items():
            if isinstance(value, Mapping) and isinstance(value.get("enum"), list):
                return str(key), [str(label) for label in value["enum"]]
            field, labels = labels_of(value)
            if labels:
                return field, labels
    return "label", []


def cut(text: str, stops: Sequence[str], max_tokens: int | None) -> tuple[str, str]:
    """End an answer where the request wants it; also say why it ended."""
    ends = [text.index(stop) for stop in stops if stop and stop in text]
    text = text[: min(ends)] if ends else text
    tokens = list(re.finditer(r"\S+", text))
    if max_tokens is not None and len(tokens) > max_tokens:
        return text[: tokens[max_tokens - 1].end() if max_tokens else 0], "length"
    return text, "stop"


def contents_of(request: Mapping[str, Any]) -> list[str]:
    """The prompts of a request; the turns of a chat are one prompt, as a base model sees it.

    Raises:
        ValueError: If there is none, or it is no text.
    """
    given = request.get("messages", request.get("prompt"))
    if "messages" not in request:
        contents: list[Any] = [given] if isinstance(given, str) else given or []
    else:
        prompt = ""
        for turn in given:
            parts = turn["content"]
            said = parts if isinstance(parts, str) else "".join(part["text"] for part in parts)
            prompt += (" " if turn["role"] == "assistant" else "\n\n") + said
        contents = [prompt]
    if not contents or not all(isinstance(one, str) and one.strip() for one in contents):
        raise ValueError("no text")
    return contents


def reply_to(request: Mapping[str, Any], style: Style) -> dict[str, Any]:
    """Build the body of an answer to a request of either form.

    Raises:
        ValueError: If the request is not in its form; other errors of Python likewise.
    """
    is_chat, contents = "messages" in request, contents_of(request)
    stop = request.get("stop") or ()
    stops = [stop] if isinstance(stop, str) else list(stop)
    limit = request.get("max_completion_tokens", request.get("max_tokens"))
    written = [
        cut(answer(one, style, request.get("response_format")), stops, limit) for one in contents
    ]
    n_read = sum(len(one.split()) for one in contents)
    n_written = sum(len(text.split()) for text, _ in written)
    return {
        "id": MODEL,
        "object": "chat.completion" if is_chat else "text_completion",
        "created": int(time.time()),
        "model": str(request.get("model", MODEL)),
        "choices": [
            {"index": index, "finish_reason": why}
            | ({"message": {"role": "assistant", "content": text}} if is_chat else {"text": text})
            for index, (text, why) in enumerate(written)
        ],
        "usage": {
            "prompt_tokens": n_read,
            "completion_tokens": n_written,
            "total_tokens": n_read + n_written,
        },
    }


class Server(ThreadingHTTPServer):
    """Listens; port 0 takes a free one, which ``server_port`` tells."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, style: Style) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.style = style


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        """Name the one model."""
        if self.path == "/v1/models":
            self._send(200, {"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        else:
            self._refuse(404, f"no address {self.path}")

    def do_POST(self) -> None:
        """Answer a request of either form."""
        size = self.headers.get("Content-Length", "")
        if not size.isdecimal() or int(size) > MAX_BODY_BYTES:
            self.close_connection = True  # what follows is not read
            return self._refuse(413, f"expected a body of at most {MAX_BODY_BYTES} bytes")
        body = self.rfile.read(int(size))
        form = {"/v1/chat/completions": "messages", "/v1/completions": "prompt"}.get(self.path)
        if form is None:
            return self._refuse(404, f"no address {self.path}")
        try:
            request = json.loads(body)
            request[form]
            reply = reply_to(request, self.server.style)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return self._refuse(400, f"expected a JSON object with {form} of text")
        time.sleep(self.server.style.delay_s)
        self._send(200, reply)

    def _refuse(self, status: int, message: str) -> None:
        self._send(status, {"error": {"message": message, "type": "invalid_request_error"}})

    def _send(self, status: int, reply: Mapping[str, Any]) -> None:
        body = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """No line for each request."""


def score(path: Path) -> str:
    """Compare the answers with the gold of a file like ours: CSV of labels, JSON lines of opinions.

    Raises:
        ValueError: If the file is not like ours; LookupError, OSError likewise.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        if path.suffix == ".jsonl":
            return _score_opinions([json.loads(line) for line in file])
        rows = list(csv.DictReader(file))
    kinds = sorted({row["kind"] for row in rows})
    instruction = f"Answer {', '.join(kinds[:-1])} or {kinds[-1]}."
    pairs = Counter(
        (row["kind"], answer(f"{instruction}\n\nSentence: {row['review']}\nLabel:", Style()))
        for row in rows
    )
    n_right = sum(n for (gold, said), n in pairs.items() if gold == said)
    lines = [f"accuracy {n_right / len(rows):.3f} ({n_right} of {len(rows)})"]
    lines += [f"{gold} answered as {said}: {n}" for (gold, said), n in sorted(pairs.items())]
    return "\n".join(lines)


def _score_opinions(rows: Sequence[Mapping[str, Any]]) -> str:
    gold = {(row["id"], o["aspect"], o["polarity"]) for row in rows for o in row["opinions"]}
    said = {(row["id"], *opinion) for row in rows for opinion in extract(row["text"])}
    n_right = len(gold & said)
    return (
        f"F1 {2 * n_right / (len(gold) + len(said)):.3f} "
        f"({n_right} right of {len(said)} answered, {len(gold)} in the file)"
    )


def main() -> None:
    """Serve, or score a file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    parser.add_argument("--think", action="store_true", help="think aloud before each answer")
    parser.add_argument("--fenced", action="store_true", help="labels as fenced JSON")
    parser.add_argument("--delay", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--score", type=Path, metavar="FILE", help="print how many are right")
    options = parser.parse_args()
    try:
        if options.score:
            print(score(options.score))
            return
        server = Server(options.port, Style(options.think, options.fenced, options.delay))
    except (OSError, ValueError, LookupError, TypeError) as error:
        what = options.score or f"port {options.port}"
        sys.exit(
            f"error: {what}: {error}; expected a file like those of this folder or a free port"
        )
    print(f"http://127.0.0.1:{server.server_port}/v1", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
