"""How a distillation grows from 10,000 to 1,000,000 texts: time, memory and disk of every step.

    python benchmarks/scale.py CHECKPOINT FOLDER N [STEP ...]

There are N synthetic texts, N requests of KnowDist, N / 2 of ICLDist, and a teacher that answers
at once. CHECKPOINT is the student, of which the tokenizer is used. Everything is made in FOLDER/N;
what is done there is not done again, so a killed measurement goes on. Each step runs in a process
of its own. Its memory is that of the process and its workers together, shared pages counted once.

The test sets that texts are compared with have to be fetched: ``sentibench fetch``.
"""

from __future__ import annotations

import json
import random
import re
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from hashlib import blake2b
from itertools import accumulate
from pathlib import Path
from typing import Any

from distill.config import Run, load_config
from distill.run.graph import build_steps
from distill.run.plan import Plan
from distill.run.stages import teachers_of
from sentibench.data.cards import load_tasks
from sentibench.data.read import load_split
from sentibench.remote.records import Answer, Failure, Request

WORDS = 40_000  # invented ones
EXACT, NEAR, TEST_ITEMS = 0.02, 0.03, 0.005  # shares of the texts that are not new
CHANGED = 0.02  # words of a near-duplicate that differ from its original
SENTENCES = 50_000  # of which the teacher makes its answers
POLL_S = 0.5
STEPS = (
    "plan",
    "texts",
    "demonstrations",
    "knowdist-ask",
    "icldist-ask",
    "knowdist-filter",
    "icldist-filter",
    "tokens",
    "again",
    "near-duplicates",
)
CONFIG = """
name: run
student: {student}
teacher: {{backend: openai, model: instant, base_url: "http://127.0.0.1:1/v1"}}
texts: [{{file: {folder}/texts.jsonl}}]
knowdist: {{samples: {n}}}
icldist: {{samples: {half}, score_choices: false}}
evaluation: {{tasks: [sentibench_sst2], agreement: 0, teacher: false}}
out: {folder}
"""


