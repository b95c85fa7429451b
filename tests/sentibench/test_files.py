"""A file is whole or not there, whatever stops the writing."""

from pathlib import Path

import pytest

from sentibench.files import beside, write_beside


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
