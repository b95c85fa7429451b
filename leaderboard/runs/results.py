"""lm-eval result folders -> runs. A file that cannot be used is listed with the reason.

Read are ``results_<date>.json`` and the ``samples_<task>_<date>.jsonl`` beside them, as lm-eval
0.4.9 to 0.4.13 write them. Scores and intervals are computed from the sample files: lm-eval has no
standard error for custom metrics, and its task hashes depend on the order of ranks. What the
results file says of the same samples has to agree.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sentibench.data.cards import OWN_FOLDERS_VARIABLE, Task, robust_names
from sentibench.errors import InputError
from sentibench.pages.text import counted, visible
from sentibench.peers.results import BACKEND, MAX_LINE, is_plain_line
from sentibench.prompts.demonstrations import DEFAULT_SEED
from sentibench.scoring.metrics import score_function
from sentibench.scoring.samples import (
    BAD_CONTENT,
    METRICS,
    Samples,
    Unusable,
    kind_of,
    load_json,
    open_bounded,
    read_samples,
    results_beside,
    samples_beside,
    task_of,
)

MAX_RESULTS_BYTES = 64 * 2**20
MAX_DEPTH = 50  # of lists and mappings in a results file
MAX_NAME = 500  # characters of a model's name or of an argument
MAX_TASKS = 100  # of ours in a results file
MAX_FOLDERS = 20  # inside each other
RESULTS = re.compile(r"results_.*\.json|.*_\d{4}-\d\d-\d\dT[\d-]+\.\d+\.json")
VERSION = re.compile(r"\d+\.\d+[\w.+]{0,30}|before 0\.4\.9")
MAX_FILES = 20_000  # in a results folder
AGREES = 1e-6  # a file's score and ours, which may add in another order


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that was left out, or a part of it."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class Protocol:
    """What makes runs incomparable besides seed and limit; the defaults are the benchmark's."""

    shots: int = 4
    chat_template: bool = False
    multiturn: bool = False
    system_instruction: str = ""
    gen_kwargs: Mapping[str, str] = field(default_factory=dict[str, str])  # changed settings


@dataclass(frozen=True, slots=True)
class Facts:
    """Versions and settings of a run, for the badges and the command.

    Attributes:
        version: Of the task.
        lm_eval: Version of lm-eval; empty for what is no language model.
        limit: As given to lm-eval; None for all items.
        model_type: As after ``--model``.
        parameters: Number of weights as lm-eval counted them; None if unknown.
        commit: Of the checkpoint on its hub; empty if lm-eval wrote none.
        seconds: What the evaluation took, loading included; None if it was of tasks of other
            sources too.
        peak_memory_bytes: Of the evaluation; None if unknown.
    """

    version: str
    lm_eval: str
    dtype: str
    limit: float | None
    batch_size: str
    model_type: str
    model_args: Mapping[str, str]
    parameters: int | None
    commit: str = ""
    seconds: float | None = None
    peak_memory_bytes: int | None = None

    @property
    def is_language_model(self) -> bool:
        """Whether it was asked with prompts; else ``model_args`` has its ``method``."""
        return self.model_type != BACKEND


@dataclass(frozen=True, slots=True, eq=False)
class TaskRun:
    """One evaluation of one model on one task.

    Attributes:
        model: Full model name as lm-eval saw it, without slashes at the end.
        seed: Demonstration seed.
        protocol: How it was asked.
        date: When the run began, seconds since 1970.
        facts: Versions and settings.
        samples: What it answered.
        file: Of the results, below the results folder.
    """

    model: str
    seed: int
    protocol: Protocol
    date: float
    facts: Facts
    samples: Samples
    file: str = ""

    @property
    def task(self) -> Task:
        """The task."""
        return self.samples.task


# What a results file has to look like

Text = Annotated[str, Field(max_length=100_000)]
Name = Annotated[str, Field(max_length=MAX_NAME)]
Given = dict[Name, Any] | Text | None


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, protected_namespaces=())


class _Settings(_Part):
    """The part ``config`` of a results file."""

    model: Name = ""
    model_args: Given = None
    model_num_parameters: Any = None
    model_dtype: Any = None
    model_sha: Name | None = None
    peak_memory_bytes: Annotated[int, Field(gt=0, lt=2**50)] | None = None
    limit: float | None = None
    batch_size: int | float | Name | None = None
    gen_kwargs: Given = None


class _Counts(_Part):
    original: int
    effective: int


class _Metadata(_Part):
    demo_seed: int = DEFAULT_SEED
    split: Name = "test"


