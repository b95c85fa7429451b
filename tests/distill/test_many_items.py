"""Sequences on the disk, work shared between processes, and what both give: the same as before."""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from filelock import FileLock
from whole_lists import draw_texts, icldist_requests, knowdist_requests

import distill.workers
from distill.config import Cleaning, FilterConfig, ICLDist, KnowDist, Texts
from distill.errors import ProcessLostError
from distill.files import Lines, write_lines
from distill.filters.checks import LOOP, _may_loop
from distill.filters.judge import filter_answers, judge_answers
from distill.prompts.icldist import each_icldist_request, gold_demonstrations
from distill.prompts.knowdist import each_knowdist_request
from distill.prompts.ordering import Ordering
from distill.texts.sources import Draw, Text, each_text
from distill.workers import shared
from sentibench.remote.records import Answer, Failure, Message, Request

needs_fork = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="work is shared by forking"
)


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes for little work in many chunks."""
    monkeypatch.setattr(distill.workers, "FEWEST", 10)
    monkeypatch.setattr(distill.workers, "CHUNK", 7)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)


def test_lines_are_a_sequence_that_stays_on_the_disk(tmp_path: Path) -> None:
    rows = [{"n": n, "text": "\u2028é" * n} for n in range(5)]
    write_lines(tmp_path / "rows.jsonl", rows)
    found = Lines(tmp_path / "rows.jsonl", json.loads)
    assert (list(found), len(found), found[1:3], found[-1]) == (rows, 5, rows[1:3], rows[-1])
    with pytest.raises(IndexError):
        found[5]
    new = Lines[bytes](None, bytes)
    for content in (b"a\nb", b"", b"c"):
        new.append(content)
    assert list(new) == [b"a\nb", b"", b"c"]


@needs_fork
@pytest.mark.usefixtures("many")
def test_shared_work_gives_what_one_process_gives_in_order() -> None:
    processes = set()
    for number, (square, process) in enumerate(
        shared(lambda r: [(n * n, multiprocessing.current_process().pid) for n in r], 100)
    ):
        assert square == number * number
        processes.add(process)
    assert number == 99
    assert multiprocessing.current_process().pid not in processes


@needs_fork
@pytest.mark.usefixtures("many")
def test_an_error_of_shared_work_is_raised_and_work_that_nobody_wants_is_not_done(tmp_path) -> None:
    with pytest.raises(ZeroDivisionError):
        list(shared(lambda r: [1 / (n - 50) for n in r], 100))

    def noted(chunk: range) -> list[int]:
        (tmp_path / str(chunk.start)).touch()
        return list(chunk)

    work = shared(noted, 7 * 200)
    assert next(work) == 0
    work.close()
    assert len(list(tmp_path.iterdir())) < 20


def test_processes_that_train_together_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    for said, expected in (("", 8), ("1", 8), ("3", 2), ("16", 0)):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", said)
        assert distill.workers._n_cores() == expected


KILLED = """
import os, signal, sys, time
from filelock import FileLock
import distill.workers as workers

workers.FEWEST = 1
os.sched_getaffinity = lambda _: {0, 1}
lock = FileLock(sys.argv[1])
lock.acquire()
for _ in workers.shared(lambda chunk: time.sleep(0.1) or list(chunk), 10**6):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@needs_fork
@pytest.mark.usefixtures("many")
def test_a_process_that_is_killed_ends_the_work_in_one_line() -> None:
    def work(rows: range) -> list[int]:
        if rows.start:
            os.kill(os.getpid(), signal.SIGKILL)
        return list(rows)

    with pytest.raises(ProcessLostError, match="was killed, probably because memory was short"):
        list(shared(work, 100))


@needs_fork
def test_a_killed_process_leaves_no_lock_behind(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "lock"], check=False)
    assert done.returncode == -signal.SIGKILL
    with FileLock(tmp_path / "lock").acquire(timeout=60):
        pass


