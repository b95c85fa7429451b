"""Rows -> plain data: what the page, leaderboard.json and the tables are made from."""

# pyright: basic
# JSON of other programs and scipy carry no types: their unknowns end in this module.

from __future__ import annotations

import hashlib
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from leaderboard.board import (
    COLUMNS,
    SPLITS,
    Cell,
    Ranking,
    Row,
    cells_of,
    compare,
    gap_closed,
    rank_rows,
    task_name,
    tasks_of,
)
from leaderboard.results import Problem, TaskRun
from sentibench.data.cards import CATEGORIES, Card, Source, load_cards
from sentibench.data.read import split_file
from sentibench.scoring.metrics import class_scores, score_function
from sentibench.scoring.parse import answer_text, parse_strict
from sentibench.scoring.samples import METRICS, SampleText
from sentibench.scoring.statistics import wilson

SCHEMA = 1
TITLE = {
    "real": "SentiBench leaderboard",
    "mini": "SentiBench mini: own small texts, never comparable with SentiBench",
}
TITLES = {"basic": "Basic", "multifaceted": "Multifaceted", "finegrained": "Fine-grained"}
SHOWN_ARGUMENTS = (
    *("pretrained", "model", "revision", "peft", "delta", "tokenizer", "dtype", "softmax_dtype"),
    *("max_length", "add_bos_token", "trust_remote_code", "gguf_file", "load_in_4bit"),
    *("load_in_8bit", "attn_implementation", "parallelize", "quantization"),
    *("tensor_parallel_size", "data_parallel_size", "max_model_len", "gpu_memory_utilization"),
)
"""Model arguments that a command shows; others may be private (addresses, keys, folders)."""


def build_view(
    rows: Sequence[Row], problems: Sequence[Problem], source: Source, replicates: int
) -> dict[str, Any]:
    """Make the content of leaderboard.json.

    Args:
        rows: All measured rows.
        problems: Files that were left out.
        source: Real or mini.
        replicates: Of the bootstrap behind ranks and intervals.

    Returns:
        Plain dicts, lists, texts and numbers; scores are fractions. See docs/leaderboard.md.
    """
    ranked = [row for row in rows if not row.reasons]
    drawn: dict[str, Any] = {}
    rankings = (
        {m: rank_rows(ranked, m, source, replicates, drawn) for m in METRICS} if ranked else {}
    )
    unranked = sorted(
        (row for row in rows if row.reasons), key=lambda row: (row.info.name, row.key)
    )
    order = [*(rankings["official"].rows if rankings else ()), *unranked]
    shown = [_measured(row, rankings) for row in order]
    shown += _reported() if source == "real" else []
    conditions = {row.key: _conditions(row) for row in order}
    _add_lineage(shown, conditions, source)
    _distinguish(shown)
    for row, content in zip(order, shown, strict=False):  # reported rows have no Row
        base = content["lineage"][0]["name"] if content["lineage"] else row.info.base
        content["gap"] = {m: _cell(gap_closed(r, row, base)) for m, r in rankings.items()}
    return _rounded(
        {
            "schema": SCHEMA,
            "title": TITLE[source],
            "source": source,
            "metrics": list(METRICS),
            "categories": [
                {"name": name, "title": TITLES[name], "tasks": tasks_of(name, source)}
                for name in CATEGORIES
            ],
            "tasks": [_task(card, source, rows) for card in load_cards().values()],
            "rows": shown,
            "comparisons": [
                {"metric": metric, **comparison}
                for metric, ranking in rankings.items()
                for comparison in compare(ranking, metric)
            ],
            "report": [{"file": problem.file, "reason": problem.reason} for problem in problems],
        }
    )


def _rounded(value: Any) -> Any:
    """Nine digits: what is behind them differs between machines, and the page must not."""
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


