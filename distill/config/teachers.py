"""The teachers: one section for each backend, and how requests get to them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, JsonValue, field_validator, model_validator

from distill.config.section import Count, NotNegative, Positive, Section
from sentibench.decisions.dialects import DialectName, without_ours
from sentibench.remote.exchange import ADDRESS, VARIABLE

CLUSTER = r"auto|local|(\[[\da-fA-F:.]+\]|[^\s/?#@:\[\]]+):\d{1,5}"
# Keys of a request that other settings write.
WRITTEN_BY_US = {
    "model": "give teacher.model",
    "messages": "the stages write the prompts; remove it",
    "prompt": "the stages write the prompts; remove it",
    "response_format": "give teacher.response_format",
    "stream": "only whole answers are read; remove it",
    "n": "only one answer is read; remove it",
} | dict.fromkeys(
    ("max_tokens", "max_completion_tokens"),
    "give knowdist.response_tokens, icldist.label_tokens, icldist.response_tokens",
)


def _template_args_of_a_chat(teacher: HfTeacher | VllmTeacher) -> HfTeacher | VllmTeacher:
    if teacher.chat_template_args and not teacher.chat:
        raise ValueError(
            "chat_template_args: not used, because chat is false; set chat: true, or remove them"
        )
    return teacher


class HfTeacher(Section):
    """A local model of ``transformers``, run by the fast generation of the harness.

    Attributes:
        backend: ``hf``.
        model: A folder, or a name that transformers finds.
        dtype: Type of the weights. ``auto``: that of the checkpoint; on a CPU, bfloat16 if the CPU
            supports it, else float32. ``int8``: eight bits, only on a CPU.
        batch_tokens: Largest number of tokens of a batch, padding included; ``null`` for a default
            that depends on the device.
        chat: Whether prompts go through the model's chat template.
        chat_template_args: Arguments of that template, such as ``{enable_thinking: false}``.
        trust_remote_code: Whether code that comes with the checkpoint is run.
    """

    backend: Literal["hf"]
    model: str
    dtype: str = "auto"
    batch_tokens: Count | None = None
    chat: bool = False
    chat_template_args: dict[str, JsonValue] = Field(default={})
    trust_remote_code: bool = False

    _of_chat = model_validator(mode="after")(_template_args_of_a_chat)


class VllmTeacher(Section):
    """A local model run by vLLM, which is installed apart.

    Attributes:
        backend: ``vllm``.
        model: A folder, or a name that vLLM finds.
        dtype: Type of the weights; ``auto`` for that of the checkpoint.
        tensor_parallel: Number of GPUs that share the model.
        max_length: Largest number of tokens of prompt and answer together; ``null`` for the model's
            own limit.
        chat: Whether prompts go through the model's chat template.
        chat_template_args: Arguments of that template, such as ``{enable_thinking: false}``.
        trust_remote_code: Whether code that comes with the checkpoint is run.
    """

    backend: Literal["vllm"]
    model: str
    dtype: str = "auto"
    tensor_parallel: Count = 1
    max_length: Count | None = None
    chat: bool = False
    chat_template_args: dict[str, JsonValue] = Field(default={})
    trust_remote_code: bool = False

    _of_chat = model_validator(mode="after")(_template_args_of_a_chat)


class ServerTeacherConfig(Section):
    """What all teachers behind a server have; the key is read from the environment.

    Attributes:
        model: Name of the model on the server.
        base_url: Address of the server: ``http(s)://host/v1``, without user, password and query.
        api_key_env: Name of the environment variable that holds the key.
        revision: Distinguishes two models of the same name, for example by a date.
        extra_body: Additional keys of every request. They replace keys of the same name. A key that
            is null is left out of the request: ``{temperature: null, seed: null}``.
        concurrency: Largest number of requests at the same time.
        timeout_s: Seconds until one attempt of a request is given up.
        max_attempts: How often a request is sent before it counts as failed.
        requests_per_minute: Limit of the server; ``null`` for no limit.
        tokens_per_minute: Limit of the server for prompts and answers together; ``null`` for no
            limit.
        usd_per_million_input: Price of a million prompt tokens in US dollars, for ``plan`` and the
            report.
        usd_per_million_output: Price of a million answer tokens in US dollars.
    """

    model: str
    base_url: str
    api_key_env: str = "OPENAI_API_KEY"
    revision: str = ""
    extra_body: dict[str, JsonValue] = Field(default={})
    concurrency: Count = 8
    timeout_s: Positive = 120
    max_attempts: Count = 6
    requests_per_minute: Positive | None = None
    tokens_per_minute: Positive | None = None
    usd_per_million_input: NotNegative | None = None
    usd_per_million_output: NotNegative | None = None

    def usd(self, prompt_tokens: float, answer_tokens: float) -> float | None:
        """Price in US dollars; None where a price is not set."""
        into, out = self.usd_per_million_input, self.usd_per_million_output
        if into is None or out is None:
            return None
        return (prompt_tokens * into + answer_tokens * out) / 1e6

    @field_validator("base_url")
    @classmethod
    def _holds_no_secret(cls, base_url: str) -> str:
        """It is written into manifests and pages."""
        if not re.fullmatch(ADDRESS, base_url):
            raise ValueError(
                "expected http(s)://host/v1 without user, password and query; put a key into the "
                "environment variable that api_key_env names"
            )
        return base_url

    @field_validator("api_key_env")
    @classmethod
    def _is_a_name(cls, variable: str) -> str:
        """It is written into manifests, too."""
        if not re.fullmatch(VARIABLE, variable):
            raise ValueError(
                "expected the name of an environment variable in capitals, such as OPENAI_API_KEY; "
                "put the key into that variable"
            )
        return variable

    @field_validator("extra_body")
    @classmethod
    def _leaves_ours_alone(cls, body: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for key, instead in WRITTEN_BY_US.items():
            if key in body:
                raise ValueError(f"got {key!r}, which cannot be set here; {instead}")
        return body


class OpenAITeacherConfig(ServerTeacherConfig):
    """A server that speaks OpenAI's /v1.

    Attributes:
        backend: ``openai``.
        style: ``chat``: prompts are sent as chats. ``completions``: as texts to be continued.
        response_format: Sent with requests for a label. ``label``: a JSON schema for an object with
            the single key ``label``, whose value is one of the request's labels. A mapping is sent
            unchanged.
    """

    backend: Literal["openai"]
    style: Literal["chat", "completions"] = "chat"
    response_format: Literal["label"] | dict[str, JsonValue] | None = None


class DecisionsTeacherConfig(ServerTeacherConfig):
    """A server that gives a probability for each label. Other requests are sent as chats.

    Attributes:
        backend: ``decisions``.
        dialect: How labels are requested. ``systemone``: by ``POST /v1/systemone``. ``decisions``:
            by ``POST /v1/decisions`` in OpenAI's form. ``sglang``: by the same path in SGLang's
            form. ``chat``: by the log-probabilities of the first token of ``POST
            /v1/chat/completions``.
        letters: Whether the server chooses among the letters A, B, C ..., each described by a
            label, and not among the labels themselves. For servers that need options of one token.
        label_body: Additional keys of requests for labels, in place of ``extra_body``; ``null`` for
            those of ``extra_body``.
    """

    backend: Literal["decisions"]
    dialect: DialectName
    letters: bool = False
    label_body: dict[str, JsonValue] | None = None

    @field_validator("extra_body", "label_body")
    @classmethod
    def _leaves_questions_alone(
        cls, body: dict[str, JsonValue] | None
    ) -> dict[str, JsonValue] | None:
        return without_ours(body)


class ReplayTeacherConfig(Section):
    """Recorded answers.

    Attributes:
        backend: ``replay``.
        store: Folder of the store.
    """

    backend: Literal["replay"]
    store: Path


class GoldTeacherConfig(Section):
    """The labels of the texts; ICLDist only.

    Attributes:
        backend: ``gold``.
    """

    backend: Literal["gold"]


TeacherConfig = Annotated[
    HfTeacher
    | VllmTeacher
    | OpenAITeacherConfig
    | DecisionsTeacherConfig
    | ReplayTeacherConfig
    | GoldTeacherConfig,
    Field(discriminator="backend"),
]


class Asking(Section):
    """How requests that have no answer in the store get to the teacher.

    Attributes:
        engine: Who sends the requests. ``local``: this process. ``ray``: workers of a Ray cluster
            (``pip install 'sentibench[ray]'``). The answers are the same.
        filters: Whether the cluster also cleans the texts and filters the answers. ``false``: the
            cores of this machine do that. The results are the same.
        address: Address of the cluster: ``HOST:PORT``. ``auto``: the cluster on this machine.
            ``local``: a new one on this machine alone. ``null``: the address in RAY_ADDRESS, or
            ``local`` if it is not set.
        workers: The smallest and the largest number of workers. Between them, the number depends on
            the work.
        cpus: CPU cores that each worker reserves.
        gpus: GPUs that each worker reserves; with 0 it works on the CPU.
        batch: Largest number of requests that a worker gets at once.
        patience_s: Seconds to wait for a machine that has room for a worker.
    """

    engine: Literal["local", "ray"] = "local"
    filters: bool = False
    address: str | None = None
    workers: tuple[Count, Count] = (1, 4)
    cpus: NotNegative = 1
    gpus: NotNegative = 0
    batch: Count = 256
    patience_s: Positive = 300

    @field_validator("address")
    @classmethod
    def _is_reached_from_within(cls, address: str | None) -> str | None:
        if address is not None and not re.fullmatch(CLUSTER, address):
            raise ValueError(
                f"got {address!r}; expected HOST:PORT, auto or local; an address with :// cannot "
                "be used: run this command on a machine of the cluster"
            )
        return address

    @model_validator(mode="after")
    def _has_no_fewer_most_than_fewest(self) -> Asking:
        fewest, most = self.workers
        if fewest > most:
            raise ValueError(f"workers: got [{fewest}, {most}]; expected the smaller number first")
        return self
