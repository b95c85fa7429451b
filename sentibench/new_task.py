"""``sentibench task new``: makes a checked card from tables, and reports what it read."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sentibench.data.card_form import (
    CLASSES,
    MAX_LABELS,
    clashing,
    refuse_elements,
    scoring_word,
    written_label,
)
from sentibench.data.cards import (
    Card,
    Pins,
    SplitFile,
    checked_card,
    forget_own_tasks,
    own_folders,
)
from sentibench.data.own_items import examples_of
from sentibench.data.records import ABSENT, Example
from sentibench.data.tables import Table, folded, plain_text, read_table
from sentibench.errors import InputError, nearest
from sentibench.files import write_beside
from sentibench.prompts.few_shot import own_pins

FEW = 30  # items of a label, below which its F1 says little
LONG = 4000  # characters: with demonstrations beside it, too long for many small models
UNBALANCED = 10  # times as many items of one label as of another
LISTED = 30  # categories that an instruction names at most
SPANS = ("aspect", "opinion", "holder")  # elements that are quoted from the text
MEANING = {
    "holder": "whose opinion it is, as the text writes it, or NULL",
    "aspect": "what is judged, as the text writes it, or NULL",
    "category": "what kind of thing is judged",
    "opinion": "the words that judge, as the text writes them, or NULL",
    "polarity": "how it is judged",
}


@dataclass(frozen=True, slots=True)
class NewTask:
    """What the command was asked for.

    Attributes:
        files: Split -> table: a file, or a folder that ``datasets`` saved; ``demonstrations`` is a
            table too, whose rows stand in the card.
        columns: ``text``, ``label``, ``target``, ``tuples`` or an element -> name in the header.
        labels: Each as ``NAME`` or ``NAME=WORD``; of extraction tasks the polarities; empty to take
            those of the files.
        descriptions: Label -> what it means.
        elements: Of an extraction task; empty for a label task.
        shots: Demonstrations by default; None for all of the card, else for 4 where there is a
            train file, else for 0.
    """

    name: str
    files: Mapping[str, str]
    columns: Mapping[str, str]
    labels: Sequence[str] = ()
    descriptions: Mapping[str, str] = field(default_factory=dict[str, str])
    elements: tuple[str, ...] = ()
    title: str = ""
    instruction: str = ""
    domain: str = ""
    shots: int | None = None
    delimiter: str | None = None
    encoding: str | None = None


def write_card(asked: NewTask, folder: Path, *, replace: bool = False) -> Iterator[str]:
    """Read the tables, check them, and write the card ``FOLDER/NAME.yaml``.

    Args:
        asked: The task.
        folder: Made where it is not there.
        replace: Whether a card of this name may be written over.

    Yields:
        What was read and what is odd in it, in lines for the user.

    Raises:
        InputError: If something is wrong; nothing is written then.
    """
    path = folder.absolute() / f"{asked.name}.yaml"
    _refuse_existing(path, replace)
    tables = {
        split: read_table(place, delimiter=asked.delimiter, encoding=asked.encoding, split=split)
        for split, place in asked.files.items()
    }
    if empty := [asked.files[split] for split, table in tables.items() if not table.rows]:
        raise InputError(f"{empty[0]}: got no row, expected at least one; add items to it")
    files = {split: place for split, place in asked.files.items() if split != "demonstrations"}
    contents = {split: _content_of(place, tables[split]) for split, place in files.items()}
    places = {split: _place(asked, split, path) for split in files}
    card_file = _card_file(asked, tables)
    card_file["splits"] = {
        split: asdict(SplitFile(0, 0, "", _seen_from(path.parent, place)))
        for split, place in places.items()
    }
    card_file["pins"] = {"own": asdict(Pins("", {}))}
    named = _named(asked)
    card = checked_card(card_file, path, named)
    splits = {split: tuple(examples_of(card, table.rows)) for split, table in tables.items()}
    _refuse_shared_texts(asked, splits)
    if shown := splits.get("demonstrations"):
        pairs = [{"text": one.sentence, "answer": one.label or one.answer} for one in shown]
        default = len(pairs) if asked.shots is None else asked.shots
        card_file |= {"shots": default, "demonstrations": pairs}
    for split, content in contents.items():
        facts = card_file["splits"][split]
        facts["rows"], facts["bytes"] = len(splits[split]), len(content)
        facts["sha256"] = hashlib.sha256(content).hexdigest()
    card = checked_card(card_file, path, named)
    pool = splits.get("demonstrations") or splits.get("train", ())
    card_file["pins"] = {"own": asdict(own_pins(card, pool, splits["test"]))}
    for split, table in tables.items():
        yield from _told(card, split, table, splits[split])
    copies = {s: place for s, place in places.items() if place != Path(files[s]).absolute()}
    written = {place: contents[split] for split, place in copies.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for place, content in (written | {path: _text_of(card_file)}).items():
            write_beside(place, content)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written: {error.strerror}; choose another folder with --out"
        ) from None
    forget_own_tasks()
    for split, place in copies.items():
        yield f"wrote {os.path.relpath(place)}, a copy of {files[split]}"
    yield f"wrote {os.path.relpath(path)}"


def _named(asked: NewTask) -> dict[str, str]:
    """Where the values of a card's keys come from: there is no card yet that could be wrong."""
    options = ("title", "elements", "shots", "instruction", "domain", "demonstrations")
    found = {key: f"--{key}" for key in options} | {"task": "task new NAME", "columns": "--column"}
    labels = "--labels" if asked.labels else _in_tables(asked, "label")
    return found | {"labels": labels, "polarities": labels}