def _task(card: Card, source: Source, rows: Sequence[Row]) -> dict[str, Any]:
    name = task_name(card, source)
    runs = [run for row in rows for run in row.runs.get(name, ())]
    whole = next((run for run in runs if run.samples.is_whole), None)
    distribution, baselines = _gold_facts(card, whole) if whole else ([], [])
    return {
        "name": name,
        "title": card.title,
        "category": card.category,
        "task": card.task,
        "metric": card.metric,
        "labels": list(card.labels),
        "elements": list(card.elements),
        "n_items": split_file(runs[0].task, "test").rows if runs else None,
        "distribution": distribution,
        "baselines": baselines,
        "facts": list(card.facts) if source == "real" else [],
        "url": card.url if source == "real" else "",
    }


def _gold_facts(card: Card, run: TaskRun) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Class distribution and the scores of answers that do not look at the text."""
    sums = run.samples.statistics["official"].sum(axis=0)
    if not card.is_label_task:
        n_empty = int(np.count_nonzero(run.samples.statistics["official"][:, 3] == 0))
        return [
            {"label": "items with an opinion", "count": run.samples.n_items - n_empty},
            {"label": "items without", "count": n_empty},
            {"label": "gold tuples", "count": int(sums[3])},
        ], []
    gold = sums[: len(card.labels)]
    share = gold / gold.sum()
    majority = 2 * share.max() / (share.max() + 1) / len(card.labels)
    chance = 1 / len(card.labels)
    uniform = float(np.mean(2 * share * chance / (share + chance)))
    return [
        {"label": label, "count": int(count)}
        for label, count in zip(card.labels, gold, strict=True)
    ], [
        {"name": "always the most frequent label", "score": float(majority)},
        {"name": "a label at random", "score": uniform},
    ]


def _measured(row: Row, rankings: Mapping[str, Ranking]) -> dict[str, Any]:
    first = next(iter(row.runs.values()))[-1]
    cells = {
        m: rankings[m].cells[row.key] if not row.reasons else cells_of(row, m) for m in METRICS
    }
    invalid = {
        task: float(np.mean([run.samples.invalid.mean() for run in runs]))
        for task, runs in row.runs.items()
    }
    return {
        **asdict(row.info),
        "trained_on": list(row.info.trained_on),
        "key": row.key,
        "kind": "measured",
        "ranked": not row.reasons,
        "reasons": list(row.reasons),
        "n_tasks": len(row.runs),
        "protocol": asdict(first.protocol),
        "seeds": sorted({run.seed for runs in row.runs.values() for run in runs}),
        "scores": {
            metric: {name: _cell(of_metric.get(name)) for name in (*COLUMNS, *SPLITS, *row.runs)}
            for metric, of_metric in cells.items()
        },
        "rank": None if row.reasons else {m: _rank(rankings[m], row) for m in METRICS},
        "invalid": invalid,
        "invalid_interval": {
            task: wilson(rate, row.runs[task][0].samples.n_items) for task, rate in invalid.items()
        },
        "badges": _badges(row),
        "command": _command(row),
        "history": [
            {
                "date": _date(run),
                "task": run.task.name,
                "score": float(
                    score_function(run.task.card)(run.samples.statistics["official"].sum(axis=0))
                ),
            }
            for run in row.history
        ],
        **_label_details(row),
    }


def _cell(cell: Cell | None) -> dict[str, Any] | None:
    return None if cell is None else asdict(cell)


def _rank(ranking: Ranking, row: Row) -> dict[str, Any]:
    position = ranking.rows.index(row)
    low, high = ranking.ranks[position]
    return {
        "position": position + 1,
        "low": low,
        "high": high,
        "group": ranking.groups[position],
        "p_above": ranking.p_above[position],
    }


def _date(run: TaskRun) -> str:
    return datetime.fromtimestamp(run.date, timezone.utc).strftime("%Y-%m-%d %H:%M")


def _badges(row: Row) -> list[dict[str, str]]:
    """What readers compare before they compare scores; several values are joined."""
    runs = [run for of_task in row.runs.values() for run in of_task]

    def values(name: str) -> str:
        return ", ".join(sorted({str(getattr(run.facts, name)) for run in runs}))

    return [
        {"name": "lm-eval", "value": values("lm_eval")},
        {"name": "task version", "value": values("version")},
        {"name": "dtype", "value": values("dtype")},
        *([{"name": "limit", "value": limit}] if (limit := values("limit")) != "None" else []),
        {"name": "seeds", "value": ", ".join(sorted({str(run.seed) for run in runs}))},
        {"name": "data", "value": _joint_hash((r.task.name, r.samples.data_key) for r in runs)},
        {
            "name": "prompts",
            "value": _joint_hash((r.task.name, r.samples.prompt_key) for r in runs),
        },
        {"name": "newest run", "value": max(_date(run) for run in runs)},
    ]


def _joint_hash(keys: Iterable[tuple[str, str]]) -> str:
    """One short hash over the tasks: equal where all of them are."""
    text = "\n".join(f"{task} {key}" for task, key in sorted(set(keys)))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _command(row: Row) -> str:
    """The commands that make the row again, one per seed, without private arguments."""
    return "\n".join(_command_of(row, run) for run in next(iter(row.runs.values())))


def _command_of(row: Row, run: TaskRun) -> str:
    shown = [
        f"{name}={_shown_value(str(value))}"
        for name, value in run.facts.model_args.items()
        if name in SHOWN_ARGUMENTS
    ]
    parts = ["lm_eval", "--model", run.facts.model_type, "--model_args", ",".join(shown)]
    group = "sentibench" if run.task.source == "real" else "sentibench_mini"
    parts += ["--tasks", group if len(row.runs) == 12 else ",".join(row.runs)]
    if run.protocol.shots != 4:
        parts += ["--num_fewshot", str(run.protocol.shots)]
    if run.seed != 42:
        parts += ["--metadata", f"demo_seed={run.seed}"]
    if run.protocol.chat_template:
        parts += ["--apply_chat_template"]
        parts += ["--fewshot_as_multiturn", str(run.protocol.multiturn).lower()]
    if run.protocol.system_instruction:
        parts += ["--system_instruction", run.protocol.system_instruction]
    if run.protocol.gen_kwargs:
        parts += ["--gen_kwargs", str(run.protocol.gen_kwargs)]
    if run.facts.limit is not None:
        parts += ["--limit", str(run.facts.limit)]
    parts += ["--batch_size", str(run.facts.batch_size), "--output_path", "results"]
    return shlex.join([*parts, "--log_samples"])


def _shown_value(value: str) -> str:
    """Keep hub names; of a path only its last part."""
    if re.fullmatch(r"[\w.-]+(/[\w.-]+)?", value) and not value.startswith("."):
        return value
    return re.split(r"[/\\]", value.rstrip("/\\"))[-1]


def _label_details(row: Row) -> dict[str, Any]:
    """Confusion matrices (rows gold; columns predicted, the last unreadable) and class scores."""
    confusion: dict[str, list[list[int]]] = {}
    per_class: dict[str, list[dict[str, Any]]] = {}
    for task, runs in row.runs.items():
        labels = runs[0].task.card.labels
        if not labels:
            continue
        k = len(labels)
        matrix = np.zeros((k, k + 1), dtype=int)
        for run in runs:
            gold, predicted, _ = np.split(run.samples.statistics["official"], 3, axis=1)
            unreadable = predicted.sum(axis=1) == 0
            columns = np.where(unreadable, k, predicted.argmax(axis=1))
            np.add.at(matrix, (gold.argmax(axis=1), columns), 1)
        confusion[task] = matrix.tolist()
        sums = np.sum([run.samples.statistics["official"].sum(axis=0) for run in runs], axis=0)
        per_class[task] = [
            {"label": label, "precision": float(p), "recall": float(r), "f1": float(f)}
            for label, p, r, f in zip(labels, *class_scores(sums), strict=True)
        ]
    return {"confusion": confusion, "per_class": per_class}


def _reported() -> list[dict[str, Any]]:
    """The paper's rows."""
    path = Path(__file__).parents[1] / "paper.yaml"
    tasks = tasks_of("overall", "real")
    rows: list[dict[str, Any]] = []
    for number, raw in enumerate(yaml.safe_load(path.read_text(encoding="utf-8"))):
        values = {task: score / 100 for task, score in zip(tasks, raw["scores"], strict=True)}
        for column in (*COLUMNS, *SPLITS):
            members = [values[task] for task in tasks_of(column, "real")]
            values[column] = sum(members) / len(members)
        cells = {
            name: {"value": value, "low": None, "high": None, "n": None}
            for name, value in values.items()
        }
        rows.append(
            {
                "key": f"paper{number}",
                "kind": "reported",
                "name": raw["name"],
                "family": "",
                "parameters": raw.get("parameters"),
                "role": raw.get("role", ""),
                "base": raw.get("base", ""),
                "teacher": raw.get("teacher", ""),
                "licence": "",
                "link": "https://arxiv.org/abs/2503.03225",
                "trained_on": [],
                "ranked": False,
                "reasons": ["reported in the paper, not measured here"],
                "n_tasks": len(tasks),
                "protocol": {},
                "seeds": [42, 52, 62],
                "scores": {"official": cells, "strict": dict.fromkeys(cells)},
                "rank": None,
                "gap": {},
                "invalid": {},
                "invalid_interval": {},
                "badges": [],
                "command": "",
                "history": [],
                "confusion": {},
                "per_class": {},
            }
        )
    return sorted(rows, key=lambda row: -row["scores"]["official"]["overall"]["value"])


