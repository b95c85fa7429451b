"""A run that takes seconds: its configuration, a scripted teacher, samples of no teacher."""

import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from whole_lists import build_requests

from distill.config import ICLDistTraining, Run
from distill.run.data import read_labels, read_requests, read_texts
from distill.run.graph import build_steps
from distill.run.plan import Plan
from distill.run.stages import StageName, teachers_of
from distill.steps import Step, in_order
from distill.student.samples import Sample, SampleFiles
from sentibench.remote.records import Answer, Failure, Request

# --cpu would launch a single process
TWO = ("--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no")


# of docs/scale.md
SHARDED = (
    *("--use_fsdp", "--fsdp_version", "2", "--fsdp_auto_wrap_policy", "TRANSFORMER_BASED_WRAP"),
    *("--fsdp_state_dict_type", "FULL_STATE_DICT", "--fsdp_cpu_ram_efficient_loading", "false"),
)


def launch_two(*program: str, how: Sequence[str] = ("--multi_gpu",)) -> None:
    """Run ``program`` under ``accelerate launch`` in two processes on this machine.

    A port that was free when somebody looked can be taken a moment later. So the port named here
    is one that this process holds: accelerate then lets torch open a port and keep it.
    """
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        launch = (sys.executable, "-m", "accelerate.commands.launch", *how, *TWO)
        done = subprocess.run(
            [*launch, "--main_process_port", str(port), *program],
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr[-4000:]


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


def steps_of(run: Run, teacher: Scripted | None = None, *, retry_failed: bool = False):
    """The steps of a run by name; its teacher may be a scripted one."""
    return build_steps(run, teachers_of(run, teacher), retry_failed=retry_failed)


def do(steps: dict[str, Step], *endings: str) -> dict[str, Step]:
    """Do the steps whose names end so."""
    for name, step in steps.items():
        if name.split("-")[-1] in endings:
            step.do()
    return steps


def do_all_before(step: Step) -> None:
    """Do a step and all that it needs."""
    for one in in_order([step]):
        one.do()


def samples_of(steps: dict[str, Step], name: str) -> list[Sample]:
    """The samples that a step kept."""
    return list(SampleFiles(steps[name].folder / "samples.jsonl"))


def requests_of(steps: dict[str, Step], stage: str) -> list[Request]:
    """What a stage asked."""
    return [request for _, request in read_requests(steps[f"{stage}-ask"].folder)]


def built(run: Run, steps: dict[str, Step], stage: StageName) -> list[Request]:
    """What a stage would ask; texts and labels must be there."""
    labels = read_labels(steps["demonstrations"].folder) if stage == "icldist" else None
    return build_requests(run, stage, read_texts(steps["texts"].folder), labels)


def store_of(steps: dict[str, Step]) -> Path:
    """The scripted teacher's answers."""
    return steps["texts"].folder.parents[1] / "answers" / "scripted_one-1"


def plan_of(run: Run, teacher: Scripted | None = None) -> Plan:
    """The plan of a run."""
    teachers = teachers_of(run, teacher)
    return Plan(run, build_steps(run, teachers), teachers)
