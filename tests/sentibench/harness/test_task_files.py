"""The tasks as lm-eval sees them: names, files, prompts."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sentibench.data.cards import (
    GROUPS,
    TAG,
    TASK_VERSION,
    load_tasks,
    robust_names,
    tasks_folder,
)
from sentibench.data.pins import items_key, prompts_key
from sentibench.data.read import load_split
from sentibench.errors import InputError
from sentibench.prompts.demonstrations import draw_demonstrations

TASKS = Path(__file__).parents[3] / "tasks_yaml"
REAL = [name for name, task in load_tasks().items() if task.source == "real"]
MINI = [name for name, task in load_tasks().items() if task.source == "mini"]


@pytest.fixture(scope="module")
def manager():
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=str(TASKS), include_defaults=False)


def load_task(manager, name: str, shots: int = 4):
    task = manager.load([name])["tasks"][name]
    task.set_config(key="num_fewshot", value=shots)
    return task


def prompts_of(task, **kwargs) -> dict[int, str]:
    task.build_all_requests(**kwargs)
    return {request.doc["index"]: request.args[0] for request in task.instances}


def test_the_folder_holds_12_and_12_leaves_8_and_8_robust_ones_their_groups_and_the_tag(
    manager,
) -> None:
    assert set(manager.all_groups) == {*GROUPS, *robust_names()[:2]}
    assert set(manager.all_tags) == {TAG}
    assert set(manager.all_subtasks) == {*REAL, *MINI, *robust_names()[2:]}
    assert len(robust_names()) == 2 + 8 + 8
    assert (len(REAL), len(MINI)) == (12, 12)
    assert set(manager.task_index[TAG].tags) == set(REAL)


def test_a_task_file_has_at_most_20_lines() -> None:
    tasks = [*TASKS.glob("*/sentibench_*.yaml")]
    assert len(tasks) == 24 + 16
    assert max(len(task.read_text(encoding="utf-8").splitlines()) for task in tasks) <= 20


def test_every_group_and_task_carries_a_version(manager) -> None:
    for name in GROUPS:
        raw = yaml.safe_load((TASKS / f"{name}.yaml").read_text(encoding="utf-8"))
        assert raw["metadata"]["version"] == float(TASK_VERSION)
        assert raw["aggregate_metric_list"] == [{"metric": "score", "weight_by_size": False}]
    for name in ("sentibench_mini_sst2", "sentibench_mini_opener"):
        assert str(load_task(manager, name).VERSION) == TASK_VERSION


@pytest.mark.parametrize("name", MINI)
def test_mini_prompts_are_the_same_in_any_number_of_ranks_and_with_samples(
    manager, name: str
) -> None:
    task = load_task(manager, name)
    whole = prompts_of(task)
    assert len(whole) == 24
    ranks = [prompts_of(task, rank=rank, world_size=3) for rank in range(3)]
    assert {index: p for rank in ranks for index, p in rank.items()} == whole
    assert prompts_of(task, samples=[3, 20]) == {3: whole[3], 20: whole[20]}
    assert prompts_of(task, limit=2) == {0: whole[0], 1: whole[1]}
    prompt = whole[0]
    assert prompt.count("\nLabel:") == 5
    assert prompt.endswith("\nLabel:")
    assert not prompt.startswith("\n")


def test_shots_and_seed_change_the_demonstrations_as_random_sample_does() -> None:
    import random

    generator = random.Random(52)
    expected = tuple(tuple(generator.sample(range(16), 2)) for _ in range(24))
    assert draw_demonstrations(52, 16, 24, 2) == expected
    with pytest.raises(InputError, match="got 17, expected 0 to 16"):
        draw_demonstrations(42, 16, 24, 17)


class NoSystemRole:
    """A chat template that, like Gemma's, has no place for a system message."""

    def __init__(self) -> None:
        self.calls_with_system = 0

    def __call__(self, messages, **_) -> str:
        if messages[0]["role"] == "system":
            self.calls_with_system += 1
            messages = messages[1:]
        return "".join(f"<{m['role']}>{m['content']}" for m in messages) + "<assistant>"


