"""SentiBench: twelve sentiment datasets as lm-evaluation-harness tasks.

Importing this package loads none of lm_eval, datasets or torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sentibench.versions import __version__

if TYPE_CHECKING:
    from sentibench.predict.classifier import Classifier

__all__ = ["Classifier", "__version__"]


def __getattr__(name: str) -> Any:
    """Load the classifier, and torch with it, when it is first asked for."""
    if name != "Classifier":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sentibench.predict.classifier import Classifier

    return Classifier
