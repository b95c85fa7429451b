"""Texts and filters on a Ray cluster of one and of two nodes on this machine: the same files."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from small_runs import Scripted, config, do, steps_of

import distill.teachers.cluster
import distill.workers
from distill.config import Asking, load_config
from distill.errors import ConfigError
from distill.files import write_lines
from distill.steps import Step
from distill.teachers.cluster import sharing
from distill.texts.near_duplicates import BANDS
from distill.workers import by_processes
from sentibench.errors import TeacherError
from sentibench.remote.records import Answer, Failure, Request

INSTALL = "ray is not installed: pip install 'sentibench[ray]'"
FILES = {
    "texts": ("texts.jsonl", "funnel.json"),
    "knowdist-filter": ("samples.jsonl", "funnel.json"),
    "icldist-filter": ("samples.jsonl", "funnel.json"),
}
WORDS = [f"word{n}" for n in range(300)]


class Wordy(Scripted):
    """Long answers, of which every third is nearly the same as an earlier one."""

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Answer | Failure]]:
        said: list[list[str]] = []
        for request, answer in super().answer(requests):
            if request.choices:
                yield request, answer
                continue
            rng = random.Random(request.id)
            words = rng.choices(WORDS, k=60)
            if len(said) % 3 == 2:
                words = [*rng.choice(said)[:-1], words[0]]
            said.append(words)
            yield request, Answer(" ".join(words), "stop")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """One node of one core on this machine."""
    pytest.importorskip("ray", reason=INSTALL)
    from distill.teachers.cluster import load_ray

    load_ray()
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 80 << 20}
    found = Cluster(initialize_head=True, head_node_args={"include_dashboard": False, **node})
    yield found
    found.shutdown()


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distill.workers, "CHUNK", 7)


def on(cluster: Any) -> Asking:
    return Asking(engine="ray", address=cluster.address, filters=True, patience_s=60)


def made(folder: Path, student: Path, *overrides: str) -> dict[str, Step]:
    """Texts, answers and samples of a run, with texts of every fate."""
    folder.mkdir()
    path = config(folder, student)
    rng = random.Random(3)
    texts = [f"A <b>story</b> of {' '.join(rng.choices(WORDS, k=9))}." for _ in range(40)]
    rows = [{"text": text} for text in (*texts, *texts[:5], texts[7].upper(), " ", "12 + 3")]
    write_lines(folder / "own.jsonl", rows)
    source = f"texts=[{{file: {folder / 'own.jsonl'}}}, {{dataset: sst2, mini: true}}]"
    more = ("knowdist.samples=90", "icldist.demonstrations=gold", "filters.min_kept=0.1")
    run = load_config(path, [source, *more, *overrides])
    return do(steps_of(run, Wordy()), "texts", "ask", "filter")


def contents(steps: dict[str, Step]) -> dict[str, bytes]:
    return {
        f"{name}/{file}": (steps[name].folder / file).read_bytes()
        for name, files in FILES.items()
        for file in files
    }


def whose(rows: range) -> list[int]:
    return list(rows)


@pytest.mark.slow
@pytest.mark.usefixtures("small_tests", "small_chunks")
def test_one_and_two_nodes_write_the_files_of_this_machine(
    cluster: Any, tiny_student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    real = distill.teachers.cluster._shared

    def noting(ray: Any, read: Any, work: Any, n: int, chunk: int | None = None) -> Any:
        sent.append(n)
        return real(ray, read, work, n, chunk)

    monkeypatch.setattr("distill.teachers.cluster._shared", noting)
    expected = contents(made(tmp_path / "alone", tiny_student))
    assert b'"near-duplicate": 0' not in expected["knowdist-filter/funnel.json"].splitlines()[-1]
    there = f"asking={{engine: ray, address: '{cluster.address}', filters: true}}"
    for n_nodes in (1, 2):
        if n_nodes == 2:
            cluster.add_node(num_cpus=1, object_store_memory=80 << 20)
        steps = made(tmp_path / str(n_nodes), tiny_student, there)
        assert contents(steps) == expected, n_nodes
        # two sources of texts; answers to KnowDist, their bands and their groups
        assert {48, 90, BANDS} < set(sent)
        assert len(sent) >= 8
        sent.clear()


@pytest.mark.slow
@pytest.mark.usefixtures("small_chunks")
def test_work_of_a_killed_process_is_done_again_by_another(cluster: Any, tmp_path: Path) -> None:
    def work(items: Sequence[int]) -> list[tuple[int, int]]:
        killed = tmp_path / "killed"
        if 21 in items and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return [(item, os.getpid()) for item in items]

    with sharing(on(cluster)) as share:
        found = list(share(whose, work, 100))
    assert (tmp_path / "killed").exists()
    assert [item for item, _ in found] == list(range(100))
    assert os.getpid() not in {pid for _, pid in found}


@pytest.mark.slow
@pytest.mark.usefixtures("small_chunks")
def test_work_of_a_machine_that_dies_is_done_by_the_others(cluster: Any, tmp_path: Path) -> None:
    node = cluster.add_node(num_cpus=1, object_store_memory=80 << 20)
    raylet = node.all_processes["raylet"][0].process
    doomed = node.node_id

    def work(items: Sequence[int]) -> list[tuple[int, bool]]:
        import ray

        is_there = ray.get_runtime_context().get_node_id() == doomed
        if is_there:
            (tmp_path / str(items[0])).touch()
        time.sleep(0.1)
        return [(item, is_there) for item in items]

    found: list[tuple[int, bool]] = []
    try:
        with sharing(on(cluster)) as share:
            for result in share(whose, work, 7 * 100):
                found.append(result)
                if raylet.poll() is None and len(list(tmp_path.iterdir())) > 2:
                    raylet.send_signal(signal.SIGKILL)
                    raylet.wait()
    finally:
        cluster.remove_node(node, allow_graceful=False)
    assert raylet.poll() == -signal.SIGKILL
    assert [item for item, _ in found] == list(range(700))
    assert not found[-1][1]


@pytest.mark.slow
@pytest.mark.usefixtures("small_tests", "small_chunks")
@pytest.mark.parametrize("n_items", [48, 90], ids=["own texts", "answers to KnowDist"])
def test_steps_at_which_a_machine_dies_write_the_files_of_this_machine(
    cluster: Any,
    tiny_student: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    n_items: int,
) -> None:
    expected = contents(made(tmp_path / "alone", tiny_student))
    node = cluster.add_node(num_cpus=1, object_store_memory=80 << 20)
    raylet = node.all_processes["raylet"][0].process
    real = distill.teachers.cluster._shared

    def killing(ray: Any, read: Any, work: Any, n: int, chunk: int | None = None) -> Iterator[Any]:
        for number, result in enumerate(real(ray, read, work, n, chunk)):
            if number == 10 and n == n_items and raylet.poll() is None:
                raylet.send_signal(signal.SIGKILL)
                raylet.wait()
            yield result

    monkeypatch.setattr("distill.teachers.cluster._shared", killing)
    there = f"asking={{engine: ray, address: '{cluster.address}', filters: true}}"
    try:
        steps = made(tmp_path / "there", tiny_student, there)
    finally:
        cluster.remove_node(node, allow_graceful=False)
    assert raylet.poll() == -signal.SIGKILL
    assert contents(steps) == expected


@pytest.mark.slow
@pytest.mark.usefixtures("small_chunks")
def test_an_error_on_the_cluster_is_the_one_that_this_machine_would_raise(
    cluster: Any, tmp_path: Path
) -> None:
    def wrong(items: Sequence[int]) -> list[float]:
        if 70 in items:
            raise ConfigError("texts: wrong")
        return [1 / (item - 50) for item in items]

    def killed(items: Sequence[int]) -> list[int]:
        os.kill(os.getpid(), signal.SIGKILL)
        return list(items)

    def noted(items: Sequence[int]) -> list[int]:
        (tmp_path / str(items[0])).touch()
        return list(items)

    cases: list[tuple[Callable[[Sequence[int]], list[Any]], range, type[Exception], str]] = [
        (wrong, range(60), ZeroDivisionError, "division by zero"),
        (wrong, range(60, 80), ConfigError, "^texts: wrong$"),
        (killed, range(3), TeacherError, "the Ray cluster failed; got .*finished steps are kept"),
    ]
    with sharing(on(cluster)) as share:
        for work, items, kind, message in cases:
            with pytest.raises(kind, match=message):
                list(
                    share(lambda rows, items=items: items[rows.start : rows.stop], work, len(items))
                )
        given = share(whose, noted, 7 * 400)
        assert next(given) == 0
        given.close()
        time.sleep(1)
        assert len(list(tmp_path.iterdir())) < 40


def test_without_the_setting_this_machine_does_it() -> None:
    for asking in (Asking(), Asking(engine="ray"), Asking(filters=True)):
        with sharing(asking) as share:
            assert share is by_processes
