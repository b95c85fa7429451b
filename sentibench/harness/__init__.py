"""Tasks in lm-evaluation-harness: what task files call, and what other rooms call."""

from sentibench.harness.results import (
    brier,
    brier_stderr,
    coverage_at_5,
    coverage_at_5_stderr,
    ece,
    ece_stderr,
    extraction_results,
    f1,
    f1_stderr,
    label_results,
    macro_f1,
    macro_f1_stderr,
    nll,
    nll_stderr,
    precision,
    recall,
)
from sentibench.harness.robust import (
    RobustTask,
    agreement,
    agreement_stderr,
    robust_results,
    score,
    score_high,
    score_low,
    score_sd,
    score_stderr,
)
from sentibench.harness.task import (
    ExtractionTask,
    LabelTask,
    expand_names,
    refuse_unknown,
    render_prompts,
    task_manager,
)

__all__ = ["ExtractionTask", "LabelTask", "extraction_results", "f1", "f1_stderr"]
__all__ += ["label_results", "macro_f1", "macro_f1_stderr", "precision", "recall"]
__all__ += ["brier", "brier_stderr", "coverage_at_5", "coverage_at_5_stderr", "ece", "ece_stderr"]
__all__ += ["nll", "nll_stderr"]
__all__ += ["RobustTask", "agreement", "agreement_stderr", "robust_results"]
__all__ += ["score", "score_high", "score_low", "score_sd", "score_stderr"]
__all__ += ["expand_names", "refuse_unknown", "render_prompts", "task_manager"]
