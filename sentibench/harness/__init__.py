"""The boundary to lm-evaluation-harness; the names that task files use, and what others call."""

from sentibench.harness.task import (
    SentiBenchTask,
    extraction_results,
    f1,
    f1_stderr,
    label_results,
    macro_f1,
    macro_f1_stderr,
    precision,
    recall,
    render_prompts,
    task_manager,
)

__all__ = ["SentiBenchTask", "extraction_results", "f1", "f1_stderr", "label_results", "macro_f1"]
__all__ += ["macro_f1_stderr", "precision", "recall", "render_prompts", "task_manager"]
