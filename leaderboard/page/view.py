"""What the page says: texts of cells and ranks, the headline, columns, drawings."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from leaderboard.board import Board, Cell, Comparison, Row
from leaderboard.page import calibration
from sentibench.pages.calibration import METRICS
from sentibench.pages.forest import NARROW, PANELS, Ends, Forest, forest
from sentibench.pages.size_plot import Model, SizePlot, size_plot
from sentibench.pages.text import NONE, percent, quoted, short

SIZES = (
    ("s", "under 500 M", 0.0, 5e8),
    ("m", "500 M to 2 B", 5e8, 2e9),
    ("l", "2 B to 10 B", 2e9, 1e10),
    ("xl", "10 B and more", 1e10, math.inf),
)
PROTOCOL = {
    "shots": "Demonstrations in the prompt",
    "chat_template": "Chat template",
    "multiturn": "Demonstrations as turns of a chat",
    "system_instruction": "System instruction",
    "gen_kwargs": "Changed generation settings",
}
"""What the settings of a run are called on the page."""
EMPTY = ("", "None", "none", "{}", "[]")  # settings that say nothing


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table.

    Attributes:
        kind: ``average`` or ``dataset`` for scores, else ``rank``, ``plot`` or ``fact``.
        hint: What the title alone does not say.
        unit: Unit, and which way is better; stands below the title.
        group: What stands above it and its neighbours.
        is_first: Whether it begins a group.
        views: The ready-made choices of columns that show it.
    """

    name: str
    title: str
    kind: str
    hint: str = ""
    group: str = ""
    is_first: bool = False
    views: tuple[str, ...] = ()
    unit: str = ""

    @property
    def is_score(self) -> bool:
        """Whether it shows scores."""
        return self.kind in ("average", "dataset")


def columns_of(board: Board) -> list[Column]:
    """The columns behind the model's name, in their order."""
    titles = {task.name: task.title for task in board.tasks}
    mean = "Mean of the four datasets of the category"
    every = ("averages", "datasets", "about", "calibration")
    is_single = len(board.tasks) == 1  # then the mean is the task, which has no column of its own
    of_all = board.tasks[0].name if is_single else "Mean of all datasets"
    columns = [
        Column("rank", "Rank", "rank", "The place in 95 of 100 draws of the items", views=every),
        Column("overall", board.averages["overall"], "average", of_all, "Averages", True, every),
        Column("plot", "Plot", "plot", "", "Averages", views=("averages",)),
        *(
            Column(name, title, "average", mean, "Averages", views=("averages",))
            for name, title in board.averages.items()
            if name != "overall"
        ),
        *(
            Column(name, titles.get(name, name), "dataset", name, g.title, i == 0, ("datasets",))
            for g in board.categories
            for i, name in enumerate(g.tasks)
            if not is_single
        ),
        *(
            Column(name, title, "average", hint, "About", name == "seen", ("about",))
            for name, title, hint in (
                ("seen", "Seen", "Mean of the five datasets whose training texts the paper used"),
                ("unseen", "Unseen", "Mean of the seven other datasets"),
            )
            if board.source != "own"
        ),
        Column("size", "Size", "fact", "Number of weights", "About", views=("averages", "about")),
        Column(
            "seeds",
            "Seeds",
            "fact",
            "Number of seeds; below it the standard deviation of the overall score over the seeds",
            "About",
            views=("averages", "about"),
        ),
        *(
            Column(name, title, "fact", hint, "About", views=("about",))
            for name, title, hint in (
                ("invalid", "Unreadable", "Share of answers without a readable label or list"),
                ("speed", "Items/s", "Items per second of the whole run, loading included"),
                ("memory", "Memory", "Largest memory of the run"),
                ("licence", "Licence", "As declared"),
                ("trained", "Trained on", "Datasets that its makers declare as training data"),
            )
        ),
        *(
            Column(name, title, "fact", hint, "Calibration", name == "ece", ("calibration",), unit)
            for name, (title, unit, hint) in METRICS.items()
        ),
    ]
    # what no row says has no column
    return [
        column
        for column in columns
        if column.kind != "fact" or any(is_known(row, column.name) for row in board.rows)
    ]


def is_known(row: Row, name: str) -> bool:
    """Whether a row has a fact."""
    return fact_text(row, name) not in (NONE, *calibration.UNKNOWN)


def parameters(count: float | None) -> str:
    """A number of weights in three digits."""
    if count is None:
        return NONE
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            digits = ".3g" if count < 999.5 * size else ".0f"
            return f"{count / size:{digits}} {unit}"
    return str(count)


