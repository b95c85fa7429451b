"""The boundary to lm-evaluation-harness: everything that tasks_yaml/ refers to.

lm-eval 0.4.13 builds the prompt from the Jinja templates in the task files; this module supplies
the documents, the demonstrations and the scores.
"""

# pyright: basic
# The libraries used here publish no complete types: their unknowns end in this module.

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import datasets
import numpy as np
from lm_eval.api.samplers import ContextSampler
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks import TaskManager

from sentibench.data.cards import Card, Task, load_tasks, tasks_folder
from sentibench.data.fetch import data_home
from sentibench.data.instructions import load_instruction
from sentibench.data.read import load_split
from sentibench.data.records import Example
from sentibench.errors import InputError
from sentibench.harness.command import refuse_unwritable_results, show_mistakes_as_lines
from sentibench.prompts.demonstrations import DEFAULT_SEED, draw_demonstrations, parse_seed
from sentibench.scoring import metrics
from sentibench.scoring.parse import answer_text
from sentibench.scoring.statistics import bootstrap_stderr

show_mistakes_as_lines()
Document = dict[str, Any]
ChatTemplate = Callable[..., str]


class SentiBenchTask(ConfigurableTask):
    """A task of the benchmark: lm-eval's configurable task with our data and demonstrations.

    It differs from its base in four places: where documents come from, which demonstrations an item
    gets, that the instruction survives chat templates without a system role, and what distinguishes
    cached requests.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        refuse_unwritable_results(sys.argv)
        own = {key: value for key, value in config.items() if key != "class"}
        metadata = cast(Mapping[str, Any], own.get("metadata") or {})
        self.ours = _task_of(own)
        refuse_misspelled_metadata(metadata)
        self.split = _split_of(metadata)
        self.demo_seed = parse_seed(metadata.get("demo_seed", DEFAULT_SEED), "--metadata demo_seed")
        super().__init__(config=own)
        self.sampler: DemonstrationSampler = DemonstrationSampler(
            self.ours, self.demo_seed, self.split
        )

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **_: Any) -> None:
        """Build the documents; files are fetched when this machine lacks them."""
        del dataset_kwargs
        examples = load_split(self.ours, self.split).examples
        documents = [document_of(self.ours, example, self.split) for example in examples]
        self.dataset = {
            "test": datasets.Dataset.from_list(
                documents, features=features_of(self.ours, self.split)
            )
        }

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

    def build_all_requests(self, *, tokenizer_name: str = "", **kwargs: Any) -> None:
        """Build the requests of this rank; see the base class.

        lm-eval's request cache (``--cache_requests``) knows neither prompt nor seed: a name that
        carries version and seed keeps it from serving the prompts of another run.
        """
        shots = int(self.config.num_fewshot or 0)
        draw_demonstrations(
            self.demo_seed, *self.sampler.sizes, shots
        )  # K too large: fail here, before the model has run
        tokenizer_name += f"-sentibench{self.VERSION}-{self.split}-seed{self.demo_seed}"
        super().build_all_requests(tokenizer_name=tokenizer_name, **kwargs)

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


def refuse_misspelled_metadata(metadata: Mapping[str, Any]) -> None:
    """Refuse a key that is nearly one of ours: lm-eval would ignore it and use the default.

    Raises:
        InputError: If there is such a key.
    """
    for known in ("demo_seed", "split"):
        near = get_close_matches(known, [key for key in metadata if key != known], cutoff=0.8)
        if near:
            raise InputError(f"--metadata: unknown key {near[0]!r}; did you mean {known!r}?")


def _split_of(metadata: Mapping[str, Any]) -> str:
    """Which documents are asked about: the benchmark's, or those for development."""
    split = metadata.get("split", "test")
    if split not in ("test", "val"):
        raise InputError(f"--metadata split: got {split!r}, expected 'test' or 'val'")
    return split


def _is_shown(content: str, rendered: str) -> bool:
    """Whether the longest line of a message stands in a rendered prompt, as text or as JSON."""
    line = max(content.splitlines(), key=len).strip()
    as_json = (json.dumps(line)[1:-1], json.dumps(line, ensure_ascii=False)[1:-1])
    return any(form in str(rendered) for form in (line, *as_json))


