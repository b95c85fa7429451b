"""SentiBench: twelve sentiment datasets as lm-evaluation-harness tasks.

Importing this package loads none of lm_eval, datasets or torch.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("sentibench")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