def size_bin(count: float | None) -> str:
    """The filter's name for a number of weights."""
    if count is None:
        return "unknown"
    return next(name for name, _, low, high in SIZES if low <= count < high)


def p_text(p: float | None) -> str:
    """A p-value."""
    if p is None:
        return NONE
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def link(url: str) -> str:
    """Return the address if it is one of the web and no endless one, else an empty text."""
    if len(url) > 2_000:
        return ""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return url if parts.scheme in ("http", "https") and parts.netloc else ""


def bytes_text(count: int | None) -> str:
    """An amount of memory in GB."""
    return NONE if count is None else f"{count / 1e9:.1f} GB"


def quote(cell: Cell | None) -> str:
    """A score as one quotes it: ``83.8 [83.1, 84.5]``; without an interval the score alone."""
    return NONE if cell is None else quoted(cell.value, cell.low, cell.high)


def fact_text(row: Row, name: str) -> str:
    """What a column of facts says of a row."""
    if name in METRICS:
        return calibration.mean_text(row, name)
    texts = {
        "size": parameters(row.parameters),
        "seeds": str(len(row.seeds) or NONE),
        "invalid": NONE if row.invalid_rate is None else f"{percent(row.invalid_rate)}%",
        "speed": NONE if row.items_per_second is None else f"{row.items_per_second:.3g}",
        "memory": bytes_text(row.peak_memory_bytes),
        "licence": short(row.licence, 40) or NONE,
        "trained": short(", ".join(row.trained_on[:60]), 60) or NONE,
    }
    return texts[name]


def whole_fact(row: Row, name: str) -> str:
    """The whole of a declared text that a cell shows shortened, up to a bound; else empty."""
    whole = {"licence": row.licence, "trained": ", ".join(row.trained_on[:1000])}.get(name, "")
    return short(whole, 1000) if short(whole, 1000) != fact_text(row, name) else ""


def spread_text(row: Row, metric: str) -> str:
    """The standard deviation of the overall score over seeds; empty for one seed."""
    cell = row.cell(metric, "overall")
    return "" if cell is None or cell.spread is None else f"SD {percent(cell.spread)}"


def run_facts(row: Row) -> list[tuple[str, str]]:
    """What a run took and when it was, where that is known."""
    took = "" if row.seconds is None else f"{row.seconds / 60:,.0f} min"
    texts = [("Seeds", ", ".join(map(str, row.seeds))), ("Newest run (UTC)", row.newest)]
    texts += [("Time", took), ("Items per second", fact_text(row, "speed"))]
    texts += [("Largest memory", fact_text(row, "memory"))]
    texts += [("Unreadable answers", fact_text(row, "invalid"))]
    return [(name, text) for name, text in texts if text not in ("", NONE)]


def interval(cell: Cell | None) -> str:
    """The interval alone, in brackets; empty where none is known."""
    return "" if cell is None else quoted(cell.value, cell.low, cell.high).partition(" ")[2]


def rank_text(row: Row, metric: str) -> str:
    """The places that a row may have: ``2`` or ``1–3``."""
    if not row.rank:
        return NONE
    place = row.rank[metric]
    return f"{place.low}" if place.low == place.high else f"{place.low}–{place.high}"


def tie_letters(board: Board, metric: str) -> dict[str, str]:
    """Row key -> letter of its tie group; rows that are alone in theirs have none."""
    of_row = {row.key: (row.wording, row.rank[metric].group) for row in board.rows if row.rank}
    sizes = Counter(of_row.values())
    shared = sorted(group for group, size in sizes.items() if size > 1)
    letters = {group: _letters(number) for number, group in enumerate(shared)}
    return {key: letters[group] for key, group in of_row.items() if group in letters}


def _letters(number: int) -> str:
    """A to Z, then AA, AB and so on."""
    tens, ones = divmod(number, 26)
    return (_letters(tens - 1) if tens else "") + chr(ord("A") + ones)


def protocol_facts(row: Row) -> list[tuple[str, str]]:
    """The settings of a row that say something: what is off or empty is left out."""
    said = [(PROTOCOL.get(name, name), value) for name, value in row.protocol.items()]
    kept = [(n, v) for n, v in said if (v if isinstance(v, bool) else str(v) not in EMPTY)]
    return [(name, "yes" if value is True else str(value)) for name, value in kept]


