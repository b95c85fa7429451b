"""The board -> one self-contained page.

Every name and text in it may be hostile. Three things keep it text: Jinja2 escapes all of it, the
JSON for the script cannot end its element, and the policy in the page runs nothing but the two
scripts and the one style sheet whose hashes it names. What cannot be seen is shown as U+FFFD, but
in the packed items, which stay what they are, and texts without end are cut.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from markupsafe import Markup

from leaderboard.board import SPLITS, Board
from leaderboard.items import TaskItems
from leaderboard.page import calibration, data, view
from sentibench.pages import calibration as measures
from sentibench.pages.drawing import Axis
from sentibench.pages.environment import template_environment
from sentibench.pages.text import counted, percent, short, visible, without_surrogates

HERE = Path(__file__).parent
GROUPS = {
    "ranked": "Ranked",
    "server": "The server writes the prompt: ranked among themselves",
    "labels": "The server writes the prompt and only decides: ranked by the datasets with labels",
    "nobody": "Not a language model: ranked by the datasets with labels",
    "unranked": "Measured, not ranked",
    "reported": "Reported in publications, not measured here",
}
PAPER = "https://arxiv.org/abs/2503.03225"
CODE = "https://github.com/HITSZ-HLT/Sentiment-Distillation"
CITATION = """\
@inproceedings{zhang-etal-2025-targeted,
  title     = {Targeted Distillation for Sentiment Analysis},
  author    = {Zhang, Yice and Xie, Guangyu and Lin, Jingjie and Bao, Jianzhu and
               Wang, Qianlong and Zeng, Xi and Xu, Ruifeng},
  booktitle = {Proceedings of the 2025 Conference on Empirical Methods in Natural Language
               Processing},
  year      = {2025},
  pages     = {22158--22181},
  doi       = {10.18653/v1/2025.emnlp-main.1127},
  note      = {arXiv:2503.03225}
}"""
METRIC_NAMES = {
    "macro_f1": "mean F1 of the labels",
    "tuple_f1": "F1 of exact opinions",
    "graph_f1": "F1 of weighted opinions",
}
MOST_FILES = 200  # of the build report
LONGEST_COMMAND = 4_000
# stands in the head, so that nothing is laid out twice while the page comes in
FIRST_SCRIPT = 'document.documentElement.classList.add("on")'
FOREST_NOTE = (
    "Dots: scores; bars: 95% intervals over the test items. Hollow: reported, not measured here. "
    "Rows without a rank are left out."
)
# what would end a script element, is no line end in JSON but one in old JavaScript, or is no text
UNSAFE = re.compile("[<>&\u2028\u2029\ud800-\udfff]")


def render_page(
    board: Board,
    items: Mapping[str, TaskItems] | None,
    beside: tuple[str, str] | None = None,
) -> str:
    """Render the whole page.

    Args:
        board: What leaderboard.json holds.
        items: Texts and answers per task; None keeps every dataset text out.
        beside: Title and address of the page that the head links to.

    Returns:
        HTML that needs no other file and asks the network for nothing. The same input gives the
        same text.
    """
    environment = template_environment(HERE / "templates")
    filters: dict[str, Any] = environment.filters
    filters |= {"percent": percent, "parameters": view.parameters, "short": short}
    filters |= {"p": view.p_text, "link": view.link}
    css, script = _static("page.css"), _static("page.js")
    rows, items, metric = board.rows, items or {}, board.metrics[0]
    columns = view.columns_of(board)
    scores = [column.name for column in columns if column.is_score]
    axes = {m: data.axes_of(board, m) for m in board.metrics}
    css += _grid(axes[metric]["overall"])
    return environment.get_template("page.html.j2").render(
        board=board,
        rows=rows,
        metric=metric,
        by_key={row.key: row for row in rows},
        groups=[
            (group, title, members)
            for group, title in GROUPS.items()
            if (members := [row for row in rows if row.group == group])
        ],
        tasks={task.name: task for task in board.tasks},
        datasets=counted(len(board.tasks), "dataset"),
        columns=columns,
        averages=[*board.averages, *(SPLITS if board.source != "own" else ())],
        titles=board.titles | {"seen": "Seen", "unseen": "Unseen"},
        beside=beside,
        best=view.best_cells(board, scores),
        shades={
            name: {key: of.shade for key, of in data.standings(board, metric, name).items()}
            for name in scores
        },
        letters={metric: view.tie_letters(board, metric)},
        axes=axes[metric],
        headlines={m: view.headline(board, m) for m in board.metrics},
        forests={m: view.plot_of_intervals(board, m) for m in board.metrics},
        narrow_forests={m: view.plot_of_intervals(board, m, narrow=True) for m in board.metrics},
        forest_titles={m: _forest_title(board, m) for m in board.metrics},
        forest_note=FOREST_NOTE,
        plots={m: view.plot_of(board, m) for m in board.metrics},
        matrices={m: view.pair_matrix(board, m) for m in board.metrics},
        chains=[row for row in rows if row.lineage],
        families=sorted({short(row.family, 80) for row in rows if row.family}),
        roles=sorted({row.role for row in rows if row.role}),
        sizes=view.SIZES,
        size_bin=view.size_bin,
        quote=view.quote,
        interval=view.interval,
        rank=view.rank_text,
        fact=view.fact_text,
        whole=view.whole_fact,
        spread=view.spread_text,
        calibration=calibration,
        measures=measures,
        facts=view.run_facts,
        protocol=view.protocol_facts,
        settings=view.settings,
        metric_names=METRIC_NAMES,
        most_files=MOST_FILES,
        longest_command=LONGEST_COMMAND,
        paper=PAPER,
        code=CODE,
        data=f"{CODE}/tree/HEAD/datasets",
        citation=CITATION,
        recipe=_recipe(board),
        css=Markup(css),
        first_script=Markup(FIRST_SCRIPT),
        script=Markup(script),
        policy=_policy(css, FIRST_SCRIPT, script),
        board_json=_json(_script_data(board, columns, scores, axes)),
        pairs_json=_json(data.script_comparisons(board)),
        classes_json=_json(_classes(board)),
        sample_tasks=[task for task in board.tasks if task.name in items],
        packed=[part for name, of in sorted(items.items()) for part in _packed_items(name, of)],
    )


def render_plots(board: Board) -> dict[str, str]:
    """The plot of all intervals as files beside the page: name -> SVG, one per metric."""
    environment = template_environment(HERE / "templates")
    files: dict[str, str] = {}
    for metric in board.metrics:
        plot = view.plot_of_intervals(board, metric)
        if plot is not None:
            title = _forest_title(board, metric)
            text = environment.get_template("intervals.svg.j2").render(
                id=f"forest-{metric}", title=title, plot=plot, note=FOREST_NOTE
            )
            files[f"intervals_{metric}.svg"] = text.strip() + "\n"
    return files


def _forest_title(board: Board, metric: str) -> str:
    date = f", {board.newest[:10]}" if board.newest else ""
    return f"{board.title}: {metric} metric{date}"


def _recipe(board: Board) -> str:
    groups = {"real": "sentibench", "mini": "sentibench_mini"}
    tasks = groups.get(board.source, ",".join(task.name for task in board.tasks))
    program = "sentibench run" if board.source == "own" else "lm_eval"
    return (
        "pip install '.[hf]'   # in a copy of SentiBench\n"
        f"{program} --model hf "
        "--model_args pretrained=MODEL,dtype=bfloat16,softmax_dtype=float32 \\\n"
        f"    --tasks {tasks} --batch_size 4 --output_path results --log_samples\n"
        "python -m leaderboard build results --out site"
    )


def _static(name: str) -> str:
    """Read a style sheet or script; a page with one that ends its own element is never made."""
    text = (HERE / "static" / name).read_text(encoding="utf-8")
    if re.search("</(script|style)|<!--", text, re.IGNORECASE):
        raise ValueError(f"{name}: would end the element that it stands in")
    return text


def _grid(axis: Axis) -> str:
    """The lines of the table's plot: a background costs nothing where rows are moved."""
    lines = (
        f"#0000 {x}%,var(--line) {x}% calc({x}% + 1px),#0000 calc({x}% + 1px)"
        for x in map(axis.at, axis.ticks)
    )
    return f"td.plot{{background-image:linear-gradient(90deg,{','.join(lines)})}}\n"


