"""The store: what was acknowledged is there after any kill, and nothing else is called an answer.

Run as a script, this file is the other process: ``add``, ``hold`` or ``fill`` and a folder.
"""

import errno
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest
from store_contents import answers, failures

from sentibench.errors import StoreError
from sentibench.remote.asking import ask
from sentibench.remote.records import Answer, Decoding, Failure, Message, Request
from sentibench.remote.store import Store, _Log, merge

ROOT = Path(__file__).parents[3]
TEACHER, REVISION = "hf/tiny", "r1"
ODD_TEXTS = {
    "empty": "",
    "lone surrogate": "cut \ud83d off",
    "surrogates that are no pair": "\ud83d\ude00",
    "emoji": "\U0001f600",
    "NUL": "a\0b",
    "line separators": "a\nb\r\nc\u2028d\u2029e\x85f\x1eg",
    "quotes": '{"key": "x"}\\',
    "like an outcome": '", "answer": {}, "failure": {}, "request": {}}',
    "noncharacter": "\ufffe\uffff\ufeff",
    "Chinese": "味道很好",
}


def asked(number: int, text: str | None = None, **fields) -> Request:
    """Request ``number``; every 50th is far larger than a page."""
    content = f"Question {number} {'x' * (number * 37 % 900)}"
    return Request(
        id=f"knowdist/analysing/{number:06d}",
        messages=(Message("system", "Be brief."), Message("user", content)),
        text=f"text {number}" * (20_000 if number % 50 == 49 else 1) if text is None else text,
        source="imdb",
        meta={"family": "analysing", "gold": None},
        **fields,
    )


def answer_to(request: Request) -> Answer:
    return Answer(f"About {request.id}: {request.text}", "stop", 7, 3, (-0.1, -2.0 / 3))


def key_of(request: Request) -> str:
    return request.key(TEACHER, REVISION)


def filled(folder: Path, numbers, revision: str = REVISION) -> Path:
    with Store.open(folder, TEACHER, revision) as store:
        for number in numbers:
            store.add(asked(number), answer_to(asked(number)))
    return folder


def lines(folder: Path, name: str = "answers.jsonl") -> list[bytes]:
    return (folder / name).read_bytes().split(b"\n")[:-1]


def opened(folder: Path, **fields) -> Store:
    return Store.open(folder, **{"teacher": TEACHER, "revision": REVISION, **fields})


def other_process(command: str, folder: Path, *more: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, __file__, command, str(folder), *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
    )


# What is kept


def test_an_answer_comes_back_as_it_was_given_and_after_reopening(tmp_path: Path) -> None:
    request = asked(1, choices=("good", "bad"), decoding=Decoding(5, 0.7, 0.9, ("\n",), 3))
    given = Answer("good", "choice", 12, 1, (-0.25, float("-inf")))
    with opened(tmp_path / "new" / "store") as store:
        assert key_of(request) not in store
        store.add(request, given)
        assert store.get(key_of(request)) == given
        folder = store.folder
    for again in (Store.read(folder), opened(folder)):
        with again as store:
            assert key_of(request) in store
            assert len(store) == 1
            assert answers(store) == [(key_of(request), given)]
            assert (store.teacher, store.revision, store.repaired) == (TEACHER, REVISION, 0)
            assert store.get("0" * 64) is None
            assert store.failure(key_of(request)) is None


