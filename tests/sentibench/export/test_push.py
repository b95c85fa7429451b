"""What would be published, and how the hub's refusals are shown."""

from pathlib import Path

import pytest

pytest.importorskip("huggingface_hub")

from sentibench.__main__ import main
from sentibench.errors import InputError
from sentibench.export.push import push


class Hub:
    """Keeps what it is sent, or refuses."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.created, self.names = error, {}, []

    def create_repo(self, repo: str, **settings) -> None:
        if self.error:
            raise self.error
        self.created = {"repo": repo, **settings}

    def upload_folder(self, allow_patterns, **_) -> str:
        self.names = allow_patterns
        return "https://hub.example/me/student"


@pytest.fixture
def student(tmp_path: Path) -> Path:
    folder = tmp_path / "student"
    folder.mkdir()
    for name in (
        *("model.safetensors", "config.json", "README.md", "sentibench.json"),
        *("calibration.json", ".env", "notes.txt", "model.safetensors.unfinished"),
        *("training_args.bin", "optimizer.bin", "trainer_state.json", "my_texts.json"),
    ):
        (folder / name).write_text("12345")
    return folder


PUBLISHED = ["README.md", "calibration.json", "config.json", "model.safetensors", "sentibench.json"]


def test_a_dry_run_lists_the_files_and_asks_nobody(student: Path, capsys) -> None:
    assert main(["push", str(student), "me/student", "--dry-run"]) == 0
    shown = capsys.readouterr()
    assert [line.split("bytes")[1].strip() for line in shown.out.splitlines()] == PUBLISHED
    assert {line.split()[0] for line in shown.out.splitlines()} == {"5"}
    for name in (".env", "notes.txt", "model.safetensors.unfinished"):
        assert f"not uploaded: {name}" in shown.err
    assert "nothing was uploaded" in shown.err


def test_what_is_listed_is_uploaded_and_nothing_else(student: Path) -> None:
    hub = Hub()
    assert push(student, "me/student", dry_run=False, private=True, api=hub) == (
        "https://hub.example/me/student"
    )
    assert hub.names == PUBLISHED
    assert hub.created == {"repo": "me/student", "private": True, "exist_ok": True}


def test_missing_cards_are_named_in_one_order(student: Path, capsys) -> None:
    (student / "README.md").unlink()
    (student / "sentibench.json").unlink()
    push(student, "me/student", dry_run=True, private=False)
    shown = capsys.readouterr().err
    told = [line.removeprefix(f"{student}: ") for line in shown.splitlines() if ": no " in line]
    assert told == [
        "no README.md: no model card",
        "no sentibench.json: nothing says which task the model is for",
    ]


def test_a_refusal_is_one_line_without_the_token(student: Path, monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    for error in (OSError("401 for\nhf_secret"), ConnectionError("no route hf_secret")):
        with pytest.raises(InputError, match=r"the hub refused; .*hf auth login") as caught:
            push(student, "me/student", dry_run=False, private=False, api=Hub(error))
        assert "hf_secret" not in str(caught.value)
        assert "***" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("repo", "message"),
    [("student", "expected OWNER/NAME"), ("me/stu dent", "not a name"), ("../x/y", "not a name")],
)
def test_a_name_that_is_none_is_refused_before_anything(
    repo: str, message: str, student: Path
) -> None:
    with pytest.raises(InputError, match=message):
        push(student, repo, dry_run=True, private=False)


def test_a_folder_without_weights_is_not_published(student: Path, tmp_path: Path) -> None:
    (student / "model.safetensors").unlink()
    with pytest.raises(InputError, match="no weights"):
        push(student, "me/student", dry_run=True, private=False)
    with pytest.raises(
        InputError, match="no such file or folder; expected the folder of a checkpoint"
    ):
        push(tmp_path / "nowhere", "me/student", dry_run=True, private=False)
