"""A run that takes seconds: its configuration, a scripted teacher, samples of no teacher."""

import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from distill.config import ICLDistTraining
from distill.records import Answer, Failure, Request
from distill.student.samples import Sample

# --cpu would launch a single process
TWO = ("--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no")

CONFIG = """
name: small
student: {student}
teacher: {{backend: replay, store: {store}}}
texts: [{{dataset: sst2, mini: true}}, {{dataset: emotion20, mini: true}}]
knowdist: {{samples: 16, training: {{batch_size: 4, learning_rate: 1.0e-3}}}}
icldist: {{samples: 20, shots: [1, 2], training: {{batch_size: 4, learning_rate: 1.0e-3}}}}
evaluation: {{tasks: [sentibench_mini_sst2], limit: 4}}
out: {out}
"""


class Scripted:
    """A teacher that knows an answer to everything, after a while."""

    name, revision = "scripted/one", "1"

    def __init__(self, pause_s: float = 0.0) -> None:
        self.pause_s, self.n_asked = pause_s, 0

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Answer | Failure]]:
        for request in requests:
            time.sleep(self.pause_s)
            self.n_asked += 1
            rng = random.Random(request.id)
            if request.choices:
                yield request, Answer(rng.choice(request.choices), "choice")
            else:
                words = " ".join(rng.choice(("warm", "cold", "slow", "kind")) for _ in range(9))
                yield request, Answer(f"It says {words} of {request.text[:20]}.", "stop")


def config(folder: Path, student: Path) -> Path:
    path = folder / "small.yaml"
    out, store = folder / "runs", folder / "recorded"
    path.write_text(CONFIG.format(student=student, out=out, store=store), encoding="utf-8")
    return path


WORDS = ("film", "food", "quiet", "slow", "warm", "bright", "dull", "kind")


def samples(n: int = 24) -> list[Sample]:
    return [
        Sample(
            f"s{i:03d}",
            f"Sentence: the {' '.join(WORDS[: 1 + i % 7])} of day {i}\nLabel:",
            "positive" if i % 2 else "negative",
            f"day {i}",
        )
        for i in range(n)
    ]


def settings(**given) -> ICLDistTraining:
    return ICLDistTraining(**{"batch_size": 4, "learning_rate": 5e-3, "epochs": 2} | given)