def _in_tables(asked: NewTask, part: str) -> str:
    column = asked.columns.get(part, part)
    return f"{', '.join(asked.files.values())}: column {column!r} (--{part})"


def _refuse_existing(path: Path, replace: bool) -> None:
    if path.exists() and not replace:
        raise InputError(f"{path}: exists already; replace it with --force, or choose another name")
    others = [folder / path.name for folder in own_folders() if folder != path.parent]
    if same_name := [other for other in others if other.is_file() and not path.exists()]:
        raise InputError(
            f"{path}: {same_name[0]} has the same name, expected another one; choose another name"
        )


def _text_of(card_file: Mapping[str, Any]) -> bytes:
    """A card as it is written: what lm-eval reads first, hashes last."""
    lines = yaml.dump(
        {key: value for key, value in card_file.items() if key not in ("task", "class")},
        Dumper=_CardDumper,
        sort_keys=False,
        allow_unicode=True,
    )
    return f"task: {card_file['task']}\nclass: !function {card_file['class']}\n{lines}".encode()


class _CardDumper(yaml.SafeDumper):
    """Writes texts of several lines as lines."""


def _lines(dumper: Any, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_CardDumper.add_representer(str, _lines)


# What is written


def _place(asked: NewTask, split: str, path: Path) -> Path:
    """Where the table of a split lies: where it is, or beside the card if it is no single file."""
    given = Path(asked.files[split]).absolute()
    return given if given.is_file() else path.with_name(f"{asked.name}_{split}.jsonl")


def _seen_from(folder: Path, place: Path) -> str:
    """The way from a folder to a file, with the links among their folders followed."""
    return os.path.relpath(place.parent.resolve() / place.name, folder.resolve())


def _content_of(place: str, table: Table) -> bytes:
    if Path(place).is_file():
        return Path(place).read_bytes()
    lines = (json.dumps(dict(row.values), ensure_ascii=False, default=str) for row in table.rows)
    return "".join(f"{line}\n" for line in lines).encode()


def _card_file(asked: NewTask, tables: Mapping[str, Table]) -> dict[str, Any]:
    """The content of the card, with nothing counted yet."""
    columns = _columns(asked, tables)
    shots = asked.shots if asked.shots is not None else 4 if "train" in tables else 0
    if "demonstrations" in tables:
        shots = 0  # until they are read
    kind = CLASSES[1] if asked.elements else CLASSES[0]
    head: dict[str, Any] = {"task": asked.name, "class": kind, "title": asked.title or asked.name}
    if asked.elements:
        polarities = list(asked.labels) or _found(columns, "polarity", tables)
        if not polarities:
            part = "tuples" if "tuples" in columns else "column polarity"
            raise InputError(
                f"{_in_tables(asked, part)}: got no polarity, expected one of each opinion; name "
                "another column, or the polarities with --labels"
            )
        head |= {"kind": "extraction", "metric": "tuple_f1", "elements": list(asked.elements)}
        head["polarities"] = polarities
        wording = _extraction_instruction(asked.elements, polarities, columns, tables)
    else:
        words = _words(asked.labels) or dict.fromkeys(_found(columns, "label", tables), "")
        if not words:
            where = _in_tables(asked, "label")
            raise InputError(
                f"{where}: got no label, expected one in each row; add it to the table"
            )
        labels = _labels(words, asked.descriptions)
        head |= {"kind": "classification", "metric": "macro_f1", "labels": labels}
        wording = _label_instruction(labels, " with regard to %s" * ("target" in columns))
    head |= {"instruction": asked.instruction or wording, "shots": shots, "columns": columns}
    optional = {key: getattr(asked, key) for key in ("domain", "delimiter", "encoding")}
    return head | {key: value for key, value in optional.items() if value}


def _columns(asked: NewTask, tables: Mapping[str, Table]) -> dict[str, str]:
    """Which column holds what; elements that are not named are columns of their own name."""
    header = [
        column for table in tables.values() for row in table.rows[:1] for column in row.values
    ]
    if asked.elements:
        try:
            refuse_elements(asked.elements)
        except ValueError as error:
            raise InputError(f"--{error}") from None
    columns = dict(asked.columns)
    if asked.elements and "tuples" not in columns:
        columns = {part: part for part in asked.elements} | columns
    needed = {"text": "--text", "label": "--label", "target": "--target", "tuples": "--tuples"}
    for part, column in columns.items():
        if header and column not in header:
            lists = "; or one column of lists of opinions with --tuples NAME"
            option = needed.get(part, f"--column {part}=NAME{lists}")
            raise InputError(
                f"{asked.files['test']}: no column {column!r}; {nearest(column, header)}; "
                f"name it with {option}"
            )
    return columns


def _found(columns: Mapping[str, str], part: str, tables: Mapping[str, Table]) -> list[str]:
    """The values of a column in all tables, each once and in order; case does not count."""
    rows = [row.values for table in tables.values() for row in table.rows]
    if part in columns:
        values = [row.get(columns[part]) for row in rows]
    else:  # in a list of opinions
        values = [value for row in rows for value in _parts(row.get(columns["tuples"]), part)]
    texts = [plain_text(value) for value in values if value is not None]
    names = {text.casefold(): text for text in texts if text}
    return sorted(names.values(), key=lambda name: (len(name) if name.isdigit() else 99, name))


def _parts(opinions: Any, part: str) -> list[Any]:
    """One element of a list of opinions; what is no list of objects is refused later."""
    try:
        found: Any = json.loads(opinions) if isinstance(opinions, str) else opinions
        return [one[part] for one in found]
    except (ValueError, TypeError, LookupError, RecursionError):
        return []


def _words(given: Sequence[str]) -> dict[str, str]:
    """Label -> the word that ``--labels`` gives it, empty where it gives none."""
    words: dict[str, str] = {}
    for one in given:
        name, separator, word = (part.strip() for part in one.partition("="))
        if not name or (separator and not word):
            raise InputError(f"--labels: got {one!r}, expected NAME or NAME=WORD")
        if name in words:
            raise InputError(f"--labels: got {name!r} twice, expected each label once")
        words[name] = word
    return words


def _labels(words: Mapping[str, str], descriptions: Mapping[str, str]) -> list[dict[str, str]]:
    """Labels as the card writes them: the whole name is the word where first words will not do.

    Args:
        words: Label -> the word that a model chooses; empty to find it.
        descriptions: Label -> what it means.
    """
    if unknown := [name for name in descriptions if name not in words]:
        raise InputError(f"--describe: unknown label {unknown[0]!r}; {nearest(unknown[0], words)}")
    first = [word or scoring_word(name) for name, word in words.items()]
    clash = len(words) <= MAX_LABELS and clashing(dict(zip(words, first, strict=True)))
    labels: list[dict[str, str]] = []
    for name, given in words.items():
        parts = {
            "word": given or (name if clash else ""),
            "description": descriptions.get(name, ""),
        }
        if parts["word"] == scoring_word(name):
            parts["word"] = ""
        parts = {key: value for key, value in parts.items() if value}
        labels.append({"name": name} | parts)
    return labels


def _label_instruction(labels: Sequence[Mapping[str, str]], target: str) -> str:
    written = [written_label(label["name"], label.get("word", "")) for label in labels]
    *first, last = written
    pairs = zip(written, labels, strict=True)
    lines = [f"{name}: {one['description']}" for name, one in pairs if "description" in one]
    asked = f"Which label fits the text{target}? Answer with {', '.join(first)} or {last}."
    return "\n".join([asked, *lines])


def _extraction_instruction(
    elements: Sequence[str],
    polarities: Sequence[str],
    columns: Mapping[str, str],
    tables: Mapping[str, Table],
) -> str:
    choices = {"polarity": list(polarities)}
    if "category" in elements:
        choices["category"] = _found(columns, "category", tables)
    lines = ["List every opinion of the text as a tuple:"]
    for element in elements:
        known = choices.get(element, [])
        one_of = f", one of: {', '.join(known)}" if 0 < len(known) <= LISTED else ""
        lines.append(f"{element}: {MEANING[element]}{one_of}")
    example = ", ".join(map(repr, elements))
    lines.append(f"Answer with a list [({example}), ...], or with [] if there is no opinion.")
    return "\n".join(lines)


# What is checked and told


def _refuse_shared_texts(asked: NewTask, splits: Mapping[str, Sequence[Example]]) -> None:
    """Refuse items to be measured on whose text demonstrations or training would show."""
    tests = {folded(item.sentence): item for item in splits["test"]}
    for split in (split for split in splits if split != "test"):
        shared = [item for item in splits[split] if folded(item.sentence) in tests]
        if shared:
            first, other = shared[0], tests[folded(shared[0].sentence)]
            raise InputError(
                f"{asked.files[split]}: texts that are also in {asked.files['test']}: "
                f"{len(shared)}, expected none; remove them here. The first is item "
                f"{first.index + 1} here and item {other.index + 1} there: {first.sentence[:60]!r}"
            )


def _told(card: Card, split: str, table: Table, examples: Sequence[Example]) -> Iterator[str]:
    """What was read of one split, then what is odd in it."""
    n_items = len(examples)
    kinds = Counter(
        [item.label for item in examples]
        if card.is_label_task
        else [opinion.polarity for item in examples for opinion in item.opinions]
    )
    counts = ", ".join(f"{name} {kinds[name]}" for name in card.labels or card.polarities)
    what = "" if card.is_label_task else f"{kinds.total()} opinions: "
    yield f"{split}: {n_items} items ({table.form}); {what}{counts}"
    for reason, n_rows in table.dropped.items():
        yield f"note: {split}: {n_rows} rows left out: {reason}"
    texts = Counter(folded(item.sentence) for item in examples)
    if repeats := n_items - len(texts):
        text = texts.most_common(1)[0][0]
        yield f"note: {split}: repeated texts: {repeats}, for example {text[:60]!r}"
    answers = {(folded(item.sentence), item.answer) for item in examples}
    if n_unclear := len(answers) - len(texts):
        yield f"note: {split}: repeated texts with another answer: {n_unclear}"
    longest = max(len(item.sentence) for item in examples)
    if longest > LONG:
        yield (
            f"note: {split}: the longest text has {longest:,} characters; a model with a "
            "shorter context sees only its end"
        )
    names = [name for name in card.labels or card.polarities if kinds[name] < FEW]
    if split == "test" and names:
        yield f"note: test: fewer than {FEW} of {', '.join(names)}; their scores will be uncertain"
    least = min(kinds[name] for name in card.labels or card.polarities)
    if kinds and max(kinds.values()) > UNBALANCED * max(least, 1):
        yield f"note: {split}: unbalanced: over {UNBALANCED} times as many of one as of another"
    yield from _foreign_spans(card, split, examples)


def _foreign_spans(card: Card, split: str, examples: Sequence[Example]) -> Iterator[str]:
    for element in (part for part in card.elements if part in SPANS):
        quoted = [(item, getattr(one, element)) for item in examples for one in item.opinions]
        foreign = [
            (item, span)
            for item, span in quoted
            if span not in (ABSENT, "") and span not in item.sentence
        ]
        if foreign:
            item, span = foreign[0]
            yield (
                f"note: {split}: {len(foreign)} of {len(quoted)} values of {element} do not occur "
                f"in their text, first {span!r} in item {item.index + 1}"
            )
