"""Dataset files -> examples. Nothing is dropped or changed without being counted."""

from __future__ import annotations

import errno
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from sentibench.data.cards import Card, Format, SplitFile, Task
from sentibench.data.fetch import data_home, ensure_dataset
from sentibench.data.own_items import examples_of, read_own_table, remade
from sentibench.data.records import ABSENT, Example, OpinionSpans, SentimentTuple, Span
from sentibench.errors import DataError, nearest

MINI_FOLDER = Path(__file__).parent / "mini"

AGAIN = "download it again: sentibench fetch --force"
REINSTALL = "run: pip install --force-reinstall sentibench"

RawItem = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Split:
    """All items of one file.

    Attributes:
        examples: In file order.
        changes: How many items or annotations were changed, by reason.
    """

    examples: tuple[Example, ...]
    changes: Mapping[str, int]


@lru_cache(maxsize=64)
def load_split(task: Task, split: str) -> Split:
    """Load one split of a task. If this machine does not have the dataset, it is fetched first.

    Args:
        task: The task.
        split: ``train``, ``val`` or ``test``.

    Raises:
        DataError: If the file cannot be fetched or read, does not have its recorded hash, or is not
            in the format of its dataset.
    """
    expected = split_file(task, split)
    if task.source == "real":
        ensure_dataset(task.card)
    path = _path(task, split)
    back = {
        "real": f"run: sentibench fetch {task.name}",
        "mini": REINSTALL,
        "own": "put the old file back",
    }[task.source]
    try:
        if path.exists() and not path.is_file():  # a device may have no end
            raise OSError(errno.EINVAL, "no ordinary file")
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; {back}") from None
    remedy = f"{back}, or run: {remade(task.card)}" if task.source == "own" else back
    if problem := expected.problem(content):
        raise DataError(f"{path}: not the file that the card describes; {problem}; {remedy}")
    if task.source == "own":
        examples = tuple(examples_of(task.card, read_own_table(task.card, path).rows))
        if len(examples) != expected.rows:
            raise DataError(
                f"{path}: got {len(examples)} items, expected {expected.rows} (from "
                f"{task.card.path}); {remedy}"
            )
        return Split(examples, {})
    return read_split(task.card, content, str(path), REINSTALL if task.source == "mini" else AGAIN)


def demonstration_pool(task: Task) -> tuple[Example, ...]:
    """Return what demonstrations are taken from: the card's own, else the training split.

    Empty for an own task that has neither.

    Raises:
        DataError: See ``load_split``.
    """
    card = task.card
    if card.demonstrations:
        written = dict(zip(card.labels, card.written, strict=True))
        return tuple(
            Example(index, text, written.get(answer, answer), answer if written else None)
            for index, (text, answer) in enumerate(card.demonstrations)
        )
    return load_split(task, "train").examples if "train" in card.splits else ()


def load_split_at_hand(task: Task, split: str) -> Split | None:
    """Load one split where this machine has it, intact; nothing is fetched."""
    try:
        return load_split(task, split) if _path(task, split).is_file() else None
    except DataError:
        return None


def _path(task: Task, split: str) -> Path:
    if task.card.path:
        return task.card.path.parent / task.card.splits[split].file
    home = data_home() if task.source == "real" else MINI_FOLDER
    return home / "datasets" / task.card.folder / f"{split}.json"


def split_file(task: Task, split: str) -> SplitFile:
    """Return the recorded size and hash of a split.

    Raises:
        DataError: If the dataset has no such split.
    """
    splits = load_mini_files()[task.card.name] if task.source == "mini" else task.card.splits
    if split not in splits:
        raise DataError(f"{task.name}: no split {split!r}; {nearest(split, splits)}")
    return splits[split]


@lru_cache(maxsize=1)
def load_mini_files() -> Mapping[str, Mapping[str, SplitFile]]:
    """Load the sizes and hashes of our own small sets, by card name and split."""
    raw = json.loads((MINI_FOLDER / "files.json").read_text(encoding="utf-8"))
    return {
        card: {split: SplitFile(**facts) for split, facts in splits.items()}
        for card, splits in raw.items()
    }


def read_split(card: Card, content: bytes, where: str, remedy: str = AGAIN) -> Split:
    """Read the bytes of a dataset file.

    Args:
        card: The dataset, which fixes the format.
        content: UTF-8 JSON, with or without a byte-order mark.
        where: Name of the file, for errors.
        remedy: What to do about a wrong file.

    Raises:
        DataError: If the content is no list of items in the format of the dataset. The message
            names the item.
    """
    try:
        rows = json.loads(content.decode("utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{where}: not JSON in UTF-8: {error}; {remedy}") from None
    if not isinstance(rows, list):
        raise DataError(f"{where}: got a {type(rows).__name__}, expected a list of items; {remedy}")
    changes: Counter[str] = Counter()
    read_row = _READERS[card.format]
    examples: list[Example] = []
    for index, row in enumerate(cast(list[Any], rows)):
        try:
            examples.append(read_row(card, index, row, changes))
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"{where}: item {index} is not in the format of {card.title}; "
                f"{_wrong_with_item(error)}; {remedy}"
            ) from None
    return Split(tuple(examples), {reason: n for reason, n in changes.items() if n})


