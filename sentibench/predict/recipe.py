"""What a checkpoint is asked with: ``sentibench.json`` beside its weights, or the task itself."""

# pyright: basic
# huggingface_hub publishes no complete types: its unknowns end in this module.

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sentibench.data.card_form import LabelEntry, refuse_labels
from sentibench.data.cards import Task, task_named
from sentibench.data.read import demonstration_pool
from sentibench.errors import InputError, nearest, refuse_missing
from sentibench.files import write_beside
from sentibench.prompts.few_shot import (
    TARGET,
    fixed_demonstrations,
    instruction_of,
    render_few_shot,
)

FILE = "sentibench.json"
WEIGHTS = ("*model*.safetensors", "pytorch_model*.bin", "adapter_model.bin")
LARGEST_BYTES = 16 << 20
CONFIGURATIONS = ("config.json", "adapter_config.json")
HUB_TIMEOUT_S = 5.0

Form = TypeVar("Form", bound=BaseModel)
Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=0)]


class Recipe(BaseModel):
    """How texts become prompts of one task, and what the answers mean.

    Attributes:
        labels: The K labels of a label task; empty for extraction tasks.
        scoring_words: The word by which each label is scored.
        elements: The parts of a tuple; empty for label tasks.
        instruction: What stands before everything; may hold ``TARGET``.
        shots: Demonstrations in a prompt.
        demonstrations: (text, answer) pairs; a prompt shows the first ones.
        trained_shots: Numbers of demonstrations that the student was trained with, where known.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    labels: tuple[Text, ...] = ()
    scoring_words: tuple[Text, ...] = ()
    elements: tuple[Text, ...] = ()
    instruction: str
    shots: Count
    demonstrations: tuple[tuple[Text, Text], ...]
    trained_shots: tuple[Count, ...] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        if bool(self.labels) == bool(self.elements):
            raise ValueError("expected either labels or elements")
        if len(self.scoring_words) != len(self.labels):
            raise ValueError(
                f"got {len(self.scoring_words)} scoring_words, expected {len(self.labels)}"
            )
        if len(set(self.elements)) < len(self.elements):
            raise ValueError(f"got a name twice in {', '.join(self.elements)[:80]}")
        if self.labels:
            pairs = zip(self.labels, self.scoring_words, strict=True)
            refuse_labels([LabelEntry(name=name, word=word) for name, word in pairs])
        for _, answer in self.demonstrations if self.labels else ():
            # P-Stance's answers name the target too; words of a card stand in place of names
            if not answer.startswith((*self.labels, *self.scoring_words)):
                near = nearest(answer, self.labels)
                raise ValueError(f"demonstrations: got the answer {answer!r}; {near}")
        if self.shots > len(self.demonstrations):
            raise ValueError(
                f"got {len(self.demonstrations)} demonstrations, expected {self.shots} at least"
            )
        return self

    def prompt(self, text: str, shots: int, target: str = "") -> str:
        """The prompt for one text, as the task builds it."""
        instruction = self.instruction.replace(TARGET, target)
        return render_few_shot(instruction, self.demonstrations[:shots], text)

    @cached_property
    def needs_target(self) -> bool:
        """Whether the instruction names what the opinion is about."""
        return TARGET in self.instruction


class _Saved(BaseModel):
    """The file: recipes by task name."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: Literal[1] = 1
    tasks: Annotated[dict[Text, Recipe], Field(min_length=1)]


def recipe_of(task: Task, trained_shots: Sequence[int] = ()) -> Recipe:
    """Make the recipe of a task.

    Args:
        task: The task; its data is fetched where that is necessary.
        trained_shots: What a student was trained with. With 0 among them no demonstrations are
            shown; else the task's number, or the largest one below it.

    Raises:
        DataError: If instruction or training split cannot be had.
    """
    card, n_pool = task.card, len(demonstration_pool(task))  # fetches the data
    shots = card.shots
    if trained_shots:
        fewer = [n for n in trained_shots if n <= card.shots]
        shots = 0 if 0 in trained_shots else max(fewer, default=min(trained_shots))
    shots = min(shots, n_pool)
    return Recipe(
        labels=card.labels,
        scoring_words=card.scoring_words,
        elements=card.elements,
        demonstrations=fixed_demonstrations(task, min(max(shots, card.shots), n_pool)),
        instruction=instruction_of(task),
        shots=shots,
        trained_shots=tuple(trained_shots),
    )


