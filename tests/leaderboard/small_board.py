"""A board of eight rows, made by hand. All models, texts and scores in it are invented."""

from dataclasses import replace
from typing import Any

from leaderboard.board import (
    Ancestor,
    Badge,
    Baseline,
    Board,
    Cell,
    ClassScore,
    ColumnGroup,
    Comparison,
    Count,
    PastRun,
    Rank,
    Row,
    TaskFacts,
    TaskTest,
)
from leaderboard.items import ItemText, Prompts, TaskItems
from leaderboard.runs.results import Problem
from sentibench.scoring.calibration import Bin
from sentibench.scoring.statistics import Estimate

SCRIPT = "<script>window.hacked = 1; alert(1)</script>"
ENDING = "</script><script>window.hacked = 1</script>"
IMAGE = '"><img src=x onerror="window.hacked = 1">'
SEPARATORS = "line\u2028paragraph\u2029end"
BIDI = "\u202egnp.exe\u202c \u2067rtl\u2069"
LONG = "x" * 10_000
TASKS = {
    "basic": ["imdb", "yelp2", "sst2", "twitter17"],
    "multifaceted": ["irony18", "emotion20", "pstance", "mint"],
    "finegrained": ["atsa_rest16", "acsa_rest16", "asqp_rest16", "opener"],
}
TITLES = {
    "imdb": "IMDb",
    "yelp2": "Yelp2",
    "sst2": "SST2",
    "twitter17": "Twitter17",
    "irony18": "Irony18",
    "emotion20": "Emotion20",
    "pstance": "P-Stance",
    "mint": "MINT-English",
    "atsa_rest16": "ATSA Rest16",
    "acsa_rest16": "ACSA Rest16",
    "asqp_rest16": "ASQP Rest16",
    "opener": "OpeNER (en)",
}
LABELS = ("negative", "positive")
TESTS = {"sentibench_imdb": TaskTest("McNemar", 0.01, 0.12)}
ALL_TASKS = [f"sentibench_{task}" for tasks in TASKS.values() for task in tasks]


def make_cell(value: float | None, known: bool = True) -> Cell | None:
    if value is None:
        return None
    return Cell(value, value - 0.019, value + 0.017, 1000, 0.006) if known else Cell(value)


def make_row(key: str, name: str, overall: float | None, **changes: Any) -> Row:
    """A complete row whose scores lie around ``overall``; None: ran nine datasets."""
    middle = 0.4 if overall is None else overall
    run = ALL_TASKS[:9] if overall is None else ALL_TASKS
    values: dict[str, float | None] = dict.fromkeys(ALL_TASKS)
    values |= {task: middle + 0.2 - 0.035 * i for i, task in enumerate(run)}
    values |= {"overall": overall, "basic": middle + 0.15, "multifaceted": middle}
    values |= {"finegrained": None if overall is None else middle - 0.15}
    values |= dict.fromkeys(("seen", "unseen"), None if overall is None else middle + 0.01)
    strict = {c: make_cell(None if v is None else v - 0.02) for c, v in values.items()}
    reported = changes.get("kind") == "reported"
    row = {
        "key": key,
        "name": name,
        "kind": "measured",
        "licence": "Apache-2.0",
        "link": f"https://example.org/{key}",
        "invalid_interval": dict.fromkeys((*run, *ALL_TASKS), (0.0, 0.1)),
        "n_tasks": len(run),
        "gap": {},
        "protocol": {"shots": 4, "chat_template": False},
        "seeds": (42, 52, 62),
        "scores": {
            "official": {c: make_cell(value, not reported) for c, value in values.items()},
            "strict": dict.fromkeys(strict) if reported else strict,
        },
        "invalid": dict.fromkeys(run, 0.012),
        "badges": (Badge("lm-eval", "0.4.13"), Badge("dtype", "bfloat16")),
        "command": f"lm_eval --model hf --model_args pretrained=example/{key} --tasks sentibench",
        "history": (PastRun("2026-01-01 10:00", ALL_TASKS[0], 0.5),),
        "per_class": {ALL_TASKS[0]: [ClassScore(label, 0.9, 0.8, 0.85) for label in LABELS]},
        "confusion": {ALL_TASKS[0]: [[400, 90, 10], [60, 430, 10]]},
    }
    return Row(**row | changes)


LABEL_TASKS = ALL_TASKS[:8]
MIDDLES = {"ece": 0.042, "brier": 0.412, "nll": 0.683, "coverage_at_5": 0.371}


def calibrated(shift: float = 0.0, tasks: list[str] = LABEL_TASKS) -> dict[str, Any]:
    """What a row says of its calibration; two seeds."""

    def estimate(middle: float) -> Estimate:
        return Estimate(middle + shift, middle + shift - 0.011, middle + shift + 0.013)

    bins = [Bin(100, 0.5 + 0.05 * i, 0.45 + 0.05 * i - shift) for i in range(10)]
    bends = [Bin(100, 0.5 + 0.05 * i, 0.4 + 0.06 * i - shift) for i in range(10)]
    return {
        "calibration": {
            name: {"overall": estimate(m)}
            | {t: estimate(m + 0.01 * n) for n, t in enumerate(tasks)}
            for name, m in MIDDLES.items()
        },
        "reliability": dict.fromkeys(tasks, (bins, bends)),
    }


