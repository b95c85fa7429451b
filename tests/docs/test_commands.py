"""Every command of the documentation is run, or parsed, or its block says why not.

A page's blocks are run in their order, in an empty folder. Small random checkpoints have the names
of the models, the tasks of ``sentibench_mini`` take the place of the real ones, and local servers
that of hosted models. CONTRIBUTING.md tells it to whoever writes documentation.
"""

import inspect
import io
import json
import re
import runpy
import shutil
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import takewhile
from pathlib import Path

import pytest
from decisions_server import likely
from decisions_server import running as decisions_server
from documented import CODE, FENCE, OTHER, PAGES, ROOT, Command, blocks_of, commands_of

pytest.importorskip("torch")

from distill.__main__ import _options as distill_options
from distill.__main__ import main as distill
from distill.config import load_config
from leaderboard.__main__ import main as leaderboard
from sentibench.__main__ import main as sentibench
from sentibench.data.cards import GROUPS, load_tasks, robust_names
from sentibench.data.read import load_split
from sentibench.harness.command import run_command_line
from sentibench.predict.recipe import recipe_of, save_recipes

OWN_DATA = ROOT / "docs" / "own_data"
ALL = [block for page in PAGES for block in blocks_of(page)]
WITH_CODE = [page for page in PAGES if any(b.language in CODE for b in blocks_of(page))]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
REASONS = re.findall(r"^\* `([^`]+)`:", CONTRIBUTING.partition("REASON is one of")[2], re.M)

# a command in the text, not in a block
INLINE = re.compile(r"`((?:lm_eval|sentibench|python -m (?:distill|leaderboard)) [a-z-][^`]*)`")
MODELS = ("MODEL", "CHECKPOINT", "QWEN", ".demo/SmolLM2-135M-Instruct", ".demo/gemma-3-270m")
STUDENT_TASK = "sentibench_mini_sst2"
# a word of an argument -> what takes its place
SMALL = {"TASK": "sentibench_mini_irony18", "N": "2"} | dict.fromkeys(GROUPS, STUDENT_TASK)
SMALL |= {
    name: name.replace("sentibench_", "sentibench_mini_")
    for name in (*load_tasks(), *robust_names())
    if "_mini_" not in name
}
SMALL["sentibench_robust"] = "sentibench_mini_robust_sst2"  # of eight tasks
SMALL |= {name.removeprefix("sentibench_"): SMALL[name] for name in load_tasks() if name in SMALL}
ADDRESS = re.compile(r"http://(HOST|localhost|127\.0\.0\.1):(\d+)")
# of a distillation: fewer samples, one pass, fewer items to measure
QUICK = ["icldist.samples=24", "icldist.training.epochs=1", "evaluation.limit=4"]
QUICK += [
    "evaluation.agreement=8",
    "evaluation.calibration=20",
    "knowdist.samples=16",
    "knowdist.training.epochs=1",
]
MINI = ["texts=[{dataset: sst2, mini: true}]", f"evaluation.tasks=[{STUDENT_TASK}]"]


@dataclass
class Desk:
    """An empty folder with the servers that a page starts or names.

    Attributes:
        folder: Current while the page's commands run.
        teacher: Address of a server that answers chats by rules.
        decisions: Address of a server that answers with probabilities.
        started: Port of the page -> address of the server that the page has started there.
        closing: Ends these servers.
    """

    folder: Path
    teacher: str
    decisions: str
    closing: ExitStack
    started: dict[str, str] = field(default_factory=dict)

    def local(self, words: Sequence[str]) -> list[str]:
        """The arguments, with small tasks and with servers that are there."""
        named = self.decisions if "sentibench-decisions" in words else self.teacher
        rest = [",".join(SMALL.get(part, part) for part in word.split(",")) for word in words[1:]]
        return [words[0], *(self.with_addresses(word, named) for word in rest)]

    def with_addresses(self, text: str, other: str) -> str:
        return ADDRESS.sub(lambda found: self.started.get(found[2], other), text)

    def start(self, words: Sequence[str], port: str) -> None:
        """Start a server of the page on a free port, in a process of its own."""
        program = [sys.executable, "-m", "sentibench"]
        program = program if words[0] == "sentibench" else [sys.executable]
        call = [*program, *words[1:], "--port", "0"]
        server = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.closing.callback(server.communicate)
        self.closing.callback(server.kill)
        assert server.stdout
        assert server.stderr
        address = server.stdout.readline().strip().removesuffix("/v1")
        assert address, server.stderr.read()
        self.started[port] = address


@pytest.fixture(scope="module")
def checkpoint(train_tokenizer, save_llama, tmp_path_factory) -> Path:
    examples = load_split(load_tasks()[STUDENT_TASK], "train").examples
    tokenizer = train_tokenizer([example.sentence for example in examples], 500)
    folder = tmp_path_factory.mktemp("model") / "tiny"
    return save_llama(tokenizer, folder, max_position_embeddings=2048, initializer_range=0.3)