def save_recipes(folder: Path, recipes: Mapping[str, Recipe]) -> None:
    """Write the recipes by task name into a checkpoint, beside and renamed into place."""
    saved = _Saved(tasks=dict(recipes)).model_dump(mode="json")
    write_beside(folder / FILE, json.dumps(saved, indent=2, ensure_ascii=False) + "\n")


def load_recipes(checkpoint: str) -> dict[str, Recipe]:
    """Load the recipes beside a checkpoint by task name; none where it has no such file.

    Args:
        checkpoint: A folder, or a name of the hub.

    Raises:
        InputError: If there is no such folder, or the file is not what ``save_recipes`` writes.
    """
    saved = read_beside(checkpoint, FILE, _Saved, "save it again, or remove it and give --task")
    return {} if saved is None else saved.tasks


def read_beside(checkpoint: str, name: str, form: type[Form], remedy: str) -> Form | None:
    """Read a file beside the weights; None where there is none.

    Args:
        checkpoint: A folder, or a name of the hub.
        name: Of the file.
        form: What it holds, as JSON.
        remedy: What to do with a file that holds something else.

    Raises:
        InputError: If there is no such checkpoint, or the file holds something else.
    """
    path = _beside(checkpoint, name)
    if path is None or not path.is_file():
        return None
    if path.stat().st_size > LARGEST_BYTES:
        raise InputError(
            f"{path}: larger than {LARGEST_BYTES:,} bytes; remove it, or save it again"
        )
    try:
        return form.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        what = " ".join(first["msg"].removeprefix("Value error, ").split())[:200]
        raise InputError(f"{path}: {where}: {what}; {remedy}") from None


def _beside(checkpoint: str, name: str) -> Path | None:
    """A file beside the weights, which may not be there; None where the hub has none.

    Raises:
        InputError: If there is no such checkpoint.
    """
    folder = Path(checkpoint)
    if folder.is_dir():
        return folder / name
    if folder.exists() or checkpoint.startswith((".", "/", "~")) or checkpoint.count("/") > 1:
        refuse_missing(folder, "the folder of a checkpoint")
        raise InputError(f"{checkpoint}: got a file, expected the folder of a checkpoint")
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError
    from requests import RequestException, head

    try:
        found = [try_to_load_from_cache(checkpoint, known) for known in CONFIGURATIONS]
        is_cached = any(isinstance(path, str) for path in found)
        if not is_cached and not constants.HF_HUB_OFFLINE:
            # the library itself would try for half a minute
            head(constants.ENDPOINT, timeout=HUB_TIMEOUT_S)
        return Path(hf_hub_download(checkpoint, name))
    except RequestException:
        raise InputError(
            f"{checkpoint}: no such folder in {Path.cwd()}, and the hub at {constants.ENDPOINT} "
            "cannot be reached; expected a folder or a name of the hub; check the path"
        ) from None
    except EntryNotFoundError:  # or not there while offline
        return None
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        why = " ".join(str(error).split())[:200]
        raise InputError(
            f"{checkpoint}: no such folder, and the hub refused; {why}; check the path or the name"
        ) from None


def choose_recipe(checkpoint: str, task: str | None) -> tuple[str, Recipe]:
    """Find the task that a checkpoint is asked, and its recipe.

    Args:
        checkpoint: A folder, or a name of the hub.
        task: None where the checkpoint's own file holds a single task.

    Raises:
        InputError: If the task is not given and not clear, unknown, or not one that the student
            was made for.
    """
    saved = load_recipes(checkpoint)
    if task is None:
        if len(saved) == 1:
            return next(iter(saved.items()))
        if saved:
            held = f"{FILE} holds {', '.join(saved)}"
        elif Path(checkpoint).is_dir():
            held = f"the checkpoint has no {FILE}"
        else:
            held = f"it is no folder here, and the hub has no {FILE} for it"
        raise InputError(f"{checkpoint}: which task? {held}; give one with --task NAME")
    if not saved:
        found = task_named(task, "--task")
        return found.name, recipe_of(found)
    for name in (task, f"sentibench_{task}"):
        if name in saved:
            return name, saved[name]
    raise InputError(
        f"{checkpoint}: --task {task}: this student was not made for it; {nearest(task, saved)}; "
        f"to ask it nevertheless, remove its {FILE}"
    )