def _task_of(config: Mapping[str, Any]) -> Task:
    for task in load_tasks().values():
        if (task.source, task.card.name) == (config["dataset_path"], config["dataset_name"]):
            return task
    raise InputError(
        f"task {config.get('task')}: got dataset {config['dataset_path']}/"
        f"{config['dataset_name']}, expected real/NAME or mini/NAME with the NAME of a card"
    )


class DemonstrationSampler(ContextSampler):
    """Gives each document the demonstrations that the authors' scripts give it."""

    def __init__(self, task: Task, seed: int, split: str) -> None:
        super().__init__([], rnd=None)
        self._task = task
        self._seed = seed
        self._train = load_split(task, "train").examples
        self.sizes = (len(self._train), len(load_split(task, split).examples))

    def set_rnd(self, rnd: int | None) -> DemonstrationSampler:
        """Ignore the harness's seed: its generators start anew in every process."""
        del rnd
        return self

    def sample(
        self, n: int, eval_doc: Document | None = None, df: Any = None, **_: Any
    ) -> Sequence[Document]:
        """Return the n demonstrations of one document, in the order of the prompt."""
        del df
        if n == 0:
            return []
        assert eval_doc is not None, "fewshot_split must name the test split: see _base files"
        drawn = draw_demonstrations(self._seed, *self.sizes, n)[eval_doc["index"]]
        return [document_of(self._task, self._train[position]) for position in drawn]


def document_of(task: Task, example: Example, split: str = "test") -> Document:
    """Render an example as the document that the templates see.

    Returns:
        ``index``, ``task``, ``sentence`` and ``instruction``; for label tasks ``label``,
        ``choices`` (the scoring words) and ``gold`` (position of the label), with ``target`` where
        the dataset has one; for extraction tasks ``answer`` (as the prompt writes it) and
        ``opinions``; ``split`` where that is not the test split.
    """
    card = task.card
    document: Document = {
        "index": example.index,
        "task": task.name,
        "sentence": example.sentence,
        "instruction": _instruction(task, example),
    }
    if split != "test":
        document["split"] = split
    if example.target is not None:
        document["target"] = example.target
    if example.label is not None:
        document["label"] = example.label
        document["choices"] = list(card.scoring_words)
        document["gold"] = card.labels.index(example.label)
    else:
        document["answer"] = example.answer
        document["opinions"] = [
            dict(zip(card.elements, opinion.written(card.elements), strict=True))
            for opinion in example.opinions
        ]
    return document


def features_of(task: Task, split: str = "test") -> datasets.Features:
    """Return the types of the columns of ``document_of``."""
    text, number = datasets.Value("string"), datasets.Value("int32")
    columns: dict[str, Any] = {
        "index": number,
        "task": text,
        "sentence": text,
        "instruction": text,
    }
    if split != "test":
        columns["split"] = text
    if task.card.name == "pstance":
        columns["target"] = text
    if task.card.is_label_task:
        columns |= {"label": text, "choices": datasets.List(text), "gold": number}
    else:
        opinion = dict.fromkeys(task.card.elements, text)
        columns |= {"answer": text, "opinions": datasets.List(opinion)}
    return datasets.Features(columns)


def _instruction(task: Task, example: Example) -> str:
    if task.source == "mini":
        return ""  # our own wording stands in the task files
    return _raw_instruction(task.card, data_home()).replace("%s", example.target or "")


@lru_cache
def _raw_instruction(card: Card, home: Path) -> str:
    return load_instruction(card, home)


# Scores: per document statistics, then one number per task