@pytest.mark.parametrize("text", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_any_text_comes_back_unchanged(tmp_path: Path, text: str) -> None:
    request = Request(f"odd {text}", (Message("user", f"Say {text}"),), text, f"source {text}")
    with opened(tmp_path) as store:
        store.add(request, Answer(text, "stop"))
        store.fail(asked(1), Failure("server", text))
    with Store.read(tmp_path) as store:
        assert store.get(key_of(request)) == Answer(text, "stop")
        assert store.failure(key_of(asked(1))) == Failure("server", text)
    (line,) = lines(tmp_path)
    row = json.loads(line)["request"]
    assert row["source"] == f"source {text}"
    assert row["messages"][0]["content"] == f"Say {text}"
    assert "text" not in row  # which would be in the line twice


def test_a_line_is_readable_alone_and_holds_nothing_but_the_record(tmp_path: Path) -> None:
    request = asked(3, text="Nice", choices=("a", "b"), decoding=Decoding(stop=("\n",)))
    with opened(tmp_path) as store:
        store.add(request, Answer("a", "choice", 5, 1, (-0.5, -1.5)))
        store.fail(asked(4, text="Bad"), Failure("timeout", "60 s", 3))
    expected = {
        "messages": [{"role": m.role, "content": m.content} for m in request.messages],
        "choices": ["a", "b"],
        "decoding": {
            "max_new_tokens": 256,
            "temperature": 0.0,
            "top_p": 1.0,
            "stop": ["\n"],
            "seed": 0,
        },
        "source": "imdb",
        "meta": {"family": "analysing", "gold": None},
    }
    assert json.loads(lines(tmp_path)[0]) == {
        "key": key_of(request),
        "id": request.id,
        "answer": {
            "text": "a",
            "finish": "choice",
            "prompt_tokens": 5,
            "completion_tokens": 1,
            "log_likelihoods": [-0.5, -1.5],
            "n_bounds": 0,
            "reasoning": "",
        },
        "request": expected,
    }
    failed = json.loads(lines(tmp_path, "failures.jsonl")[0])
    assert failed["failure"] == {"reason": "timeout", "detail": "60 s", "attempts": 3}
    assert failed.keys() == {"key", "id", "failure", "request"}
    assert failed["request"].keys() == expected.keys()
    assert json.loads((tmp_path / "store.json").read_bytes()) == {
        "format": 1,
        "teacher": TEACHER,
        "revision": REVISION,
    }


def test_a_failure_is_no_answer_and_is_asked_again_only_on_demand(tmp_path: Path) -> None:
    requests = [asked(number) for number in range(4)]
    bad = key_of(requests[1])
    with opened(tmp_path) as store:
        store.add(requests[0], answer_to(requests[0]))
        store.fail(requests[1], Failure("timeout", "first", 2))
        store.fail(requests[1], Failure("server", "second", 3))
    with opened(tmp_path) as store:
        assert bad not in store
        assert store.get(bad) is None
        assert [key for key, _ in answers(store)] == [key_of(requests[0])]
        assert len(store) == 1
        assert store.failure(bad) == Failure("server", "second", 3)
        assert list(store.waiting(requests)) == requests[2:]
        failed_last = [*requests[2:], requests[1]]
        assert list(store.waiting(requests, retry_failed=True)) == failed_last
        store.add(requests[1], answer_to(requests[1]))
        store.fail(requests[1], Failure("server", "too late"))
        store.fail(requests[2], Failure("refused", "no"))
    with Store.read(tmp_path) as store:
        assert store.get(bad) == answer_to(requests[1])
        assert store.failure(bad) is None
        assert failures(store) == [(key_of(requests[2]), Failure("refused", "no"))]
        assert list(store.waiting(requests, retry_failed=True)) == [requests[3], requests[2]]
    assert len(lines(tmp_path, "failures.jsonl")) == 3


def test_twins_are_asked_once_and_the_first_answer_wins(tmp_path: Path) -> None:
    first, twin = asked(1), Request("other/name", asked(1).messages, "another", "yelp")
    assert key_of(first) == key_of(twin)
    with opened(tmp_path) as store:
        assert list(store.waiting([first, twin, asked(2)])) == [first, asked(2)]
        store.add(first, Answer("first", "stop"))
        store.add(twin, Answer("second", "stop"))
    assert len(lines(tmp_path)) == 1
    doubled = lines(tmp_path)[0].replace(b'"text": "first"', b'"text": "third"')
    with (tmp_path / "answers.jsonl").open("ab") as file:
        file.write(doubled + b"\n")
    with opened(tmp_path) as store:
        assert answers(store) == [(key_of(first), Answer("first", "stop"))]


def test_answers_stay_on_the_disk_and_only_keys_in_memory(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for number in range(1000):
            store.add(asked(number, text=""), Answer("y" * 10_000, "length"))
    tracemalloc.start()
    with Store.read(tmp_path) as store:
        held, _ = tracemalloc.get_traced_memory()
        assert len(store) == 1000
    tracemalloc.stop()
    assert held < 1_000_000  # of more than ten million characters


# Kills and damage


def test_a_record_is_one_write_of_a_whole_line(tmp_path: Path, monkeypatch) -> None:
    written = []
    real = os.write

    def write(descriptor: int, line: bytes) -> int:
        written.append(bytes(line))
        return real(descriptor, line)

    with opened(tmp_path) as store:
        monkeypatch.setattr("sentibench.remote.store.os.write", write)
        for number in range(48, 51):
            store.add(asked(number), answer_to(asked(number)))
        store.fail(asked(51), Failure("timeout", "60 s"))
        monkeypatch.undo()
    assert len(written) == 4
    assert all(line.count(b"\n") == 1 and line.endswith(b"\n") for line in written)
    assert b"".join(written[:3]) == (tmp_path / "answers.jsonl").read_bytes()


def test_the_disk_is_waited_for_once_a_second_and_at_the_end(tmp_path: Path, monkeypatch) -> None:
    now, synced = [100.0], []
    monkeypatch.setattr("sentibench.remote.store.time.monotonic", lambda: now[0])
    monkeypatch.setattr("sentibench.remote.store.os.fsync", synced.append)
    with opened(tmp_path) as store:
        counts = []
        for number in range(10):
            now[0] += 0.3
            store.add(asked(number), answer_to(asked(number)))
            counts.append(len(synced))
    # by hand: 1.2, 2.4 and 3.6 seconds are the first at least a second after the one before
    assert counts == [0, 0, 0, 1, 1, 1, 1, 2, 2, 2]
    assert len(synced) == 4  # and both files at the end


def test_a_run_killed_again_and_again_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    draw = random.Random(20)
    count, kills, acknowledged = 400, 0, set()
    folder = tmp_path / "killed"
    while True:
        child = other_process("add", folder, str(count))
        said = b""
        for _ in range(draw.randint(5, 60)):
            said += child.stdout.readline()
        time.sleep(draw.random() * 0.004)
        child.send_signal(signal.SIGKILL)
        rest, _ = child.communicate()
        acknowledged.update((said + rest).decode().split("\n")[:-1])
        with Store.read(folder) as store:
            assert acknowledged <= {key for key, _ in answers(store)}
            assert len(store) - len(acknowledged) <= kills + 1  # written, not yet printed
        with opened(folder) as store:
            assert acknowledged <= {key for key, _ in answers(store)}
        if child.returncode == 0:
            break
        kills += 1
    assert kills >= 5
    undisturbed = filled(tmp_path / "undisturbed", range(count))
    with Store.read(folder) as one, Store.read(undisturbed) as other:
        assert answers(one) == answers(other)
        assert len(one) == count
    assert lines(folder) == lines(undisturbed)


@pytest.mark.parametrize("name", ["answers.jsonl", "failures.jsonl"])
def test_a_last_line_torn_anywhere_is_cut_off_and_asked_anew(
    tmp_path: Path, monkeypatch, name: str
) -> None:
    monkeypatch.setattr("sentibench.remote.store.os.fsync", lambda _: None)
    with opened(tmp_path) as store:
        for number in (1, 2):
            store.add(asked(number), answer_to(asked(number)))
            store.fail(asked(number + 2), Failure("timeout", "味"))
    path = tmp_path / name
    whole, first = path.read_bytes(), len(lines(tmp_path, name)[0]) + 1
    for length in range(first + 1, len(whole)):
        path.write_bytes(whole[:length])
        with Store.read(tmp_path) as store:
            assert len(store) + len(failures(store)) == 3
            assert store.repaired == 0
        assert path.stat().st_size == length
        with opened(tmp_path) as store:
            assert store.repaired == length - first
            (lost,) = store.waiting([asked(n) for n in (1, 2, 3, 4)])
            if name == "answers.jsonl":
                store.add(lost, answer_to(lost))
                assert store.get(key_of(lost)) == answer_to(lost)
            else:
                store.fail(lost, Failure("timeout", "味"))
                assert store.failure(key_of(lost)) == Failure("timeout", "味")
        assert path.read_bytes() == whole


DAMAGES = {  # what stands in the place of a line
    "cut": b'{"key": "abc", "id"\n',
    "zeros": b"\0" * 512 + b"\n",
    "no UTF-8": b'{"key": "\xff"}\n',
    "empty": b"\n",
    "two lines run together": b'{"key": "abc", "id"{"key": "abd"}\n',
}
NO_RECORDS = {
    "no object": b"17\n",
    "no key": b'{"id": "a"}\n',
    "a failure": b'{"key": "a", "failure": {"reason": "timeout", "detail": ""}}\n',
    "half an answer": b'{"key": "a", "answer": {"text": "", "log_likelihoods": []}}\n',
    "unknown field": b'{"key": "a", "answer": {"text": "", "finish": "stop", "mood": 1, '
    b'"log_likelihoods": []}}\n',
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_an_unreadable_last_line_is_cut_off(tmp_path: Path, damage: bytes) -> None:
    whole = (filled(tmp_path, range(3)) / "answers.jsonl").read_bytes()
    (tmp_path / "answers.jsonl").write_bytes(whole + damage)
    with Store.read(tmp_path) as store:
        assert (len(store), store.repaired) == (3, 0)
    with opened(tmp_path) as store:
        assert (len(store), store.repaired) == (3, len(damage))
    assert (tmp_path / "answers.jsonl").read_bytes() == whole


@pytest.mark.parametrize(
    ("place", "damage"),
    [(place, damage) for place in (0, 2) for damage in (DAMAGES | NO_RECORDS).values()]
    + [(4, damage) for damage in NO_RECORDS.values()],
)
def test_damage_elsewhere_is_reported_with_its_line_and_changes_nothing(
    tmp_path: Path, place: int, damage: bytes
) -> None:
    kept = lines(filled(tmp_path, range(4)))
    path = tmp_path / "answers.jsonl"
    damaged = b"".join(line + b"\n" for line in kept[:place]) + damage
    damaged += b"".join(line + b"\n" for line in kept[place:])
    path.write_bytes(damaged)
    for attempt in (lambda: opened(tmp_path), lambda: Store.read(tmp_path)):
        with pytest.raises(StoreError) as error:
            attempt()
        assert f"answers.jsonl line {place + 1}: damaged; got" in str(error.value)
        assert "remove that line" in str(error.value)
    assert path.read_bytes() == damaged
    path.write_bytes(b"".join(line + b"\n" for line in kept))  # as the message says
    with opened(tmp_path) as store:
        assert len(store) == 4  # and the lock was let go


def test_a_long_record_is_read_and_one_that_is_damaged_inside_is_reported_when_it_is_read(
    tmp_path: Path,
) -> None:
    long = Answer("many words " * 5_000, "stop")
    with opened(tmp_path) as store:
        store.add(asked(1), long)
        store.add(asked(2), answer_to(asked(2)))
        assert store.get(key_of(asked(1))) == long
    path = tmp_path / "answers.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"finish": "stop"', b'"finish": "stop,', 1))
    with Store.read(tmp_path) as store:
        assert store.get(key_of(asked(2))) == answer_to(asked(2))
        with pytest.raises(StoreError, match=r"answers\.jsonl line 1: damaged; got"):
            store.get(key_of(asked(1)))


def test_a_line_that_goes_on_as_another_is_damaged(tmp_path: Path) -> None:
    kept = lines(filled(tmp_path, range(3)))
    path = tmp_path / "answers.jsonl"
    in_request = kept[0].index(b'"request"') + 20
    for cut in (83, 90, 130, in_request):
        path.write_bytes(b"\n".join([kept[0][:cut] + kept[1], kept[2], b""]))
        with Store.read(tmp_path) as store:
            assert store.get(key_of(asked(2))) == answer_to(asked(2))
            with pytest.raises(StoreError, match=r"answers\.jsonl line 1: damaged; got"):
                store.get(key_of(asked(0)))


def test_damage_in_a_request_is_reported_when_stores_are_merged(tmp_path: Path) -> None:
    shard = filled(tmp_path / "shard", range(3))
    path = shard / "answers.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"source"', b'"sour\0e"', 1))
    with Store.read(shard) as store:
        assert store.get(key_of(asked(0))) == answer_to(asked(0))
    with pytest.raises(StoreError, match=r"answers\.jsonl line 1: damaged; got"):
        merge([shard], tmp_path / "merged")


def test_requests_that_wait_stay_where_they_are_until_they_are_asked(tmp_path: Path) -> None:
    class OnTheDisk(Sequence):
        n_read = 0

        def __getitem__(self, number):
            self.n_read += 1
            return [asked(n) for n in range(5)][number]

        def __len__(self) -> int:
            return 5

    with opened(tmp_path) as store:
        store.add(asked(3), answer_to(asked(3)))
        requests = OnTheDisk()
        waiting = store.waiting(requests)
        n_read = requests.n_read
        assert (len(waiting), waiting[3], list(waiting[:2])) == (4, asked(4), [asked(0), asked(1)])
        assert requests.n_read == n_read + 3


def test_a_record_half_written_by_another_process_is_not_seen(tmp_path: Path) -> None:
    with opened(tmp_path) as writer:
        writer.add(asked(1), answer_to(asked(1)))
        with (tmp_path / "answers.jsonl").open("ab") as file:
            file.write(b'{"key": "abc"')
        with Store.read(tmp_path) as reader:
            assert [key for key, _ in answers(reader)] == [key_of(asked(1))]
        with pytest.raises(StoreError, match=r"changed while open; got \d+ bytes, expected"):
            writer.add(asked(2), answer_to(asked(2)))


def test_a_record_finished_by_its_writer_while_it_is_read_is_no_damage(
    tmp_path: Path, monkeypatch
) -> None:
    path = filled(tmp_path, (1, 2)) / "answers.jsonl"
    whole, real = path.read_bytes(), _Log._parse
    path.write_bytes(whole[:-30])

    def parse(log: _Log, line: bytes):
        if not line.endswith(b"\n"):
            path.write_bytes(whole)
        return real(log, line)

    monkeypatch.setattr(_Log, "_parse", parse)
    with Store.read(tmp_path) as store:
        assert [key for key, _ in answers(store)] == [key_of(asked(1))]
    assert path.read_bytes() == whole


def test_a_file_that_is_edited_while_open_gives_no_wrong_answer(tmp_path: Path) -> None:
    first, second, third = lines(filled(tmp_path, (1, 38, 75)))
    path = tmp_path / "answers.jsonl"
    with Store.read(tmp_path) as store:
        with path.open("r+b") as file:
            file.write(second[: len(first)] + b"\n" + third)
        with pytest.raises(StoreError, match=r"answers\.jsonl line 1: damaged; got"):
            store.get(key_of(asked(1)))
    path.write_bytes(first + b"\n")
    swapped = first.replace(key_of(asked(1)).encode(), b"0" * 64)
    with Store.read(tmp_path) as store:
        with path.open("r+b") as file:
            file.write(swapped)
        with pytest.raises(StoreError, match="changed while open; got 0000"):
            store.get(key_of(asked(1)))


# Who may write


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    for _ in range(2):  # the second holder finds what the first one, killed, left behind
        child = other_process("hold", tmp_path)
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(StoreError, match=f"in use; got process {child.pid}, expected none"):
            opened(tmp_path)
        with Store.read(tmp_path) as store:
            assert len(store) == 0
        child.send_signal(signal.SIGKILL)
        child.communicate()
        opened(tmp_path).close()


def test_a_second_store_in_this_process_is_refused_too(tmp_path: Path) -> None:
    with opened(tmp_path):
        for holder in (str(os.getpid()), "unknown"):
            with pytest.raises(StoreError, match=f"in use; got process {holder}, expected none"):
                opened(tmp_path)
            (tmp_path / "store.pid").unlink(missing_ok=True)
    opened(tmp_path).close()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"teacher": "hf/big"}, "another teacher; got 'hf/tiny', expected 'hf/big'; name another"),
        ({"revision": "r2"}, "another revision; got 'r1', expected 'r2'; name another folder"),
    ],
)
def test_a_store_of_another_teacher_is_refused_and_left_alone(
    tmp_path: Path, fields, message: str
) -> None:
    filled(tmp_path, range(2))
    with pytest.raises(StoreError, match=message):
        opened(tmp_path, **fields)
    with opened(tmp_path) as store:
        assert len(store) == 2