class _TaskConfig(_Part):
    """What is read of the settings of one of our tasks."""

    metadata: _Metadata
    num_fewshot: int = -1


class _Summary(_Part):
    """A results file. What belongs to single tasks is looked at task by task."""

    results: dict[str, Any]
    configs: dict[str, Any]
    config: _Settings
    date: Annotated[float, Field(gt=0)]
    n_samples: Annotated[dict[str, Any], Field(alias="n-samples")]
    n_shot: Annotated[dict[str, Any], Field(alias="n-shot")] = {}
    versions: dict[str, Any] = {}
    lm_eval_version: Name = "before 0.4.9"
    model_name: Name | None = None
    chat_template_sha: Name | None = None
    fewshot_as_multiturn: bool | None = None
    system_instruction: Text | None = None
    total_evaluation_time_seconds: Annotated[float, Field(ge=0, lt=1e9)] | None = None


# Reading


def load_results(
    folder: Path, *, with_texts: bool = True, processes: int = 1
) -> tuple[list[TaskRun], list[Problem]]:
    """Read every result file below a folder.

    Only regular files that lie in the folder are read. No more than ``MAX_FILES``, a results file
    of at most 64 MiB and 50 levels, and sample files of at most 4 GiB.

    Args:
        folder: What ``lm_eval --output_path`` was given, for any number of models.
        with_texts: Keep texts and answers; without them a hundred models fit in little memory.
        processes: How many read at once; a program that wants several has to guard its ``main``.

    Returns:
        All runs of our tasks, and the files that could not be used with the reason. Both sorted.
    """
    paths = files_below(folder, RESULTS)
    read = list(_read_all(folder, paths, with_texts, processes))
    runs = [run for of_file, _ in read for run in of_file]
    problems = [problem for _, of_file in read for problem in of_file]
    problems += [
        Problem(path.relative_to(folder).as_posix(), "no results file beside it: cut off?")
        for path in files_below(folder, re.compile(r"samples_.*\.jsonl"))
        if not results_beside(path).is_file()
    ]
    runs, copies = _without_copies(runs)
    return runs, problems + copies


def files_below(folder: Path, name: re.Pattern[str]) -> list[Path]:
    """Files below a folder, sorted. What a link leads to has to lie there too.

    Raises:
        InputError: If there are more than ``MAX_FILES``.
    """
    found: list[Path] = []
    level = [folder]
    for _ in range(MAX_FOLDERS):
        inside = [path for home in level for path in _inside(home)]
        found += [p for p in inside if name.fullmatch(p.name) and not p.is_dir()]
        level = [path for path in inside if path.is_dir() and not path.is_symlink()]
    if len(found) > MAX_FILES:
        raise InputError(f"{folder}: got {len(found):,} files, expected at most {MAX_FILES:,}")
    return sorted(path for path in found if lies_in(folder, path))


