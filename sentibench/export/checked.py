"""Other forms of a checkpoint: written, read again by their own loader, scored again."""

# pyright: basic
# Loaders of models publish no complete types: their unknowns end in this module.

from __future__ import annotations

import copy
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sentibench.data.cards import task_named
from sentibench.data.read import load_split
from sentibench.errors import InputError
from sentibench.fast.model import load_model
from sentibench.predict.classifier import Classifier
from sentibench.predict.recipe import Recipe, save_recipes
from sentibench.prompts.few_shot import generation_settings

Form = Literal["gguf", "onnx"]
QUANTISED: dict[str, Form] = {"q8_0": "gguf", "int8": "onnx"}
GGUF_FILE = "model.gguf"
NEEDS = {"gguf": ("gguf",), "onnx": ("onnx", "onnxscript", "onnxruntime")}

Logits = Callable[[Sequence[int]], np.ndarray]  # token ids -> those of the next one, (V,)


@dataclass(frozen=True, slots=True)
class Agreement:
    """The exported model against its checkpoint, on the first items of the task's test split.

    Attributes:
        loader: What read the export.
        n: Items.
        n_same: Items with the same label, or the same tuples.
        largest_gap: Of a probability; None for tuples.
        rates: Items per second of the checkpoint and of the export.
    """

    loader: str
    n: int
    n_same: int
    largest_gap: float | None
    rates: tuple[float, float]