def settings(row: Row) -> list[tuple[str, str]]:
    """The comparability badges that say something."""
    return [(badge.name, badge.value) for badge in row.badges if badge.value not in EMPTY]


@dataclass(frozen=True, slots=True)
class Headline:
    """Who leads, and how sure that is.

    Attributes:
        ahead: By how much, in points; empty without a second row or comparison.
        ends: The interval of that difference, in brackets.
        sure: Whether the two can be told apart.
        detectable: Smallest difference that the items would show, in points.
        n_tied: Rows besides the leader that cannot be told apart from it.
    """

    leader: Row
    second: Row | None = None
    ahead: str = ""
    ends: str = ""
    sure: bool = False
    detectable: str = ""
    n_tied: int = 0


def headline(board: Board, metric: str) -> Headline | None:
    """The headline under one metric; None if no row is ranked."""
    ranked = [row for row in board.rows if row.rank and row.ranked]
    places = {row.rank[metric].position: row for row in ranked if row.rank}
    if not places:
        return None
    leader, second = (places.get(place) for place in (1, 2))
    leader = leader or places[min(places)]
    n_tied = sum(r.rank is not None and r.rank[metric].group == 1 for r in ranked) - 1
    if second is None:
        return Headline(leader)
    pair = pair_matrix(board, metric).get((leader.key, second.key))
    if pair is None:
        return Headline(leader, second, n_tied=n_tied)
    return Headline(
        leader,
        second,
        ahead=percent(pair.difference),
        ends=f"[{percent(pair.low)}, {percent(pair.high)}]",
        sure=pair.p < 0.05,
        detectable=percent(pair.detectable),
        n_tied=n_tied,
    )


def best_cells(board: Board, columns: Sequence[str]) -> set[tuple[str, str, str]]:
    """(row key, metric, column) of the highest shown score among the ranked rows."""
    best: set[tuple[str, str, str]] = set()
    for metric in board.metrics:
        for column in columns:
            shown = {
                row.key: float(percent(value))
                for row in board.rows
                if row.ranked and (value := row.value(metric, column)) is not None
            }
            best |= {(k, metric, column) for k, v in shown.items() if v == max(shown.values())}
    return best


def pair_matrix(board: Board, metric: str) -> dict[tuple[str, str], Comparison]:
    """Comparisons by (row, column) key, each stored once and shown in both directions."""
    cells: dict[tuple[str, str], Comparison] = {}
    for pair in board.comparisons:
        if pair.metric == metric:
            cells[pair.a, pair.b] = pair
            cells[pair.b, pair.a] = replace(
                pair, difference=-pair.difference, low=-pair.high, high=-pair.low
            )
    return cells


# Drawings


def ends_of(row: Row, metric: str, column: str) -> Ends | None:
    """A score and its interval; None if there is none."""
    cell = row.cell(metric, column)
    return None if cell is None else (cell.value, cell.low, cell.high)


def plot_of_intervals(board: Board, metric: str, *, narrow: bool = False) -> Forest | None:
    """Ranked and reported rows: the averages with their intervals; None without an overall score.

    A narrow page has room for the overall score alone.

    What was measured otherwise than the benchmark asks would look like the ranked rows.
    """
    shown = [
        row
        for row in board.rows
        if row.group in ("ranked", "reported") and row.value(metric, "overall") is not None
    ]
    shown.sort(key=lambda row: (not row.ranked, -(row.value(metric, "overall") or 0)))
    if not shown:
        return None
    titles = {"overall": board.averages["overall"]} if narrow else board.averages
    rows = [(short(row.name, 25), [ends_of(row, metric, name) for name in titles]) for row in shown]
    return forest([*titles.values()], rows, NARROW if narrow else PANELS)


def plot_of(board: Board, metric: str) -> SizePlot | None:
    """Size against overall score; None if no row has both."""
    return size_plot(
        [
            Model(
                key=row.key,
                label=short(row.name, 24),
                parameters=row.parameters,
                score=value,
                is_ranked=row.ranked,
                is_measured=row.kind == "measured",
                base=_base_of(row, board.rows),
            )
            for row in board.rows
            if row.parameters and (value := row.value(metric, "overall")) is not None
        ]
    )


def _base_of(row: Row, rows: Sequence[Row]) -> str | None:
    """Key of the row with the name of the declared base, of the same kind first."""
    found = [other for other in rows if row.base and other.name == row.base and other is not row]
    same = [other for other in found if other.kind == row.kind]
    return next((other.key for other in same or found), None)