@pytest.mark.parametrize(
    ("identity", "message"),
    [
        (None, "not a store of answers; got no store.json, expected one"),
        (b"{", "store.json: damaged; expected"),
        (b"[]", "store.json: damaged; expected"),
        (b'{"format": 1, "teacher": "a"}', "store.json: damaged; expected"),
        (b'{"format": 2, "teacher": "a"}', "store.json: other format; got 2, expected 1"),
    ],
)
def test_answers_of_an_unknown_teacher_are_refused(tmp_path: Path, identity, message) -> None:
    filled(tmp_path, range(2))
    (tmp_path / "store.json").unlink()
    if identity is not None:
        (tmp_path / "store.json").write_bytes(identity)
    for attempt in (lambda: opened(tmp_path), lambda: Store.read(tmp_path)):
        with pytest.raises(StoreError, match=message):
            attempt()


def test_a_store_that_may_be_missing_is_read_where_it_is(tmp_path: Path) -> None:
    asked_for = ("hf/other", "r9")
    with Store.read(tmp_path / "missing", asked_for) as store:
        assert (store.teacher, store.revision, len(store)) == (*asked_for, 0)
        with pytest.raises(StoreError, match="not open for adding"):
            store.add(asked(1), answer_to(asked(1)))
    assert not (tmp_path / "missing").exists()
    with Store.read(filled(tmp_path / "there", range(2)), asked_for) as store:
        assert (store.teacher, store.revision, len(store)) == (TEACHER, REVISION, 2)


