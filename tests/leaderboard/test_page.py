"""The page, as text and in a real browser. All models, texts and scores here are invented."""

import base64
import html
import json
import os
import re
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import asdict, replace
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any
from xml.etree import ElementTree

import pytest

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
    GapClosed,
    PastRun,
    Rank,
    Row,
    TaskFacts,
    TaskTest,
)
from leaderboard.items import ItemText, Prompts, TaskItems
from leaderboard.page.render import render_page, render_plots
from leaderboard.results import Problem

SCRIPT = "<script>window.hacked = 1; alert(1)</script>"
ENDING = "</script><script>window.hacked = 1</script>"
IMAGE = '"><img src=x onerror="window.hacked = 1">'
SEPARATORS = "line\u2028paragraph\u2029end"
BIDI = "\u202egnp.exe\u202c \u2067rtl\u2069"
LONG = "x" * 10_000
AXE = Path(__file__).parents[2] / ".axe" / "package" / "axe.min.js"
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
                 role="teacher", rank=ranks(1, 1, 1, 1, None), ranked=True),
        make_row("student2", "Gemstone 270M + KnowDist + ICLDist", 0.588, family="Gemstone",
                 parameters=270_000_000, role="student", base="Gemstone 270M + KnowDist",
                 teacher=teacher, rank=ranks(2, 2, 3, 2, 0.0004), ranked=True, lineage=LINE),
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
                blocks=["Decide the sentiment.", f"An example {SCRIPT}", "Another way."],
                ways=[[[0, 1, 0]] * n, [[2]] * (n - 1) + [[]]],
                way_of={"teacher": 0, "base": 1},
            ),
        )
    }


# As text