def _distinguish(rows: Sequence[dict[str, Any]]) -> None:
    """Say in the name how rows of one model differ, where several have the same name."""
    counts = Counter(row["name"] for row in rows)
    for row in rows:
        if counts[row["name"]] > 1 and row["kind"] == "measured":
            protocol = row["protocol"]
            notes = [f"{protocol['shots']} shots"] if protocol["shots"] != 4 else []
            notes += ["chat template"] if protocol["chat_template"] else []
            notes += ["limited"] if any("limited" in reason for reason in row["reasons"]) else []
            notes += [f"seeds {', '.join(map(str, row['seeds']))}"] if row["seeds"] != [42] else []
            row["name"] += f" ({'; '.join(notes)})" if notes else ""
    counts = Counter(row["name"] for row in rows)
    for row in rows:
        if counts[row["name"]] > 1:
            row["name"] += f" [{row['key'][1:5]}]"


def _conditions(row: Row) -> dict[str, list[Any]]:
    """Task -> what has to be the same in another row for the two scores to be compared."""
    return {
        task: [
            (
                run.seed,
                run.protocol,
                run.facts.version,
                run.samples.data_key,
                run.samples.prompt_key,
            )
            for run in runs
        ]
        for task, runs in row.runs.items()
    }


def _add_lineage(
    rows: Sequence[dict[str, Any]], conditions: Mapping[str, Mapping[str, Any]], source: Source
) -> None:
    """From the first ancestor to the model itself, by the declared base models.

    All of them have the mean over the tasks that all answered under the same conditions: items,
    prompts, protocol, seeds. Reported rows have the paper's.
    """
    tasks = tasks_of("overall", source)

    def shared(chain: Sequence[dict[str, Any]]) -> list[str]:
        known = [conditions.get(link["key"], dict.fromkeys(tasks, "reported")) for link in chain]
        first = known[0]
        return [t for t in tasks if t in first and all(k.get(t) == first[t] for k in known)]

    for row in rows:
        chain = [row]
        while True:
            found = [[r, *chain] for r in rows if r["name"] == chain[0]["base"] and r not in chain]
            if not found:
                break
            chain = max(found, key=lambda chain: len(shared(chain)))  # the first of equals
        columns = shared(chain)
        row["lineage"] = [
            {
                "name": link["name"],
                "mean": _mean(link, columns) if columns else None,
                "n_tasks": len(columns),
            }
            for link in chain
            if len(chain) > 1
        ]


