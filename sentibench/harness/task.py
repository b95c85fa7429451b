"""The tasks as lm-eval builds them: our documents and demonstrations under its templates.

The prompt is built from the Jinja templates in the task files; this module supplies the documents
and demonstrations, and keeps the instruction under chat templates without a system role.
"""

# pyright: basic
# The libraries used here publish no complete types: their unknowns end in this module.

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import patch

import datasets

from sentibench.data.cards import Task, load_tasks, own_folders, own_task, tasks_folder
from sentibench.data.read import demonstration_pool, load_split
from sentibench.errors import InputError, nearest
from sentibench.harness.documents import Document, document_of
from sentibench.prompts.demonstrations import DEFAULT_SEED, draw_demonstrations, parse_seed
from sentibench.versions import parts_of, require

with parts_of("lm-eval"):
    from lm_eval.api import task as lm_eval_task
    from lm_eval.api.samplers import ContextSampler
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks import TaskManager
    from lm_eval.tasks._yaml_loader import load_yaml

    require(lm_eval_task, "tqdm")
    require(ContextSampler, "sample(eval_doc)", "set_rnd")
    require(ConfigurableTask, "__init__(config)", "download", "fewshot_docs", "doc_to_target")
    require(ConfigurableTask, "fewshot_context(chat_template)", "construct_requests")
    require(ConfigurableTask, "build_all_requests(tokenizer_name)", "set_config")
    require(TaskManager, "__init__(include_path)", "__init__(include_defaults)", "load")
    require(TaskManager, "__init__(metadata)", "all_tasks")

ChatTemplate = Callable[..., str]
FAMILIES = ("MultipleChoiceTask", "GenerateTask")


def _lm_eval_class(name: str) -> Any:
    """lm-eval's class for one kind of request.

    lm-eval 0.4 has one for all kinds, ``ConfigurableTask``. In 0.5 that is the base of one class
    per kind, and builds no requests itself.
    """
    kinds = {kind: getattr(lm_eval_task, kind, None) for kind in FAMILIES}
    # 0.4 has an older class of one of these names, which reads no task files
    own = {kind for kind, c in kinds.items() if c and issubclass(c, ConfigurableTask)}
    if not own:
        return ConfigurableTask
    with parts_of("lm-eval"):
        require(lm_eval_task, *FAMILIES)
    return kinds[name]


