"""The GGUF file of the demonstration, in one piece or in parts."""

from pathlib import Path

import pytest

from sentibench.errors import InputError
from sentibench.fast.demo_model import _one_file


def test_a_file_in_parts_is_put_together_in_their_order(tmp_path: Path) -> None:
    for number, content in ((1, b"cd"), (0, b"ab"), (2, b"e")):
        folder = tmp_path / f"part{number}" / "data"
        folder.mkdir(parents=True)
        (folder / f"small.gguf.part{number:02}").write_bytes(content)
    assert _one_file(tmp_path).read_bytes() == b"abcde"
    assert _one_file(tmp_path).name == "small.gguf"


def test_a_file_in_one_piece_is_found_and_none_or_two_are_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected one GGUF file; got 0"):
        _one_file(tmp_path)
    (tmp_path / "one.gguf").write_bytes(b"1")
    assert _one_file(tmp_path).name == "one.gguf"
    (tmp_path / "two.gguf").write_bytes(b"2")
    with pytest.raises(InputError, match="got 2"):
        _one_file(tmp_path)