def answered(n: int) -> list[tuple[Request, Answer | Failure]]:
    """Good and bad answers, copies of both kinds, and answers whose reasoning never ends."""
    rng = random.Random(0)
    words = [f"word{k}" for k in range(900)]
    pairs: list[tuple[Request, Answer | Failure]] = []
    for number in range(n):
        text = " ".join(rng.choices(words, k=20))
        request = Request(
            f"r/{rng.randrange(10**9)}/{number}",
            (Message("user", f"Explain.\n\nText: {text}\n\nExplanation:"),),
            text,
            rng.choice(("films", "tweets")),
            meta={"family": "analysing"},
        )
        kind = rng.randrange(9)
        earlier = [answer for _, answer in pairs if isinstance(answer, Answer)]
        if kind == 0:
            pairs.append((request, Failure("timeout", "late")))
        elif kind == 1 and earlier:
            pairs.append((request, rng.choice(earlier)))
        else:
            said = text if kind == 2 else " ".join(rng.choices(words, k=30))
            said = f"thinking</think>{said}" if kind == 3 else said
            pairs.append((request, Answer(said, "length" if kind == 4 else "stop")))
    return pairs


@needs_fork
def test_answers_judged_by_several_processes_are_those_of_one(request) -> None:
    pairs = answered(200)
    kept, funnel = filter_answers(pairs, FilterConfig(), None)
    assert {"only reasoning", "near-duplicate", "copied input"} <= {
        r for r, n in funnel.drops.items() if n
    }
    request.getfixturevalue("many")
    shuffled = random.Random(1).sample(pairs, len(pairs))
    found, counted = judge_answers(shuffled, FilterConfig(), None)
    assert (list(found), counted) == (kept, funnel)
    assert [one.request.id for one in kept] == sorted(one.request.id for one in kept)


@needs_fork
def test_texts_drawn_by_several_processes_are_those_of_one(request, tmp_path: Path) -> None:
    rng = random.Random(2)
    texts = [f"Text <b>number</b> {rng.randrange(60)} {'A' if n % 3 else 'a'}." for n in range(200)]
    write_lines(tmp_path / "a.jsonl", [{"text": text} for text in texts])
    source = Texts(file=tmp_path / "a.jsonl", count=40)
    alone = draw_texts([source], 3, None)
    request.getfixturevalue("many")
    assert draw_texts([source], 3, None) == alone
    assert {reason for _, reason in alone.left_out} == {"duplicate", "equal but for case"}


def test_some_texts_of_a_source_are_the_first_of_its_draw(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", [{"text": f"text number {n}"} for n in range(50)])
    source, draw = Texts(file=tmp_path / "a.jsonl"), Draw()
    some = list(each_text([source], 3, None, Cleaning(), draw, most=20))
    assert some == list(draw_texts([source], 3, None).texts[:20])
    assert draw.looked_at == {"a": (20, 50)}


def test_texts_are_drawn_without_being_held(tmp_path: Path) -> None:
    """60 MB of texts; what is held of each is a place and two digests."""
    path = tmp_path / "long.jsonl"
    write_lines(path, ({"text": f"{n} " + "long text " * 2_000} for n in range(3_000)))
    tracemalloc.start()
    drawn = sum(1 for _ in each_text([Texts(file=path)], 1, None, Cleaning(), Draw()))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert drawn == 3_000
    assert peak < 20_000_000


TEXTS = [
    Text(f"{source}/{n:03d}", f"{source} text {n}", source, ("positive", "negative")[n % 2])
    for source in ("films", "tweets")
    for n in range(40)
]


def test_some_requests_are_the_same_as_among_all() -> None:
    wanted = {0, 7, 8, 61, 149}
    knowdist = KnowDist(samples=150)
    every = knowdist_requests(TEXTS, knowdist, 5)
    some = list(each_knowdist_request(Ordering(TEXTS), knowdist, 5, wanted=wanted))
    assert some == [every[n] for n in sorted(wanted)]
    icldist = ICLDist(samples=150, demonstrations="gold")
    labels = gold_demonstrations(TEXTS, icldist, 5)
    every = icldist_requests(TEXTS, labels, icldist, 5)
    some = list(each_icldist_request(Ordering(TEXTS), labels, icldist, 5, wanted))
    assert some == [every[n] for n in sorted(wanted)]


def test_no_loop_is_missed_by_the_look_before_the_search() -> None:
    rng, n_loops = random.Random(1), 0
    for _ in range(2_000):
        pattern = "".join(rng.choices("abé😀 ", k=rng.randrange(1, 14)))
        around = ["".join(rng.choices("abé ", k=rng.randrange(30))) for _ in range(2)]
        line = pattern.join([around[0], *[""] * rng.randrange(17, 23), around[1]])
        if LOOP.search(line):
            n_loops += 1
            assert _may_loop(line), line
    assert n_loops > 500
