"""A model card from a run's manifest: the README.md of a checkpoint, for the Hugging Face hub.

Names and texts may be hostile: every value that the template prints is escaped for Markdown unless
it is marked as ready, and the front matter is written by a YAML library.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from distill.config import Run
from distill.report.manifest import Manifest, Stage, last_part
from distill.report.wording import (
    compared_means,
    compared_tasks,
    evaluation_notes,
    known_limits,
    label,
    left_out,
    plain,
    template,
    words,
    worse_than_base,
)
from distill.texts.decontamination import NGRAM_WORDS
from sentibench.data.cards import load_cards, load_groups, load_tasks, tasks_named
from sentibench.files import write_beside
from sentibench.pages.text import NONE, short, without_surrogates
from sentibench.prompts.demonstrations import DEFAULT_SEED

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]{1,40}")
TASK_NAME = re.compile(r"[\w:.-]+", re.ASCII)
MARKDOWN = re.compile(r"[\\`*_{}\[\]<>#|~$!&@:^]")
SETTINGS = ("method", "learning_rate", "epochs", "batch_size", "schedule", "max_length")
LEARNT = {"soft": "the distribution", "mixed": "the distribution and the likeliest label"}
FIGURES = ("steps", "supervised_tokens", "left_out_too_long")


class Ready(str):
    """Markdown that this module made; the template prints it as it is."""

    __slots__ = ()


def write_card(checkpoint: Path, model: Stage, manifest: Manifest) -> Path:
    """Write the model card of a merged checkpoint.

    Args:
        checkpoint: The folder; its ``config.json`` may name a licence.
        model: The stage that made it.
        manifest: Of the run.

    Returns:
        ``README.md`` in the folder. A part whose figures are missing says so.

    Raises:
        ValueError: If the run has no such stage.
    """
    stages = manifest.stages
    if model not in stages:
        raise ValueError(f"card of {model!r}: the manifest's stages are {', '.join(stages)}")
    config, through = manifest.config, stages[: stages.index(model) + 1]
    tasks, rows = load_tasks(), manifest.score_rows()
    measured = [tasks[name] for name, _ in rows if name in tasks]
    is_own = bool(measured) and all(task.source == "own" for task in measured)
    front_matter = _front_matter(checkpoint, through, config, is_own)
    comparison = manifest.comparison
    compared = compared_means(comparison) or compared_tasks(comparison)
    columns = [m for m in ("base", model, "teacher") if m in manifest.scores]
    text = template("model_card.md.jinja", markdown).render(
        manifest=manifest,
        model=model,
        front_matter=Ready(yaml.safe_dump(front_matter, sort_keys=False).rstrip("\n")),
        title=manifest.names()[model],
        student=_public_name(config.student),
        is_on_hub=is_on_hub(config.student),
        teacher=_public_name(manifest.teacher.name),
        through=through,
        facts=_facts(through, manifest),
        contaminated=_contaminated(manifest),
        compared_with=_compared_with(config),
        ngram_words=NGRAM_WORDS,
        columns=columns,
        is_own=is_own,
        titles=[task.card.title for task in measured],
        scores=[row for row in rows if set(row[1]) & set(columns)],
        tasks=tasks,
        progress=[(title, of[model]) for _, title, of in compared if model in of],
        has_seen="seen" in comparison.scopes() or "unseen" in comparison.scopes(),
        worse_than_base=Ready(worse_than_base(comparison).get(model, "")),
        left_out=left_out(comparison),
        notes=list(map(Ready, evaluation_notes(manifest))),
        commands=_commands(config),
        example_task=Ready(_example_task(config)),
    )
    path = checkpoint / "README.md"
    write_beside(path, without_surrogates(text))
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
    checkpoint: Path, stages: Sequence[Stage], config: Run, is_own: bool
) -> dict[str, Any]:
    given = {text.dataset for text in config.texts if not text.mini}
    datasets = [name for name in load_cards() if name in given]
    methods = ("knowdist", "icldist") if "mixed" in stages else stages
    subject = ("text-classification",) if is_own else ("sentiment-analysis",)
    return {
        **({"base_model": config.student} if is_on_hub(config.student) else {}),
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "license": _licence(checkpoint, Path(config.student)),
        "tags": [*subject, "distillation", "sentibench", *methods],
        **({"datasets": datasets} if datasets else {}),
    }


def is_on_hub(name: str) -> bool:
    """Whether a name can be one of the hub; a folder that is there is what it says."""
    return bool(HUB_NAME.fullmatch(name)) and not Path(name).exists()


def _licence(*folders: Path) -> str:
    """What the base says about its licence, else ``other``: nobody may give more than they got."""
    for folder in folders:
        try:
            found = json.loads((folder / "config.json").read_text(encoding="utf-8"))["license"]
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            continue
        if isinstance(found, str) and LICENCE.fullmatch(found):
            return found
    return "other"


# The parts


def _public_name(name: str) -> str:
    """A name of the hub, or the last part of a path: a card is published, folders are not."""
    return name if is_on_hub(name) else short(last_part(name), 100)


def _facts(stages: Sequence[Stage], manifest: Manifest) -> list[tuple[str, list[str]]]:
    """Samples, settings and losses: one column per stage, one row per fact."""
    columns = [_facts_of(stage, manifest) for stage in stages]
    keys = dict.fromkeys(key for column in columns for key in column)
    return [(key, [column.get(key, NONE) for column in columns]) for key in keys]


def _facts_of(stage: Stage, manifest: Manifest) -> dict[str, str]:
    config, is_mixed = manifest.config, stage == "mixed"
    sections = {"knowdist": config.knowdist, "icldist": config.icldist}
    facts: dict[str, str] = {}
    for source in ("knowdist", "icldist") if is_mixed else (stage,):
        kept, section = manifest.summary(f"{source}-filter"), sections[source]
        if kept.kept is not None:
            facts["answers kept" + (f", {label(source)}" if is_mixed else "")] = (
                f"{plain(kept.kept)} of {plain(kept.of)}"
            )
        if section and section.difficulty:
            by = section.difficulty.by
            how = "at random" if by == "random" else f"by {by}"
            facts[f"fraction kept {how}"] = plain(section.difficulty.keep)
    summary = manifest.summary(f"{stage}-train")
    if summary.samples is not None:
        facts["samples trained on"] = plain(summary.samples)
    if section := sections["icldist" if is_mixed else stage]:
        training = section.training
        facts |= {words(key): plain(getattr(training, key)) for key in SETTINGS}
        learnt = LEARNT.get(getattr(training, "loss", "hard"))
        if learnt and manifest.summary("icldist-filter").figures().get("with_distributions") != 0:
            facts["learnt of scored labels"] = learnt
        if training.method != "full":
            facts |= {"LoRA r": plain(training.lora.r), "LoRA alpha": plain(training.lora.alpha)}
    figures = summary.figures()
    facts |= {words(key): plain(figures[key]) for key in FIGURES if key in figures}
    if summary.losses:
        facts["loss, nats per token"] = "{:.3f} to {:.3f}".format(*summary.losses)
    chosen = manifest.summary(f"{stage}-choose").chosen
    if chosen:
        facts["checkpoint chosen on validation items"] = short(chosen, 40)
    return facts


def _contaminated(manifest: Manifest) -> int:
    """User texts that were left out as they are in a test set."""
    left_out = manifest.summary("texts").left_out
    return sum(n for _, reason, n in left_out if reason == "contaminated")


def _compared_with(config: Run) -> str:
    """The test texts that nothing learned from overlaps with; empty where nobody looked."""
    source = config.compared_with
    if source is None:
        return ""
    ours = {"real": "a SentiBench test text", "mini": "a SentiBench mini test text", "own": ""}
    named = {*config.evaluation.tasks, *(config.icldist.tasks if config.icldist else ())}
    own = [task for name, task in load_tasks().items() if task.source == "own" and name in named]
    titles = ", ".join(short(task.card.title, 40) for task in own)
    held_out = f"a held-out text of {titles}" if own else ""
    return " or ".join(filter(None, (ours[source], held_out)))


def _example_task(config: Run) -> str:
    """A measured task for the code that shows the use; P-Stance asks for a target too."""
    known = [name for name in config.evaluation.tasks if name in {**load_tasks(), **load_groups()}]
    names = [task.name for task in tasks_named(known, "evaluation.tasks")]
    return next((name for name in names if "pstance" not in name), names[0])


def _commands(config: Run) -> list[tuple[Ready, int | None, int | None]]:
    """Tasks, limits and demonstration seeds with which the scores are measured again.

    None stands for what needs no option: all items, the default seed.
    """
    evaluation, limits = config.evaluation, known_limits(config.evaluation)
    tasks = ",".join(t for t in evaluation.tasks if TASK_NAME.fullmatch(t)) or "sentibench"
    names_of: dict[tuple[int | None, int | None], list[str]] = {(evaluation.limit, None): [tasks]}
    for task, n in limits.items():
        names_of.setdefault((n, None), []).append(task)
    for task, seeds in evaluation.seeds.items():
        for seed in seeds if TASK_NAME.fullmatch(task) else ():
            if seed != DEFAULT_SEED:
                names_of.setdefault((limits.get(task, evaluation.limit), seed), []).append(task)
    return [(Ready(",".join(names)), *how) for how, names in names_of.items()]