@pytest.mark.parametrize("multiturn", [True, False])
def test_instruction_survives_a_chat_template_without_system_role(manager, multiturn: bool) -> None:
    task = load_task(manager, "sentibench_mini_sst2")
    template = NoSystemRole()
    prompts = prompts_of(
        task,
        limit=3,
        apply_chat_template=True,
        fewshot_as_multiturn=multiturn,
        chat_template=template,
    )
    assert template.calls_with_system == 1  # seen once, then remembered
    for prompt in prompts.values():
        assert prompt.startswith("<user>Judge the opinion of this sentence")
        assert prompt.count("<user>") == (5 if multiturn else 1)
        assert prompt.count("Judge the opinion") == 1


def test_instruction_stays_in_the_system_message_where_there_is_one(manager) -> None:
    task = load_task(manager, "sentibench_mini_sst2")
    prompts = prompts_of(
        task,
        limit=1,
        apply_chat_template=True,
        fewshot_as_multiturn=True,
        chat_template=lambda messages, **_: json.dumps(messages),
    )
    roles = [message["role"] for message in json.loads(prompts[0])]
    assert roles == ["system", *["user", "assistant"] * 4, "user"]


def test_plain_lm_eval_lists_the_tasks_and_the_switch_hides_them() -> None:
    pytest.importorskip("_sentibench_autoload")
    code = (
        "from lm_eval.tasks import TaskManager as T; import inspect;"
        "print(any('sentibench' in n for n in T(include_path=[]).all_groups))"
    )
    for value, expected in (("", "True"), ("1", "False")):
        environment = {**os.environ, "SENTIBENCH_NO_AUTOLOAD": value}
        shown = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert shown.stdout.strip() == expected


@pytest.mark.realdata
def test_prompts_of_all_11_974_items_equal_the_authors(
    manager, real_data: Path, real_home: Path
) -> None:
    recorded = json.loads(
        (real_data.parents[1] / "oracle" / "prompts_seed42.json").read_text(encoding="utf-8")
    )["prompt_sha256_16"]
    n_equal = 0
    for name in REAL:
        task = load_task(manager, name)
        hashes = recorded[task.definition.card.folder]
        prompts = prompts_of(task)
        for index, prompt in prompts.items():
            digest = hashlib.sha256(prompt.encode()).hexdigest()[:16]
            assert digest == hashes[index], f"{name} item {index}"
            n_equal += 1
        in_order = [prompts[index] for index in sorted(prompts)]
        assert prompts_key(in_order) == task.definition.pins.prompts[42]
        examples = load_split(task.definition, "test").examples
        assert items_key(task.definition, examples) == task.definition.pins.items
    assert n_equal == 11_974


def test_the_task_folder_is_found() -> None:
    assert (tasks_folder() / "_label_task").is_file()


def test_the_documents_have_the_generated_task_table(capsys) -> None:
    from sentibench.__main__ import main

    assert main(["list", "--markdown"]) == 0
    readme = (TASKS.parent / "docs" / "tasks.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out.strip() in readme


DAMAGE = [
    ("basic/sentibench_sst2.yaml", "dataset_name: sst2", "dataset_name: imdb", "sentibench_sst2"),
    ("basic/sentibench_sst2.yaml", "_label_task", "_no_such_base", "sentibench_sst2"),
    ("_extraction_task", "harness.f1_stderr", "harness.nothing", "sentibench_opener"),
    ("_label_task", "num_fewshot: 4", "num_fewshot: 0", "sentibench_mini_imdb"),
    ("_label_task", "Sentence:", "Text:", "sentibench_mint"),
    ("sentibench_basic.yaml", "  - sentibench_imdb\n", "", "sentibench_basic"),
    ("sentibench_mini.yaml", "task:", "tusk: [", "sentibench_mini"),
]


@pytest.mark.parametrize(("file", "old", "new", "subject"), DAMAGE, ids=[d[2][:20] for d in DAMAGE])
def test_check_finds_a_broken_task_file(
    file: str, old: str, new: str, subject: str, tmp_path: Path
) -> None:
    import shutil

    from lm_eval.tasks import TaskManager

    from sentibench.harness.check import check_index

    folder = tmp_path / "tasks"
    shutil.copytree(TASKS, folder)
    whole = TaskManager(include_path=str(folder), include_defaults=False)
    findings = list(check_index(whole.task_index))
    assert len(findings) == 5 + 1 + 24
    assert all(finding.ok for finding in findings)

    text = (folder / file).read_text(encoding="utf-8")
    assert old in text
    (folder / file).write_text(text.replace(old, new), encoding="utf-8")
    damaged = TaskManager(include_path=str(folder), include_defaults=False)
    bad = {finding.subject for finding in check_index(damaged.task_index) if not finding.ok}
    assert subject in bad
