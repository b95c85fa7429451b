"""Configurations to begin with: ``python -m distill init NAME`` writes one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from distill.errors import ConfigError
from sentibench.data.cards import OWN_FOLDER, OWN_FOLDERS_VARIABLE, Task, load_tasks
from sentibench.data.tables import HUB, stream_table
from sentibench.decisions.dialects import DIALECTS
from sentibench.errors import nearest, unknown_name

HERE = Path(__file__).parent
SAMPLES = 600  # few-shot prompts of the preset own

ABLATIONS: Mapping[str, Mapping[str, Any]] = yaml.safe_load(
    (HERE / "ablations.yaml").read_text(encoding="utf-8")
)


def descriptions() -> dict[str, str]:
    """What every preset is, in one line."""
    first_lines = {
        path.stem: path.read_text(encoding="utf-8").split("\n", 1)[0].removeprefix("# ")
        for path in sorted(HERE.glob("*.yaml"))
        if path.stem != "ablations"
    }
    return first_lines | {name: f"cpu, but {one['what']}" for name, one in ABLATIONS.items()}


def preset(name: str) -> str:
    """The text of a preset's file.

    Raises:
        InputError: If there is none of that name.
    """
    if name in ABLATIONS:
        settings = yaml.safe_load(preset("cpu")) | {"name": name}
        for key, value in ABLATIONS[name]["settings"].items():
            settings[key] = settings[key] | value if isinstance(value, dict) else value
        written = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
        return f"# The preset cpu, but {ABLATIONS[name]['what']}.\n{written}"
    if name == "own":
        raise ConfigError("init own: expected --task NAME and --texts FILE; give both")
    if name not in descriptions():
        raise unknown_name("init", name, descriptions())
    return (HERE / f"{name}.yaml").read_text(encoding="utf-8")


def own_task_named(name: str) -> Task:
    """The own task of a name.

    Raises:
        ConfigError: If there is none; with those that there are, and how one is made.
    """
    own = {task.name: task for task in load_tasks().values() if task.source == "own"}
    if name in own:
        return own[name]
    found = nearest(name, own) if own else f"no card in ./{OWN_FOLDER} or {OWN_FOLDERS_VARIABLE}"
    raise ConfigError(
        f"init --task: got {name!r}, expected a task of your own; {found}; make one with: "
        "sentibench task new NAME --test TABLE"
    )


def own_preset(
    task: Task,
    texts: Sequence[str],
    column: str | None,
    teacher: str,
    student: str,
    name: str = "",
) -> str:
    """The text of the preset ``own`` for one own task.

    Args:
        task: It gives name, number of shots and domain.
        texts: Tables, folders of ``datasets``, or ``hub:NAME``.
        column: Of the text in these; None for that of the task's card.
        teacher: ``BACKEND:MODEL``, ``openai:MODEL@URL``, or ``DIALECT:MODEL@URL``.
        student: A checkpoint.
        name: Of the run; default that of the task.

    Raises:
        ConfigError: If the teacher is in no such form, or a table has no such column.
    """
    card, column = task.card, column or task.card.columns["text"]
    sources = [_texts_of(place, column) for place in texts]
    n_texts = sum(
        1 for place in texts if not place.startswith(HUB) for _ in stream_table(place).rows
    )
    is_drawn = card.shots and not card.demonstrations
    told = teacher_named(teacher)
    values = {
        "NAME": name or task.name,
        "STUDENT": student,
        "TEACHER": told,
        "TEXTS": sources,
        "FEW_SHOT": told["backend"] in ("hf", "vllm"),
        "DOMAIN": card.domain,
        "TASKS": [task.name],
        "SHOTS": [card.shots],
        # without demonstrations, or with the same ones, a text gives one prompt
        "SAMPLES": SAMPLES if is_drawn else min(SAMPLES, n_texts or SAMPLES),
    }
    text = (HERE / "own.yaml").read_text(encoding="utf-8")
    keys = "|".join(values)
    return re.sub(  # JSON is YAML
        rf"(?<=: )(?:{keys})\b",
        lambda found: json.dumps(values[found[0]], ensure_ascii=False),
        text,
    )


def _texts_of(place: str, column: str) -> dict[str, Any]:
    if place.startswith(HUB):
        return {"hub": place.removeprefix(HUB), "column": column}
    stream = stream_table(place)
    row = next(stream.rows, None)
    if row is None or column not in row.values:
        known = nearest(column, row.values if row else ())
        raise ConfigError(
            f"init --texts {place}: no column {column!r}; {known}; choose one with --text"
        )
    kind = "folder" if Path(place).is_dir() else "file"
    return {kind: place} | ({} if Path(place).suffix == ".txt" else {"column": column})


def teacher_named(said: str) -> dict[str, Any]:
    """The section ``teacher`` of a configuration, from what ``--teacher`` says.

    Raises:
        ConfigError: If it is in no such form.
    """
    backend, _, model = said.partition(":")
    if backend == "openai" or backend in DIALECTS:
        model, _, url = model.partition("@")
        if model and url:
            of_server = {"model": model, "base_url": url}
            if backend == "openai":
                return {"backend": backend, **of_server}
            return {"backend": "decisions", "dialect": backend, **of_server}
    elif model and backend in ("hf", "vllm"):
        return {"backend": backend, "model": model}
    elif model and backend == "replay":
        return {"backend": backend, "store": model}
    raise ConfigError(
        f"init --teacher: got {said!r}, expected openai:MODEL@URL, hf:FOLDER, vllm:MODEL, "
        f"replay:STORE, or DIALECT:MODEL@URL with one of {', '.join(DIALECTS)}"
    )


def write_preset(name: str, path: Path, text: str | None = None) -> None:
    """Write a preset to a new file.

    Args:
        name: Of the preset.
        path: Of the file.
        text: Instead of the preset's own text.

    Raises:
        InputError: If there is no such preset, the file exists, or it cannot be written.
    """
    if text is None:
        text = preset(name)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"init: {path} already exists; name another file") from None
    except OSError as error:
        raise ConfigError(f"init: {path}: cannot be written; {error.strerror}") from None
