"""The form of a card's file: ``CardFile``. It is one for the twelve cards of ours and own ones.

Own cards are task files of lm-eval at the same time. Two keys are for lm-eval: ``task``, the name,
and ``class``, which of our two families runs it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import permutations
from pathlib import Path
from reprlib import Repr
from types import MappingProxyType
from typing import Annotated, Any, Literal, cast

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from sentibench.errors import InputError, nearest

CLASSES = ("sentibench.harness.LabelTask", "sentibench.harness.ExtractionTask")
ELEMENTS = ("holder", "aspect", "category", "opinion", "polarity")
MAX_LABELS = 100
MAX_BYTES = 4 << 20
SHORT = Repr()  # a small YAML file can hold a value without end
SHORT.maxlevel, SHORT.maxstring = 2, 80
SPLITS = ("train", "val", "test")

Category = Literal["basic", "multifaceted", "finegrained", "own"]
Format = Literal["labels", "atsa", "acsa", "asqp", "opener", "table"]
Metric = Literal["macro_f1", "tuple_f1", "graph_f1"]
Source = Literal["real", "mini", "own"]
Text = Annotated[str, Field(min_length=1)]


def scoring_word(label: str) -> str:
    """Return the first word of a label: ``non`` for ``non-irony``."""
    return (label.replace("-", " ").split() or [label])[0]


def written_label(name: str, word: str) -> str:
    """A label as prompts show it: its name, or a word of a card that begins no name.

    So a model that has seen demonstrations, or was trained, writes what is scored.
    """
    return name if name.casefold().startswith(word.casefold()) else word


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class LabelEntry(_Part):
    """A label; see ``cards.Label``."""

    name: Text
    word: str = ""
    description: str = ""
    synonyms: list[Text] = []


def _label_entry(written: Any) -> Any:
    """A label as its name alone, or with its keys."""
    if isinstance(written, str):
        return {"name": written}
    if isinstance(written, dict):
        return cast("dict[str, Any]", written)
    raise ValueError(f"got {SHORT.repr(written)}, expected text; put it in quotes")


class FileEntry(_Part):
    """A file of a split; see ``cards.SplitFile``."""

    rows: int = Field(ge=0)
    bytes: int = Field(ge=0)
    sha256: str
    file: str = ""


class DemonstrationEntry(_Part):
    """A demonstration that every item is shown: a label, or the tuples as a prompt writes them."""

    text: Text
    answer: Text


class PinsEntry(_Part):
    """Hashes of what models are asked; see ``cards.Pins``."""

    items: str
    prompts: dict[int, str]


class CardFile(_Part):
    """The content of a card; see ``cards.Card`` for what each key means."""

    name: str = Field(pattern=r"^[A-Za-z]\w*$", max_length=64)
    title: Text
    kind: Text
    category: Category = "own"
    format: Format = "table"
    folder: str = ""
    labels: list[Annotated[LabelEntry, BeforeValidator(_label_entry)]] = []
    elements: list[str] = []
    polarities: list[Text] = []
    metric: Metric
    instruction: str = ""
    instruction_sha256: str = ""
    splits: dict[str, FileEntry]
    shots: int = Field(default=4, ge=0)
    demonstrations: list[DemonstrationEntry] = []
    columns: dict[str, Text] = {}
    delimiter: str | None = None
    encoding: str | None = None
    domain: str = ""
    licence: str = ""
    citation: str = ""
    url: str = ""
    facts: list[str] = []
    reversed_ties: list[str] = []
    pins: dict[Source, PinsEntry] = {}

    @model_validator(mode="after")
    def _is_consistent(self) -> CardFile:
        if bool(self.labels) == bool(self.elements):
            got = "both" if self.labels else "neither"
            raise ValueError(f"expected labels or elements; got {got}")
        if unknown := sorted(set(self.splits) - set(SPLITS)):
            raise ValueError(f"splits: unknown {unknown[0]!r}; {nearest(unknown[0], SPLITS)}")
        if "test" not in self.splits:
            raise ValueError(f"splits: got {', '.join(self.splits) or 'none'}, expected test")
        if self.labels:
            refuse_labels(self.labels)
        else:
            refuse_elements(self.elements)
        if self.format == "table":
            self._refuse_own()
        return self

    def _refuse_own(self) -> None:
        """What only own cards must hold."""
        if not self.instruction.strip():
            raise ValueError("instruction: got none, expected what the model is told to do")
        lacking = [split for split, entry in self.splits.items() if not entry.file]
        if lacking:
            raise ValueError(f"splits.{lacking[0]}: got no file, expected its path")
        if "own" not in self.pins:
            raise ValueError(
                "pins: got no hashes under own; write the card with: sentibench task new NAME "
                "--test TABLE"
            )
        if self.elements and not self.polarities:
            raise ValueError("polarities: got none, expected what the polarity may be")
        refuse_equal_names("polarities", self.polarities)
        self._refuse_columns()
        names = [label.name for label in self.labels]
        for shown in self.demonstrations if names else ():
            if shown.answer not in names:
                near = nearest(shown.answer, names)
                raise ValueError(f"demonstrations: got the answer {shown.answer!r}; {near}")
        metric = "macro_f1" if self.labels else "tuple_f1"
        if self.metric != metric:
            raise ValueError(f"metric: got {self.metric}, expected {metric}")
        n_pool = len(self.demonstrations)
        if self.shots > n_pool and (n_pool or "train" not in self.splits):
            raise ValueError(
                f"shots: got {self.shots}, expected at most {n_pool}, the demonstrations of the "
                "card; without any, a train file is needed (--train)"
            )

    def _refuse_columns(self) -> None:
        parts = ["label"] if self.labels else ["tuples"]
        wanted = ["text", *(self.elements if self._is_one_opinion_a_row else parts)]
        if missing := [column for column in wanted if column not in self.columns]:
            got = ", ".join(self.columns) or "none"
            raise ValueError(f"columns: got {got}, expected {', '.join(wanted)} ({missing[0]})")
        known = [*wanted, "target"] if self.labels else wanted
        if unknown := [part for part in self.columns if part not in known]:
            raise ValueError(f"columns: unknown {unknown[0]!r}; {nearest(unknown[0], known)}")
        if ("target" in self.columns) != ("%s" in self.instruction):
            raise ValueError(
                "instruction: expected %s in place of the target if the columns have a target "
                f"(--target), else no %s; got {self.instruction[:60]!r}"
            )

    @property
    def _is_one_opinion_a_row(self) -> bool:
        return bool(self.elements) and "tuples" not in self.columns


def refuse_labels(labels: Sequence[LabelEntry]) -> None:
    """Refuse labels that a model could not be asked for.

    Raises:
        ValueError: If they are too few or too many, equal but for case, or if what the model
            chooses between would be no choice.
    """
    names = [label.name for label in labels]
    if not 2 <= len(names) <= MAX_LABELS:
        raise ValueError(
            f"labels: got {len(names)} ({', '.join(names[:3])[:60]}), expected 2 to {MAX_LABELS}: "
            "each is a choice of every item; name another column (--label), or all labels"
        )
    for text in (*names, *(label.word for label in labels)):
        if text != " ".join(text.split()):
            raise ValueError(
                f"labels: got {text!r}, expected text in one line, without outer blanks"
            )
    refuse_equal_names("labels", names)
    words = {label.name: label.word or scoring_word(label.name) for label in labels}
    if clash := clashing(words):
        name, other = clash
        others = {label.name: f"={label.word}" * bool(label.word) for label in labels}
        given = ",".join(one + word for one, word in {**others, name: "=WORD"}.items())
        raise ValueError(
            f"labels: the word {words[name]!r} of {name!r} is the beginning of {words[other]!r} of "
            f"{other!r}, so a model cannot choose between them; give one another word: --labels "
            f"'{given}'"
        )


def clashing(words: Mapping[str, str]) -> tuple[str, str] | None:
    """Return two labels of which the word of the first begins that of the second; None if none."""
    folded = {name: word.casefold() for name, word in words.items()}
    for name, other in permutations(folded, 2):
        if folded[other].startswith(folded[name]):
            return name, other
    return None


def refuse_equal_names(key: str, names: Sequence[str]) -> None:
    """Refuse names that occur twice, in the same case or in another.

    Raises:
        ValueError: With the first two.
    """
    folded = Counter(name.casefold() for name in names)
    if alike := [name for name in names if folded[name.casefold()] > 1]:
        raise ValueError(
            f"{key}: got {alike[0]!r} and {alike[1]!r}, expected names that differ in more than "
            "case"
        )


class StrictLoader(yaml.SafeLoader):
    """YAML in which no key is there twice, and whose mistakes all name their place."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Make a value; what its tag cannot be made of is an error of YAML, with its place."""
        try:
            return cast(Any, super()).construct_object(node, deep=deep)
        # constructors raise whatever Python does, as for the date 2024-13-45
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            kind = node.tag.rpartition(":")[2]
            why = f" ({error})" if isinstance(error, ValueError) else ""
            what = f"got {SHORT.repr(cast(Any, node).value)}, expected a YAML {kind}{why}"
            raise yaml.MarkedYAMLError(None, None, what, node.start_mark) from None

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Compose a mapping; a key that is there twice, or is no text, is an error of YAML."""
        node = super().compose_mapping_node(anchor)
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        seen: set[Any] = set()  # as YAML reads them: 5 and 5.0 are one key
        for key in keys:
            is_truth = key.value.lower() in ("true", "false")  # yes, no and on are read as these
            if key.tag.rpartition(":")[2] in ("bool", "null") and not is_truth:
                what = f"key {key.value!r} is read as a {key.tag.rpartition(':')[2]}; quote it"
                raise yaml.MarkedYAMLError(None, None, what, key.start_mark)
            value = cast(Any, self).construct_object(key)
            if value in seen:
                what = f"key {key.value!r} occurs twice; remove one"
                raise yaml.MarkedYAMLError(None, None, what, key.start_mark)
            seen.add(value)
        return node


class CardLoader(StrictLoader):
    """Reads task files; the functions that they name stay text."""


CardLoader.add_constructor("!function", lambda _loader, node: node.value)


def find_own_cards(folders: Iterable[Path]) -> list[Path]:
    """Return the own cards in some folders and below; other YAML files are not ours."""
    found = (path for folder in folders for path in sorted(folder.rglob("*.yaml")))
    return [path for path in found if path.is_file() and _is_card(path)]


def _is_card(path: Path) -> bool:
    """Whether a file names one of our families; others may be no YAML that is read here."""
    try:
        with path.open("rb") as file:
            if not re.search(rb"class.*sentibench\.", file.read(MAX_BYTES)):
                return False
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    family = read_card_file(path).get("class")
    return isinstance(family, str) and family.startswith("sentibench.")


def refuse_elements(elements: Sequence[str]) -> None:
    """Refuse what makes no tuples.

    Raises:
        ValueError: If an element is unknown or occurs twice, or polarity is not among them.
    """
    if foreign := [part for part in elements if part not in ELEMENTS]:
        raise ValueError(f"elements: unknown {foreign[0]!r}; {nearest(foreign[0], ELEMENTS)}")
    if "polarity" not in elements or len(set(elements)) < len(elements):
        got = ", ".join(elements)
        raise ValueError(f"elements: got {got}, expected each once and polarity among them")


def card_mistake(path: Path, message: str, named: Mapping[str, str]) -> InputError:
    """Say what is wrong with a card.

    Args:
        path: Of the card.
        message: It begins with a key and a colon.
        named: Where the values of keys come from while there is no card: options, columns.
    """
    key, _, rest = message.partition(": ")
    where = named.get(key.partition(".")[0])
    return InputError(f"{where}: {rest}" if where else f"{path}: {message}")


def checked(
    content: dict[str, Any], path: Path, named: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Any]:
    """Check what the file of an own card holds or will hold.

    Args:
        content: Of the file.
        path: Of the file.
        named: See ``card_mistake``.

    Returns:
        All keys of the form, with lm-eval's ``task`` as ``name``.

    Raises:
        InputError: With the file, the key, what it holds, what was expected and a remedy.
    """
    raw = {key: value for key, value in content.items() if key not in ("class", "tag")}
    if "name" in raw:
        raise InputError(f"{path}: unknown key 'name'; did you mean 'task'?")
    raw["name"] = raw.pop("task", None)
    try:
        card = CardFile.model_validate(raw)
    except ValidationError as error:
        raise card_mistake(path, _first_mistake(error), named) from None
    family = CLASSES[0] if card.labels else CLASSES[1]
    wanted = {"class": family, "category": "own", "format": "table"}
    for key, expected in wanted.items():
        if (got := content.get(key, expected)) != expected:
            raise InputError(f"{path}: {key}: got {SHORT.repr(got)}, expected {expected}")
    return card.model_dump()


def read_card_file(path: Path) -> dict[str, Any]:
    """Read a YAML file; nothing where it holds no mapping.

    Raises:
        InputError: If it cannot be read.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(
                f"{path}: larger than {MAX_BYTES >> 20} MB, expected a task card; move it"
            )
        content: Any = yaml.load(path.read_text(encoding="utf-8-sig"), CardLoader)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: expected YAML in UTF-8; got {' '.join(str(error).split())[:200]}; correct it "
            "or move it to another folder"
        ) from None
    return cast("dict[str, Any]", content) if isinstance(content, dict) else {}


_PARTS: dict[Any, type[_Part]] = {
    "labels": LabelEntry,
    "splits": FileEntry,
    "demonstrations": DemonstrationEntry,
    "pins": PinsEntry,
}


def _first_mistake(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    place = "task" if place == "name" else place
    if first["type"] == "value_error":
        message = first["msg"].removeprefix("Value error, ")
        return f"{place}: {message}" if place else message
    if first["type"] == "extra_forbidden":
        form = _PARTS.get(first["loc"][0], CardFile)
        return f"unknown key {place!r}; {nearest(str(first['loc'][-1]), form.model_fields)}"
    if first["type"] == "missing":
        return f"{place}: got nothing, expected this key"
    got = SHORT.repr(first["input"])
    if first["type"] == "string_pattern_mismatch":
        return f"{place}: got {got}, expected letters, digits and _, a letter first"
    quotes = "" if isinstance(first["input"], (dict, list)) else "; put it in quotes"
    message = first["msg"].replace("Input should be", "expected").replace("Keys", "keys")
    return f"{place}: got {got}, {message}{quotes * (first['type'] == 'string_type')}"
