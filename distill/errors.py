"""The mistakes of a distillation run that a user can mend; one line, exit code 2, no traceback."""

from sentibench.errors import InputError, SentiBenchError


class ConfigError(InputError):
    """The configuration file or an override is wrong."""


class LossError(SentiBenchError):
    """Fewer answers survived a step than have to."""


class ProcessLostError(SentiBenchError):
    """A process that shared the work of a step was killed from outside."""