def _policy(css: str, *scripts: str) -> str:
    def digest(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")

    allowed = " ".join(f"'sha256-{digest(script)}'" for script in scripts)
    return (
        f"default-src 'none'; style-src 'sha256-{digest(css)}'; "
        f"script-src {allowed}; img-src data:; base-uri 'none'; form-action 'none'"
    )


def _json(value: Any) -> Markup:
    """JSON that is safe inside a script element; its texts hold nothing that cannot be seen."""
    text = json.dumps(
        _shown(value), ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
    )
    return Markup(UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text))


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        parts = cast("Mapping[str, Any]", value)
        return {key: _shown(part) for key, part in parts.items()}
    if isinstance(value, (list, tuple)):
        return list(map(_shown, cast("Sequence[Any]", value)))
    return value


def _packed(value: Any) -> str:
    """JSON, compressed, as letters that are safe in any element.

    Deflate with zlib's header: gzip's names the operating system, which may differ.
    """
    text = without_surrogates(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    return base64.b64encode(zlib.compress(text.encode("utf-8"), 9)).decode("ascii")


def _packed_items(task: str, of_task: TaskItems) -> list[tuple[str, str]]:
    """Name -> packed items and answers, and the prompts apart: most readers open none."""
    content = {
        "items": list(map(asdict, of_task.items)),
        "answers": dict(sorted(of_task.answers.items())),
        "right": dict(sorted(of_task.right.items())),
        "marks": dict(sorted(of_task.marks.items())),
        "ways": dict(sorted(of_task.prompts.way_of.items())),
    }
    packed = [(task, _packed(content))]
    if of_task.prompts.ways:
        prompts = {
            "blocks": of_task.prompts.blocks,
            "mark": of_task.prompts.mark,
            "ways": of_task.prompts.ways,
        }
        packed.append((f"prompts of {task}", _packed(prompts)))
    return packed


def _script_data(
    board: Board,
    columns: Sequence[view.Column],
    scores: Sequence[str],
    axes: Mapping[str, Mapping[str, Axis]],
) -> dict[str, Any]:
    """What the script needs of the board besides what stands in the tables."""
    return {
        "metrics": board.metrics,
        "scores": scores,
        "titles": board.titles | {"seen": "Seen", "unseen": "Unseen"},
        "columns": [
            {"name": c.name, "kind": c.kind, "group": c.group, "views": c.views} for c in columns
        ],
        "axes": {
            m: {
                name: [axis.low, axis.high, [[axis.at(t), axis.tick_text(t)] for t in axis.ticks]]
                for name, axis in of.items()
            }
            for m, of in axes.items()
        },
        "rows": data.script_rows(board, scores),
        "tasks": [{"name": task.name, "labels": task.labels} for task in board.tasks],
    }


def _classes(board: Board) -> dict[str, Any]:
    """Row key -> which label was answered instead of which, and the scores of the labels."""
    return {
        row.key: {
            "confusion": row.confusion,
            "per_class": {t: list(map(asdict, of)) for t, of in row.per_class.items()},
        }
        for row in board.rows
        if row.confusion
    }