def _wrong_with_item(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"got no key {error.args[0]!r}, expected one"
    if isinstance(error, ValueError):
        return str(error)
    return "got a value of another type than expected"


def _read_label_item(card: Card, index: int, row: RawItem, changes: Counter[str]) -> Example:
    label = row["label"].lower()
    changes["label put in lower case"] += label != row["label"]
    if label not in card.labels:
        raise ValueError(
            f"got the label {row['label']!r}, expected one of {', '.join(card.labels)}"
        )
    return Example(
        index, row["sentence"], answer=label, label=label, target=row.get("target") or None
    )


def _read_atsa_item(card: Card, index: int, row: RawItem, changes: Counter[str]) -> Example:
    """Terms in the order of their spans, each (span, polarity) once; implicit ones left out.

    Offsets are compared as the text they are stored as ("100" before "19"): so the authors do.
    """
    explicit = [aspect for aspect in row["aspects"] if aspect["target"] != ABSENT]
    keys = [(a["from"], a["to"], a["target"], a["polarity"]) for a in explicit]
    unique = list(dict.fromkeys(keys))
    changes["implicit aspect (NULL) left out"] += len(row["aspects"]) - len(explicit)
    changes["repeated (span, polarity) merged"] += len(keys) - len(unique)
    if row["ID"] in card.reversed_ties:
        unique.reverse()
    unique.sort(key=lambda key: key[:2])
    opinions = [SentimentTuple(polarity, aspect=term) for _, _, term, polarity in unique]
    return _extraction_example(card, index, row, opinions)


def _read_acsa_item(card: Card, index: int, row: RawItem, changes: Counter[str]) -> Example:
    opinions = [
        SentimentTuple(a["polarity"], category=a["category"].replace("#", " ").lower())
        for a in row["aspects"]
    ]
    return _unique_example(card, index, row, opinions, changes)


def _read_asqp_item(card: Card, index: int, row: RawItem, changes: Counter[str]) -> Example:
    opinions = [
        SentimentTuple(
            q["sentiment"], aspect=q["aspect"], category=q["category"], opinion=q["opinion"]
        )
        for q in row["quards"]  # so spelled in the files
    ]
    return _unique_example(card, index, row, opinions, changes)


def _read_opener_item(card: Card, index: int, row: RawItem, changes: Counter[str]) -> Example:
    keys = {"holder": "Source", "aspect": "Target", "opinion": "Polar_expression"}
    opinions: list[SentimentTuple] = []
    for raw in row["opinions"]:  # of each element: [[pieces], ["start:end", ...]]
        texts = {name: " AND ".join(raw[key][0]) or ABSENT for name, key in keys.items()}
        spans = {name: tuple(map(_span, raw[key][1])) for name, key in keys.items()}
        polarity = raw["Polarity"].lower()
        opinions.append(SentimentTuple(polarity, **texts, spans=OpinionSpans(**spans)))
    written = [opinion.written(card.elements) for opinion in opinions]
    changes["repeated opinion written once"] += len(written) - len(set(written))
    changes["no opinion, written as the all-NULL tuple"] += not written
    answer = list(dict.fromkeys(written)) or [(ABSENT,) * len(card.elements)]
    return Example(index, row["sentence"], answer=repr(answer), opinions=tuple(opinions))


def _span(offsets: str) -> Span:
    start, end = offsets.split(":")
    return int(start), int(end)


def _unique_example(
    card: Card, index: int, row: RawItem, opinions: list[SentimentTuple], changes: Counter[str]
) -> Example:
    unique = list(dict.fromkeys(opinions))
    changes["repeated tuple merged"] += len(opinions) - len(unique)
    return _extraction_example(card, index, row, unique)


def _extraction_example(
    card: Card, index: int, row: RawItem, opinions: list[SentimentTuple]
) -> Example:
    answer = repr([opinion.written(card.elements) for opinion in opinions])
    return Example(index, row["sentence"], answer=answer, opinions=tuple(opinions))


_READERS: Mapping[Format, Callable[[Card, int, RawItem, Counter[str]], Example]] = {
    "labels": _read_label_item,
    "atsa": _read_atsa_item,
    "acsa": _read_acsa_item,
    "asqp": _read_asqp_item,
    "opener": _read_opener_item,
}
