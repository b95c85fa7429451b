"""Start-up hook: makes the SentiBench tasks visible to a plain ``lm_eval``.

Python runs ``install`` at interpreter start (``sentibench_autoload.pth``, or the ``.start`` file of
PEP 829 from Python 3.15). It only notes that ``lm_eval.tasks.manager`` is to be amended when, and
if, that module is imported: ``TaskManager`` then indexes our task folder besides its own. The model
``sentibench-hf`` is named in the registry when ``lm_eval.models`` is imported. Standard library
only, no network, never raises; imports wait until they are needed, because this module is
loaded by every interpreter. Switched off by SENTIBENCH_NO_AUTOLOAD=1.

lm-eval 0.4.13 reads task folders from the command line only. When it accepts them from installed
packages (its pull request 4015), this file goes.
"""

import os
import sys

MODEL = "sentibench-hf"


def tasks_folder():
    """Return the folder with our task files without importing the package, or None."""
    from importlib.util import find_spec

    package = next(iter(find_spec("sentibench").submodule_search_locations))
    candidates = (
        os.path.join(package, os.pardir, "tasks_yaml"),
        os.path.join(package, "tasks_yaml"),
    )
    for folder in candidates:  # source tree first: in an editable install the second is a copy
        if os.path.isfile(os.path.join(folder, "sentibench.yaml")):
            return os.path.abspath(folder)
    return None


def add_model(module):
    """Name our model in lm-eval's registry; its module is imported when it is asked for."""
    # lm_eval.models has just filled it, so it is there
    model_registry = sys.modules["lm_eval.api.registry"].model_registry
    if MODEL not in model_registry:
        model_registry.register(MODEL, target="sentibench.fast.model:SentiBenchLM")


def add_tasks(module):
    """Let TaskManager index our task folder."""
    amend(module.TaskManager)


def amend(task_manager):
    """Wrap ``TaskManager.__init__`` so that our folder comes before the user's include_path."""
    import functools
    import inspect

    original = task_manager.__init__
    signature = inspect.signature(original)

    @functools.wraps(original)
    def __init__(self, *args, **kwargs):
        try:
            bound = signature.bind(self, *args, **kwargs)
            user = bound.arguments.get("include_path") or []
            user = list(user) if isinstance(user, (list, tuple)) else [user]
            ours = tasks_folder()
            known = {os.path.abspath(str(path)) for path in user}
            if ours and ours not in known and bound.arguments.get("include_defaults", True):
                bound.arguments["include_path"] = [ours, *user]  # later folders win
            args, kwargs = bound.args[1:], bound.kwargs
        except Exception:  # an lm-eval we do not know: leave it as it is
            pass
        return original(self, *args, **kwargs)

    task_manager.__init__ = __init__


TARGETS = {"lm_eval.tasks.manager": add_tasks, "lm_eval.models": add_model}


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
                    TARGETS[name](module)
                except Exception:  # an lm-eval we do not know
                    pass

            spec.loader.exec_module = exec_module
        except Exception:  # a loader we do not know: leave it to the finders behind us
            return None
        return spec


def install():
    """Put the finder first in line, unless switched off."""
    if not os.environ.get("SENTIBENCH_NO_AUTOLOAD") and Finder not in sys.meta_path:
        sys.meta_path.insert(0, Finder)