class Elements(HTMLParser):
    """Counts tags and collects the texts of the cells of the main table."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def parsed(page: str) -> Elements:
    elements = Elements()
    elements.feed(page)
    return elements


def test_render_page_gives_the_same_text_twice() -> None:
    board = make_board()
    rows = tuple(replace(r, scores=dict(reversed(r.scores.items()))) for r in board.rows)
    shuffled = replace(board, rows=rows)
    assert render_page(board, make_items()) == render_page(shuffled, make_items())


def test_render_page_allows_no_source_but_its_own_hashes() -> None:
    page = render_page(make_board(), make_items())
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src &#39;none&#39;")
    assert "unsafe" not in policy[1]
    for tag, attributes in parsed(page).tags:
        assert "style" not in attributes, tag
        assert not any(name.startswith("on") for name in attributes), tag
        assert "src" not in attributes, tag
        href = attributes.get("href") or "#"
        assert not href.startswith("javascript:"), tag


def test_render_page_writes_the_same_elements_for_hostile_and_for_plain_names() -> None:
    tags = {
        hostile: sorted(tag for tag, _ in parsed(render_page(make_board(hostile), None)).tags)
        for hostile in (True, False)
    }
    # licence and base of the last row are empty in the plain board: two facts and no mark less
    extra = tags[True].copy()
    for tag in tags[False]:
        extra.remove(tag)
    assert set(extra) <= {"dt", "dd", "bdi", "option"}


def test_render_page_shows_every_row_and_cell_without_a_script() -> None:
    board = make_board()
    page = render_page(board, None)
    texts = parsed(page).texts
    for row in board.rows:
        assert row.name in texts
    table = page[page.index('id="board"') : page.index("</table>")]
    cells = re.findall(r'<td class="num[^>]*><span class="v">([^<]*)</span>', table)
    assert len(cells) == 8 * 18
    expected = sum(
        row.cell("official", column) is not None
        for row in board.rows
        for column in ("overall", "seen", "unseen", *TASKS, *ALL_TASKS)
    )
    assert sum(bool(re.fullmatch(r"[0-9.]+", cell)) for cell in cells) == expected == 8 * 18 - 7
    assert "9/12" in texts
    assert "2–3" in texts
    assert table.count("[69.3, 72.9]") == 2  # overall and a category


def headline_of(board: Board) -> str:
    text = re.findall(
        r'<p class="headline only-official">(.*?)</p>', render_page(board, None), re.S
    )
    return html.unescape(" ".join(re.sub("<[^>]*>", "", text[0]).split()))


def test_the_headline_says_who_leads_and_how_sure_that_is() -> None:
    board = make_board(hostile=False)
    assert headline_of(board) == (
        "Gemstone 9B leads with 71.2 [69.3, 72.9], 12.4 points [10.4, 14.4] ahead of "
        "Gemstone 270M + KnowDist + ICLDist. The two can be told apart."
    )
    close = tuple(replace(pair, p=0.2) for pair in board.comparisons)
    tied = tuple(
        replace(row, rank=ranks(i, 1, 3, 1, None)) for i, row in enumerate(board.rows[:4], 1)
    )
    assert headline_of(replace(board, comparisons=close, rows=tied)).endswith(
        "The two cannot be told apart: these items show differences from about 3.1 points. "
        "In all, 3 models cannot be told apart from the leader."
    )
    assert headline_of(replace(board, rows=board.rows[:1])) == (
        "Gemstone 9B is the only ranked model: 71.2 [69.3, 72.9]."
    )
    assert headline_of(replace(board, rows=board.rows[4:])).startswith("No model is ranked yet")


def test_the_first_screen_links_to_paper_code_data_and_says_how_to_cite_and_add_a_row() -> None:
    page = render_page(make_board(), None)
    head = page[page.index("<header") : page.index("</header>")]
    for part in (
        'href="https://arxiv.org/abs/2503.03225"',
        ">Code</a>",
        ">Data</a>",
        "@inproceedings{zhang-etal-2025-targeted",
        "lm_eval --model hf --model_args pretrained=MODEL --tasks sentibench ",
        "<b>6</b> models measured, <b>4</b> ranked",
        "<b>180</b> runs",
        "<b>2026-09-21</b>",
        "lm-eval <b>0.4.13</b>",
        *(f'href="leaderboard.{kind}" download' for kind in ("csv", "json", "md", "tex")),
        'href="intervals_official.svg" download',
    ):
        assert part in head, part


def test_only_rows_that_share_a_tie_are_marked() -> None:
    page = render_page(make_board(), None)
    marks = re.findall(r'data-key="(\w+)"(?:(?!</tr>).)*?<small class="tie">([^<]*)<', page, re.S)
    assert [(key, mark) for key, mark in marks if mark] == [
        ("student2", "tie A"),
        ("other", "tie A"),
    ]


def test_seeds_and_their_spread_stand_in_the_row() -> None:
    page = render_page(make_board(), None)
    assert '<td class="fact seeds">3<small class="spread">SD 0.6</small></td>' in page
    single = replace(make_board().rows[0], seeds=(42,), scores={"official": {}, "strict": {}})
    board = replace(make_board(), rows=(single,))
    assert '<td class="fact seeds">1<small class="spread"></small></td>' in render_page(board, None)


def test_cells_are_shaded_by_the_place_among_the_ranked_rows() -> None:
    page = render_page(make_board(), None)
    shades = re.findall(r'<td class="num average edge[^"]*? s(\d)"', page)[::2]
    assert shades == ["5", "3", "2", "1"]


def test_facts_of_a_run_are_shown_where_they_are_known() -> None:
    board = make_board()
    known = replace(
        board.rows[0], items_per_second=12.34, peak_memory_bytes=2_500_000_000, trained_on=("sst2",)
    )
    page = render_page(replace(board, rows=(known, *board.rows[1:])), None)
    for name, text in (("speed", "12.3"), ("memory", "2.5 GB"), ("invalid", "1.2%")):
        assert f'<td class="fact {name}">{text}</td>' in page
    assert '<td class="fact trained">sst2</td>' in page
    assert page.count('<td class="fact speed">–</td>') == 7


def test_settings_that_say_nothing_are_not_printed() -> None:
    protocol = {
        "shots": 0,
        "chat_template": True,
        "multiturn": False,
        "system_instruction": "",
        "gen_kwargs": {},
    }
    row = replace(make_board().rows[0], protocol=protocol, badges=(Badge("dtype", "None"),))
    page = render_page(replace(make_board(), rows=(row,)), None)
    assert "<dt>Worked examples in the prompt</dt><dd>0</dd>" in page
    assert "<dt>Chat template</dt><dd>yes</dd>" in page
    for absent in ("Examples as turns", "System instruction", "generation settings", ">dtype<"):
        assert absent not in page


def test_the_plot_of_all_intervals_is_a_drawing_of_its_own() -> None:
    plots = render_plots(make_board())
    assert list(plots) == ["intervals_official.svg", "intervals_strict.svg"]
    assert plots == render_plots(make_board())
    root = ElementTree.fromstring(plots["intervals_official.svg"])
    space = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{space}svg"
    # seven rows with an overall score, four panels; the two reported ones have no interval
    assert len(root.findall(f"{space}circle")) == 7 * 4
    assert len(root.findall(f"{space}line[@class='bar']")) == 5 * 4
    assert "script" not in {element.tag.removeprefix(space) for element in root.iter()}
    assert "style" not in {element.tag.removeprefix(space) for element in root.iter()}
    assert render_plots(replace(make_board(), rows=())) == {}


def test_render_page_says_how_much_of_the_gap_a_student_closes_only_where_there_is_one() -> None:
    board = with_student(gap={"official": GapClosed(0.559, 0.41, 0.7, 100)})
    assert "Closes 56% (41 to 70) of the gap" in render_page(board, None)
    assert "of the gap between" not in render_page(with_student(gap={"official": None}), None)
    assert "of the gap between" not in render_page(with_student(gap={}), None)


def test_render_page_says_over_how_many_tasks_a_line_of_models_is_compared() -> None:
    assert "of 12 datasets</li>" not in render_page(make_board(), None)
    short = with_student(lineage=tuple(replace(link, n_tasks=5) for link in LINE))
    assert '<li class="of">5 of 12 datasets</li>' in render_page(short, None)
    none = with_student(lineage=tuple(replace(link, mean=None, n_tasks=0) for link in LINE))
    page = render_page(none, None)
    assert '<li class="of">no dataset answered in the same way</li>' in page
    assert "</bdi> <span" not in page[page.index("<ol>") : page.index("</ol>")]


def test_labels_without_room_on_a_narrow_page_are_marked() -> None:
    board = make_board()
    page = render_page(board, None).partition("The plot as a table")[0]
    hidden = re.findall(r'<text class="only-wide"[^>]*>([^<]*)<', page)
    shown = re.findall(r'<text x="[^>]*>(Gemstone[^<]*)<', page)
    assert hidden
    assert shown
    alone = replace(board, rows=board.rows[:1])
    assert 'class="only-wide"' not in render_page(alone, None)


def test_render_page_marks_the_pareto_frontier() -> None:
    page = render_page(make_board(), None)
    table = page.partition("The plot as a table")[2].partition("</table>")[0]
    on = re.findall(r"<bdi>([^<]*)</bdi></th>(?:<td[^>]*>[^<]*</td>){3}<td>yes</td>", table)
    assert on == ["Gemstone 9B", "Gemstone 270M + KnowDist + ICLDist"]


def test_render_page_without_samples_holds_no_sample_browser() -> None:
    page = render_page(make_board(), None)
    assert "packed" not in [a.get("class") for _, a in parsed(page).tags]
    assert 'id="samples"' not in page


def unpacked(page: str) -> dict[str, Any]:
    found = re.findall(r'class="packed" data-name="([^"]*)">([A-Za-z0-9+/=]*)</script>', page)
    return {name: json.loads(zlib.decompress(base64.b64decode(text))) for name, text in found}


def test_render_page_escapes_json_inside_script_elements() -> None:
    page = render_page(make_board(), make_items())
    blocks = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        assert not re.search("[<>&\u2028\u2029]", block)
    names = [row["name"] for row in json.loads(blocks[0])["rows"]]
    assert SCRIPT in names


def test_texts_and_prompts_are_packed_apart() -> None:
    task, items = ALL_TASKS[0], make_items()[ALL_TASKS[0]]
    found = unpacked(render_page(make_board(), make_items()))
    assert list(found) == [task, f"prompts of {task}"]
    assert found[task]["items"] == list(map(asdict, items.items))
    assert found[task]["answers"] == items.answers
    assert found[task]["ways"] == {"teacher": 0, "base": 1}
    assert found[f"prompts of {task}"]["blocks"] == items.prompts.blocks
    unasked = replace(items, prompts=Prompts())
    assert list(unpacked(render_page(make_board(), {task: unasked}))) == [task]


def test_a_long_prompt_costs_its_blocks_once() -> None:
    """A thousand prompts of ten demonstrations out of fifty are far smaller than written out."""
    random = Random(0)
    words = [f"word{i}" for i in range(500)]
    blocks = [" ".join(random.choices(words, k=60)) for _ in range(50)]
    ways = [[random.choices(range(50), k=10) for _ in range(1000)]]
    of_task = replace(make_items()[ALL_TASKS[0]], prompts=Prompts(blocks, ways, {"teacher": 0}))
    written_out = sum(len(blocks[n]) for way in ways for numbers in way for n in numbers)
    with_prompts = len(render_page(make_board(), {ALL_TASKS[0]: of_task}))
    without = len(render_page(make_board(), {ALL_TASKS[0]: replace(of_task, prompts=Prompts())}))
    assert (with_prompts - without) * 100 < written_out


def test_render_page_accepts_an_empty_board_and_lone_surrogates() -> None:
    board = make_board()
    assert "0 of 0 rows" in render_page(replace(board, rows=(), comparisons=(), report=()), None)
    rows = (replace(board.rows[0], name="half \ud800 pair"), *board.rows[1:])
    render_page(replace(board, rows=rows), None).encode("utf-8")


# In a browser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("site") / "index.html"
    path.write_text(render_page(make_board(), make_items()), encoding="utf-8", newline="\n")
    return path.as_uri()


def start_browser(profile: Path, scripts: bool = True) -> Any:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("chromium or chromedriver is not installed (Debian: chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "disable-quic",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        "disable-dev-shm-usage",
        "force-prefers-reduced-motion",
        f"user-data-dir={profile}",
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    if not scripts:
        options.add_experimental_option(
            "prefs", {"profile.managed_default_content_settings.javascript": 2}
        )
    service = webdriver.ChromeService(executable_path=driver)
    return webdriver.Chrome(options=options, service=service)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    driver = start_browser(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser: Any, site: str) -> Any:
    """The page freshly opened at 1280 pixels, without what an earlier test left in its address."""
    set_width(browser, 1280)
    browser.get("about:blank")
    browser.get(site)
    find(browser, "#more-controls summary").click()
    return browser


def set_width(browser: Any, width: int) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def find(page: Any, selector: str) -> Any:
    return page.find_element("css selector", selector)


def choose(page: Any, selector: str, value: str) -> None:
    """Choose an option as a user does."""
    from selenium.webdriver.support.ui import Select

    Select(find(page, selector)).select_by_value(value)


def wait_for(page: Any, condition: str) -> None:
    """Until a condition of the page holds, five seconds at most: texts are unpacked meanwhile."""
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(page, 5, 0.02).until(lambda d: d.execute_script(f"return Boolean({condition})"))


def open_samples(page: Any) -> None:
    page.execute_script("document.querySelector('#samples').scrollIntoView()")
    wait_for(page, "document.querySelector('#sample-table td')")


def tick(page: Any, key: str) -> None:
    """Choose a row for the comparison."""
    box = find(page, f".choose[value={key}]")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", box)
    box.click()


def shown_keys(page: Any, kind: str = "ranked") -> list[str]:
    return page.execute_script(
        "return [...document.querySelectorAll(`tbody.${arguments[0]} tr[data-key]`)]"
        ".filter((row) => row.offsetParent).map((row) => row.dataset.key)",
        kind,
    )


@pytest.mark.parametrize("width", [390, 1280])
def test_labels_of_the_plot_do_not_overlap(browser: Any, width: int, tmp_path: Path) -> None:
    board, path = make_board(), tmp_path / "index.html"
    more = tuple(
        make_row(f"more{i}", f"Boulder {i} of many", 0.5 + 0.03 * i, parameters=3e9 * 1.2**i)
        for i in range(9)
    )
    crowded = replace(board, rows=board.rows + more)
    path.write_text(render_page(crowded, None), encoding="utf-8")
    set_width(browser, width)
    browser.get(path.as_uri())
    boxes = browser.execute_script(
        "return [...document.querySelectorAll('.only-official .point text')].map((text) => "
        "text.getBoundingClientRect()).filter((box) => box.width).map((box) => "
        "[box.left, box.top + 2, box.right, box.bottom - 2])"
    )
    assert len(boxes) > 1
    for a, b in combinations(boxes, 2):
        assert not (a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3])


def test_header_button_sorts_and_says_so(page: Any) -> None:
    head = find(page, "th[data-col=overall]")
    button = find(page, "th[data-col=overall] button")
    button.click()
    assert head.get_attribute("aria-sort") == "descending"
    assert shown_keys(page) == ["teacher", "student2", "other", "base"]
    assert "sort=overall" in page.current_url
    button.send_keys("\n")
    assert head.get_attribute("aria-sort") == "ascending"
    assert shown_keys(page) == ["base", "other", "student2", "teacher"]
    find(page, "th[data-col=name] button").click()
    assert head.get_attribute("aria-sort") is None
    assert shown_keys(page) == ["other", "teacher", "base", "student2"]  # 9B before 270M


def test_missing_values_are_last_in_both_directions(page: Any) -> None:
    for direction in ("descending", "ascending"):
        find(page, "th[data-col=overall] button").click()
        assert find(page, "th[data-col=overall]").get_attribute("aria-sort") == direction
        assert shown_keys(page, "unranked") == ["student1", "partial"]
    for direction in ("ascending", "descending"):
        find(page, "th[data-col=size] button").click()
        assert find(page, "th[data-col=size]").get_attribute("aria-sort") == direction
        assert shown_keys(page, "reported") == ["paper0", "paper1"]


@pytest.mark.parametrize(
    ("selector", "value", "count"),
    [
        ("[name=family]", "Gemstone", 4),
        ("[name=family]", ENDING, 1),
        ("[name=role]", "student", 2),
        ("[name=role]", "reported", 2),
        ("[name=size]", "unknown", 1),
        ("[name=size]", "s", 4),
    ],
)
def test_filter_leaves_the_rows_that_fit(page: Any, selector: str, value: str, count: int) -> None:
    choose(page, f"#controls {selector}", value)
    assert find(page, "#count").text == f"{count} of 8 rows"
    assert sum(len(shown_keys(page, k)) for k in ("ranked", "unranked", "reported")) == count


def test_search_and_complete_count_live(page: Any) -> None:
    search = find(page, "#controls [name=q]")
    search.send_keys("knowdist")
    assert find(page, "#count").text == "2 of 8 rows"
    search.send_keys(" nothing like that")
    assert find(page, "#count").text == "0 of 8 rows"
    find(page, "#controls [type=reset]").click()
    assert find(page, "#count").text == "8 of 8 rows"
    find(page, "[name=complete]").click()
    assert find(page, "#count").text == "7 of 8 rows"


def test_metric_switch_changes_the_cells(page: Any) -> None:
    cell = find(page, "tr[data-key=teacher] td.average .v")
    assert cell.text == "71.2"
    find(page, "[name=metric][value=strict]").click()
    assert cell.text == "69.2"
    assert find(page, "tr[data-key=paper0] td.average .v").text == "–"
    assert find(page, "tr[data-key=partial] td.average .v").text == "9/12"
    assert find(page, "tr[data-key=teacher] td.average .i").text == "[67.3, 70.9]"
    assert find(page, ".headline.only-strict").text.startswith("Gemstone 9B leads with 69.2")


def test_one_ticked_row_is_compared_with_all_others(page: Any) -> None:
    tick(page, "student2")
    assert not find(page, "#compared").is_displayed()
    find(page, "#fold").click()
    lines = [row.text for row in page.find_elements("css selector", "#compared tbody tr")]
    assert lines == [
        "Gemstone 9B −12.4 [−14.4, −10.4] < 0.001 yes 3.1",
        f"{SCRIPT} +0.9 [−1.1, 2.9] 0.410 no 3.1",
        "Gemstone 270M +15.7 [13.7, 17.7] < 0.001 yes 3.1",
    ]
    find(page, "#unchoose").click()
    assert not find(page, "#comparison").is_displayed()


def test_two_ticked_rows_stand_side_by_side_where_they_were_asked_for(page: Any) -> None:
    tick(page, "base")
    tick(page, "teacher")
    assert find(page, "#compared li").text == (
        "Gemstone 270M is 28.1 points below Gemstone 9B, [26.1, 30.1]. The two can be told apart "
        "(p < 0.001); these items show differences from about 3.1 points."
    )
    seen = page.execute_script(
        "const a = document.querySelector('#comparison').getBoundingClientRect();"
        "const b = document.querySelector('.choose[value=teacher]').getBoundingClientRect();"
        "return [a.top < innerHeight && a.bottom > a.top, b.top >= 0, b.bottom <= a.top]"
    )
    assert seen == [True, True, True]
    rows = page.find_elements("css selector", "#compared tbody tr")
    assert len(rows) == 16
    assert " ".join(rows[0].text.split()) == "Overall 43.1 [41.2, 44.8] 71.2 [69.3, 72.9] −28.1"
    assert len(page.find_elements("css selector", "#compared tbody g.m1 line")) == 16
    find(page, "#chosen button").click()
    assert not find(page, ".choose[value=base]").is_selected()
    assert find(page, ".choose[value=teacher]").is_selected()


def test_tests_of_datasets_stand_beside_two_rows(page: Any) -> None:
    tick(page, "teacher")
    tick(page, "base")
    heads = [th.text for th in page.find_elements("css selector", "#compared thead th")]
    assert heads[-2:] == ["Difference", "p, adjusted"]
    texts = [row.text for row in page.find_elements("css selector", "#compared tbody tr")]
    assert texts[4].startswith("IMDb")
    assert texts[4].endswith("+28.1 0.120")


def test_four_rows_are_the_most_and_unranked_ones_say_why_they_have_no_verdict(page: Any) -> None:
    for key in ("teacher", "other", "base", "partial"):
        tick(page, key)
    assert not find(page, ".choose[value=student2]").is_enabled()
    lines = [line.text for line in page.find_elements("css selector", "#compared li")]
    assert len(lines) == 6
    assert sum("only ranked models are compared item by item" in line for line in lines) == 3
    assert "The two can be told apart" in lines[0]
    assert len(page.find_elements("css selector", "#compared thead bdi")) == 4


def test_a_click_and_the_keyboard_copy_a_score_with_its_interval(page: Any) -> None:
    def pasted() -> str:
        from selenium.webdriver.common.keys import Keys

        field = find(page, "#controls [name=q]")
        field.clear()
        field.send_keys(Keys.CONTROL, "v")
        text = field.get_attribute("value")
        field.clear()
        return text

    find(page, "tr[data-key=teacher] td.average .v").click()
    wait_for(page, "document.querySelector('#said').textContent")
    assert find(page, "#said").text == "Copied 71.2 [69.3, 72.9]"
    assert pasted() == "71.2 [69.3, 72.9]"
    cell = find(page, "tr[data-key=teacher] td.average")
    assert page.find_elements("css selector", "#board td[tabindex='0']") == [cell]
    cell.send_keys("\ue015")  # down
    page.switch_to.active_element.send_keys("\ue014")  # right, over the plot
    page.switch_to.active_element.send_keys("\n")
    wait_for(page, "document.querySelector('#said').textContent.includes('73.8')")
    assert pasted() == "73.8 [71.9, 75.5]"


def test_columns_are_chosen_by_view_and_one_by_one(page: Any, site: str) -> None:
    def heads() -> list[str]:
        found = page.find_elements("css selector", ".heads th")
        return [th.get_attribute("data-col") or "plot" for th in found if th.is_displayed()]

    averages = ["overall", "plot", "basic", "multifaceted", "finegrained"]
    assert heads() == ["name", "rank", *averages, "size", "seeds"]
    page.execute_script("document.querySelector('[name=view][value=datasets]').click()")
    assert heads() == ["name", "rank", "overall", *ALL_TASKS]
    assert page.current_url.endswith("#cols=datasets")
    spans = page.find_elements("css selector", ".over th")
    assert [(th.text, th.get_attribute("colspan")) for th in spans if th.is_displayed()] == [
        ("Averages", "1"),
        ("Basic", "4"),
        ("Multifaceted", "4"),
        ("Fine-grained", "4"),
    ]
    find(page, "[name=column][value=licence]").click()
    assert heads()[-1] == "licence"
    page.get("about:blank")
    page.get(f"{site}#cols=rank.seen.trained")
    assert heads() == ["name", "rank", "seen", "trained"]
    assert len(page.find_elements("css selector", "#board td[tabindex='0']")) == 1


def test_the_plot_beside_the_names_shows_the_chosen_average(page: Any) -> None:
    def centre(key: str) -> float:
        circle = find(page, f"tr[data-key={key}] td.plot circle")
        return float(circle.get_attribute("cx").rstrip("%"))

    before = centre("base")
    assert before < centre("other") < centre("student2") < centre("teacher")
    choose(page, "#plotted", "finegrained")
    assert centre("base") != before
    assert "plot=finegrained" in page.current_url
    assert page.find_elements("css selector", "tr[data-key=paper0] td.plot line") == []
    assert len(page.find_elements("css selector", "tr[data-key=teacher] td.plot line")) == 1


def test_the_script_draws_the_plot_as_the_build_does(page: Any) -> None:
    read = (
        "return [...document.querySelectorAll('td.plot svg, .axis svg')].flatMap((svg) => "
        "[...svg.children].map((e) => [e.getAttribute('class'), e.textContent, "
        "...['x', 'cx', 'x1', 'x2'].map((n) => parseFloat(e.getAttribute(n) || 0))]))"
    )
    grid = "return getComputedStyle(document.querySelector('td.plot')).backgroundImage"
    built, lines = page.execute_script(read), page.execute_script(grid)
    choose(page, "#plotted", "basic")
    assert page.execute_script(read) != built
    choose(page, "#plotted", "overall")
    for one, other in zip(page.execute_script(read), built, strict=True):
        assert one[:2] == other[:2]
        assert one[2:] == pytest.approx(other[2:], abs=0.1)  # a tenth of a point and less
    assert page.execute_script(grid) == lines


def test_the_script_writes_the_cells_as_the_build_does(page: Any) -> None:
    read = (
        "return [...document.querySelectorAll('#board td.num, #board td.rank, #board .seeds')]"
        ".map((e) => [e.textContent, e.className])"
    )
    built = page.execute_script(read)
    find(page, "[name=metric][value=strict]").click()
    assert page.execute_script(read) != built
    find(page, "[name=metric][value=official]").click()
    assert page.execute_script(read) == built


def test_a_picture_of_the_plot_is_made_in_the_browser(page: Any) -> None:
    size = page.execute_async_script(
        "const done = arguments[0];"
        "savePng('forest-official').then((url) => { const image = new Image();"
        "image.onload = () => { const c = document.createElement('canvas');"
        "[c.width, c.height] = [image.width, image.height];"
        "const g = c.getContext('2d'); g.drawImage(image, 0, 0);"
        "const p = g.getImageData(0, 0, c.width, c.height).data; let blue = 0;"
        "for (let i = 0; i < p.length; i += 4) blue += p[i + 1] === 114 && p[i + 2] === 178;"
        "done([image.width, image.height, blue, [...p.slice(0, 4)]]); };"
        "image.src = url; }, (e) => done(String(e)))"
    )
    assert size[0] > 1500
    assert size[1] > 400
    assert size[2] > 1000  # the dots and bars, in the colour of a light page
    assert size[3] == [255, 255, 255, 255]


def test_the_prompt_that_a_model_saw_is_shown(page: Any) -> None:
    open_samples(page)
    first = find(page, "#sample-table tbody tr")
    titles = [summary.text for summary in first.find_elements("css selector", "summary")]
    assert titles == ["Prompt of A", "Prompt of B"]
    for place, text in ((0, "Decide the sentiment."), (1, "Another way.")):
        first.find_elements("css selector", "summary")[place].click()
        wait_for(page, f"document.querySelectorAll('.prompt pre')[{place}].textContent")
        assert text in first.find_elements("css selector", ".prompt pre")[place].text
    shown = first.find_element("css selector", ".prompt pre").text
    assert shown == f"Decide the sentiment.\n\nAn example {SCRIPT}\n\nDecide the sentiment."
    choose(page, "#samples [name=b]", "teacher")
    wait_for(page, "document.querySelector('#sample-table summary').textContent === 'Prompt'")


def test_permalink_restores_the_state(page: Any, site: str) -> None:
    find(page, "th[data-col=overall] button").click()
    find(page, "th[data-col=overall] button").click()
    find(page, "#controls [name=q]").send_keys("gemstone")
    find(page, "[name=metric][value=strict]").click()
    tick(page, "base")
    tick(page, "teacher")
    address = page.current_url
    assert "#" in address
    page.get("about:blank")
    page.get(address)
    assert find(page, "th[data-col=overall]").get_attribute("aria-sort") == "ascending"
    assert shown_keys(page) == ["base", "student2", "teacher"]
    assert find(page, "#controls [name=q]").get_attribute("value") == "gemstone"
    assert find(page, "tr[data-key=teacher] td.average .v").text == "69.2"
    chosen = [button.text for button in page.find_elements("css selector", "#chosen button")]
    assert chosen == ["Gemstone 270M ×", "Gemstone 9B ×"]
    page.get(
        f"{site}#metric=__proto__&sort=nothing&compare=<b>&task=x&a=y&model=z"
        "&plot=constructor&matrix=constructor"
    )
    assert find(page, "#count").text == "8 of 8 rows"
    assert find(page, "tr[data-key=teacher] td.average .v").text == "71.2"


def test_every_model_has_an_address_of_its_own(page: Any, site: str) -> None:
    find(page, "#controls [name=q]").send_keys("gemstone")
    find(page, "tr[data-key=base] a.model").click()
    assert find(page, "#model-base").is_displayed()
    assert page.current_url == f"{site}#q=gemstone&model=base"
    find(page, "tr[data-key=teacher] a.model").click()
    assert page.current_url == f"{site}#q=gemstone&model=teacher"
    page.back()
    assert page.current_url == f"{site}#q=gemstone&model=base"
    for address in (f"{site}#model=student2", f"{site}#model-student2"):
        page.get("about:blank")
        page.get(address)
        assert find(page, "#model-student2").is_displayed()
        assert not find(page, "#model-base").is_displayed()
        top = page.execute_script(
            "return document.querySelector('#model-student2').getBoundingClientRect().top"
        )
        assert 0 <= top < 900


def test_copy_button_says_what_it_did(page: Any) -> None:
    find(page, "tr[data-key=base] a.model").click()
    button = find(page, "#model-base .copy")
    button.click()
    page.execute_async_script("setTimeout(arguments[0], 200)")
    assert button.text in {"Copied", "Not allowed here"}


def test_theme_button_changes_the_colours_and_stays(page: Any, site: str) -> None:
    def ground() -> str:
        return page.execute_script("return getComputedStyle(document.body).backgroundColor")

    before, button = ground(), find(page, "#theme")
    pressed = button.get_attribute("aria-pressed")
    button.click()
    assert ground() != before
    assert button.get_attribute("aria-pressed") != pressed
    after = ground()
    page.get("about:blank")
    page.get(site)
    assert ground() == after
    find(page, "#theme").click()
    assert ground() == before


def test_page_follows_the_preferred_colour_scheme(page: Any) -> None:
    page.execute_script("localStorage.clear()")
    grounds: list[str] = []
    for scheme in ("light", "dark"):
        feature = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", feature)
        page.refresh()
        grounds.append(
            page.execute_script("return getComputedStyle(document.body).backgroundColor")
        )
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert grounds[0] == "rgb(255, 255, 255)"
    assert grounds[1] != grounds[0]


def test_confusion_matrix_follows_the_chosen_model(page: Any) -> None:
    choose(page, "#matrix-model", "other")
    page.execute_script("document.querySelector('details.task').open = true")
    wait_for(page, "document.querySelector('.matrix').textContent")
    matrix = find(page, ".matrix")
    assert SCRIPT in matrix.text
    assert "400 90 10" in matrix.text
    assert "90.0 80.0 85.0" in matrix.text


@pytest.mark.parametrize(
    ("outcome", "count"), [("", 120), ("11", 30), ("10", 30), ("01", 30), ("00", 30), ("none", 30)]
)
def test_two_models_are_compared_item_by_item(page: Any, outcome: str, count: int) -> None:
    open_samples(page)
    choose(page, "#samples [name=outcome]", outcome)
    wait_for(page, f"document.querySelector('#sample-count').textContent.startsWith('{count} ')")
    assert find(page, "#sample-count").text == f"{count} of 120 items"
    rows = page.find_elements("css selector", "#sample-table tbody tr")
    assert len(rows) == min(50, count)
    assert "30 30 A wrong 30 30" in find(page, "#outcomes").text.replace("\n", " ")


def test_page_asks_the_network_for_nothing(page: Any) -> None:
    page.get_log("performance")
    page.refresh()
    find(page, "#more-controls summary").click()
    find(page, "[name=metric][value=strict]").click()
    open_samples(page)
    choose(page, "#samples [name=outcome]", "11")
    find(page, "#sample-table summary").click()
    wait_for(page, "document.querySelector('.prompt pre').textContent")
    page.execute_script("savePng('forest-strict')")
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = {
        event["params"]["request"]["url"].partition(":")[0]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    }
    assert asked <= {"file", "data"}
    files = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
        and event["params"]["request"]["url"].startswith("file:")
    ]
    assert len(files) == 1
    assert files[0].partition("#")[0].endswith("index.html")
    names = page.execute_script(
        "return performance.getEntriesByType('resource').map((e) => e.name)"
    )
    assert [name for name in names if not name.startswith("data:")] == []


def test_nothing_hostile_runs(page: Any) -> None:
    from selenium.common.exceptions import NoAlertPresentException

    page.get_log("browser")
    page.refresh()
    page.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
    for key in ("other", "partial", "paper1"):
        tick(page, key)
    choose(page, "#controls [name=family]", ENDING)
    find(page, "#controls [type=reset]").click()
    open_samples(page)
    choose(page, "#samples [name=b]", "base")
    for box in page.find_elements("css selector", "#sample-table .prompt summary")[:2]:
        box.click()
    wait_for(page, "document.querySelector('.prompt pre').textContent.includes('hacked')")
    with pytest.raises(NoAlertPresentException):
        _ = page.switch_to.alert
    assert page.execute_script("return window.hacked") is None
    assert page.execute_script("return document.images.length") == 0
    kinds = page.execute_script("return [...document.scripts].map((s) => s.type)")
    assert kinds.count("") == 1
    assert kinds.count("application/json") == 3
    assert kinds.count("text/plain") == len(kinds) - 4 == 2
    names = page.execute_script(
        "return [...document.querySelectorAll('#board th.name bdi')].map((e) => e.textContent)"
    )
    assert {SCRIPT, IMAGE, LONG} <= set(names)
    assert page.get_log("browser") == []


def test_table_is_complete_with_scripts_off(site: str, tmp_path: Path) -> None:
    driver = start_browser(tmp_path / "profile", scripts=False)
    try:
        set_width(driver, 1280)
        driver.get(site)
        assert "on" not in (find(driver, "html").get_attribute("class") or "").split()
        rows = driver.find_elements("css selector", "#board tr[data-key]")
        assert len(rows) == 8
        assert all(row.is_displayed() for row in rows)
        assert find(driver, "tr[data-key=teacher] td.average .v").text == "71.2"
        assert not find(driver, "#controls").is_displayed()
        assert not find(driver, "#theme").is_displayed()
        assert len(driver.find_elements("css selector", ".sizes svg .point")) == 6 + 5
        assert len(driver.find_elements("css selector", "figure.only-official .forest circle")) == 28
        sizes = [find(driver, "#table").get_property(f"{kind}Width") for kind in ("scroll", "client")]
        assert sizes[0] == sizes[1]
        links = driver.find_elements("css selector", "#board a.model")
        assert [link.get_attribute("href").partition("#")[2] for link in links[:1]] == [
            "model-teacher"
        ]
    finally:
        driver.quit()


@pytest.mark.parametrize("width", [375, 1280])
def test_page_never_scrolls_sideways_but_the_table_does(page: Any, width: int) -> None:
    set_width(page, width)
    page.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
    for key in ("teacher", "base"):
        tick(page, key)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    find(page, "#unchoose").click()
    inside = page.execute_script(
        "const t = document.querySelector('#table'); t.scrollLeft = 100;"
        "const n = document.querySelector('tr[data-key=base] th');"
        "return [t.scrollWidth > t.clientWidth, t.scrollLeft,"
        "n.getBoundingClientRect().left - t.getBoundingClientRect().left, n.offsetWidth]"
    )
    if width == 375:
        assert inside[0]
        assert inside[1] == 100
        assert inside[3] < width / 2
    assert inside[2] == pytest.approx(0, abs=1)


@pytest.mark.parametrize("view", ["averages", "datasets", "about"])
def test_no_view_is_cut_at_1280_pixels(page: Any, view: str) -> None:
    page.execute_script(f"document.querySelector('[name=view][value={view}]').click()")
    sizes = "const t = document.querySelector('#table'); return [t.scrollWidth, t.clientWidth]"
    wide, room = page.execute_script(sizes)
    assert wide == room


def test_on_a_phone_the_table_starts_on_the_first_screen(page: Any, site: str) -> None:
    size = {"width": 375, "height": 812, "deviceScaleFactor": 1, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.get("about:blank")
    page.get(site)
    places = page.execute_script(
        "return ['tr[data-key=teacher]', 'tr[data-key=teacher] td.plot circle']"
        ".map((s) => document.querySelector(s).getBoundingClientRect())"
        ".map((box) => [box.bottom, box.right])"
    )
    assert places[0][0] < 812
    assert places[1][1] < 375  # so the score, its interval and its mark are seen without scrolling
    assert not find(page, "#controls [name=family]").is_displayed()


@pytest.mark.parametrize("width", [375, 1280])
def test_whatever_can_be_pressed_is_24_pixels_high_and_wide(page: Any, width: int) -> None:
    set_width(page, width)
    page.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
    open_samples(page)
    for key in ("teacher", "base"):
        tick(page, key)
    small = page.execute_script(
        "return [...document.querySelectorAll('a[href], button, input, select, summary')]"
        ".filter((e) => e.checkVisibility() && !e.matches('.skip'))"
        ".map((e) => [e.outerHTML.slice(0, 120), e.getBoundingClientRect()])"
        ".filter(([, box]) => box.height < 24 || box.width < 24)"
        ".map(([text, box]) => [text, box.width, box.height])"
    )
    assert small == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(page: Any, scheme: str) -> None:
    path = Path(os.environ.get("AXE_PATH") or AXE)
    if not path.is_file():
        pytest.skip(f"no {path.name}: `make axe` fetches it, or AXE_PATH names it")
    feature = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", feature)
    page.execute_script("localStorage.clear()")
    page.refresh()
    page.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
    for key in ("student2", "other"):
        tick(page, key)
    open_samples(page)
    page.execute_script(path.read_text(encoding="utf-8"))
    found = page.execute_async_script(
        "const done = arguments[0];"
        "axe.run(document).then((r) => done(r.violations), (e) => done([String(e)]))"
    )
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    serious = [
        (v["id"], v["help"], [node["html"][:200] for node in v["nodes"][:3]])
        for v in found
        if v["impact"] in {"serious", "critical"}
    ]
    assert serious == []