def export(
    checkpoint: str,
    form: Form,
    out: Path,
    *,
    quantise: str | None = None,
    task: str | None = None,
    n_checked: int = 24,
) -> Agreement | None:
    """Write a checkpoint in another form, beside and renamed into place.

    Args:
        checkpoint: A folder, or a name of the hub.
        form: Of the new file.
        out: The new folder.
        quantise: ``q8_0`` for GGUF, ``int8`` for ONNX; None for no loss.
        task: May be left out where the checkpoint's own file holds one.
        n_checked: Items that are scored again; 0 for none.

    Returns:
        What came out of the check; None without one.

    Raises:
        InputError: If something does not fit; nothing is written then.
    """
    if quantise and QUANTISED[quantise] != form:
        raise InputError(
            f"--quantise {quantise}: got --format {form}, expected --format {QUANTISED[quantise]}"
        )
    if out.exists():
        raise InputError(f"--out {out}: exists already; remove it, or give another name")
    if not out.parent.is_dir():
        raise InputError(f"--out {out}: no such folder {out.parent}; make it first")
    if n_checked < 0:
        raise InputError(f"--check: got {n_checked}, expected 0 or more")
    missing = [name for name in NEEDS[form] if find_spec(name) is None]
    if missing:
        raise InputError(
            f"--format {form}: {missing[0]} is not installed; pip install 'sentibench[export]'"
        )
    classifier = Classifier(checkpoint, task)
    texts = _texts(classifier.task, n_checked)
    unfinished = out.with_name(out.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        _write(checkpoint, form, unfinished, quantise, classifier)
        found = _compare(classifier, _read(form, unfinished), texts) if texts else None
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    unfinished.rename(out)
    return found


def _texts(task: str, n: int) -> list[str]:
    if n == 0:
        return []
    try:
        known = task_named(task, "--check")
    except InputError:
        raise InputError(f"--check: {task} has no test items here; give --check 0") from None
    return [example.sentence for example in load_split(known, "test").examples[:n]]


def _write(
    checkpoint: str, form: Form, folder: Path, quantise: str | None, classifier: Classifier
) -> None:
    if form == "onnx":
        from sentibench.export.to_onnx import write_onnx

        write_onnx(checkpoint, folder, quantise)
    else:
        from sentibench.export.to_gguf import write_gguf

        write_gguf(checkpoint, folder / GGUF_FILE, quantise)
        recipe = classifier.recipe
        (folder / "Modelfile").write_text(modelfile(recipe, classifier.shots), encoding="utf-8")
    save_recipes(folder, {classifier.task: classifier.recipe})


def modelfile(recipe: Recipe, shots: int) -> str:
    """What ollama needs: the prompt around a text, and where an answer ends."""
    mark = "\0"
    before, _, after = recipe.prompt(mark, shots).partition(mark)
    length = 16 if recipe.labels else generation_settings()["max_gen_toks"]
    return (
        f"FROM ./{GGUF_FILE}\n"
        f'TEMPLATE """{_in_template(before)}{{{{ .Prompt }}}}{_in_template(after)}"""\n'
        "PARAMETER temperature 0\n"
        f"PARAMETER num_predict {length}\n"
        'PARAMETER stop "Sentence:"\n'
        'PARAMETER stop "\\n"\n'
    )


def _in_template(text: str) -> str:
    """A text as Go's templates and a Modelfile's quotes leave it."""
    return text.replace("{{", '{{ "{{" }}').replace('"""', '{{ "\\"\\"\\"" }}')


def _read(form: Form, folder: Path) -> tuple[str, Any]:
    """The name of a loader, and the model that it read."""
    if form == "onnx":
        from transformers import AutoTokenizer

        from sentibench.export.to_onnx import open_onnx

        tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        encode = lambda text: tokenizer(text)["input_ids"]  # noqa: E731
        return "onnxruntime", _Rescored(
            encode, tokenizer.decode, open_onnx(folder), {tokenizer.eos_token_id}
        )
    if find_spec("llama_cpp"):
        return "llama.cpp", _open_llama_cpp(folder / GGUF_FILE)
    arguments = {"gguf_file": GGUF_FILE, "dtype": "float32", "softmax_dtype": "float32"}
    return "transformers", load_model(str(folder), **arguments)


def _open_llama_cpp(file: Path) -> Any:
    import llama_cpp  # type: ignore[import-not-found]

    llama: Any = llama_cpp.Llama(str(file), n_ctx=0, verbose=False)  # 0: as long as the model
    held: list[int] = []  # what the model has seen

    def logits(ids: Sequence[int]) -> np.ndarray:
        room = min(len(held), len(ids) - 1)
        llama.n_tokens = next((n for n in range(room) if held[n] != ids[n]), room)
        llama.eval(list(ids[llama.n_tokens :]))
        held[:] = ids
        last = llama_cpp.llama_get_logits_ith(llama.ctx, -1)
        return np.ctypeslib.as_array(last, shape=(llama.n_vocab(),)).copy()

    return _Rescored(
        lambda text: llama.tokenize(text.encode("utf-8"), special=True),
        lambda ids: llama.detokenize(ids).decode("utf-8", "replace"),
        logits,
        {llama.token_eos()},
    )


class _Rescored:
    """A model that only gives logits, asked as the classifier asks the fast model."""

    def __init__(
        self,
        encode: Callable[[str], list[int]],
        decode: Callable[[list[int]], str],
        logits: Logits,
        ends: set[int],
    ) -> None:
        self.encode, self.decode, self.logits, self.ends = encode, decode, logits, ends
        self.cache_hook: Any = None

    def set_cache_hook(self, hook: Any) -> None:
        self.cache_hook = hook

    def log_likelihoods(self, pairs: Sequence[tuple[str, str]], known: Any = ()) -> list[float]:
        scores: list[float] = []
        seen: list[int] = []
        log_p_V = np.empty(0)
        for prompt, word in pairs:
            whole, total = self.encode(prompt + word), 0.0
            for n in range(len(self.encode(prompt)), len(whole)):
                if whole[:n] != seen:  # the words of a text mostly share one pass
                    seen, log_p_V = whole[:n], _log_softmax(self.logits(whole[:n]))
                total += log_p_V[whole[n]]
            scores.append(float(total))
        return scores

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[str]:
        return [self._generate(*request.args) for request in requests]

    def _generate(self, prompt: str, settings: dict[str, Any]) -> str:
        ids = self.encode(prompt)
        new: list[int] = []
        text = ""
        while len(new) < settings["max_gen_toks"] and not any(s in text for s in settings["until"]):
            best = int(self.logits([*ids, *new]).argmax())
            if best in self.ends:
                break
            new.append(best)
            text = self.decode(new)
        return text


def _log_softmax(logits_V: np.ndarray) -> np.ndarray:
    shifted = logits_V.astype(np.float64) - logits_V.max()
    return shifted - np.log(np.exp(shifted).sum())


def _compare(classifier: Classifier, exported: tuple[str, Any], texts: list[str]) -> Agreement:
    loader, model = exported
    other = copy.copy(classifier)
    other.model = model
    found: list[Any] = []
    rates: list[float] = []
    for each in (classifier, other):
        with _timed(rates, len(texts)):
            found.append(each(texts))
    if classifier.recipe.elements:
        same = [a.tuples == b.tuples for a, b in zip(*found, strict=True)]
        return Agreement(loader, len(texts), sum(same), None, (rates[0], rates[1]))
    same = [a.label == b.label for a, b in zip(*found, strict=True)]
    gaps = [
        abs(a.probabilities[label] - b.probabilities[label])
        for a, b in zip(*found, strict=True)
        for label in classifier.recipe.labels
    ]
    return Agreement(loader, len(texts), sum(same), max(gaps), (rates[0], rates[1]))


@contextmanager
def _timed(rates: list[float], n: int) -> Iterator[None]:
    start = time.perf_counter()
    yield
    rates.append(n / (time.perf_counter() - start))


def print_report(out: Path, found: Agreement | None) -> None:
    """Print what was written and how it compares: results to stdout."""
    for path in sorted(out.iterdir()):
        print(f"{path.stat().st_size:>15,} bytes  {path}")
    if found is None:
        print("not scored again (--check 0)", file=sys.stderr)
        return
    what = "labels" if found.largest_gap is not None else "tuples"
    print(f"same {what} as the checkpoint: {found.n_same} of {found.n}, read by {found.loader}")
    if found.largest_gap is not None:
        print(f"largest difference of a probability: {found.largest_gap:.6f}")
    print("items per second: {:.1f} by the checkpoint, {:.1f} by the export".format(*found.rates))
