"""The teacher that replays a store."""

from pathlib import Path

import pytest

from distill.teachers.replay import ReplayTeacher
from sentibench.errors import StoreError
from sentibench.remote.records import Answer, Decoding, Failure, Message, Request, Teacher
from sentibench.remote.store import Store


def request(prompt: str, **given: Decoding) -> Request:
    return Request(f"id of {prompt}", (Message("user", prompt),), prompt, "invented", **given)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Store.open(tmp_path / "store", "openai/m", "2025-01") as store:
        store.add(request("a"), Answer("of a", "stop", 3, 2))
        store.add(request("b"), Answer("", "choice", 3, 0, (-0.1, -2.5)))
        store.fail(request("c"), Failure("timeout", "no whole answer in 120 s", 6))
    return tmp_path / "store"


def test_recorded_answers_come_back_whole_with_their_request(folder: Path) -> None:
    asked = [request("b"), request("a"), request("b")]
    assert list(ReplayTeacher(folder).answer(asked)) == [
        (asked[0], Answer("", "choice", 3, 0, (-0.1, -2.5))),
        (asked[1], Answer("of a", "stop", 3, 2)),
        (asked[2], Answer("", "choice", 3, 0, (-0.1, -2.5))),
    ]


def test_it_has_name_and_revision_of_the_recorded_teacher(folder: Path) -> None:
    teacher: Teacher = ReplayTeacher(folder)
    assert (teacher.name, teacher.revision) == ("openai/m", "2025-01")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (request("unknown"), "has no answer of openai/m to the request"),
        (request("a", decoding=Decoding(temperature=1)), "has no answer of openai/m"),
        (request("c"), "only a failure: timeout"),
    ],
)
def test_what_was_not_recorded_is_a_failure(folder: Path, asked: Request, words: str) -> None:
    [(one, outcome)] = ReplayTeacher(folder).answer([asked])
    assert one is asked
    assert isinstance(outcome, Failure)
    assert (outcome.reason, outcome.attempts) == ("not recorded", 1)
    assert words in outcome.detail


def test_replaying_changes_nothing_on_the_disk(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert len(before) >= 3
    list(ReplayTeacher(folder).answer([request("a"), request("unknown")]))
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_without_a_store_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store"):
        ReplayTeacher(tmp_path)
