"""lm-eval result folders -> runs. Broken files are listed, never fatal.

Read are ``results_<date>.json`` and the ``samples_<task>_<date>.jsonl`` beside them, as lm-eval
0.4.9 to 0.4.13 write them. Scores and intervals are computed from the sample files: lm-eval has no
standard error for custom metrics, and its task hashes depend on the order of ranks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from sentibench.data.cards import Task
from sentibench.prompts.demonstrations import DEFAULT_SEED
from sentibench.scoring.samples import (
    Samples,
    Unusable,
    kind_of,
    load_json,
    read_samples,
    require,
    results_beside,
    samples_beside,
    task_of,
)


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that was left out, or a line of it."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class Protocol:
    """What makes runs incomparable besides seed and limit; the defaults are the benchmark's."""

    shots: int = 4
    chat_template: bool = False
    multiturn: bool = False
    system_instruction: str = ""
    gen_kwargs: Any = field(default_factory=dict[str, Any])  # changed generation settings


@dataclass(frozen=True, slots=True)
class Facts:
    """Versions and settings of a run, for the badges and the command.

    Attributes:
        version: Of the task.
        lm_eval: Version of lm-eval.
        limit: As given to lm-eval; None for all items.
        model_type: As after ``--model``.
        parameters: Number of weights as lm-eval counted them; None if unknown.
    """

    version: str
    lm_eval: str
    dtype: str
    limit: Any
    batch_size: Any
    model_type: str
    model_args: Mapping[str, Any]
    parameters: int | None


@dataclass(frozen=True, slots=True, eq=False)
class TaskRun:
    """One evaluation of one model on one task.

    Attributes:
        model: Model name as lm-eval saw it.
        seed: Demonstration seed.
        protocol: How it was asked.
        date: When the run began, seconds since 1970.
        facts: Versions and settings.
        samples: What it answered.
    """

    model: str
    seed: int
    protocol: Protocol
    date: float
    facts: Facts
    samples: Samples

    @property
    def task(self) -> Task:
        """The task."""
        return self.samples.task


def load_results(folder: Path, *, with_texts: bool = True) -> tuple[list[TaskRun], list[Problem]]:
    """Read every result file below a folder.

    Args:
        folder: What ``lm_eval --output_path`` was given, for any number of models.
        with_texts: Keep texts and answers; without them a hundred models fit in little memory.

    Returns:
        All runs of our tasks, and the files that could not be used with the reason. Both sorted.
    """
    runs: list[TaskRun] = []
    problems: list[Problem] = []
    for path in sorted(folder.rglob("*.json")):
        if path.name == "run.json":  # a distillation run's manifest: models.py reads it
            continue
        name = path.relative_to(folder).as_posix()
        try:
            summary = _read_summary(path)
        except Unusable as error:
            problems.append(Problem(name, str(error)))
            continue
        for task in sorted(_tasks_in(summary)):
            try:
                runs.append(_read_run(path, summary, task, with_texts))
            except Unusable as error:
                problems.append(Problem(f"{name}: {task}", str(error)))
    problems += [
        Problem(path.relative_to(folder).as_posix(), "no results file of this run: cut off?")
        for path in sorted(folder.rglob("samples_*.jsonl"))
        if not results_beside(path).is_file()
    ]
    return runs, problems


def _read_summary(path: Path) -> Mapping[str, Any]:
    try:
        summary = load_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise Unusable(f"cannot be read: {kind_of(error)}") from None
    required = ("results", "configs", "config", "date", "n-samples")
    if not isinstance(summary, dict) or not all(key in summary for key in required):
        raise Unusable(f"no results file of lm-eval: expected the keys {', '.join(required)}")
    found = cast("dict[str, Any]", summary)
    if not all(isinstance(found[key], dict) for key in ("results", "configs", "config")):
        raise Unusable("no results file of lm-eval: results, configs and config must be objects")
    if not _tasks_in(found):
        raise Unusable("no task of SentiBench in it")
    return found


def _tasks_in(summary: Mapping[str, Any]) -> list[str]:
    """Our tasks under the names that lm-eval gave them."""
    return [name for name in cast("Mapping[str, Any]", summary["configs"]) if task_of(name)]


def _read_run(path: Path, summary: Mapping[str, Any], name: str, with_texts: bool) -> TaskRun:
    """The run of one task of a results file, under the name that lm-eval gave it."""
    task, file = cast(Task, task_of(name)), samples_beside(path, name)
    if not file.is_file():
        raise Unusable(f"no {file.name} beside it: run lm_eval with --log_samples")
    samples = read_samples(file, task, with_texts=with_texts)
    try:
        config, settings = summary["configs"][name], summary["config"]
        date, seed = float(summary["date"]), int(config["metadata"].get("demo_seed", DEFAULT_SEED))
        require(0 < date < 1e11, "the date is no time")
        split = config["metadata"].get("split", "test")
        require(split == "test", f"measured on the split {split!r}, not on the test set")
        model = str(summary.get("model_name") or settings.get("model") or "unknown")
        protocol = Protocol(
            shots=int(summary.get("n-shot", {}).get(name, config.get("num_fewshot", -1))),
            chat_template=bool(summary.get("chat_template_sha")),
            multiturn=bool(summary.get("fewshot_as_multiturn")),
            system_instruction=summary.get("system_instruction") or "",
            gen_kwargs=settings.get("gen_kwargs") or {},
        )
        return TaskRun(model, seed, protocol, date, _facts(summary, name), samples)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise Unusable(f"{file.name}: not in the format of our tasks ({kind_of(error)})") from None


def _facts(summary: Mapping[str, Any], name: str) -> Facts:
    settings = summary["config"]
    parameters = settings.get("model_num_parameters")
    is_count = isinstance(parameters, int) and 0 < parameters < 10**15
    return Facts(
        version=str(summary.get("versions", {}).get(name, "")),
        lm_eval=str(summary.get("lm_eval_version", "before 0.4.9")),
        dtype=str(settings.get("model_dtype", "")),
        limit=settings.get("limit"),
        batch_size=settings.get("batch_size"),
        model_type=str(settings.get("model", "")),
        model_args=_arguments(settings.get("model_args") or {}),
        parameters=parameters if is_count else None,
    )


def _arguments(given: Any) -> dict[str, Any]:
    """Model arguments by name; lm-eval writes a mapping or one text."""
    if isinstance(given, Mapping):
        return dict(sorted(cast("Mapping[str, Any]", given).items()))
    pairs = (part.partition("=") for part in str(given).split(","))
    return {name: value for name, _, value in pairs}