def _inside(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def lies_in(folder: Path, path: Path) -> bool:
    """Whether a file lies in a folder, and not only a link to somewhere else."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a link to itself
        return False


def _read_all(
    folder: Path, paths: Sequence[Path], with_texts: bool, processes: int
) -> Iterator[tuple[list[TaskRun], list[Problem]]]:
    arguments = ([folder] * len(paths), paths, [with_texts] * len(paths))
    if min(processes, len(paths) // 4) < 2:  # few are read sooner than a process starts
        yield from map(_read_file, *arguments)
        return
    try:
        with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
            yield from pool.map(_read_file, *arguments)
    except BrokenProcessPool:
        raise InputError(
            f"{folder}: a process that read it was killed, perhaps for want of memory; "
            "leave out the largest sample files"
        ) from None


def _read_file(folder: Path, path: Path, with_texts: bool) -> tuple[list[TaskRun], list[Problem]]:
    """The runs of one results file; whatever is wrong with it becomes a problem."""
    name, runs, problems = path.relative_to(folder).as_posix(), list[TaskRun](), list[Problem]()

    def listed(where: str, error: Exception) -> None:
        problems.append(Problem(where, str(error) if isinstance(error, Unusable) else wrong(error)))

    try:
        summary = _read_summary(path)
        tasks = sorted(filter(task_of, summary.configs))
        left_out = [*filter(None, (_without_card(summary.configs), _robust(summary.configs)))]
        if not tasks:
            raise Unusable("; ".join(left_out) or "no task of SentiBench in it")
        for reason in left_out:
            listed(name, Unusable(reason))
        if len(tasks) > MAX_TASKS:
            raise Unusable(f"names {len(tasks):,} tasks of ours, expected at most {MAX_TASKS}")
    except (OSError, Unusable, *BAD_CONTENT) as error:
        listed(name, error)
        return runs, problems
    for task in tasks:
        try:
            sample_file = samples_beside(path, task)
            if not sample_file.exists() or not lies_in(folder, sample_file):
                raise Unusable(f"no {sample_file.name} beside it: run lm_eval with --log_samples")
            samples = read_samples(sample_file, cast(Task, task_of(task)), with_texts=with_texts)
            runs.append(_read_run(name, summary, task, samples))
        except (OSError, Unusable, *BAD_CONTENT) as error:
            listed(f"{name}: {task}", error)
    return runs, problems


def _without_card(configs: Mapping[str, Any]) -> str:
    """Say which own tasks have no card on this machine; empty if all have one."""
    names = [
        name
        for name, config in configs.items()
        if isinstance(config, dict)
        and cast("dict[str, Any]", config).get("dataset_path") == "own"
        and not task_of(name)
    ]
    if not names:
        return ""
    shown = ", ".join(visible(name[:64]) for name in names[:5]) + ", ..." * (len(names) > 5)
    return (
        f"no card of {shown}; expected it in ./sentibench_tasks; "
        f"or name the card's folder in {OWN_FOLDERS_VARIABLE}"
    )


def _robust(configs: Mapping[str, Any]) -> str:
    """Say that results of sentibench_robust are not shown; empty if there are none."""
    n_tasks = len(configs.keys() & set(robust_names()))
    if not n_tasks:
        return ""
    return (
        f"{counted(n_tasks, 'task')} of sentibench_robust: never ranked or shown here, "
        "see docs/robustness.md"
    )


def wrong(error: Exception) -> str:
    """Say what is wrong with a file, without a word of it."""
    if isinstance(error, OSError | UnicodeDecodeError):
        return f"cannot be read: {kind_of(error)}"
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False, include_context=False, include_url=False)[0]
        where = ".".join(str(part)[:40] for part in first["loc"])
        return f"not in lm-eval's format: {where}: {first['msg'][:100]}"
    return f"not in lm-eval's format ({kind_of(error)})"


def _read_summary(path: Path) -> _Summary:
    with open_bounded(path, MAX_RESULTS_BYTES) as file:
        content = load_json(file.read())
    if depth(content, MAX_DEPTH) > MAX_DEPTH:
        raise Unusable(f"nested deeper than {MAX_DEPTH} levels")
    if not isinstance(content, dict) or not {"results", "configs"} <= content.keys():
        raise Unusable("no results file of lm-eval: it has no results and configs")
    summary = _Summary.model_validate(content)
    if not VERSION.fullmatch(summary.lm_eval_version):
        raise Unusable("lm-eval's version cannot be read; expected a number such as 0.4.13")
    if summary.date > time.time() + 86_400:
        raise Unusable("its date is in the future")
    return summary


def depth(value: Any, at_most: int) -> int:
    """Levels of lists and mappings, counted no further than one above ``at_most``."""
    level, found = _parts([value]), 0
    while level and found <= at_most:
        level, found = _parts(chain.from_iterable(level)), found + 1
    return found


def _parts(values: Iterable[Any]) -> list[Iterable[Any]]:
    """The values of those that are lists or mappings."""
    nests = cast("list[Any]", [value for value in values if isinstance(value, dict | list)])
    return [nest.values() if isinstance(nest, dict) else nest for nest in nests]


def _read_run(file: str, summary: _Summary, name: str, samples: Samples) -> TaskRun:
    """The run of one task of a results file, under the name that lm-eval gave it."""
    config = _TaskConfig.model_validate(summary.configs[name])
    if config.metadata.split != "test":
        raise Unusable("measured on another split than the test set")
    _require_agreement(summary, name, samples)
    shots = summary.n_shot.get(name, config.num_fewshot)
    if not isinstance(shots, int) or not 0 <= shots < 1_000:
        raise Unusable("its number of demonstrations cannot be read")
    model = visible(summary.model_name or summary.config.model).strip().rstrip("/\\")
    if not re.search(r"\w", model):
        raise Unusable("its model has no name")
    if summary.config.model == BACKEND:
        facts = _facts_of_a_peer(summary, name)
        return TaskRun(model, DEFAULT_SEED, Protocol(shots=0), summary.date, facts, samples, file)
    return TaskRun(
        model=model,
        seed=config.metadata.demo_seed,
        protocol=Protocol(
            shots=shots,
            chat_template=bool(summary.chat_template_sha),
            multiturn=bool(summary.fewshot_as_multiturn),
            system_instruction=summary.system_instruction or "",
            gen_kwargs=arguments_of(summary.config.gen_kwargs),
        ),
        date=summary.date,
        facts=_facts(summary, name),
        samples=samples,
        file=file,
    )


def _require_agreement(summary: _Summary, name: str, samples: Samples) -> None:
    """Compare what a results file says of its samples with the samples.

    Raises:
        Unusable: If a count or a score differs, or there is no score of ours.
    """
    counts = _Counts.model_validate(summary.n_samples.get(name))
    expected = samples.split_size, samples.n_items
    if (counts.original, counts.effective) != expected:
        raise Unusable(
            f"n-samples says {counts.effective:,} of {counts.original:,} items, "
            f"the samples hold {expected[1]:,} of {expected[0]:,}"
        )
    found = summary.results.get(name)
    given = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    sums = samples.statistics["official"].sum(axis=0)
    ours = {"score": float(score_function(samples.task.card)(sums))}
    ours["invalid_rate"] = float(samples.invalid.mean())
    for metric, value in ours.items():
        said = given.get(f"{metric},none")
        if said is None:
            others = ", ".join(key for key in given if re.fullmatch(r"\w+,none", key))[:200]
            raise Unusable(f"its results lack the key '{metric},none'; they have: {others or '-'}")
        if not isinstance(said, int | float) or not abs(said - value) <= AGREES:
            shown = f"{said:.6f}" if isinstance(said, int | float) else "no number"
            raise Unusable(f"it says {metric} {shown}, its samples give {value:.6f}")


def _facts(summary: _Summary, name: str) -> Facts:
    settings, parameters = summary.config, summary.config.model_num_parameters
    is_count = isinstance(parameters, int) and 0 < parameters < 10**15
    sources = {(task := task_of(other)) and task.source for other in summary.configs}
    seconds = summary.total_evaluation_time_seconds
    return Facts(
        version=visible(str(summary.versions.get(name, "unknown"))[:40]),
        lm_eval=summary.lm_eval_version,
        dtype=visible(str(settings.model_dtype or "")[:40]),
        limit=settings.limit,
        batch_size=str(settings.batch_size or ""),
        model_type=visible(settings.model),
        model_args=arguments_of(settings.model_args),
        parameters=parameters if is_count else None,
        commit=visible(settings.model_sha or ""),
        seconds=seconds if len(sources) == 1 and seconds and seconds > 0 else None,
        peak_memory_bytes=settings.peak_memory_bytes,
    )


def _facts_of_a_peer(summary: _Summary, name: str) -> Facts:
    """What is known of a method that is no language model; it has no settings but what it is."""
    given = summary.config.model_args
    method = given.get("method") if isinstance(given, dict) else None
    if not is_plain_line(method):
        raise Unusable(
            "not a language model, but without a description: expected model_args.method, a line "
            f"of up to {MAX_LINE} characters without slashes"
        )
    found = _facts(summary, name)
    arguments = {"method": str(method)}
    return replace(found, lm_eval="", dtype="", limit=None, batch_size="", model_args=arguments)


def arguments_of(given: Mapping[str, Any] | str | None) -> dict[str, str]:
    """Arguments by name, as texts; lm-eval writes a mapping or one text. Empty ones are none."""
    if isinstance(given, str):
        pairs = (part.partition("=") for part in given.split(","))
        given = {name.strip(): value.strip() for name, _, value in pairs}
    texts = {name: _argument(value) for name, value in (given or {}).items()}
    return {visible(n): visible(texts[n][:MAX_NAME]) for n in sorted(texts) if n and texts[n]}


def _argument(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value.lower() if value in ("True", "False") else value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, sort_keys=True, default=str)


def _without_copies(runs: Sequence[TaskRun]) -> tuple[list[TaskRun], list[Problem]]:
    """Each run once, and where else it lies."""
    kept: dict[Any, TaskRun] = {}
    copies: list[Problem] = []
    for run in runs:
        samples = run.samples
        scores = [samples.statistics[metric].tobytes() for metric in METRICS]
        what = (run.model, run.task.name, run.seed, repr(run.protocol), run.date)
        answers = samples.data_key, samples.prompt_key, hash(tuple(scores))
        first = kept.setdefault((what, answers), run)
        if first is not run:
            copies.append(Problem(f"{run.file}: {run.task.name}", f"a copy of {first.file}"))
    return list(kept.values()), copies