@pytest.fixture
def desk(tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in (*MODELS, "STUDENT"):
        shutil.copytree(checkpoint, tmp_path / name)
    save_recipes(tmp_path / "STUDENT", {STUDENT_TASK: recipe_of(load_tasks()[STUDENT_TASK])})
    for name in ("docs", "benchmarks"):
        (tmp_path / name).symlink_to(ROOT / name)
    write_data(tmp_path)
    with ExitStack() as closing:
        decisions = closing.enter_context(decisions_server())
        decisions.probabilities = likely_labels
        made = Desk(tmp_path, "", decisions.url.removesuffix("/v1"), closing)
        made.start(["python", str(OWN_DATA / "server.py")], "")
        made.teacher = made.started[""]
        yield made


def write_data(folder: Path) -> None:
    """The files that the documentation takes for granted."""
    for name in ("held_out.csv", "reviews.csv"):
        shutil.copy(OWN_DATA / name, folder / name)
    shutil.copy(OWN_DATA / "held_out.csv", folder / "new_reviews.csv")
    shutil.copy(OWN_DATA / "aspects_held_out.jsonl", folder / "t.jsonl")
    (folder / "texts.txt").write_text("A fine film.\nCold soup.\n", encoding="utf-8")
    rows = ["text,term,mood", "Lovely soup.,soup,positive", "A rude waiter.,waiter,negative"]
    (folder / "t.csv").write_text("\n".join(rows), encoding="utf-8")
    for name, answer in (("predictions", "positive"), ("PREDICTIONS", "[]")):
        lines = [json.dumps({"index": index, "prediction": answer}) for index in range(24)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")


def likely_labels(text: str, labels: list[str]) -> dict[str, float]:
    """Probabilities of the labels; for a chat, whose request names none, of those of all tasks."""
    is_chat = labels == ["positive", "negative"]
    known = {label: 0 for task in load_tasks().values() for label in task.card.labels}
    return likely(text, list(known) if is_chat else labels)


def add_task_with_validation(folder: Path) -> None:
    """The task NAME with validation items, which the student is made for."""
    tables = ["--test", "held_out.csv", "--val", "reviews.csv", "--text", "review"]
    assert sentibench(["task", "new", "NAME", *tables, "--label", "kind"]) == 0
    save_recipes(folder / "STUDENT", {"NAME": recipe_of(load_tasks()["NAME"])})


class Parsed(BaseException):
    """Raised where a command line has been parsed."""


@contextmanager
def parsing() -> Iterator[None]:
    """Stop a command once its parser has read the arguments."""
    parse = ArgumentParser.parse_args

    def parse_and_stop(*args, **kwargs):
        raise Parsed(parse(*args, **kwargs))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ArgumentParser, "parse_args", parse_and_stop)
        try:
            yield
        except Parsed:
            return
        raise AssertionError("the command has parsed nothing")


def lm_eval(arguments: Sequence[str]) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["lm_eval", *arguments])
        try:
            run_command_line()
        except SystemExit as end:
            return int(end.code or 0)
    return 0


def script(path: str, arguments: Sequence[str]) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [path, *arguments])
        try:
            runpy.run_path(str(ROOT / path), run_name="__main__")
        except SystemExit as end:
            return int(end.code or 0)
    return 0


MODULES: dict[str, Callable[[Sequence[str]], int]] = {
    "distill": distill,
    "leaderboard": leaderboard,
    "sentibench": sentibench,
    "lm_eval": lm_eval,
}


def run(command: Command, desk: Desk, patch: pytest.MonkeyPatch) -> None:
    """Run a command of a page; it must end well."""
    words = desk.local(command.words)
    match words:
        case ["pip", *_] | ["sentibench", "fetch", *_]:  # these need the network
            parse(command, desk)
        case ["curl", *_]:
            if shutil.which("curl"):
                said = subprocess.run(words, capture_output=True, text=True)
                assert said.returncode == 0, said.stderr
                assert said.stdout
                assert "error" not in said.stdout
        case ["sentibench", "serve", *_]:
            desk.start(words, "8000")
        case ["python", "docs/own_data/server.py", "--port", port]:
            desk.start(words, port)
        case ["python", "-m", "distill", "run" | "plan" as what, config, *given]:
            teacher = f"teacher={{backend: openai, model: rules, base_url: {desk.teacher}/v1}}"
            small = [*MINI, teacher] if config == "cpu.yaml" else []
            assert distill([what, config, *QUICK, *small, *given]) == 0
        case ["python", "-m", "leaderboard", "check", *given]:  # one task gives no rank
            assert leaderboard(["check", "--allow-unranked", *given]) == 0
        case ["python", "-m", module, *arguments] | [module, *arguments] if module in MODULES:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(command.input.encode())))
            assert MODULES[module](arguments) == 0
        case ["python", path, *arguments]:
            assert script(path, arguments) == 0
        case _:
            raise AssertionError(f"{words[0]}: no program of ours; the block needs a reason")


