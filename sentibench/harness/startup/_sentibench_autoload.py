"""Start-up hook: makes the SentiBench tasks visible to a plain ``lm_eval``.

Python runs ``install`` at interpreter start (``sentibench_autoload.pth``, or the ``.start`` file of
PEP 829 from Python 3.15). It only notes which modules of lm-eval are to be amended when, and if,
they are imported: ``TARGETS``. Standard library only, no network, never raises; what could not be
amended, and why, is kept in ``problems``, which ``sentibench check`` prints. Imports wait until
they are needed, because this module is loaded by every interpreter. Switched off by
SENTIBENCH_NO_AUTOLOAD=1.

lm-eval 0.4.13 reads task folders from the command line only. When it accepts them from installed
packages (its pull request 4015), this file goes.
"""

import os
import sys

MODELS = {
    "sentibench-hf": "sentibench.fast.model:SentiBenchLM",
    "sentibench-decisions": "sentibench.decisions.model:DecisionsModel",
}

problems = {}  # name of a module that should have been amended -> why it was not
amended = set()  # names of the modules that were
foreign_tasks = True  # whether lm-eval reads its own task files too; `sentibench run` may say no


def replace(owner, name, wrapper):
    """Replace a method by ``wrapper``, which is given the old one first."""
    from functools import wraps

    original = getattr(owner, name)
    call = wraps(original)(lambda *args, **kwargs: wrapper(original, *args, **kwargs))
    setattr(owner, name, call)


def parameters(function, *names):
    """Return the signature of a function that has these parameters; complain where it lacks one."""
    from inspect import signature

    found = signature(function)
    lacking = [name for name in names if name not in found.parameters]
    if lacking:
        raise AttributeError(f"{function.__qualname__} has no {' and no '.join(lacking)}")
    return found


def add_tasks(module):
    """Let TaskManager index our folder, before those of the user's include_path."""
    accepted = parameters(module.TaskManager.__init__, "include_path", "include_defaults")

    def init(original, *args, **kwargs):
        try:
            from sentibench.data.cards import named_folders, tasks_folder

            bound = accepted.bind(*args, **kwargs)
            user = bound.arguments.get("include_path") or []
            user = list(user) if isinstance(user, (list, tuple)) else [user]
            known = {os.path.abspath(str(path)) for path in user}
            ours = [str(folder) for folder in (tasks_folder(), *named_folders())]
            if (
                os.path.isdir(ours[0])
                and ours[0] not in known
                and bound.arguments.get("include_defaults", True)
            ):
                added = [folder for folder in ours if folder not in known]
                bound.arguments["include_path"] = [*added, *user]  # later folders win
                bound.arguments["include_defaults"] = foreign_tasks
            args, kwargs = bound.args, bound.kwargs
        except Exception as error:
            problems[module.__name__] = repr(error)
        return original(*args, **kwargs)

    replace(module.TaskManager, "__init__", init)


def add_model(module):
    """Name our models in lm-eval's registry; a module is imported when it is asked for."""
    # lm_eval.models has just filled it, so it is there
    model_registry = sys.modules["lm_eval.api.registry"].model_registry
    for name, target in MODELS.items():
        if name not in model_registry:  # later lm-evals read the entry points of these names
            model_registry.register(name, target=target)


def add_refusal(module):
    """Let lm-eval's command refuse a folder for our results that cannot be written.

    lm-eval would report that as a warning, after the evaluation.
    """
    parameters(module.EvaluatorConfig, "tasks", "output_path")

    def process_tasks(original, config, *args, **kwargs):
        manager = original(config, *args, **kwargs)
        if config.output_path and "sentibench" in str(config.tasks):
            from sentibench.harness.command import refuse_unwritable_results

            refuse_unwritable_results(config.output_path)
        return manager

    replace(module.EvaluatorConfig, "process_tasks", process_tasks)


def add_one_line_errors(module):
    """Let lm-eval's command end a user's mistake in what is ours with one line and exit code 2."""

    def execute(original, *args, **kwargs):
        try:
            return original(*args, **kwargs)
        except Exception as error:
            if "sentibench" in str(error):
                for name, why in problems.items():
                    print(f"sentibench: {name} was not amended: {why}", file=sys.stderr)
            from sentibench.harness.command import mistake_in

            mistake = mistake_in(error)
            if mistake is None:
                raise
            print(f"error: {mistake}", file=sys.stderr)
            raise SystemExit(2) from None

    replace(module.HarnessCLI, "execute", execute)


TARGETS = {
    "lm_eval.tasks.manager": add_tasks,
    "lm_eval.models": add_model,
    "lm_eval.config.evaluate_config": add_refusal,
    "lm_eval._cli.harness": add_one_line_errors,
}


def amend(module):
    """Amend a target, if that was not done before."""
    if module.__name__ not in amended:
        TARGETS[module.__name__](module)
        amended.add(module.__name__)


class Finder:
    """Finds a target as Python would, and amends it once the module has run."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        """Return the ordinary spec of a target with one step added after its execution."""
        if name not in TARGETS:
            return None
        try:
            from importlib.machinery import PathFinder

            spec = PathFinder.find_spec(name, path, target)
            run_module = spec.loader.exec_module

            def exec_module(module):
                run_module(module)
                try:
                    amend(module)
                except Exception as error:  # an lm-eval we do not know
                    problems[name] = repr(error)

            spec.loader.exec_module = exec_module
        except Exception as error:  # a loader we do not know: leave it to the finders behind us
            problems[name] = repr(error)
            return None
        return spec


def install():
    """Put the finder first in line, unless switched off."""
    if not os.environ.get("SENTIBENCH_NO_AUTOLOAD") and Finder not in sys.meta_path:
        sys.meta_path.insert(0, Finder)
