"""A checkpoint that labels texts, or writes the tuples in them: the fast model behind one call."""

# pyright: basic
# The model carries no types that would hold: its unknowns end in this module.

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Container, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentibench.errors import InputError, nearest
from sentibench.fast.model import load_model
from sentibench.predict import temperatures
from sentibench.predict.recipe import WEIGHTS, choose_recipe
from sentibench.prompts.few_shot import TARGET_DELIMITER, generation_settings
from sentibench.scoring.parse import answer_text, parse_strict

# Texts whose tuples are written together: an answer depends, in its last digits, on the others in
# its pool, so work that is resumed begins with a whole round.
ROUND = 64
DTYPES = ("float32", "bfloat16", "float16", "int8", "auto")
UNLIKE = ("a", "The", "1", '"')  # texts whose tokens have nothing in common


@dataclass(frozen=True, slots=True)
class Labelled:
    """The answer of a label task.

    Attributes:
        label: The likeliest; None where it is less likely than the threshold, or the text is
            empty, or the model gave no number.
        probability: Of the likeliest label, in [0, 1]; NaN where there is none.
        probabilities: Of every label, in the task's order; they sum to 1.
    """

    label: str | None
    probability: float
    probabilities: dict[str, float]


@dataclass(frozen=True, slots=True)
class Extracted:
    """The answer of an extraction task.

    Attributes:
        tuples: Each with its text by element.
        readable: Whether the answer was a list of tuples of the task, and nothing else.
        answer: What the model wrote.
    """

    tuples: tuple[dict[str, str], ...]
    readable: bool
    answer: str


OnAnswer = Callable[[list[int], Labelled | Extracted], object]
Tell = Callable[[str, Labelled | Extracted], object]  # a prompt and its answer


