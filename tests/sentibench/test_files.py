"""A file is whole or not there, whatever stops the writing."""

import os
from pathlib import Path

import pytest

from sentibench.files import beside, read_at, write_beside


@pytest.mark.parametrize("before", [None, b"old"])
@pytest.mark.parametrize("stop", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_what_was_there_and_nothing_else(
    before: bytes | None, stop: type[BaseException], tmp_path: Path
) -> None:
    path = tmp_path / "file.txt"
    if before:
        path.write_bytes(before)

    def write() -> None:
        with beside(path) as unfinished:
            unfinished.write_bytes(b"half")
            raise stop

    with pytest.raises(stop):
        write()
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == (
        {"file.txt": before} if before else {}
    )
    with pytest.raises(UnicodeEncodeError):
        write_beside(path, "half \ud800")
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"] * bool(before)


@pytest.mark.parametrize(("content", "written"), [("ä\n", b"\xc3\xa4\n"), (b"\0\r\n", b"\0\r\n")])
def test_a_file_is_written_as_it_is_given(
    content: str | bytes, written: bytes, tmp_path: Path
) -> None:
    (tmp_path / "file.txt").write_bytes(b"old")
    write_beside(tmp_path / "file.txt", content)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"file.txt": written}


@pytest.mark.parametrize("has_pread", [True, False])
def test_a_place_of_a_file_is_read_without_pread_too(has_pread, tmp_path, monkeypatch) -> None:
    if not has_pread:
        monkeypatch.delattr(os, "pread", raising=False)
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        assert [read_at(file, 3, start) for start in (4, 0, 9)] == [b"456", b"012", b"9"]