def label_results(doc: Document, results: Sequence[tuple[float, bool]]) -> dict[str, Any]:
    """Score one document of a label task.

    Args:
        doc: See ``document_of``.
        results: Log-likelihood in nats and greediness of each choice, in the order of ``choices``.

    Returns:
        ``acc`` and ``invalid_rate`` (0 or 1) and, for the metrics over all documents,
        (gold, predicted, K). The first of equally likely labels wins, as in the authors' argmax. A
        model that gives NaN has predicted nothing: -1, wrong for every label.
    """
    log_likelihoods = np.array([log_likelihood for log_likelihood, _ in results])
    invalid = bool(np.isnan(log_likelihoods).any())
    predicted = -1 if invalid else int(np.argmax(log_likelihoods))
    item = (doc["gold"], predicted, len(doc["choices"]))
    return {
        "acc": float(predicted == doc["gold"]),
        "invalid_rate": float(invalid),
    } | dict.fromkeys(("macro_f1", "macro_f1_stderr", "score", "score_stderr"), item)


def extraction_results(doc: Document, results: Sequence[str]) -> dict[str, Any]:
    """Score one document of an extraction task.

    Args:
        doc: See ``document_of``.
        results: The generated text.

    Returns:
        The four additive statistics (``metrics.TupleStatistics``) of both metrics, under every name
        that is computed from them, and ``invalid_rate`` (0 or 1).
    """
    task = load_tasks()[doc["task"]]
    example = load_split(task, doc.get("split", "test")).examples[doc["index"]]
    answer = answer_text(results[0])
    official = metrics.official_statistics(task.card, example, answer)
    strict, invalid = metrics.strict_statistics(task.card, example, answer)
    values: dict[str, Any] = dict.fromkeys(("score", "score_stderr"), official)
    for name, statistics in (("official", official), ("strict", strict)):
        for measure in ("precision", "recall", "f1", "f1_stderr"):
            values[f"{name}_{measure}"] = statistics
    return values | {"invalid_rate": float(invalid)}


LabelItems = Sequence[tuple[int, int, int]]
TupleItems = Sequence[metrics.TupleStatistics]


def _label_matrix(items: LabelItems) -> metrics.Floats:
    return np.stack([metrics.label_row(item) for item in items])


def macro_f1(items: LabelItems) -> float:
    """Aggregate the items of ``label_results`` to macro-F1."""
    return float(metrics.macro_f1(_label_matrix(items).sum(axis=0)))


def macro_f1_stderr(items: LabelItems) -> float:
    """Bootstrap standard error of ``macro_f1``."""
    return bootstrap_stderr(_label_matrix(items), metrics.macro_f1)


def precision(items: TupleItems) -> float:
    """Aggregate the items of ``extraction_results`` to precision."""
    return _precision_recall_f1(items)[0]


def recall(items: TupleItems) -> float:
    """Aggregate the items of ``extraction_results`` to recall."""
    return _precision_recall_f1(items)[1]


def f1(items: TupleItems) -> float:
    """Aggregate the items of ``extraction_results`` to F1."""
    return _precision_recall_f1(items)[2]


def f1_stderr(items: TupleItems) -> float:
    """Bootstrap standard error of ``f1``."""
    return bootstrap_stderr(np.array(items, dtype=np.float64), metrics.tuple_f1)


def _precision_recall_f1(items: TupleItems) -> tuple[float, float, float]:
    # fsum-like order independence: rank gathering permutes items
    sums = np.sort(np.array(items, dtype=np.float64), axis=0).sum(axis=0)
    first, second, third = metrics.precision_recall_f1(sums)
    return float(first), float(second), float(third)


def task_manager(**metadata: Any) -> Any:
    """A manager that knows our tasks alone, for evaluations called from Python.

    ``lm_eval.simple_evaluate(tasks=["sentibench"], task_manager=task_manager(), ...)``: lm-eval's
    default manager reads 14,000 other task files first, which takes seconds at every call.

    Args:
        metadata: As after ``--metadata``: ``demo_seed=52``, or ``split="val"`` for the items on
            which settings are chosen.
    """
    return TaskManager(
        include_path=str(tasks_folder()), include_defaults=False, metadata=metadata or None
    )


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
    built.build_all_requests(limit=limit)
    seen: set[int] = set()
    for request in built.instances:
        document = request.doc
        if document["index"] not in seen:  # label tasks: one request per choice
            seen.add(document["index"])
            yield {
                "index": document["index"],
                "prompt": request.args[0],
                "target": built.doc_to_target(document),
            }