class Language:
    """Words drawn from a seeded generator: those of our small texts, then invented rarer ones."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        tasks = [task for task in load_tasks().values() if task.source == "mini"]
        texts = [
            example.sentence for task in tasks for example in load_split(task, "train").examples
        ]
        known = Counter(word for text in texts for word in re.findall(r"[a-z]+", text.lower()))
        parts = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
        rare = {"".join(rng.choices(parts, k=2 + n % 3)) for n in range(WORDS)}
        self.words = list(dict.fromkeys([*(w for w, _ in known.most_common()), *sorted(rare)]))
        self.weights = list(accumulate((n + 10) ** -1.15 for n in range(len(self.words))))

    def draw(self, n: int) -> list[str]:
        """Words without an end."""
        return self.rng.choices(self.words, cum_weights=self.weights, k=n)

    def text(self, n: int) -> str:
        """Sentences of about twelve words."""
        words = self.draw(n)
        for place in range(0, n, 12):
            words[place - 1] += "."
            words[place] = words[place].capitalize()
        return " ".join(words)


def synthetic_texts(n: int) -> Iterator[str]:
    """Texts as long as reviews and tweets are together: half of them below 60 words."""
    rng = random.Random(n)
    language = Language(rng)
    tests = [e.sentence for e in load_split(load_tasks()["sentibench_sst2"], "test").examples]
    kept: list[str] = []
    for _ in range(n):
        share = rng.random()
        if share < EXACT and kept:
            yield rng.choice(kept)
        elif share < EXACT + NEAR and kept:
            words = rng.choice(kept).split()
            for place in range(len(words)):
                if rng.random() < CHANGED:
                    words[place] = language.draw(1)[0]
            yield " ".join(words)
        elif share < EXACT + NEAR + TEST_ITEMS:
            yield rng.choice(tests)
        else:
            text = language.text(min(800, max(8, round(rng.lognormvariate(4.1, 0.8)))))
            if len(kept) < 10_000:
                kept.append(text)
            yield text


class Instant:
    """A teacher that answers at once; some of its answers are unfit to learn from."""

    name, revision = "instant/teacher", "1"

    @cached_property
    def sentences(self) -> list[str]:
        """Made when they are needed: to plan and to filter, nobody is asked."""
        language = Language(random.Random(0))
        return [language.text(12 + n % 8) for n in range(SENTENCES)]

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Answer | Failure]]:
        """Labels by chance; else three to six sentences, sometimes a copy or a refusal."""
        for request in requests:
            drawn = blake2b(request.id.encode(), digest_size=16).digest()
            if request.labels:
                yield (
                    request,
                    Answer(request.labels[drawn[0] % len(request.labels)], "stop", 300, 2),
                )
            elif drawn[0] < 3:
                yield request, Answer("I'm sorry, but I cannot help with that.", "stop", 300, 10)
            elif drawn[0] < 6:
                yield request, Answer(request.text, "stop", 300, 90)
            elif drawn[0] < 12:  # often the same
                yield (
                    request,
                    Answer(" ".join(self.sentences[drawn[1] : drawn[1] + 4]), "stop", 300, 90),
                )
            else:
                places = (
                    int.from_bytes(drawn[n : n + 2], "big") for n in range(1, 7 + drawn[7] % 4, 2)
                )
                text = " ".join(self.sentences[place % SENTENCES] for place in places)
                yield request, Answer(text, "length" if drawn[0] > 253 else "stop", 300, 90)


def configured(student: str, folder: Path, n: int) -> Run:
    """The run, whose texts are made where they are not there."""
    texts, config = folder / "texts.jsonl", folder / "run.yaml"
    if not config.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with texts.open("w", encoding="utf-8") as file:
            for text in synthetic_texts(n):
                file.write(json.dumps({"text": text}) + "\n")
        config.write_text(CONFIG.format(student=student, folder=folder, n=n, half=n // 2))
    return load_config(config)


def work_of(run: Run, name: str) -> dict[str, Any]:
    """Do a step; returns what it says of itself."""
    teachers = teachers_of(run, Instant())
    if name == "near-duplicates":
        return _near_duplicates(run)
    steps = build_steps(run, teachers)
    if name == "plan":
        plan = Plan(run, steps, teachers)
        return {stage.stage: stage.n_requests for stage in plan.stages}
    if name == "again":
        done = [step.do() for step in steps.values() if step.state()[0] == "done"]
        return {"steps": len(done)}
    if name == "tokens":
        return _tokens(run)
    return steps[name].do()


def _tokens(run: Run) -> dict[str, Any]:
    """What a training does before its first step, for both stages."""
    from distill.checkpoints import load_tokenizer
    from distill.run.stages import training_of
    from distill.student.samples import SampleFiles, encode_samples
    from distill.student.training import Rows

    tokenizer, found = load_tokenizer(run.student), dict[str, Any]()
    for stage in ("knowdist", "icldist"):
        training = training_of(run, stage)
        samples = SampleFiles(run.folder / f"{stage}-filter" / "samples.jsonl")
        encoding = encode_samples(samples, tokenizer, training.max_length)
        rows = Rows(encoding.examples, training.batch_size)
        longest = encoding.examples.lengths_N.argsort(kind="stable")[::-1]
        found[stage] = len(rows), int(longest[0])
    return found


def _near_duplicates(run: Run) -> dict[str, Any]:
    """Among the texts of the run, as among answers."""
    from distill.run.data import read_texts
    from distill.texts.near_duplicates import near_duplicates

    texts = {text.id: text.text for text in read_texts(run.folder / "texts")}
    return {"texts": len(texts), "duplicates": len(near_duplicates(texts, 0.8))}


def measured(command: Sequence[str]) -> dict[str, Any]:
    """Run a command; its seconds, those of the processor, and its peak memory with its children."""
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(map(_resident, _tree(process.pid))))
        time.sleep(POLL_S if time.monotonic() - start > 10 else 0.05)
    said = process.stdout.read() if process.stdout else ""
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise SystemExit(process.returncode)
    return {
        "seconds": round(time.monotonic() - start, 1),
        "processor": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "peak_mb": round(peak / 1024),
        "said": json.loads(said.splitlines()[-1]),
    }


def _tree(pid: int) -> list[int]:
    try:
        below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return [pid]
    return [pid, *(one for child in below for one in _tree(int(child)))]


def _resident(pid: int) -> int:
    """KiB of a process, of what several share a part each."""
    try:
        found = re.search(r"^Pss: +(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
    except OSError:
        return 0
    return int(found[1]) if found else 0


def sizes(run: Run) -> dict[str, int]:
    """Bytes of the larger files, and of the texts in the store: prompts and answers."""
    files = [*run.out.glob("answers/*/answers.*"), *run.folder.glob("*/*.jsonl")]
    found = {str(path.relative_to(run.out)): path.stat().st_size for path in files}
    found["prompts and answers alone"] = 0
    for path in run.out.glob("answers/*/answers.jsonl"):
        with path.open(encoding="utf-8") as file:
            for row in map(json.loads, file):
                texts = [*(m["content"] for m in row["request"]["messages"]), row["answer"]["text"]]
                found["prompts and answers alone"] += sum(len(text.encode()) for text in texts)
    return dict(sorted(found.items()))


def main(student: str, parent: str, n: str, *wanted: str) -> None:
    """Measure the steps that were not measured yet, one JSON line each, then the table."""
    folder = Path(parent) / n
    if wanted[:1] == ("--work",):
        print(json.dumps(work_of(configured(student, folder, int(n)), wanted[1])))
        return
    run = configured(student, folder, int(n))
    results = folder / "measured.json"
    known: dict[str, Any] = json.loads(results.read_text()) if results.exists() else {}
    for name in wanted or STEPS:
        if name in known and not wanted:
            continue
        known[name] = measured([sys.executable, __file__, student, parent, n, "--work", name])
        results.write_text(json.dumps(known, indent=1))
        print(f"{int(n):>9,} {name:18}", json.dumps(known[name]), flush=True)
    print(json.dumps(sizes(run), indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
