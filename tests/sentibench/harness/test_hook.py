"""The start-up hook: what it amends in modules like lm-eval's, and where they differ."""

import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from sentibench.data.cards import tasks_folder
from sentibench.errors import InputError
from sentibench.harness.check import check_hook, check_tasks

FILE = Path(__file__).parents[3] / "sentibench" / "harness" / "startup" / "_sentibench_autoload.py"


@pytest.fixture
def hook():
    """The hook of this source tree, whichever copy is installed."""
    spec = importlib.util.spec_from_file_location("hook_of_this_tree", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Manager:
    """Like lm-eval's TaskManager."""

    def __init__(self, verbosity=None, include_path=None, include_defaults=True) -> None:
        self.folders, self.include_defaults = include_path, include_defaults


def test_our_folder_comes_before_the_users_and_only_beside_lm_evals_own(hook) -> None:
    class Amended(Manager):
        __init__ = Manager.__init__

    hook.add_tasks(SimpleNamespace(TaskManager=Amended, __name__="manager"))
    ours = str(tasks_folder())
    assert Amended().folders == [ours]
    assert Amended(None, "/own").folders == [ours, "/own"]
    assert Amended(include_path=["/a", "/b"]).folders == [ours, "/a", "/b"]
    assert Amended(include_path=[ours]).folders == [ours]
    assert Amended(include_path="/own", include_defaults=False).folders == "/own"
    assert Amended().include_defaults
    hook.foreign_tasks = False
    assert not Amended().include_defaults
    with pytest.raises(TypeError):
        Amended(nonsense=1)


def test_why_a_module_could_not_be_amended_is_remembered_and_checked(
    hook, tmp_path: Path, monkeypatch
) -> None:
    (tmp_path / "next_manager.py").write_text(
        "class TaskManager:\n    def __init__(self, folders=()): ...\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(hook, "TARGETS", {"next_manager": hook.add_tasks, "gone": hook.add_model})
    monkeypatch.setattr(sys, "meta_path", [hook.Finder, *sys.meta_path])
    plain = importlib.import_module("next_manager").TaskManager
    assert plain(folders="x")  # usable as it was
    assert (
        "TaskManager.__init__ has no include_path and no include_defaults"
        in (hook.problems["next_manager"])
    )
    bad = list(check_hook(hook))
    assert [finding.ok for finding in bad] == [False, False]
    assert "has no include_path" in bad[0].detail
    assert "tested with lm-eval 0.4.13" in bad[0].detail
    assert "No module named 'gone'" in bad[1].detail


def test_what_lm_eval_lacks_is_a_finding_of_check(monkeypatch) -> None:
    from lm_eval.tasks import TaskManager

    monkeypatch.delattr(TaskManager, "task_index")
    last = list(check_tasks())[-1]
    assert not last.ok
    assert "lm_eval.tasks.manager.TaskManager.task_index; tested with" in last.detail


def test_check_says_that_the_hook_did_not_run(hook) -> None:
    findings = list(check_hook(hook))
    assert len(findings) == len(hook.TARGETS) == 4
    assert {finding.ok for finding in findings} == {False}
    assert "is SENTIBENCH_NO_AUTOLOAD unset?" in findings[0].detail


def test_all_that_the_hook_amends_is_there_in_the_installed_lm_eval(hook, monkeypatch) -> None:
    monkeypatch.setattr(sys, "meta_path", [hook.Finder, *sys.meta_path])
    replaced = []

    def replace(owner, name, wrapper) -> None:
        replaced.append(name)
        assert callable(getattr(owner, name))

    monkeypatch.setattr(hook, "replace", replace)
    for _ in range(2):
        for name in hook.TARGETS:
            hook.amend(importlib.import_module(name))
    findings = list(check_hook(hook))
    assert [finding.detail for finding in findings] == ["amended"] * 4
    assert replaced == ["__init__", "process_tasks", "execute"]


@pytest.mark.parametrize("known", [True, False])
def test_models_are_named_once_where_lm_eval_has_read_the_entry_point(
    hook, known: bool, monkeypatch
) -> None:
    entry_point = object()
    registered: dict[str, object] = {"hf": "theirs"} | (
        dict.fromkeys(hook.MODELS, entry_point) if known else {}
    )

    class Registry(dict):
        def register(self, name: str, target: str) -> None:
            assert name not in self, "lm-eval raises where a name is registered twice"
            self[name] = target

    registry = Registry(registered)
    module = SimpleNamespace(model_registry=registry)
    monkeypatch.setitem(sys.modules, "lm_eval.api.registry", module)  # type: ignore[arg-type]
    hook.add_model(ModuleType("lm_eval.models"))
    hook.add_model(ModuleType("lm_eval.models"))
    expected = dict.fromkeys(hook.MODELS, entry_point) if known else hook.MODELS
    assert registry == {"hf": "theirs", **expected}


def test_the_entry_points_are_the_models_that_the_hook_names(hook) -> None:
    for name, target in hook.MODELS.items():
        module, _, of_module = target.partition(":")
        assert callable(getattr(importlib.import_module(module), of_module))
        assert f'{name} = "{target}"' in (Path(__file__).parents[3] / "pyproject.toml").read_text(
            encoding="utf-8"
        )


class Config:
    """Like lm-eval's EvaluatorConfig."""

    def __init__(self, tasks, output_path=None) -> None:
        self.tasks, self.output_path = tasks, output_path

    def process_tasks(self, metadata=None):
        return "manager"


@pytest.mark.parametrize("tasks", [["hellaswag", "sentibench_sst2"], [{"task": "sentibench_sst2"}]])
def test_results_of_ours_that_could_not_be_saved_are_refused_before_the_model(
    hook, tasks, tmp_path: Path
) -> None:
    class Amended(Config):
        process_tasks = Config.process_tasks

    hook.add_refusal(SimpleNamespace(EvaluatorConfig=Amended))
    file = tmp_path / "file"
    file.write_text("x", encoding="utf-8")
    with pytest.raises(InputError, match="results could not be saved"):
        Amended(tasks, str(file / "results")).process_tasks({})
    assert Amended(tasks, str(tmp_path / "new" / "results")).process_tasks() == "manager"
    assert Amended(tasks).process_tasks() == "manager"
    assert Amended(["hellaswag"], str(file)).process_tasks() == "manager"  # not ours to refuse


def test_a_mistake_ends_the_command_and_everything_else_keeps_its_traceback(hook, capsys) -> None:
    class Amended:
        def execute(self, error: Exception) -> None:
            raise error

    hook.add_one_line_errors(SimpleNamespace(HarnessCLI=Amended))
    with pytest.raises(SystemExit, match="2"):
        Amended().execute(InputError("tasks: wrong"))
    assert capsys.readouterr().err == "error: tasks: wrong\n"
    with pytest.raises(ZeroDivisionError):
        Amended().execute(ZeroDivisionError())
    assert capsys.readouterr().err == ""
    hook.problems["lm_eval.tasks.manager"] = "no include_path"
    with pytest.raises(ValueError, match="Tasks not found"):
        Amended().execute(ValueError("Tasks not found: sentibench"))
    assert "lm_eval.tasks.manager was not amended: no include_path" in capsys.readouterr().err


def test_a_program_that_imports_us_keeps_its_excepthook_and_its_command_line(
    tmp_path: Path,
) -> None:
    program = tmp_path / "lm_eval"  # of that name too
    program.write_text(
        "import sys; before = sys.excepthook\n"
        "import sentibench.harness, sentibench.harness.evaluation, sentibench.fast.model\n"
        "tasks = sentibench.harness.task_manager().load(['sentibench_mini_sst2'])['tasks']\n"
        "print(sys.excepthook is before, len(tasks))\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, str(program), "--output_path", "/dev/null/results"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(FILE.parents[3])},
    )
    assert done.stdout.split() == ["True", "1"], done.stderr
