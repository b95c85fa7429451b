"""The board -> one self-contained page.

Every name and text in it may be hostile. Three things keep it text: Jinja2 escapes all of it, the
JSON for the script cannot end its element, and the policy in the page runs nothing but the one
script and the one style sheet whose hashes it names.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from markupsafe import Markup

from leaderboard.board import Board
from leaderboard.items import TaskItems
from leaderboard.page import view
from sentibench.pages.environment import template_environment
from sentibench.pages.text import percent, short, without_surrogates

HERE = Path(__file__).parent
GROUPS = {
    "ranked": "Ranked",
    "unranked": "Measured, not ranked",
    "reported": "Reported, not measured here",
}
# what would end a script element, is no line end in JSON but one in old JavaScript, or is no text
UNSAFE = re.compile("[<>&\u2028\u2029\ud800-\udfff]")


def render_page(board: Board, items: Mapping[str, TaskItems] | None) -> str:
    """Render the whole page.

    Args:
        board: What leaderboard.json holds.
        items: Texts and answers per task; None keeps every dataset text out.

    Returns:
        HTML that needs no other file and asks the network for nothing. The same input gives the
        same text.
    """
    environment = template_environment(HERE / "templates")
    filters: dict[str, Any] = environment.filters
    filters |= {"percent": percent, "parameters": view.parameters, "short": short}
    filters |= {"p": view.p_text, "link": view.link}
    css, script = _static("page.css"), _static("page.js")
    rows, items = board.rows, items or {}
    columns = ["overall", *(group.name for group in board.categories)]
    columns += [task for group in board.categories for task in group.tasks]
    page = environment.get_template("page.html.j2").render(
        board=board,
        rows=rows,
        by_key={row.key: row for row in rows},
        groups=[
            (group, title, members)
            for group, title in GROUPS.items()
            if (members := [row for row in rows if row.group == group])
        ],
        tasks={task.name: task for task in board.tasks},
        columns=columns,
        best=view.best_cells(board, columns),
        plots={metric: view.plot_of(board, metric) for metric in board.metrics},
        matrices={metric: view.pair_matrix(board, metric) for metric in board.metrics},
        chains=[row for row in rows if row.lineage],
        families=sorted({row.family for row in rows if row.family}),
        roles=sorted({row.role for row in rows if row.role}),
        sizes=view.SIZES,
        size_bin=view.size_bin,
        cell=view.cell_text,
        rank=view.rank_text,
        css=Markup(css),
        script=Markup(script),
        policy=_policy(css, script),
        board_json=_json(_script_data(board)),
        sample_tasks=[task for task in board.tasks if task.name in items],
        sample_json={name: _json(_items_data(of)) for name, of in sorted(items.items())},
    )
    return without_surrogates(page)


def _static(name: str) -> str:
    """Read a style sheet or script; a page with one that ends its own element is never made."""
    text = (HERE / "static" / name).read_text(encoding="utf-8")
    if re.search("</(script|style)|<!--", text, re.IGNORECASE):
        raise ValueError(f"{name}: would end the element that it stands in")
    return text


def _policy(css: str, script: str) -> str:
    def digest(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")

    return (
        f"default-src 'none'; style-src 'sha256-{digest(css)}'; "
        f"script-src 'sha256-{digest(script)}'; img-src data:; base-uri 'none'; form-action 'none'"
    )


def _json(value: Any) -> Markup:
    """JSON that is safe inside a script element."""
    text = json.dumps(
        value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
    )
    return Markup(UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text))


def _items_data(of_task: TaskItems) -> dict[str, Any]:
    return {
        "items": list(map(asdict, of_task.items)),
        "answers": of_task.answers,
        "right": of_task.right,
        "marks": of_task.marks,
    }


def _script_data(board: Board) -> dict[str, Any]:
    """What the script needs of the board besides what stands in the tables."""
    return {
        "rows": [
            {
                "key": row.key,
                "name": short(row.name, 80),
                "confusion": row.confusion,
                "per_class": {t: list(map(asdict, of)) for t, of in row.per_class.items()},
            }
            for row in board.rows
        ],
        "tasks": [{"name": task.name, "labels": task.labels} for task in board.tasks],
        "comparisons": list(map(asdict, board.comparisons)),
    }