def parse(command: Command, desk: Desk) -> None:
    """Give the arguments of a command to its own parser."""
    words = desk.local(command.words)
    match words:
        case ["pip", "install", *arguments]:
            parse_requirements([word for word in arguments if word != ".demo/peers"])
        case ["make", *_]:
            done = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True)
            assert done.returncode == 0, done.stderr
        case ["python", "-m", "distill", *arguments]:
            options = distill_options(arguments)
            load_config(options.config, options.overrides)
        case ["python", "-m", module, *arguments] | [module, *arguments] if module in MODULES:
            with parsing():
                MODULES[module](arguments)
        case ["python", path, *arguments] if "argparse" in (ROOT / path).read_text("utf-8"):
            with parsing():
                script(path, arguments)
        case ["python", path, *arguments]:
            with pytest.MonkeyPatch.context() as patch:
                patch.syspath_prepend(str((ROOT / path).parent))  # as Python does
                main = runpy.run_path(str(ROOT / path), run_name="parsed")["main"]
            takes = inspect.signature(main)
            if "list[str]" not in str(takes):
                takes.bind_partial(*arguments)
        case _:
            raise AssertionError(f"{words[0]}: no program of ours; the block needs a reason")


def parse_requirements(arguments: Sequence[str]) -> None:
    """What pip is to install: this package with extras that it has, or pinned others."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for word in arguments:
        ours = re.fullmatch(r"\.(?:\[(\w+)\])?", word)
        if ours and ours[1]:
            assert re.search(rf"^{ours[1]} = \[", project, re.M), f"no extra {ours[1]}"
        is_pinned = re.fullmatch(r"[\w-]+==[\w.]+", word)
        assert ours or is_pinned or word.startswith("--"), f"{word}: neither ours nor pinned"


def with_small_names(code: str) -> str:
    """Python code, with small tasks where it names real ones."""
    return re.sub(r'"(\w+)"', lambda quoted: f'"{SMALL.get(quoted[1], quoted[1])}"', code)


def test_every_block_has_a_language_and_a_reason_that_is_listed() -> None:
    assert [block.where for block in ALL if block.language not in (*CODE, *OTHER)] == []
    rest = {page.name: FENCE.sub("", page.read_text(encoding="utf-8")) for page in PAGES}
    assert [name for name, text in rest.items() if "```" in text or "~~~" in text] == []
    assert len([block for block in ALL if block.language in CODE]) > 50
    reasons = {block.reason: block.where for block in ALL if block.reason}
    assert {reason: where for reason, where in reasons.items() if reason not in REASONS} == {}
    assert [reason for reason in REASONS if reason not in reasons] == []


def test_commands_in_the_text_have_options_that_there_are(capsys) -> None:
    @cache
    def told(module: str, *names: str) -> str:
        with suppress(SystemExit):
            MODULES[module]([*names, "--help"])
        return capsys.readouterr().out

    seen, wrong = 0, list[str]()
    for page in PAGES:
        for code in INLINE.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
            words = code.removeprefix("python -m ").split()
            names = list(takewhile(re.compile(r"[a-z][a-z-]*").fullmatch, words[1:3]))
            names = names[: 2 if names[:1] == ["task"] else 1]
            options = [word.split("=")[0] for word in words if word.startswith("--")]
            text = told(words[0], *(["run"] if words[0] == "lm_eval" else names))
            seen += 1
            wrong += [
                f"{page.name}: {code}" for one in options or [""] if one not in text or not text
            ]
    assert wrong == []
    assert seen > 50


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.stem)
def test_commands_of_a_page(
    page: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if page.name == "calibration.md":
        add_task_with_validation(desk.folder)
    blocks = [b for b in blocks_of(page) if b.language in CODE and b.treatment != "not run"]
    in_bash = [block for block in blocks if block.language == "bash"]
    commands = iter(commands_of(in_bash, desk.folder))
    for block in blocks:
        print(block.where, file=sys.stderr)  # pytest shows it after a failure
        if block.language == "python":
            code = with_small_names(desk.with_addresses(block.text, desk.teacher))
            capsys.readouterr()
            exec(compile(code, block.where, "exec"), {})
            assert capsys.readouterr().out, "prints nothing"
            continue
        for command in next(commands):
            print(*command.words, file=sys.stderr)
            if block.treatment == "run":
                run(command, desk, monkeypatch)
            else:
                parse(command, desk)
