"""Our tasks on a stand-in of lm-eval 0.5, whose classes build requests by kind, from lazy data."""

import importlib.util
from functools import cached_property
from types import SimpleNamespace

import jinja2
import pytest
from lm_eval.api import task as lm_eval_task

from sentibench.data.cards import load_tasks
from sentibench.harness import task as harness
from sentibench.harness import task_manager

JINJA = jinja2.Environment(keep_trailing_newline=True, undefined=jinja2.StrictUndefined)


def rendered(document, field):
    return document[field] if field in document else JINJA.from_string(field).render(document)


class Task:
    """The base of 0.5, also under the name ConfigurableTask: it builds no requests."""

    def __init__(self, config) -> None:
        config = {"num_fewshot": 0, "fewshot_config": {}, **config}
        self.config = SimpleNamespace(**config)
        self.VERSION = config["metadata"]["version"]
        self._dataset, self.instances = None, []

    @cached_property
    def sampler(self):
        raise AssertionError("the sampler of lm-eval, which draws from a pool")

    @property
    def dataset(self):
        if self._dataset is None:
            self.download({})
        return self._dataset

    @dataset.setter
    def dataset(self, value) -> None:
        self._dataset = value

    def download(self, dataset_kwargs=None) -> None:
        raise AssertionError("a data set of the hub")

    def fewshot_docs(self): ...

    def doc_to_target(self, doc, doc_to_target=None):
        return rendered(doc, doc_to_target or self.config.doc_to_target)

    def set_config(self, key, value) -> None:
        setattr(self.config, key, value)

    def fewshot_context(self, doc, num_fewshot, chat_template=None):
        target = self.config.fewshot_config.get("doc_to_target")
        parts = [rendered(doc, self.config.description)]
        for shown in self.sampler.sample(n=num_fewshot, eval_doc=doc):
            answer = self.doc_to_target(shown, target)
            assert isinstance(answer, str)
            parts.append(f"{rendered(shown, self.config.doc_to_text)} {answer}\n\n")
        return "".join([*parts, rendered(doc, self.config.doc_to_text)])

    def construct_requests(self, doc, ctx, *, doc_id):
        """A stub."""

    def build_all_requests(self, *, limit=None, tokenizer_name=""):
        self.tokenizer_name = tokenizer_name
        for doc_id, doc in enumerate(self.dataset["test"].select(range(limit))):
            ctx = self.fewshot_context(doc, self.config.num_fewshot)
            self.instances += self.construct_requests(doc, ctx, doc_id=doc_id) or []
        if not self.instances:
            raise ValueError("did not find any docs")
        return self.instances


class MultipleChoiceTask(Task):
    """One request per choice; skips items whose target is none of the choices."""

    def doc_to_target(self, doc, doc_to_target=None):
        target = super().doc_to_target(doc, doc_to_target)
        return doc["choices"].index(target) if target in doc["choices"] else None

    def construct_requests(self, doc, ctx, *, doc_id):
        if self.doc_to_target(doc) is None:
            return None
        return [SimpleNamespace(doc=doc, args=(ctx, f" {choice}")) for choice in doc["choices"]]


class GenerateTask(Task):
    def construct_requests(self, doc, ctx, *, doc_id):
        return [SimpleNamespace(doc=doc, args=(ctx, dict(self.config.generation_kwargs)))]


@pytest.fixture
def next_harness(monkeypatch):
    """Our module, imported where lm-eval is the next one."""
    monkeypatch.setattr(lm_eval_task, "ConfigurableTask", Task)
    monkeypatch.setattr(lm_eval_task, "MultipleChoiceTask", MultipleChoiceTask)
    monkeypatch.setattr(lm_eval_task, "GenerateTask", GenerateTask, raising=False)
    spec = importlib.util.spec_from_file_location("next_harness", harness.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_families_stand_on_the_classes_of_their_kind_of_request(next_harness) -> None:
    assert issubclass(next_harness.LabelTask, MultipleChoiceTask)
    assert issubclass(next_harness.ExtractionTask, GenerateTask)
    assert issubclass(harness.LabelTask, harness.ConfigurableTask)
    assert issubclass(harness.ExtractionTask, harness.ConfigurableTask)
    # 0.4 has an older class of that name
    assert not issubclass(harness.LabelTask, lm_eval_task.MultipleChoiceTask)
    for family in (harness.LabelTask, harness.ExtractionTask):
        assert issubclass(family, harness.SentiBenchTask)


MINI = [name for name, task in load_tasks().items() if task.source == "mini"]


@pytest.mark.parametrize("name", MINI)
def test_both_families_build_the_requests_of_today(name: str, next_harness) -> None:
    from sentibench.harness.check import load_task_file

    manager = task_manager()
    today = manager.load([name])["tasks"][name]
    today.build_all_requests(limit=5)
    config = load_task_file(manager.task_index[name].yaml_path)
    family = getattr(next_harness, config["class"].__name__)
    built = family(config=config)
    assert built.build_all_requests(limit=5, tokenizer_name="x") == built.instances
    assert built.tokenizer_name == "x-sentibench1.0-test-seed42"
    found = [(request.doc["index"], *request.args) for request in built.instances]
    assert found == [(request.doc["index"], *request.args) for request in today.instances]
    label = load_tasks()[name].card.is_label_task
    assert (family.__name__ == "LabelTask") is label
    assert len(found) == 5 * (len(load_tasks()[name].card.labels) if label else 1)