def test_a_folder_without_a_store_is_not_read_and_a_file_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store"):
        Store.read(tmp_path / "missing")
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="file: cannot be used; got"):
        opened(tmp_path / "file")


def test_a_store_opened_for_reading_or_closed_takes_no_records(tmp_path: Path) -> None:
    filled(tmp_path, range(1))
    closed = opened(tmp_path)
    closed.close()
    with Store.read(tmp_path) as reader:
        for store in (closed, reader):
            with pytest.raises(StoreError, match="not open for adding"):
                store.add(asked(1), answer_to(asked(1)))
            with pytest.raises(StoreError, match="not open for adding"):
                store.fail(asked(1), Failure("timeout", ""))


# A full disk


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, None])
def test_a_full_disk_keeps_what_was_written_and_leaves_no_half_line(
    tmp_path: Path, monkeypatch, code: int | None
) -> None:
    real = os.write

    def half(descriptor: int, line: bytes) -> int:
        count = real(descriptor, line[: len(line) // 2])
        if code is None:
            return count  # a short write, of which the next call would say ENOSPC
        raise OSError(code, os.strerror(code))

    with opened(tmp_path) as store:
        store.add(asked(1), answer_to(asked(1)))
        whole = (tmp_path / "answers.jsonl").read_bytes()
        monkeypatch.setattr("sentibench.remote.store.os.write", half)
        why = os.strerror(code or errno.ENOSPC)
        with pytest.raises(
            StoreError, match=rf"answers\.jsonl: disk full; got {why}; .* free some space"
        ):
            store.add(asked(2), answer_to(asked(2)))
        with pytest.raises(StoreError, match=r"failures\.jsonl: disk full"):
            store.fail(asked(2), Failure("timeout", "60 s"))
        assert (tmp_path / "answers.jsonl").read_bytes() == whole
        assert (tmp_path / "failures.jsonl").read_bytes() == b""
        assert key_of(asked(2)) not in store
        monkeypatch.setattr("sentibench.remote.store.os.write", real)
        store.add(asked(2), answer_to(asked(2)))  # there is room again
    with opened(tmp_path) as store:
        assert store.repaired == 0
        assert [answer for _, answer in answers(store)] == [answer_to(asked(n)) for n in (1, 2)]


def test_a_line_that_can_not_be_cut_back_is_not_written_behind(tmp_path: Path, monkeypatch) -> None:
    real = os.write

    def half(descriptor: int, line: bytes) -> int:
        return real(descriptor, line[: len(line) // 2])

    def refuse(descriptor: int, length: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with opened(tmp_path) as store:
        store.add(asked(1), answer_to(asked(1)))
        monkeypatch.setattr("sentibench.remote.store.os.write", half)
        monkeypatch.setattr("sentibench.remote.store.os.ftruncate", refuse)
        with pytest.raises(StoreError, match="cannot be used; got Input/output error"):
            store.add(asked(2), answer_to(asked(2)))
        monkeypatch.undo()
        with pytest.raises(StoreError, match="changed while open"):
            store.add(asked(3), answer_to(asked(3)))
    with opened(tmp_path) as store:
        assert store.repaired > 0
        assert [answer for _, answer in answers(store)] == [answer_to(asked(1))]


def test_a_real_limit_of_the_file_size_is_met_in_the_same_way(tmp_path: Path) -> None:
    child = other_process("fill", tmp_path, "10000")
    said, _ = child.communicate()
    *keys, last = said.decode().splitlines()
    assert last.startswith("StoreError")
    assert "disk full" in last
    assert len(keys) > 3
    assert (tmp_path / "answers.jsonl").read_bytes().endswith(b"\n")
    with opened(tmp_path) as store:
        assert store.repaired == 0
        assert [key for key, _ in answers(store)] == keys


# Shards


def test_shards_merge_into_the_store_of_one_run(tmp_path: Path) -> None:
    one, two = filled(tmp_path / "one", range(0, 6)), filled(tmp_path / "two", range(4, 10))
    with opened(one) as store:
        store.fail(asked(7), Failure("timeout", "answered by the other"))
        store.fail(asked(20), Failure("timeout", "older"))
        store.add(asked(30), Answer("first", "stop"))
    with opened(two) as store:
        store.add(asked(30), Answer("second", "stop"))
        store.fail(asked(20), Failure("server", "newer"))
    out = tmp_path / "out"
    assert merge([one, two], out) == (11, 3)  # by hand: 4, 5 and 30
    with opened(out) as store:
        numbers = [*range(0, 6), 30, *range(6, 10)]
        assert [key for key, _ in answers(store)] == [key_of(asked(number)) for number in numbers]
        assert store.get(key_of(asked(30))) == Answer("first", "stop")
        assert store.get(key_of(asked(9))) == answer_to(asked(9))
        assert failures(store) == [(key_of(asked(20)), Failure("server", "newer"))]
        assert store.repaired == 0
    assert len(lines(out, "failures.jsonl")) == 2  # both of 20, none of 7
    assert set(lines(out)) <= set(lines(one)) | set(lines(two))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "out", "two"]


def test_a_merge_that_can_not_be_done_leaves_nothing_behind(tmp_path: Path, monkeypatch) -> None:
    one, two = filled(tmp_path / "one", range(2)), filled(tmp_path / "two", range(2), "r2")
    damaged = filled(tmp_path / "damaged", range(2))
    (damaged / "answers.jsonl").write_bytes(b"x\n" + (damaged / "answers.jsonl").read_bytes())
    before = sorted(tmp_path.rglob("*"))
    for folders, out, message in (
        ([], "out", "got 0 folders, expected at least 1"),
        ([one], "two", "two: exists already, expected a new folder"),
        (
            [one, two],
            "out",
            "two: the answers there are of another revision; got 'r2', expected 'r1'",
        ),
        ([one, tmp_path / "none"], "out", "none: not a store"),
        ([one, damaged], "out", "line 1: damaged"),
    ):
        with pytest.raises(StoreError, match=message):
            merge(folders, tmp_path / out)
    monkeypatch.setattr("sentibench.remote.store.os.write", lambda _, line: len(line) // 2)
    with pytest.raises(StoreError, match="disk full"):
        merge([one], tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == before


# The other process


def main(command: str, folder: Path, count: int = 0) -> None:
    with opened(folder) as store:
        if command == "hold":
            print("held", flush=True)
            sys.stdin.read()
        if command == "fill":
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        for request in store.waiting([asked(n) for n in range(count)]):
            try:
                store.add(request, answer_to(request))
            except StoreError as error:
                print(f"StoreError: {error}")
                return
            print(key_of(request), flush=True)
            time.sleep(0.001 if command == "add" else 0)


def test_an_interrupt_while_asking_keeps_what_was_answered_and_says_so(tmp_path: Path) -> None:
    class Stopped:
        def answer(self, requests):
            yield requests[0], Answer("a", "stop")
            raise KeyboardInterrupt

    requests = [asked(1), asked(2)]
    with Store.open(tmp_path, TEACHER, REVISION) as store:
        with pytest.raises(KeyboardInterrupt, match="all answers so far are kept; run again"):
            ask(requests, Stopped, store)
        assert [store.key_of(one) in store for one in requests] == [True, False]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:]))
