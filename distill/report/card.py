"""A model card from a run's manifest: the README.md of a checkpoint, for the Hugging Face hub.

Names out of files may be hostile: every value that the template prints is escaped for Markdown
unless this module made it, and the front matter is written by a YAML library.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from distill.files import write_beside
from distill.report.manifest_values import (
    NONE,
    dig,
    evaluation_notes,
    items,
    label,
    left_out,
    limits_of,
    mapping,
    model_names,
    number,
    ordered_scores,
    percent,
    plain,
    short,
    span,
    stages_of,
    task_title,
    worse_than_base,
)
from distill.report.page import SURROGATES, template
from distill.texts.decontamination import NGRAM_WORDS
from sentibench.data.cards import load_cards, load_tasks

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]{1,40}")
TASK_NAME = re.compile(r"[\w:.-]+", re.ASCII)
MARKDOWN = re.compile(r"[\\`*_{}\[\]<>#|~$!&@:^]")
SETTINGS = ("method", "learning_rate", "epochs", "batch_size", "schedule", "max_length")
FIGURES = ("steps", "supervised_tokens", "left_out_too_long")


class Ready(str):
    """Markdown that this module made; the template prints it as it is."""

    __slots__ = ()


def write_card(checkpoint: Path, model: str, manifest: Mapping[str, Any]) -> Path:
    """Write the model card of a merged checkpoint.

    Args:
        checkpoint: The folder; its ``config.json`` may name a licence.
        model: Key of the checkpoint in the manifest, one of its ``stages``.
        manifest: As for ``report.write_report``.

    Returns:
        ``README.md`` in the folder. A part whose figures are missing says so.

    Raises:
        ValueError: If the manifest has no such stage.
    """
    stages = stages_of(manifest)
    if model not in stages:
        raise ValueError(f"card of {model!r}: the manifest's stages are {', '.join(stages)}")
    config = mapping(manifest.get("config"))
    through = stages[: stages.index(model) + 1]
    student, on_hub = _student(manifest)
    text = template("model_card.md.jinja", finalize=markdown).render(
        front_matter=Ready(_yaml(_front_matter(checkpoint, through, config))),
        title=model_names(manifest)[model],
        student=student,
        is_on_hub=on_hub,
        teacher=_public_name(dig(manifest, "teacher", "name")),
        revision=short(dig(manifest, "teacher", "revision") or "", 60),
        stages=_stages(through, manifest),
        is_last=model == stages[-1],
        label=label,
        short=short,
        texts=_texts(manifest),
        decontamination=_decontamination(manifest),
        scores=_scores(manifest, model),
        comparison=_comparison(manifest, model),
        limits=[Ready(note) for note in evaluation_notes(manifest)],
        command=Ready(_commands(config)),
        packages=sorted(mapping(manifest.get("packages")).items()),
    )
    path = checkpoint / "README.md"
    write_beside(path, SURROGATES.sub("\ufffd", text))
    return path


def markdown(value: Any) -> str:
    """A text that stays itself in Markdown, within a line or a cell of a table.

    It gets no link, emphasis, code, HTML, formula, mention or cell border of its own. It must not
    begin a line: lists and headings are not escaped.
    """
    if isinstance(value, Ready):
        return value
    # formats such as direction marks can make a name look like another
    text = "".join(c if c.isprintable() or c.isspace() else "\ufffd" for c in str(value))
    escaped = MARKDOWN.sub(r"\\\g<0>", " ".join(text.split()))
    return re.sub(r"(?i)(www)\.", r"\1\\.", escaped)


# The front matter


def _front_matter(
    checkpoint: Path, stages: Sequence[str], config: Mapping[str, Any]
) -> dict[str, Any]:
    student = str(config.get("student") or "")
    base = {"base_model": student} if is_on_hub(student) else {}
    texts = [mapping(text) for text in items(config.get("texts")) if not dig(text, "mini")]
    sources = [name for name in load_cards() if name in [text.get("dataset") for text in texts]]
    methods = ["knowdist", "icldist"] if "mixed" in stages else list(stages)
    return {
        **base,
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "license": _licence(checkpoint, student),
        "tags": ["sentiment-analysis", "distillation", "sentibench", *methods],
        **({"datasets": sources} if sources else {}),
    }


def is_on_hub(name: str) -> bool:
    """Whether a name can be one of the hub; a folder that is there is what it says."""
    return bool(HUB_NAME.fullmatch(name)) and not Path(name).exists()


def _licence(checkpoint: Path, student: str) -> str:
    """What the base says about its licence, else ``other``: nobody may give more than they got."""
    for folder in (checkpoint, *([Path(student)] if student else [])):
        try:
            found = dig(json.loads((folder / "config.json").read_text(encoding="utf-8")), "license")
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(found, str) and LICENCE.fullmatch(found):
            return found
    return "other"


def _yaml(value: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=False).rstrip("\n")


# The parts


def _student(manifest: Mapping[str, Any]) -> tuple[str, bool]:
    """The base's name, without the folders of this machine, and whether it is on the hub."""
    given = str(dig(manifest, "config", "student") or "")
    return _public_name(given), is_on_hub(given)


