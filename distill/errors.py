"""The mistakes of a distillation run that a user can mend; one line, exit code 2, no traceback."""

from sentibench.errors import (
    DataError,
    InputError,
    SentiBenchError,
    StoreError,
    TeacherError,
    nearest,
    refuse_missing,
    unknown_name,
)

__all__ = ["ConfigError", "DataError", "InputError", "LossError", "SentiBenchError"]
__all__ += ["StoreError", "TeacherError", "nearest", "refuse_missing", "unknown_name"]


class ConfigError(InputError):
    """The configuration file or an override is wrong."""


class LossError(SentiBenchError):
    """Fewer answers survived a step than have to."""
