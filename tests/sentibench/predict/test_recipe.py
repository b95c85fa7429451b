"""What a checkpoint is asked: the task's own prompts, saved beside it and read back with care."""

import json
from pathlib import Path

import pytest

from sentibench.data.cards import load_tasks, task_named
from sentibench.data.read import load_split
from sentibench.errors import InputError
from sentibench.predict.recipe import (
    FILE,
    Recipe,
    choose_recipe,
    load_recipes,
    recipe_of,
    save_recipes,
)

MINI = [task for task in load_tasks().values() if task.source == "mini"]
SMALL = Recipe(
    labels=("Very good", "5"),
    scoring_words=("good", "five"),
    instruction="Say it.",
    shots=1,
    demonstrations=(("fine", "Very good"),),
)


@pytest.mark.parametrize("task", MINI, ids=lambda task: task.name)
@pytest.mark.parametrize("shots", [0, 4])
def test_prompts_are_those_of_the_first_item_of_the_task(task, shots: int) -> None:
    from sentibench.harness import render_prompts

    assert len(MINI) == 12
    item = next(render_prompts(task, seed=42, shots=shots, limit=1))
    example = load_split(task, "test").examples[0]
    prompt = recipe_of(task).prompt(example.sentence, shots, example.target or "")
    assert prompt == item["prompt"]


@pytest.mark.parametrize(
    ("trained", "shots"), [((), 4), ((0, 4), 0), ((1, 2, 3, 4, 5), 4), ((1, 2), 2), ((8, 6), 6)]
)
def test_a_student_is_asked_with_as_many_demonstrations_as_it_was_trained_with(
    trained: tuple[int, ...], shots: int
) -> None:
    recipe = recipe_of(task_named("mini_sst2", "test"), trained)
    assert recipe.shots == shots
    assert recipe.trained_shots == trained
    assert len(recipe.demonstrations) == max(shots, 4)


def test_recipes_are_read_as_they_were_saved(tmp_path: Path) -> None:
    recipes = {
        "reviews": SMALL,
        "sentibench_mini_opener": recipe_of(load_tasks()["sentibench_mini_opener"]),
    }
    save_recipes(tmp_path, recipes)
    assert load_recipes(str(tmp_path)) == recipes
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_the_task_is_the_only_one_or_the_one_that_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"which task.*--task NAME"):
        choose_recipe(str(tmp_path), None)
    assert choose_recipe(str(tmp_path), "mini_sst2")[0] == "sentibench_mini_sst2"
    save_recipes(tmp_path, {"reviews": SMALL})
    assert choose_recipe(str(tmp_path), None) == ("reviews", SMALL)
    with pytest.raises(InputError, match=r"was not made for it; .*known: reviews; .*remove its"):
        choose_recipe(str(tmp_path), "sentibench_mini_sst2")
    save_recipes(tmp_path, {"reviews": SMALL, "sentibench_mini_sst2": SMALL})
    assert choose_recipe(str(tmp_path), "mini_sst2")[0] == "sentibench_mini_sst2"
    with pytest.raises(InputError, match="holds reviews, sentibench_mini_sst2"):
        choose_recipe(str(tmp_path), None)
    with pytest.raises(InputError, match="no such file or folder"):
        choose_recipe("./nowhere", None)


def test_a_name_that_is_no_folder_is_said_at_once_where_the_hub_cannot_be_reached(
    monkeypatch,
) -> None:
    def download(*_: object) -> str:
        raise AssertionError("the library tries again and again")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    for name in ("nowhere", "some/student"):
        message = (
            f"{name}: no such folder in .*, and the hub at http://127.0.0.1:9 cannot be reached"
        )
        with pytest.raises(InputError, match=message):
            choose_recipe(name, None)


def saved(**changes) -> str:
    return json.dumps({"format": 1, "tasks": {"t": SMALL.model_dump(mode="json") | changes}})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file: Invalid JSON"),
        ("[" * 100_000, "the file: Invalid JSON"),
        ("[]", "the file: "),
        ('{"format": 2, "tasks": {}}', "format: "),
        ('{"format": 1, "tasks": {}}', "tasks: "),
        (saved(shots=2), "tasks.t: got 1 demonstrations, expected 2 at least"),
        (saved(shots=-1), "tasks.t.shots: "),
        (saved(shots="1"), "tasks.t.shots: "),
        (saved(labels=["a", "a"]), "tasks.t: labels: got 'a' and 'a'"),
        (saved(scoring_words=["b", "bad"]), "the word 'b' of"),
        (saved(labels=["a\nb", "c"]), "expected text in one line"),
        (saved(demonstrations=[["x", "no label"]]), "demonstrations: got the answer 'no label'"),
        (saved(labels=["a", 5]), "tasks.t.labels.1: "),
        (saved(labels=["a", ""]), "tasks.t.labels.1: "),
        (saved(scoring_words=["a"]), "got 1 scoring_words, expected 2"),
        (saved(elements=["aspect"]), "expected either labels or elements"),
        (saved(demonstrations=[["a"]]), "tasks.t.demonstrations.0"),
        (saved(code="import os"), "tasks.t.code: Extra inputs are not permitted"),
        (saved(instruction=None), "tasks.t.instruction: "),
    ],
)
def test_a_damaged_file_is_one_clear_line(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(content, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_recipes(str(tmp_path))
    assert message in str(caught.value)
    assert str(tmp_path / FILE) in str(caught.value)
    assert "\n" not in str(caught.value)
