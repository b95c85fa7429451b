"""The teacher: a local model, a server, a recording."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

from distill.checkpoints import checkpoint_name
from distill.config import (
    Asking,
    DecisionsTeacherConfig,
    GoldTeacherConfig,
    HfTeacher,
    OpenAITeacherConfig,
    ReplayTeacherConfig,
    TeacherConfig,
)
from distill.teachers.gold import GoldTeacher
from distill.teachers.replay import ReplayTeacher
from sentibench.decisions.server import DecisionsServer
from sentibench.decisions.server import identity as decisions_identity
from sentibench.errors import TeacherError
from sentibench.predict.checkpoints import fingerprint
from sentibench.remote.reasoning import open_mark
from sentibench.remote.records import Teacher


def identity(config: TeacherConfig) -> tuple[str, str]:
    """Name and revision of a teacher, without loading it.

    Raises:
        StoreError: If a recording cannot be read.
    """
    if isinstance(config, OpenAITeacherConfig):
        # the same model answers otherwise where it is not given as a chat, or told more
        style = "" if config.style == "chat" else f"/{config.style}"
        told = {key: getattr(config, key) for key in ("response_format", "extra_body")}
        if any(told.values()):
            style += f"/{sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]}"
        return f"openai/{config.model}", config.revision + style
    if isinstance(config, DecisionsTeacherConfig):
        return decisions_identity(config)
    if isinstance(config, GoldTeacherConfig):
        return GoldTeacher.name, GoldTeacher.revision
    if isinstance(config, ReplayTeacherConfig):
        recorded = ReplayTeacher(config.store)
        return recorded.name, recorded.revision
    name = f"{config.backend}/{checkpoint_name(config.model)}"
    given: list[object] = [config.chat_template_args] if config.chat_template_args else []
    if config.backend == "vllm":
        given.append("scores labels")  # which it wrote once
    return name, fingerprint(config.model, config.dtype, config.chat, *given)


def load_teacher(
    config: TeacherConfig, asking: Asking | None = None, store: Path | None = None
) -> Teacher:
    """Load the model, or reach for the server at the first request.

    Args:
        config: Its settings.
        asking: From where it is asked; None for this process.
        store: Folder of its answers, where workers of a cluster have their shards.

    Raises:
        TeacherError: If it cannot be loaded.
    """
    if isinstance(config, GoldTeacherConfig):
        return GoldTeacher()
    if isinstance(config, ReplayTeacherConfig):
        return ReplayTeacher(config.store)
    if asking and store and asking.engine == "ray":
        from distill.teachers.on_ray import RayTeacher

        return RayTeacher(config, asking, store)
    if isinstance(config, OpenAITeacherConfig):
        from distill.teachers.openai import OpenAITeacher

        return OpenAITeacher(config)
    if isinstance(config, DecisionsTeacherConfig):
        return DecisionsServer(config)
    if isinstance(config, HfTeacher):
        from distill.teachers.hf import HfTeacher as Local

        return Local(config)
    from distill.teachers.vllm import VllmTeacher

    return VllmTeacher(config)


def refuse_open_reasoning(prompt: str) -> None:
    """Refuse a prompt, as the chat template wrote it, behind which no label can be scored.

    Raises:
        TeacherError: If it ends inside the model's reasoning.
    """
    if mark := open_mark(prompt):
        raise TeacherError(
            "teacher.chat_template_args: labels cannot be scored, as the chat template ends the "
            f"prompt inside the model's reasoning; got {mark!r} at the end of the prompt; switch "
            "reasoning off, for example with {enable_thinking: false}, or let the teacher write "
            "its labels: icldist.score_choices=false"
        )
