"""Shards: whatever happens to the workers, the store gets every answer that they wrote, once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from store_contents import answers, failures

from sentibench.errors import StoreError
from sentibench.remote.asking import ask
from sentibench.remote.records import Answer, Failure, Message, Request
from sentibench.remote.shards import FOLDER, lives_without_an_answer, open_shard, take_shards
from sentibench.remote.store import Store

WHOSE = ("openai/small", "r1")
WRITER = """
import sys, time
from pathlib import Path
from sentibench.remote.shards import open_shard
shard = open_shard(Path(sys.argv[1]), "w1", "openai/small", "r1")
print("open", flush=True)
time.sleep(60)
"""


def asked(number: int) -> Request:
    return Request(f"r/{number}", (Message("user", f"What is {number}?"),), f"t{number}", "here")


def wrote(store: Path, worker: str, numbers, *, text: str = "It is {}.") -> None:
    with open_shard(store, worker, *WHOSE) as shard:
        for number in numbers:
            shard.add(asked(number), Answer(text.format(number), "stop", 3, 2))


def opened(folder: Path) -> Store:
    return Store.open(folder, *WHOSE)


def lines(folder: Path, name: str = "answers.jsonl") -> list[bytes]:
    return (folder / name).read_bytes().splitlines()


class Silent:
    """A teacher that must not be asked."""

    name, revision = WHOSE

    def answer(self, requests):
        raise AssertionError(f"asked {len(requests)} requests")


def test_the_store_takes_every_answer_of_its_shards_once(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with opened(folder) as store:
        store.add(asked(0), Answer("It is 0.", "stop", 3, 2))
        wrote(folder, "w1", [0, 1, 2])  # 0 is in the store, 2 in both shards
        wrote(folder, "w2", [2, 3], text="It was {}.")
        take_shards(store)
        texts = [answer.text for _, answer in answers(store)]
    assert sorted(texts) == ["It is 0.", "It is 1.", "It is 2.", "It was 3."]
    assert not (folder / FOLDER).exists()
    with opened(tmp_path / "alone") as store:
        store.add(asked(1), Answer("It is 1.", "stop", 3, 2))
    assert lines(tmp_path / "alone")[0] in lines(folder)  # byte for byte as without shards


def test_asking_takes_the_shards_of_a_killed_call_before_it_asks(tmp_path: Path) -> None:
    opened(tmp_path).close()
    wrote(tmp_path, "w1", range(5))
    wrote(tmp_path, "w2", range(5, 9))
    with opened(tmp_path) as store:
        found = ask([asked(n) for n in range(9)], Silent, store)
    assert [outcome for _, outcome in found] == [
        Answer(f"It is {n}.", "stop", 3, 2) for n in range(9)
    ]


def test_a_torn_last_line_of_a_shard_costs_that_answer_alone(tmp_path: Path) -> None:
    opened(tmp_path).close()
    wrote(tmp_path, "w1", range(3))
    path = tmp_path / FOLDER / "w1" / "answers.jsonl"
    path.write_bytes(path.read_bytes()[:-7])
    with opened(tmp_path) as store:
        take_shards(store)
        assert [store.key_of(asked(n)) in store for n in range(3)] == [True, True, False]


def test_a_failure_is_taken_unless_it_is_answered_or_there(tmp_path: Path) -> None:
    timeout = Failure("timeout", "no whole answer in 1 s", 6)
    with opened(tmp_path) as store:
        store.fail(asked(0), timeout)
        store.fail(asked(1), timeout)
        store.add(asked(2), Answer("It is 2.", "stop"))
        with open_shard(tmp_path, "w1", *WHOSE) as shard:
            shard.fail(asked(0), timeout)  # the driver had heard of it
            shard.fail(asked(1), Failure("server", "HTTP 500", 6))
            shard.fail(asked(2), timeout)
            shard.fail(asked(3), timeout)
        take_shards(store)
        found = dict(failures(store))
    assert [found[store.key_of(asked(n))].reason for n in (0, 1, 3)] == [
        "timeout",
        "server",
        "timeout",
    ]
    assert len(lines(tmp_path, "failures.jsonl")) == 4  # 0, 1, 1 again, 3


def test_a_shard_that_is_written_to_is_read_and_stays(tmp_path: Path) -> None:
    opened(tmp_path).close()
    wrote(tmp_path, "w1", range(4))
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"open\n"
        try:
            with opened(tmp_path) as store:
                take_shards(store, patience_s=0.2)
                assert len(store) == 4
                assert (tmp_path / FOLDER / "w1").is_dir()
                # another life of that worker does not wait for ever, nor write into its file
                with open_shard(tmp_path, "w1", *WHOSE, patience_s=0.2) as shard:
                    assert shard.folder.name.startswith("w1-")
                writer.kill()
                take_shards(store)
                assert len(store) == 4
        finally:
            writer.kill()
    assert not (tmp_path / FOLDER).exists()


def test_a_worker_that_is_restarted_finds_what_it_had_written(tmp_path: Path) -> None:
    opened(tmp_path).close()
    wrote(tmp_path, "w1", range(4))
    with open_shard(tmp_path, "w1", *WHOSE) as shard:
        assert shard.get(shard.key_of(asked(3))) == Answer("It is 3.", "stop", 3, 2)


def test_lives_are_counted_until_one_has_answered(tmp_path: Path) -> None:
    counted: list[int] = []
    for number in (None, None, 1, None, 2):
        with open_shard(tmp_path, "w1", *WHOSE) as shard:
            counted.append(lives_without_an_answer(shard))
            if number is not None:
                shard.add(asked(number), Answer("x", "stop"))
    assert counted == [1, 2, 3, 1, 2]  # the third life wrote 1, so the fourth begins anew


def test_a_damaged_shard_is_named_and_nothing_is_removed(tmp_path: Path) -> None:
    opened(tmp_path).close()
    wrote(tmp_path, "w1", range(3))
    path = tmp_path / FOLDER / "w1" / "answers.jsonl"
    path.write_bytes(b"{}\n" + path.read_bytes())
    with opened(tmp_path) as store, pytest.raises(StoreError, match=r"w1/answers.jsonl line 1"):
        take_shards(store)
    assert len(lines(path.parent)) == 4


@pytest.mark.parametrize("damaged", ["shard", "store"])
def test_a_line_that_is_damaged_inside_displaces_no_good_one(damaged: str, tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.add(asked(1), Answer("It is 1.", "stop"))
    wrote(tmp_path, "w1", range(3))
    shard = tmp_path / FOLDER / "w1"
    path = (shard if damaged == "shard" else tmp_path) / "answers.jsonl"
    number = next(n for n, line in enumerate(lines(path.parent), 1) if b"It is 1." in line)
    path.write_bytes(path.read_bytes().replace(b'"It is 1.", ', b'"It is 1., '))
    with opened(tmp_path) as store, pytest.raises(StoreError, match=f"answers.jsonl line {number}"):
        take_shards(store)
    assert len(lines(shard)) == 3  # the good one may be in it


def test_a_file_beside_the_shards_stops_nothing(tmp_path: Path) -> None:
    opened(tmp_path).close()
    wrote(tmp_path, "w1", range(3))
    (tmp_path / FOLDER / ".DS_Store").write_bytes(b"x")
    with opened(tmp_path) as store:
        take_shards(store)
        assert len(store) == 3


def test_a_shard_of_another_teacher_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).close()
    wrote(tmp_path, "w1", range(1))
    known = tmp_path / FOLDER / "w1" / "store.json"
    known.write_text(json.dumps(json.loads(known.read_text()) | {"teacher": "openai/other"}))
    with opened(tmp_path) as store, pytest.raises(StoreError, match="another teacher"):
        take_shards(store)