def _mean(row: Mapping[str, Any], tasks: Sequence[str]) -> float:
    return float(np.mean([row["scores"]["official"][task]["value"] for task in tasks]))


def build_samples(rows: Sequence[Row], source: Source) -> dict[str, Any]:
    """Texts, gold and answers per task, for the sample browser. Not for ``--no-text``."""
    samples: dict[str, Any] = {}
    comparable = _same_data(rows)
    for task in tasks_of("overall", source):
        runs = {row.key: row.runs[task][0] for row in comparable if task in row.runs}
        items = {s.index: s for run in runs.values() for s in run.samples.texts}
        indices = sorted(items)
        if not indices:
            continue
        answers: dict[str, list[str]] = {}
        right: dict[str, str] = {}
        marks: dict[str, list[Any]] = {}
        for key, run in runs.items():
            own = {
                s.index: (s, hit)
                for s, hit in zip(run.samples.texts, run.samples.right, strict=True)
            }
            answers[key] = [own[i][0].answer if i in own else "" for i in indices]
            if run.task.card.elements:
                marks[key] = [_marks(run, own[i][0]) if i in own else [] for i in indices]
            right[key] = "".join("10"[not own[i][1]] if i in own else "-" for i in indices)
        samples[task] = {
            "items": [
                {"index": i, "sentence": items[i].sentence, "gold": items[i].gold} for i in indices
            ],
            "answers": answers,
            "right": right,
            "marks": marks,
        }
    return samples


