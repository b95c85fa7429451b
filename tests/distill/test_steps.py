"""A step is done once, and says why it is done again."""

import errno
import json
from pathlib import Path

import pytest

from distill.files import digest
from distill.steps import Step, in_order
from sentibench.errors import InputError, StoreError


def make(folder: Path, calls: list[str], **settings) -> tuple[Step, Step]:
    def first(_) -> dict:
        calls.append("first")
        (folder / "first" / "out.txt").write_text(str(settings["value"]))
        return {"n": 1}

    def second(_) -> dict:
        calls.append("second")
        (folder / "second" / "out.txt").write_text("x")
        return {}

    one = Step("first", folder / "first", settings, (), ("out.txt",), first)
    return one, Step("second", folder / "second", {}, (one,), ("out.txt",), second)


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    calls: list[str] = []
    assert make(tmp_path, calls, value=1)[0].state() == ("new", "")  # and not "never finished"
    for _ in range(2):
        one, two = make(tmp_path, calls, value=1)
        for step in in_order([two]):
            step.do()
    assert calls == ["first", "second"]
    assert one.do() == {"n": 1}


def test_a_change_makes_the_step_and_what_follows_stale_and_says_why(tmp_path: Path) -> None:
    calls: list[str] = []
    for step in make(tmp_path, calls, value=1):
        step.do()
    one, two = make(tmp_path, calls, value=2)
    assert one.state() == ("stale", "settings.value: 1 -> 2")
    assert two.state() == ("waits", "for first")
    one.do()
    state, why = two.state()
    assert state == "stale"
    assert why.startswith("first.out.txt: ")


def test_a_change_without_effect_on_the_output_leaves_what_follows_done(tmp_path: Path) -> None:
    calls: list[str] = []
    for step in make(tmp_path, calls, value=1):
        step.do()
    one, two = make(tmp_path, calls, value=1.0)
    assert one.state()[0] == "done"
    one, two = make(tmp_path, calls, value=1, other=3)
    one.do()
    assert two.state()[0] == "done"
    assert calls == ["first", "second", "first"]


def test_a_missing_output_is_made_again(tmp_path: Path) -> None:
    one, _ = make(tmp_path, [], value=1)
    one.do()
    (one.folder / "out.txt").unlink()
    assert one.state() == ("stale", "missing: out.txt")


@pytest.mark.parametrize("damage", ["", "{", "[]"])
def test_a_damaged_record_counts_as_not_done(damage: str, tmp_path: Path) -> None:
    one, _ = make(tmp_path, [], value=1)
    one.do()
    (one.folder / "step.json").write_text(damage)
    assert one.state()[0] == "new"


def test_unfinished_work_of_other_inputs_is_thrown_away_and_of_the_same_kept(
    tmp_path: Path,
) -> None:
    def fails(_) -> dict:
        raise KeyboardInterrupt

    folder = tmp_path / "s"
    for value, kept in ((1, True), (2, False)):
        folder.mkdir(exist_ok=True)
        step = Step("s", folder, {"value": 1}, (), (), fails)
        with pytest.raises(KeyboardInterrupt):
            step.do()
        assert step.state() == ("new", "goes on where it was")
        assert Step("s", folder, {"value": 3}, (), (), fails).state() == ("new", "never finished")
        (folder / "half").write_text("x")
        with pytest.raises(KeyboardInterrupt):
            Step("s", folder, {"value": value}, (), (), fails).do()
        assert (folder / "half").exists() is kept


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "weights"),
            "weights: got No space left on device; finished work is kept; make room on this disk",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "weights"),
            "weights: got Permission denied; finished work is kept; get the permission for it",
        ),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "weights"),
            "weights: got No such file or directory; finished work is kept; put the file back",
        ),
        (
            ConnectionResetError("reset by peer"),
            "the network: got reset by peer; finished work is kept; check the connection",
        ),
        (OSError("odd\ndisk"), "HERE: got odd disk; finished work is kept; correct this"),
    ],
)
def test_an_error_of_the_system_is_one_line_with_its_own_remedy(
    error: OSError, said: str, tmp_path: Path
) -> None:
    def fails(_) -> dict:
        raise error

    folder = tmp_path / "s"
    with pytest.raises(StoreError) as caught:
        Step("s", folder, {}, (), (), fails).do()
    said = said.replace("HERE", str(folder))
    assert str(caught.value) == f"s: {said}, then run the command again"


def test_a_full_disk_is_one_clear_error_in_the_words_of_torch_and_safetensors_too(
    tmp_path: Path,
) -> None:
    torch, safetensors = pytest.importorskip("torch"), pytest.importorskip("safetensors.torch")
    full = Path("/dev/full")  # every write fails with ENOSPC
    if not full.exists():
        pytest.skip("no /dev/full here")

    def by_torch(_) -> dict:
        torch.save({"a": torch.zeros(10)}, full)
        return {}

    def by_safetensors(_) -> dict:
        safetensors.save_file({"a": torch.zeros(10)}, str(tmp_path / "no" / "such" / "folder"))
        return {}

    for work in (by_torch, by_safetensors):
        with pytest.raises(StoreError, match=r"s: .+; finished work is kept; correct this"):
            Step("s", tmp_path / "s", {}, (), (), work).do()


def test_a_bug_keeps_its_traceback(tmp_path: Path) -> None:
    def broken(_) -> dict:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        Step("s", tmp_path / "s", {}, (), (), broken).do()


def test_a_step_never_works_from_stale_inputs(tmp_path: Path) -> None:
    done: list[str] = []
    one, two = make(tmp_path, done, value=1)
    one.do()
    two.do()
    _, stale = make(tmp_path, done, value=2)
    with pytest.raises(InputError, match="it waits for first; do that first"):
        stale.do()
    assert two.state()[0] == "done"
    assert (two.folder / "step.json").exists()


def test_a_digest_sees_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("1")
    before = digest(tmp_path / "a")
    (tmp_path / "a" / "x").rename(tmp_path / "a" / "y")
    renamed = digest(tmp_path / "a")
    (tmp_path / "a" / "y").write_text("2")
    assert len({before, renamed, digest(tmp_path / "a")}) == 3


def test_steps_come_after_what_they_depend_on(tmp_path: Path) -> None:
    one, two = make(tmp_path, [], value=1)
    assert [s.name for s in in_order([two, one])] == ["first", "second"]
    assert json.dumps([s.name for s in in_order([])]) == "[]"
