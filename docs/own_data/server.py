"""A teacher made of rules, behind a local server that speaks OpenAI's /v1.

It stands in for a real model, so that the whole way can be tried without one: word lists and
rules answer, nothing is learnt, and the answers are about as good as that. Swap it for a real
server by changing the address in the run's configuration.

python docs/own_data/server.py --port 8000
python docs/own_data/server.py --score docs/own_data/reviews.csv

Prompts are read in two forms: ``Sentence: ... Label:`` with or without demonstrations, answered by
a label or a list of (aspect, polarity); and ``Text: ...`` with a last line such as
``Explanation:``, answered in prose. Any other prompt gets the label of its sentiment. ``stop`` and
the token limit hold as with a real model, for thinking aloud too. A token is a word by whitespace.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, cast

from rules import choose, explain, extract, feelings_in, read_prompt

MODEL = "rules"
MAX_BODY_BYTES = 1 << 20


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
    if not isinstance(response_format, dict):
        return "label", []
    for key, value in cast("dict[str, Any]", response_format).items():
        if isinstance(value, dict) and "enum" in value:
            return key, [str(label) for label in cast("dict[str, list[Any]]", value)["enum"]]
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
        ValueError: If there is none, or it is no text; other errors of Python likewise.
    """
    if "messages" in request:
        given = [turn["content"] for turn in request["messages"]]
        said = [x if isinstance(x, str) else "".join(part["text"] for part in x) for x in given]
        contents: list[Any] = ["\n\n".join(said)]
    else:
        given = request["prompt"]
        contents = [given] if isinstance(given, str) else given
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
    wbufsize = -1  # head and body go out together, or each answer waits 40 ms
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

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
    if options.delay < 0:
        parser.error(f"--delay: got {options.delay}, expected 0 or more seconds")
    if options.score:
        try:
            print(score(options.score))
        except (OSError, ValueError, LookupError, TypeError) as error:
            parser.exit(
                2,
                f"error: {options.score}: cannot be scored; got {error!r}, expected a file like "
                "reviews.csv (review, kind) or aspects.jsonl (id, text, opinions)\n",
            )
        return
    try:
        server = Server(options.port, Style(options.think, options.fenced, options.delay))
    except (OSError, OverflowError) as error:
        parser.exit(2, f"error: --port {options.port}: {error}; give another port, or 0\n")
    print(f"http://127.0.0.1:{server.server_port}/v1", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