def _public_name(name: Any) -> str:
    """A name of the hub, or the last part of a path: a card is published, folders are not."""
    if not isinstance(name, str) or not name:
        return "(not named in the manifest)"
    if is_on_hub(name):
        return name
    return short(name.replace("\\", "/").rstrip("/").rpartition("/")[2] or name, 100)


def _stages(stages: Sequence[str], manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Samples, settings and losses: one column per stage, one row per fact."""
    columns = [_facts_of(stage, manifest) for stage in stages]
    keys = dict.fromkeys(key for column in columns for key in column)
    return {
        "titles": [label(stage) for stage in stages],
        "rows": [(key, [column.get(key, NONE) for column in columns]) for key in keys],
    }


def _facts_of(stage: str, manifest: Mapping[str, Any]) -> dict[str, str]:
    steps = mapping(manifest.get("steps"))
    summary = mapping(dig(steps, f"{stage}-train", "summary"))
    section = "icldist" if stage == "mixed" else stage
    training = mapping(dig(manifest, "config", section, "training"))
    facts: dict[str, str] = {}
    for source in ("knowdist", "icldist") if stage == "mixed" else (stage,):
        kept = mapping(dig(steps, f"{source}-filter", "summary"))
        if "kept" in kept and "of" in kept:
            facts["answers kept" + (f", {label(source)}" if stage == "mixed" else "")] = (
                f"{plain(kept['kept'])} of {plain(kept['of'])}"
            )
        share = number(dig(manifest, "config", source, "difficulty", "keep"))
        if share is not None:
            facts["fraction kept by difficulty"] = plain(share)
    if "samples" in summary:
        facts["samples trained on"] = plain(summary["samples"])
    facts |= {_words(key): plain(training[key]) for key in SETTINGS if key in training}
    if training.get("method") != "full":
        lora = mapping(training.get("lora"))
        facts |= {f"LoRA {key}": plain(lora[key]) for key in ("r", "alpha") if key in lora}
    facts |= {_words(key): plain(summary[key]) for key in FIGURES if key in summary}
    first, last = (number(summary.get(f"{end}_loss_nats_per_token")) for end in ("first", "last"))
    if first is not None and last is not None:
        facts["loss, nats per token"] = f"{first:.3f} to {last:.3f}"
    chosen = dig(steps, f"{stage}-choose", "summary", "chosen")
    if chosen is not None:
        facts["checkpoint chosen on validation items"] = short(chosen, 40)
    return facts


def _words(key: str) -> str:
    return key.replace("_", " ")


def _texts(manifest: Mapping[str, Any]) -> list[str]:
    """Where the user texts are from; of files and folders no more than the name in reports."""
    found: list[str] = []
    for text in map(mapping, items(dig(manifest, "config", "texts"))):
        path = str(text.get("file") or text.get("folder") or "")
        stem = path.replace("\\", "/").rstrip("/").rpartition("/")[2]
        name = short(text.get("name") or text.get("dataset") or stem or "unnamed", 60)
        if text.get("mini"):
            name += " (the package's own small texts)"
        elif text.get("dataset"):
            name += " (training split of the SentiBench dataset)"
        found.append(name)
    return found


def _decontamination(manifest: Mapping[str, Any]) -> list[Ready]:
    skipped = items(dig(manifest, "config", "filters", "skip"))
    if "contaminated" in skipped or dig(manifest, "config", "filters") is None:
        return [Ready("Overlap with the SentiBench test sets was not checked.")]
    dropped = sum(
        number(row[2]) or 0
        for row in map(items, items(dig(manifest, "steps", "texts", "summary", "left_out")))
        if len(row) == 3 and row[1] == "contaminated"
    )
    texts = [mapping(text) for text in items(dig(manifest, "config", "texts"))]
    tests = "mini" if texts and all(text.get("mini") for text in texts) else "SentiBench"
    lines = [
        f"Texts, prompts and answers that share a run of {NGRAM_WORDS} words with a {tests} "
        "test text (or are the same as a shorter one) were left out."
    ]
    if dig(manifest, "steps", "texts", "summary") is not None:
        lines.append(f"User texts left out for that reason: {plain(dropped)}.")
    return list(map(Ready, lines))


def _scores(manifest: Mapping[str, Any], model: str) -> dict[str, Any]:
    """The base, this model and the teacher, task by task."""
    known, found = ordered_scores(manifest)
    models = [m for m in ("base", model, "teacher") if m in known]
    rows: list[tuple[str, list[str]]] = []
    for task, by_model in found:
        title = task_title(task)
        cells = [by_model.get(m) for m in models]
        if not any(cells):
            continue
        if task not in load_tasks():
            title = f"mean of {title}"
        rows.append((title, [Ready(_score(cell)) for cell in cells]))
    return {"models": models, "rows": rows if model in models else []}


def _score(cell: tuple[float, float | None] | None) -> str:
    if cell is None:
        return NONE
    value, stderr = cell
    return percent(value) + ("" if stderr is None else f" ± {percent(stderr)}")


def _comparison(manifest: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Differences to the base and gap closed over the means."""
    comparison = mapping(manifest.get("comparison"))
    cells = mapping(dig(comparison, "students", model))
    rows: list[tuple[str, str, str, Any, str]] = []
    for scope in ("all", "seen", "unseen"):
        cell = mapping(cells.get(scope))
        difference = span(cell.get("difference"), signed=True)
        if difference:
            gap = span(cell.get("gap_closed"), digits=0)
            reason = short(cell.get("reason") or "unknown", 200)
            n_tasks = plain(cell.get("n_tasks"))
            rows.append(
                (label(scope), n_tasks, Ready(difference), Ready(gap) if gap else "", reason)
            )
    return {
        "rows": rows,
        "replicates": plain(comparison.get("replicates")),
        "left_out": left_out(comparison),
        "worse_than_base": [Ready(line) for line in worse_than_base({"students": {model: cells}})],
    }


def _commands(config: Mapping[str, Any]) -> str:
    """How the scores are measured again, with the settings of the run; one line per limit."""
    given = [str(task) for task in items(dig(config, "evaluation", "tasks"))]
    tasks = ",".join(task for task in given if TASK_NAME.fullmatch(task)) or "sentibench"
    dtype = dig(config, "evaluation", "dtype")
    of_limit: dict[float | None, list[str]] = {number(dig(config, "evaluation", "limit")): [tasks]}
    for task, n in limits_of(config).items():
        of_limit.setdefault(n, []).append(task)
    return "\n".join(
        "lm_eval --model sentibench-hf --model_args pretrained=path/to/this/model,"
        f"dtype={dtype if dtype in ('bfloat16', 'float16') else 'float32'},softmax_dtype=float32 "
        f"\\\n  --tasks {','.join(names)}" + ("" if limit is None else f" --limit {limit:.0f}")
        for limit, names in of_limit.items()
    )