class SentiBenchTask(ConfigurableTask if TYPE_CHECKING else object):
    """What the benchmark's tasks add to lm-eval's: our data and demonstrations.

    They differ from lm-eval's in four places: where documents come from, which demonstrations an
    item gets, that the instruction survives chat templates without a system role, and what
    distinguishes cached requests. Task files name one of the two families, ``LabelTask`` and
    ``ExtractionTask``.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        metadata = cast(Mapping[str, Any], config.get("metadata") or {})
        if "dataset_path" not in config:  # an own card
            self.definition = own_task(Path(metadata["config_source"]))
            own = own_config(self.definition, metadata)
        else:
            own = {key: value for key, value in config.items() if key != "class"}
            self.definition = _task_of(own)
        refuse_misspelled_metadata(metadata)
        self.split = metadata.get("split", "test")
        if self.split not in ("test", "val"):  # the benchmark's items, those for development
            raise InputError(f"--metadata split: got {self.split!r}, expected 'test' or 'val'")
        self.demo_seed = parse_seed(metadata.get("demo_seed", DEFAULT_SEED), "--metadata demo_seed")
        super().__init__(config=own)
        self.sampler: Any = DemonstrationSampler(self.definition, self.demo_seed, self.split)

    def download(self, *_: Any, **__: Any) -> None:
        """Build the documents; files are fetched when this machine lacks them."""
        examples = load_split(self.definition, self.split).examples
        documents = [document_of(self.definition, example, self.split) for example in examples]
        self.dataset = {"test": datasets.Dataset.from_list(documents)}

    def fewshot_docs(self) -> None:
        """Hold no pool: the sampler below knows the training set."""

    def fewshot_context(
        self, doc: Document, num_fewshot: int, *args: Any, **kwargs: Any
    ) -> str | list[str]:
        """Build the prompt of one document; see the base class."""
        template: ChatTemplate | None = kwargs.get("chat_template")
        if template is not None:
            kwargs["chat_template"] = self._keeping_instruction(template)
        return super().fewshot_context(doc, num_fewshot, *args, **kwargs)

    def build_all_requests(self, *, tokenizer_name: str = "", **kwargs: Any) -> Any:
        """Build the requests of this rank; see the base class.

        lm-eval's request cache (``--cache_requests``) knows neither prompt nor seed: a name that
        carries version and seed keeps it from serving the prompts of another run.
        """
        shots = int(self.config.num_fewshot or 0)
        # K too large: fail here, before the model has run
        draw_demonstrations(self.demo_seed, *self.sampler.sizes, shots)
        tokenizer_name += f"-sentibench{self.VERSION}-{self.split}-seed{self.demo_seed}"
        return super().build_all_requests(tokenizer_name=tokenizer_name, **kwargs)

    _folds_system = False

    def _keeping_instruction(self, template: ChatTemplate) -> ChatTemplate:
        """Wrap a chat template so that a system message it drops moves to the first user turn.

        Templates without a system role (Gemma's, for one) make lm-eval leave the whole instruction
        out. Whether one does is seen in its first rendering and remembered.
        """

        def render(messages: list[dict[str, str]], **kwargs: Any) -> str:
            if messages[0]["role"] != "system":
                return template(messages, **kwargs)
            if not self._folds_system:
                rendered = template(messages, **kwargs)
                if _is_shown(messages[0]["content"], rendered):
                    return rendered
                self._folds_system = True
            system, user, *others = messages
            user = {**user, "content": system["content"] + user["content"]}
            return template([user, *others], **kwargs)

        return render


class LabelTask(SentiBenchTask, _lm_eval_class("MultipleChoiceTask")):
    """A task that is answered by the likeliest of its scoring words: one request for each."""

    def doc_to_target(self, doc: Document, doc_to_target: Any = None) -> Any:
        """Return the whole label, as demonstrations write it.

        lm-eval 0.5 looks for it among the choices, which are scoring words, and would skip items
        whose label has several words.
        """
        return ConfigurableTask.doc_to_target(self, doc, doc_to_target)


class ExtractionTask(SentiBenchTask, _lm_eval_class("GenerateTask")):
    """A task that is answered by a list of tuples, written by the model."""


def refuse_misspelled_metadata(metadata: Mapping[str, Any]) -> None:
    """Refuse a key that is nearly one of ours: lm-eval would ignore it and use the default.

    Raises:
        InputError: If there is such a key.
    """
    for known in ("demo_seed", "split"):
        near = get_close_matches(known, [key for key in metadata if key != known], cutoff=0.8)
        if near:
            raise InputError(f"--metadata: unknown key {near[0]!r}; did you mean {known!r}?")


def _is_shown(content: str, rendered: str) -> bool:
    """Whether the longest line of a message stands in a rendered prompt, as text or as JSON."""
    line = max(content.splitlines(), key=len).strip()
    as_json = (json.dumps(line)[1:-1], json.dumps(line, ensure_ascii=False)[1:-1])
    return any(form in str(rendered) for form in (line, *as_json))


def own_config(task: Task, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The task file of an own task, in which functions are functions: that of its family.

    Args:
        task: An own task.
        metadata: What lm-eval was given for it.
    """
    family = "_label_task" if task.card.is_label_task else "_extraction_task"
    base = load_yaml(tasks_folder() / family, resolve_func=True)
    # of labels too: a card may give a word that is shown in place of the name
    own = {
        "doc_to_target": "answer",
        "task": task.name,
        "task_alias": task.card.title,
        "num_fewshot": task.card.shots,
    }
    where = {"dataset_path": "own", "dataset_name": task.card.name}
    kept = {key: value for key, value in base.items() if key not in ("class", "tag")}
    return kept | own | where | {"metadata": {**base["metadata"], **metadata}}


def _task_of(config: Mapping[str, Any]) -> Task:
    source, name = config["dataset_path"], config["dataset_name"]
    for task in load_tasks().values():
        if (task.source, task.card.name) == (source, name):
            return task
    raise InputError(
        f"task {config.get('task')}: got dataset {source}/{name}, expected real/NAME or mini/NAME "
        "with the NAME of a card"
    )


class DemonstrationSampler(ContextSampler):
    """Gives each document the demonstrations that the authors' scripts give it.

    A card with demonstrations of its own shows the first of these to all.
    """

    def __init__(self, task: Task, seed: int, split: str) -> None:
        super().__init__([], rnd=None)
        self._task = task
        self._seed = seed
        self._fixed = bool(task.card.demonstrations)
        self._pool = demonstration_pool(task)
        self.sizes = (len(self._pool), len(load_split(task, split).examples))

    def set_rnd(self, *_: Any) -> DemonstrationSampler:
        """Ignore the harness's seed: its generators start anew in every process."""
        return self

    def sample(self, n: int, eval_doc: Document | None = None, **_: Any) -> Sequence[Document]:
        """Return the n demonstrations of one document, in the order of the prompt."""
        if n == 0:
            return []
        assert eval_doc is not None, "fewshot_split must name the test split: see _base files"
        drawn = draw_demonstrations(self._seed, *self.sizes, n)[eval_doc["index"]]
        positions = range(n) if self._fixed else drawn
        return [document_of(self._task, self._pool[position]) for position in positions]


def task_manager(**metadata: Any) -> Any:
    """A task manager of lm-eval that knows only the tasks of SentiBench and your own tasks.

    ``lm_eval.simple_evaluate(tasks=["sentibench"], task_manager=task_manager(), ...)``

    The default manager of lm-eval reads 14,000 other task files. This takes seconds at every call.

    Args:
        metadata: The same as ``--metadata`` of lm-eval: ``demo_seed=52`` draws other
            demonstrations, ``split="val"`` asks the items for development.
    """
    return TaskManager(
        include_path=[str(folder) for folder in (tasks_folder(), *own_folders())],
        include_defaults=False,
        metadata=metadata or None,
    )


def refuse_unknown(manager: Any, names: Sequence[str], where: str) -> None:
    """Refuse names that a task manager does not know; no data is read. See ``expand_names``."""
    unknown = [name for name in names if name not in manager.all_tasks]
    if unknown:
        near = nearest(unknown[0], manager.all_tasks)
        raise InputError(f"{where}: unknown {', '.join(unknown)}; {near}")


def expand_names(manager: Any, names: Sequence[str], where: str) -> list[str]:
    """Return the tasks behind names of tasks and groups, in lm-eval's order.

    Args:
        manager: A task manager of lm-eval.
        names: As after ``--tasks``.
        where: The setting that was given them, for the error.

    Raises:
        InputError: If the manager does not know one.
    """
    refuse_unknown(manager, names, where)
    return list(manager.load(list(names))["tasks"])


def render_prompts(task: Task, *, seed: int, shots: int, limit: int | None) -> Iterator[Document]:
    """Build a task as lm-eval does and return what it will send.

    Args:
        task: The task.
        seed: Demonstration seed.
        shots: Demonstrations per item.
        limit: First N items; None for all.

    Yields:
        ``index``, ``prompt`` and ``target`` (the gold answer) of each item, in file order.

    Raises:
        InputError: If ``shots`` is larger than the training set.
    """
    built = task_manager(demo_seed=seed).load([task.name])["tasks"][task.name]
    built.set_config(key="num_fewshot", value=shots)
    with patch.object(lm_eval_task, "tqdm", lambda documents, **_: documents):  # its bar
        built.build_all_requests(limit=limit)
    prompts = {r.doc["index"]: r for r in built.instances}  # label tasks: one request per choice
    for index, request in prompts.items():
        target = built.doc_to_target(request.doc)
        yield {"index": index, "prompt": request.args[0], "target": target}
