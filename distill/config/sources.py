"""Where user texts come from, and how they are cleaned."""

from __future__ import annotations

from glob import has_magic
from pathlib import Path
from typing import Any, Literal, cast, get_args

from pydantic import Field, field_validator, model_validator

from distill.config.section import Count, Section
from sentibench.data.cards import load_cards
from sentibench.data.tables import COMPRESSIONS, HUB, OnBadRows, plain_text
from sentibench.errors import nearest


class Texts(Section):
    """One source of user texts.

    Attributes:
        dataset: A dataset of the benchmark. Its training split is read, with gold labels.
        file: A file. Its ending determines how it is read: CSV, TSV, JSON, JSON lines, Parquet, or
            ``.txt`` with one text per line. Text files may be compressed (``.gz``, ``.zst``). A
            pattern such as ``shards/*.jsonl.gz`` names several files.
        folder: A folder written by ``datasets``' ``save_to_disk``.
        hub: A dataset of the Hugging Face hub, ``OWNER/NAME`` or ``OWNER/NAME:CONFIGURATION``.
        split: Split of ``folder`` or ``hub``, if there are several; default: train.
        revision: Branch, tag or commit of ``hub``; default: the newest state.
        column: Column of the text.
        label_column: Column of the gold label.
        labels: New names of gold labels in ``label_column``, such as ``{"5 stars": "positive"}``.
        name: Name of the source in reports; default: the name of the dataset or file.
        count: Largest number of texts that are drawn; ``null`` for all.
        mini: Whether the package's own small texts are read instead of the dataset.
        delimiter: Delimiter of a CSV file; default: detected.
        encoding: Encoding of a text file; default: UTF-8, or detected.
        on_bad_rows: What happens at a row that does not fit the header, or has an empty label.
            ``stop``: the run stops. ``drop``: the row is left out and counted.
    """

    dataset: str | None = None
    file: Path | None = None
    folder: Path | None = None
    hub: str | None = Field(default=None, pattern=r"^\w[\w.-]*(/\w[\w.-]*)?(:[\w.-]+)?$")
    split: str | None = None
    revision: str | None = None
    column: str = Field(default="text", min_length=1)
    label_column: str | None = Field(default=None, min_length=1)
    labels: dict[str, str] = Field(default={})
    name: str = ""
    count: Count | None = None
    mini: bool = False
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    encoding: str | None = None
    on_bad_rows: OnBadRows = "stop"

    @field_validator("labels", mode="before")
    @classmethod
    def _labels_as_written(cls, labels: Any) -> Any:
        """YAML reads 5, 5.0 and true as no texts."""
        if not isinstance(labels, dict):
            return labels
        given = cast("dict[Any, Any]", labels).items()
        return {
            plain_text(key): plain_text(value) if isinstance(value, (bool, int, float)) else value
            for key, value in given
        }

    @model_validator(mode="after")
    def _one_source(self) -> Texts:
        given = [key for key in ("dataset", "file", "folder", "hub") if getattr(self, key)]
        if len(given) != 1:
            got = " and ".join(given) or "none"
            raise ValueError(f"expected exactly one of dataset, file, folder, hub; got {got}")
        if self.dataset and self.dataset not in load_cards():
            raise ValueError(
                f"dataset: unknown name {self.dataset!r}; {nearest(self.dataset, load_cards())}"
            )
        if self.labels and not self.label_column and not self.dataset:
            raise ValueError(
                "labels: got no label_column, which labels needs; give it, or remove labels"
            )
        if self.mini and not self.dataset:
            raise ValueError("mini: got no dataset, which mini needs; give one, or remove mini")
        of_files = ("delimiter", "encoding")
        of_tables = ("column", "label_column", "labels", "split", "on_bad_rows", *of_files)
        foreign = {
            "dataset": ("revision", *of_tables),
            "file": ("revision", "split"),
            "folder": ("revision", *of_files),
            "hub": of_files,
        }[given[0]]
        fields = type(self).model_fields
        ignored = [key for key in foreign if getattr(self, key) != fields[key].default]
        if ignored:
            why = ": its training split and labels are known" if self.dataset else ""
            raise ValueError(f"{', '.join(ignored)}: not used with {given[0]}{why}; remove it")
        return self

    @property
    def source(self) -> str:
        """The name in reports."""
        name = Path(self.place.removeprefix(HUB).partition(":")[0] if self.hub else self.place)
        if self._is_pattern:
            name = _fixed(name)
        name = name.with_suffix("") if name.suffix.lower() in COMPRESSIONS else name
        return self.name or self.dataset or name.stem or "texts"

    @property
    def files(self) -> list[Path]:
        """The files that ``file`` names, in the order of their names; or the folder."""
        named = self.file or self.folder
        if named is None or not self._is_pattern:
            return [named] if named else []
        return sorted(_fixed(named).glob(str(named.relative_to(_fixed(named)))))

    @property
    def _is_pattern(self) -> bool:
        return self.file is not None and has_magic(str(self.file)) and not self.file.exists()

    @property
    def place(self) -> str:
        """What ``read_table`` reads; empty for a dataset of the benchmark."""
        return f"{HUB}{self.hub}" if self.hub else str(self.file or self.folder or "")


def _fixed(pattern: Path) -> Path:
    """The folder that a pattern begins with."""
    return next(path for path in pattern.parents if not has_magic(str(path)))


Change = Literal["markup", "entities", "links"]
Personal = Literal["mail", "phone", "handle"]
CHANGES: tuple[Change, ...] = get_args(Change)


class Cleaning(Section):
    """What is done to texts before they are drawn. Every change and every loss is counted.

    Attributes:
        skip: Rules that are switched off. The rule ``markup`` removes HTML tags. ``entities``
            decodes HTML entities such as ``&amp;``. ``links`` removes bare links. ``no words``
            leaves out texts without a letter. ``case`` leaves out texts that differ from another
            only in case and whitespace.
        mask: Personal data that are replaced by placeholders in the texts of the run and in all its
            requests: mail addresses, phone numbers, handles. Not masked: the prompts by which local
            models are measured, and the items and prompts in ``results/``.
    """

    skip: tuple[Change | Literal["no words", "case"], ...] = ()
    mask: tuple[Personal, ...] = ()

    @property
    def changes(self) -> tuple[Change, ...]:
        """What is changed in texts, masks apart."""
        return tuple(change for change in CHANGES if change not in self.skip)