class Classifier:
    """Labels texts with a checkpoint, or extracts opinions, with the prompts of a task.

    Args:
        checkpoint: A folder that transformers loads, or a name on the Hugging Face hub.
        task: Name of a task. Optional if the checkpoint has a ``sentibench.json`` with a task.
        shots: Number of demonstrations in a prompt. Default: the number in ``sentibench.json``,
            else that of the task.
        threshold: In [0, 1]. If the likeliest label is less likely than this, the label is None.
        target: Who or what the opinion is about, for tasks that ask about a target.
        temperature: Log-likelihoods are divided by it. Default: the value for the task in the
            checkpoint's ``calibration.json``, else 1.
        dtype: Of the weights: float32, bfloat16, float16, int8 or auto.
        batch_tokens: Tokens of a batch, padding included. None: the default of the model.
        trust_remote_code: Whether to run code that comes with the checkpoint.

    Attributes:
        settings: All settings that can change an answer.
        temperature: Log-likelihoods are divided by it.
        is_calibrated: Whether the temperature is from the checkpoint's ``calibration.json``.

    Raises:
        InputError: If an argument has a wrong value, or the checkpoint cannot be loaded.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        task: str | None = None,
        *,
        shots: int | None = None,
        threshold: float = 0.0,
        target: str = "",
        temperature: float | None = None,
        dtype: str = "float32",
        batch_tokens: int | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        self.task, self.recipe = choose_recipe(str(checkpoint), task)
        held = len(self.recipe.demonstrations)
        self.shots = self.recipe.shots if shots is None else shots
        self.threshold, self.target = threshold, target
        if not 0 <= self.shots <= held:
            raise InputError(
                f"--shots: got {shots}, expected 0 to {held}, the demonstrations at hand"
            )
        if not 0 <= threshold <= 1:
            raise InputError(f"--threshold: got {threshold}, expected a number from 0 to 1")
        if threshold and self.recipe.elements:
            raise InputError(f"--threshold: {self.task} has no labels; leave it out")
        if self.recipe.needs_target and not target:
            raise InputError(
                f"--target: got none, but {self.task} asks for the opinion about a target; name it"
            )
        if dtype not in DTYPES:
            raise InputError(f"--dtype: got {dtype!r}; {nearest(dtype, DTYPES)}")
        if temperature is not None and not 0 < temperature < math.inf:
            raise InputError(f"--temperature: got {temperature}, expected a number above 0")
        fitted = temperatures.load(str(checkpoint)).get(self.task)
        self.is_calibrated = temperature is None and fitted is not None
        self.temperature = temperature or (fitted.temperature if fitted else 1.0)
        self.settings: dict[str, Any] = {
            "checkpoint": [str(checkpoint), stamps(Path(checkpoint))],
            "--task": [self.task, self.recipe.model_dump(mode="json")],
            "--shots": self.shots,
            "--threshold": threshold,
            "--target": target,
            "--temperature": self.temperature,
            "--dtype": dtype,
            "--batch-tokens": batch_tokens,
        }
        self.model: Any = _load(str(checkpoint), dtype, batch_tokens, trust_remote_code)
        # a single text costs no more than one of many
        prompts = [self.recipe.prompt(text, self.shots, target) for text in UNLIKE]
        self.model.keep_beginning(prompts)

    @property
    def why_shots(self) -> str:
        """Where the number of demonstrations comes from, in words."""
        trained = ", ".join(map(str, self.recipe.trained_shots))
        if self.shots != self.recipe.shots:
            return "as given" + (f"; trained with {trained}" if trained else "")
        return f"trained with {trained}" if trained else "the task's number"

    def __call__(
        self, texts: Sequence[str], on_answer: OnAnswer | None = None, known: Container[int] = ()
    ) -> list[Labelled] | list[Extracted]:
        """Answer texts.

        Args:
            texts: N texts. The model does not see empty texts.
            on_answer: Called as soon as an answer is known, with the positions of its texts and
                the answer. Equal texts have one answer.
            known: Positions of texts whose answers you have already. Up to eight batches are left
                out together if all their texts are known. The others stay the same, so their
                answers do too.

        Returns:
            N answers in the order of the texts. Label tasks: ``label``, ``probability`` and
            ``probabilities``. Extraction tasks: ``tuples``, ``readable`` and ``answer``. Empty and
            left-out texts have no label, or no tuples.
        """
        if isinstance(texts, str):
            raise InputError("Classifier: got one text, expected a list of texts")
        for n, text in enumerate(texts):
            if not isinstance(text, str):
                got = type(text).__name__
                raise InputError(f"Classifier: texts[{n}]: got {got}, expected text; '' for none")
        # half characters, as in a text that was cut, cannot be tokenised
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        numbers: dict[str, list[int]] = defaultdict(list)
        for n, text in enumerate(clean):
            prompt = self.recipe.prompt(text, self.shots, self.target) if text.strip() else ""
            numbers[prompt].append(n)
        answers: list[Any] = [self._unasked()] * len(clean)
        on_answer = on_answer or (lambda *_: None)
        if empty := numbers.pop("", None):
            on_answer(empty, self._unasked())

        def tell(prompt: str, answer: Any) -> None:
            on_answer(numbers[prompt], answer)

        finished = {p for p, same in numbers.items() if all(n in known for n in same)}
        ask = self._label if self.recipe.labels else self._extract
        for prompt, answer in zip(numbers, ask(list(numbers), finished, tell), strict=True):
            for n in numbers[prompt]:
                answers[n] = answer
        return answers

    def log_likelihoods(
        self,
        texts: Sequence[str],
        targets: Sequence[str] | None = None,
        *,
        on_answer: Callable[[], object] | None = None,
    ) -> NDArray[np.float64]:
        """Compute the log-likelihoods of the labels, without a temperature.

        Args:
            texts: N texts, none of them empty.
            targets: The target of each text, for tasks that ask about a target. Default: that of
                the classifier.
            on_answer: Called once for every text that was answered.

        Returns:
            Log-likelihoods of the K labels in nats, shape (N, K).
        """
        prompts = [
            self.recipe.prompt(text, self.shots, target)
            for text, target in zip(texts, targets or [self.target] * len(texts), strict=True)
        ]
        words = self._words()
        n_scored = itertools.count(1)
        tell = on_answer or (lambda: None)
        with self._listening(lambda *_: next(n_scored) % len(words) == 0 and tell()):
            scores = self.model.log_likelihoods([(p, word) for p in prompts for word in words])
        return np.array(scores, dtype=np.float64).reshape(len(prompts), len(words))

    @contextmanager
    def _listening(self, collect: Callable[[Any, Any], object]) -> Generator[None]:
        """Hear of every answer when it is there; afterwards nobody does."""
        before = self.model.cache_hook
        self.model.set_cache_hook(_Listener(collect))
        try:
            yield
        finally:
            self.model.set_cache_hook(before)

    def _words(self) -> list[str]:
        return [TARGET_DELIMITER + word for word in self.recipe.scoring_words]

    def _unasked(self) -> Labelled | Extracted:
        if self.recipe.elements:
            return Extracted((), False, "")
        return Labelled(None, math.nan, dict.fromkeys(self.recipe.labels, math.nan))

    def _label(
        self, prompts: Sequence[str], finished: Container[str], tell: Tell
    ) -> list[Labelled]:
        words = self._words()
        found: dict[str, dict[str, float]] = defaultdict(dict)

        def collect(pair: tuple[str, str], score: tuple[float, bool]) -> None:
            prompt, word = pair
            found[prompt][word] = score[0]
            if len(found[prompt]) == k:
                scored = found.pop(prompt)
                tell(prompt, self._labelled([scored[word] for word in words]))

        k = len(words)
        pairs = [(prompt, word) for prompt in prompts for word in words]
        known = {pair for pair in pairs if pair[0] in finished}
        with self._listening(collect):
            scores = self.model.log_likelihoods(pairs, known)
        return [self._labelled(scores[i : i + k]) for i in range(0, len(scores), k)]

    def _labelled(self, log_likelihoods: Sequence[float]) -> Labelled:
        """The softmax over the labels; of equally likely ones the first wins, as in lm-eval."""
        probabilities = softmax(log_likelihoods, self.temperature)
        best = log_likelihoods.index(max(log_likelihoods))
        if math.isnan(probabilities[best]):
            return self._unasked()  # type: ignore[return-value]
        label = self.recipe.labels[best] if probabilities[best] >= self.threshold else None
        named = dict(zip(self.recipe.labels, probabilities, strict=True))
        return Labelled(label, probabilities[best], named)

    def _extract(
        self, prompts: Sequence[str], finished: Container[str], tell: Tell
    ) -> list[Extracted]:
        settings = generation_settings()
        found = dict.fromkeys(prompts, "")
        longest_first = sorted(prompts, key=len, reverse=True)
        with self._listening(lambda asked, written: tell(asked[0], self._extracted(written))):
            for start in range(0, len(prompts), ROUND):
                part = longest_first[start : start + ROUND]
                if all(prompt in finished for prompt in part):
                    continue
                requests = [SimpleNamespace(args=(prompt, dict(settings))) for prompt in part]
                answers = self.model.generate_until(requests, disable_tqdm=True)
                found |= zip(part, answers, strict=True)
        return [self._extracted(found[prompt]) for prompt in prompts]

    def _extracted(self, written: str) -> Extracted:
        elements, answer = self.recipe.elements, answer_text(written)
        read = parse_strict(len(elements), answer)
        tuples = tuple(dict(zip(elements, t, strict=True)) for t in read.tuples if t)
        return Extracted(tuples, read.problem is None and None not in read.tuples, answer)


def softmax(log_likelihoods: Sequence[float], temperature: float = 1.0) -> tuple[float, ...]:
    """Log-likelihoods in nats -> probabilities; all NaN where one of them is no number."""
    highest = max(log_likelihoods)
    if any(map(math.isnan, log_likelihoods)) or math.isinf(highest):
        return (math.nan,) * len(log_likelihoods)
    weights = [math.exp((x - highest) / temperature) for x in log_likelihoods]
    total = math.fsum(weights)
    return tuple(weight / total for weight in weights)


def stamps(path: Path) -> list[list[Any]]:
    """Name, size and time of a file, or of the files in a folder: what tells two states apart.

    Cards and temperatures do not count: the first change no answer, of the second the one in use is
    a setting of its own, and both are written after the weights.
    """
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    files = [file for file in files if file == path or not _is_beside(file.name)]
    stats = [(file.name, file.stat()) for file in files if file.exists()]
    return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]


def _is_beside(name: str) -> bool:
    return name.endswith(".md") or temperatures.FILE in name


class _Listener:
    """Stands where lm-eval's models report each answer to its cache."""

    def __init__(self, collect: Callable[[Any, Any], object]) -> None:
        self.collect = collect

    def add_partial(self, _: str, request: Any, answer: Any) -> None:
        self.collect(request, answer)


def _load(checkpoint: str, dtype: str, batch_tokens: int | None, trusted: bool) -> Any:
    from safetensors import SafetensorError

    folder = Path(checkpoint)
    if folder.is_dir() and not any(any(folder.glob(pattern)) for pattern in WEIGHTS):
        raise InputError(
            f"{checkpoint}: no weights; expected config.json and .safetensors in it; name "
            "another folder"
        )
    arguments = {"dtype": dtype, "softmax_dtype": "float32", "batch_tokens": batch_tokens}
    arguments |= {"trust_remote_code": True} if trusted else {}
    try:
        return load_model(checkpoint, **arguments)
    except (OSError, ValueError, KeyError, SafetensorError, AttributeError) as error:
        if isinstance(error, AttributeError) and dtype not in str(error):
            raise
        why = " ".join(str(error).split())[:300]
        raise InputError(
            f"{checkpoint}: cannot be loaded; got: {why}; check the folder or the name"
        ) from error
