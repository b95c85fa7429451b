"""What stands after ``--model_args`` of ``--model sentibench-decisions``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
)

from sentibench.decisions.dialects import DIALECTS, DialectName, without_ours
from sentibench.errors import InputError, nearest
from sentibench.remote.exchange import ADDRESS, VARIABLE

PREFIX = "--model_args "
EXAMPLE = "base_url=http://HOST/v1,model=NAME,dialect=DIALECT with one of " + ", ".join(DIALECTS)
OF_LM_EVAL = ("batch_size", "max_batch_size", "device")  # given to every model

Text = Annotated[str, BeforeValidator(str)]  # lm-eval makes a number of a name like 2026


class Settings(BaseModel):
    """The server, how it is asked, and how much at once.

    Attributes:
        base_url: ``http(s)://host/v1``, without user, password and query.
        model: As the server calls it.
        dialect: How labels are asked for.
        letters: Whether the options are A, B, C ... and the labels their descriptions.
        api_key_env: The environment variable that holds the key.
        revision: Tells two models of one name apart, for example a date.
        store: Folder of the answers; none for one below the data folder.
        retry_failed: Ask again what the server refused in an earlier run.
        accept_lost: Whether a question that was lost on the way, in every attempt, is an invalid
            item; else the run ends.
        concurrency: Requests at once.
        timeout_s: Seconds until a request is given up.
        max_attempts: How often a request is sent before it counts as failed.
        requests_per_minute: The server's limit; none for no limit.
        tokens_per_minute: The server's limit, prompts and answers together; none for no limit.
        extra_body: Additional keys of every request. A key that is null is left out.
        label_body: Additional keys of requests for labels, in place of ``extra_body``; none for
            those of ``extra_body``.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False
    )

    base_url: str = Field(pattern=ADDRESS)
    model: Text
    dialect: DialectName
    letters: bool = False
    api_key_env: str = Field(default="OPENAI_API_KEY", pattern=VARIABLE)
    revision: Text = ""
    store: Path | None = None
    retry_failed: bool = False
    accept_lost: bool = False
    concurrency: int = Field(default=8, ge=1, le=256)
    timeout_s: float = Field(default=120, gt=0)
    max_attempts: int = Field(default=6, ge=1)
    requests_per_minute: float | None = Field(default=None, gt=0)
    tokens_per_minute: float | None = Field(default=None, gt=0)
    extra_body: dict[str, JsonValue] = Field(default={})
    label_body: dict[str, JsonValue] | None = None

    @field_validator("extra_body", "label_body")
    @classmethod
    def _leaves_ours_alone(cls, body: dict[str, JsonValue] | None) -> dict[str, JsonValue] | None:
        return without_ours(body)


def read_settings(given: dict[str, Any]) -> Settings:
    """Check what the user gave.

    Raises:
        InputError: If something is missing, unknown or wrong; what may be a key is not quoted.
    """
    known = Settings.model_fields
    for name in given.keys() - known - {*OF_LM_EVAL}:
        if "key" in name:
            raise InputError(
                f"{PREFIX}{name}: a key must not be on the command line, which results repeat; put "
                "it into an environment variable and give its name: api_key_env=NAME"
            )
        raise InputError(f"{PREFIX}{name}: unknown argument; {nearest(name, known)}")
    try:
        return Settings(**{name: value for name, value in given.items() if name in known})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        if first["type"] == "missing":
            what = f"missing; expected {EXAMPLE}"
        elif name == "base_url":  # not quoted: it may hold a password
            what = "expected http(s)://host/v1 without user, password and query"
        elif name == "api_key_env":  # nor this: it may be a key
            what = "expected the name of an environment variable in capitals, OPENAI_API_KEY"
        elif first["type"] == "value_error":
            what = first["msg"].removeprefix("Value error, ")
        else:
            what = f"got {first['input']!r}, expected: {first['msg']}"
        raise InputError(f"{PREFIX}{name}: {what}") from None