def make_task(name: str, category: Any) -> TaskFacts:
    labelled = category != "finegrained"
    return TaskFacts(
        name=f"sentibench_{name}",
        title=TITLES[name],
        category=category,
        task="sentiment classification" if labelled else "opinion extraction",
        metric="macro_f1" if labelled else "tuple_f1",
        labels=LABELS if labelled else (),
        elements=() if labelled else ("target", "polarity"),
        n_items=1000,
        distribution=(Count("negative", 620), Count("positive", 380)),
        baselines=(Baseline("majority", 0.383),) if labelled else (),
        facts=("English", "test split"),
        url="https://example.org/data",
    )


def ranks(position: int, low: int, high: int, group: int, p: float | None) -> dict[str, Any]:
    return dict.fromkeys(("official", "strict"), Rank(position, low, high, group, p))


LINE = (
    Ancestor("Gemstone 270M", 0.431, 12),
    Ancestor("Gemstone 270M + KnowDist", 0.502, 12),
    Ancestor("Gemstone 270M + KnowDist + ICLDist", 0.588, 12),
)


def make_board(hostile: bool = True) -> Board:
    """Eight rows: four ranked, two unranked, two reported."""
    base, teacher = "Gemstone 270M", "Gemstone 9B"
    rows = (
        make_row("teacher", teacher, 0.712, family="Gemstone", parameters=9_000_000_000,
                 role="teacher", rank=ranks(1, 1, 1, 1, None), ranked=True, **calibrated()),
        make_row("student2", "Gemstone 270M + KnowDist + ICLDist", 0.588, family="Gemstone",
                 parameters=270_000_000, role="student", base="Gemstone 270M + KnowDist",
                 teacher=teacher, rank=ranks(2, 2, 3, 2, 0.0004), ranked=True, lineage=LINE,
                 **calibrated(0.05, LABEL_TASKS[:5])),
        make_row("other", SCRIPT if hostile else "Pebble 1.5B", 0.579, family="Pebble",
                 parameters=1_500_000_000, rank=ranks(3, 2, 3, 2, 0.41), ranked=True),
        make_row("base", base, 0.431, family="Gemstone", parameters=270_000_000, role="baseline",
                 rank=ranks(4, 4, 4, 3, 0.0002), ranked=True),
        make_row("student1", "Gemstone 270M + KnowDist", 0.502, family="Gemstone",
                 parameters=270_000_000, role="student", base=base, teacher=teacher,
                 reasons=("limit 200: only 2,400 of 21,337 items",)),
        make_row("partial", IMAGE if hostile else "Quartz", None, parameters=135_000_000,
                 family=ENDING if hostile else "Quartz",
                 reasons=("9 of 12 datasets", "missing: asqp_rest16")),
        make_row("paper0", "Llama-3 70B", 0.728, kind="reported", role="teacher",
                 parameters=70_000_000_000, reasons=("reported in the paper",), badges=(),
                 command="", history=(), confusion={}, per_class={}, invalid={}),
        make_row("paper1", LONG if hostile else "GPT-3.5", 0.638, kind="reported",
                 base=SEPARATORS if hostile else "", licence=BIDI if hostile else "",
                 link="javascript:window.hacked=1", reasons=("reported in the paper",)),
    )  # fmt: skip
    ranked = [(row.key, row.value("official", "overall")) for row in rows[:4]]
    comparisons = tuple(
        Comparison(
            metric=metric,
            a=a,
            b=b,
            difference=x - y,
            low=x - y - 0.02,
            high=x - y + 0.02,
            p=0.41 if x - y < 0.02 else 2e-4,
            detectable=0.031,
            tests=TESTS if i == 0 else {},
        )
        for metric in ("official", "strict")
        for i, (a, x) in enumerate(ranked)
        for b, y in ranked[i + 1 :]
    )
    titles = {"basic": "Basic", "multifaceted": "Multifaceted", "finegrained": "Fine-grained"}
    return Board(
        title="SentiBench leaderboard (invented figures)",
        source="real",
        categories=tuple(
            ColumnGroup(name, titles[name], tuple(f"sentibench_{task}" for task in tasks))
            for name, tasks in TASKS.items()
        ),
        tasks=tuple(make_task(task, name) for name, tasks in TASKS.items() for task in tasks),
        rows=rows,
        comparisons=comparisons,
        newest="2026-09-21 10:00",
        versions={"lm-eval": ("0.4.13",), "task version": ("1.0",)},
        n_models=9,
        n_runs=180,
        report=(
            Problem(IMAGE if hostile else "a/results.json", "not JSON: line 1"),
            Problem(SEPARATORS if hostile else "b/results.json", BIDI),
        ),
    )


def with_student(**changes: Any) -> Board:
    """The board with another row of the student that has a lineage."""
    board = make_board()
    return replace(board, rows=tuple(replace(r, **changes) if r.lineage else r for r in board.rows))


def make_items() -> dict[str, TaskItems]:
    n = 120
    hostile = (SCRIPT, ENDING, IMAGE, SEPARATORS, BIDI)
    return {
        ALL_TASKS[0]: TaskItems(
            items=[ItemText(i, f"Text {i} {hostile[i % 5]}", LABELS[i % 2]) for i in range(n)],
            answers={"teacher": ["positive"] * n, "base": [IMAGE] * n},
            right={"teacher": "01" * 60, "base": "0011" * 30},
            marks={},
            prompts=Prompts(
                blocks=["Decide the sentiment.", f"An example {SCRIPT}", "Another way for \ue000."],
                ways=[[[0, 1, 0]] * n, [[2]] * (n - 1) + [[]]],
                way_of={"teacher": 0, "base": 1},
            ),
        )
    }
