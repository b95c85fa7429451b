"""A teacher behind HTTP: any server that speaks OpenAI's /v1."""

from __future__ import annotations

from typing import Any

from distill.config import OpenAITeacherConfig
from distill.teachers import identity
from sentibench.remote.chat import ChatServer


class OpenAITeacher(ChatServer):
    """A model that a server offers under ``/chat/completions`` or ``/completions``.

    Args:
        settings: Address, model and limits.
        others: Of ``ChatServer``.
    """

    def __init__(self, settings: OpenAITeacherConfig, **others: Any) -> None:
        super().__init__(
            settings,
            identity(settings),
            style=settings.style,
            response_format=settings.response_format,
            **others,
        )