def _marks(run: TaskRun, sample: SampleText) -> list[list[str]]:
    """Tuples of gold and answer with what became of them: found, missed or invented (exactly)."""
    n_elements = len(run.task.card.elements)
    answer = parse_strict(n_elements, answer_text(sample.answer))
    guesses = Counter(t if t is not None else ("malformed tuple",) for t in answer.tuples)
    gold = Counter(t for t in parse_strict(n_elements, sample.gold).tuples if t is not None)
    return [
        [", ".join(parts), mark]
        for mark, counted in (
            ("found", gold & guesses),
            ("missed", gold - guesses),
            ("invented", guesses - gold),
        )
        for parts in counted.elements()
    ]


def hardest_items(rows: Sequence[Row], source: Source) -> list[dict[str, Any]]:
    """Items that no model got right: hard, or candidates for errors in the gold.

    Args:
        rows: All measured rows; those over other data do not count.
        source: Real or mini.

    Returns:
        Per item its task and position in the test file, the number of runs that asked it (at
        least two) and, where the texts were read, sentence and gold.
    """
    comparable = _same_data(rows)
    hardest: list[dict[str, Any]] = []
    for task in tasks_of("overall", source):
        asked: Counter[int] = Counter()
        solved: set[int] = set()
        texts: dict[int, SampleText] = {}
        for row in comparable:
            for run in row.runs.get(task, ()):
                asked.update(run.samples.indices.tolist())
                solved.update(run.samples.indices[run.samples.right].tolist())
                texts |= {sample.index: sample for sample in run.samples.texts}
        for index in sorted(asked):
            if asked[index] > 1 and index not in solved:
                found = {"task": task, "index": index, "runs": asked[index]}
                if index in texts:
                    found |= {"sentence": texts[index].sentence, "gold": texts[index].gold}
                hardest.append(found)
    return hardest


def _same_data(rows: Sequence[Row]) -> list[Row]:
    """The rows over the data that most share: items of others cannot be compared."""
    return [row for row in rows if not any(r.startswith("other data") for r in row.reasons)]
