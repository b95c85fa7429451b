"""The page, as text and in a real browser. All models, texts and scores here are invented."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from typing import Any

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
)
from leaderboard.items import ItemText, TaskItems
from leaderboard.page.render import render_page
from leaderboard.runs.results import Problem

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
ALL_TASKS = [f"sentibench_{task}" for tasks in TASKS.values() for task in tasks]


def make_cell(value: float | None, known: bool = True) -> Cell | None:
    if value is None:
        return None
    return Cell(value, value - 0.019, value + 0.017, 1000) if known else Cell(value)


def make_row(key: str, name: str, overall: float | None, **changes: Any) -> Row:
    """A complete row whose scores lie around ``overall``; None: ran nine datasets."""
    middle = 0.4 if overall is None else overall
    run = ALL_TASKS[:9] if overall is None else ALL_TASKS
    values: dict[str, float | None] = dict.fromkeys(ALL_TASKS)
    values |= {task: middle + 0.2 - 0.035 * i for i, task in enumerate(run)}
    values |= {"overall": overall, "basic": middle + 0.15, "multifaceted": middle}
    values |= {"finegrained": None if overall is None else middle - 0.15}
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
            metric, a, b, x - y, x - y - 0.02, x - y + 0.02, 0.41 if x - y < 0.02 else 2e-4, {}
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
    cells = re.findall(r'<td class="num[^>]*data-official="([^"]*)"', page)
    assert len(cells) == 8 * 16
    expected = sum(
        row.cell("official", column) is not None
        for row in board.rows
        for column in ("overall", *TASKS, *ALL_TASKS)
    )
    assert sum(bool(cell) for cell in cells) == expected == 8 * 16 - 5
    assert "9/12" in texts
    assert "2–3" in texts


def test_render_page_says_how_much_of_the_gap_a_student_closes_only_where_there_is_one() -> None:
    board = with_student(gap={"official": GapClosed(0.559, 0.41, 0.7, 100)})
    assert "Closes 56% (41 to 70) of the gap" in render_page(board, None)
    assert "of the gap between" not in render_page(with_student(gap={"official": None}), None)
    assert "of the gap between" not in render_page(with_student(gap={}), None)


def test_render_page_says_over_how_many_tasks_a_line_of_models_is_compared() -> None:
    assert "of 12 tasks</li>" not in render_page(make_board(), None)
    short = with_student(lineage=tuple(replace(link, n_tasks=5) for link in LINE))
    assert '<li class="of">5 of 12 tasks</li>' in render_page(short, None)
    none = with_student(lineage=tuple(replace(link, mean=None, n_tasks=0) for link in LINE))
    assert '<li class="of">0 of 12 tasks</li>' in render_page(none, None)


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
    assert "sample-data" not in [a.get("class") for _, a in parsed(page).tags]
    assert 'id="samples"' not in page


def test_render_page_escapes_json_inside_script_elements() -> None:
    page = render_page(make_board(), make_items())
    blocks = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        assert not re.search("[<>&\u2028\u2029]", block)
    names = [row["name"] for row in json.loads(blocks[1])["rows"]]
    assert SCRIPT in names
    assert json.loads(blocks[0]) == asdict(make_items()[ALL_TASKS[0]])


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
    cell = find(page, "tr[data-key=teacher] td.avg .v")
    assert cell.text == "71.2"
    find(page, "[name=metric][value=strict]").click()
    assert cell.text == "69.2"
    assert find(page, "tr[data-key=paper0] td.avg .v").text == "–"
    assert find(page, "tr[data-key=partial] td.avg .v").text == "9/12"
    assert "67.3–70.9" in find(page, "tr[data-key=teacher] td.avg").get_attribute("title")


def test_chosen_row_is_compared_with_all_others(page: Any) -> None:
    find(page, ".choose[value=student2]").click()
    lines = [row.text for row in page.find_elements("css selector", "#chosen-table tbody tr")]
    assert len(lines) == 3
    assert lines[0].startswith("Gemstone 9B −12.4 −14.4 to −10.4 < 0.001 worse")
    assert lines[1].endswith("+0.9 −1.1 to +2.9 0.410 not separable")
    assert lines[2].endswith("better")
    find(page, "#unchoose").click()
    assert not find(page, "#comparison").is_displayed()


def test_permalink_restores_the_state(page: Any, site: str) -> None:
    find(page, "th[data-col=overall] button").click()
    find(page, "th[data-col=overall] button").click()
    find(page, "#controls [name=q]").send_keys("gemstone")
    find(page, "[name=metric][value=strict]").click()
    find(page, ".choose[value=base]").click()
    address = page.current_url
    assert "#" in address
    page.get("about:blank")
    page.get(address)
    assert find(page, "th[data-col=overall]").get_attribute("aria-sort") == "ascending"
    assert shown_keys(page) == ["base", "student2", "teacher"]
    assert find(page, "#controls [name=q]").get_attribute("value") == "gemstone"
    assert find(page, "tr[data-key=teacher] td.avg .v").text == "69.2"
    assert find(page, "#chosen-name").text == "Gemstone 270M"
    page.get(f"{site}#metric=__proto__&sort=nothing&chosen=<b>&task=x&a=y")
    assert find(page, "#count").text == "8 of 8 rows"
    assert find(page, "tr[data-key=teacher] td.avg .v").text == "71.2"


def test_link_to_a_model_opens_its_card_and_keeps_the_permalink(page: Any) -> None:
    find(page, "#controls [name=q]").send_keys("gemstone")
    address = page.current_url
    find(page, "tr[data-key=base] a.model").click()
    assert find(page, "#model-base").is_displayed()
    assert page.current_url == address


def test_copy_button_says_what_it_did(page: Any) -> None:
    find(page, "tr[data-key=base] a.model").click()
    button = find(page, "#model-base .copy")
    button.click()
    page.execute_async_script("setTimeout(arguments[0], 200)")
    assert button.text in {"Copied", "Selected: copy it"}
    selected = page.execute_script("return getSelection().toString()")
    assert selected == make_board().rows[3].command


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
    matrix = find(page, ".matrix")
    assert SCRIPT in matrix.text
    assert "400 90 10" in matrix.text
    assert "90.0 80.0 85.0" in matrix.text


@pytest.mark.parametrize(
    ("outcome", "count"), [("", 120), ("11", 30), ("10", 30), ("01", 30), ("00", 30), ("none", 30)]
)
def test_two_models_are_compared_item_by_item(page: Any, outcome: str, count: int) -> None:
    choose(page, "#samples [name=outcome]", outcome)
    assert find(page, "#sample-count").text == f"{count} of 120 items"
    rows = page.find_elements("css selector", "#sample-table tbody tr")
    assert len(rows) == min(50, count)
    assert "30 30 A wrong 30 30" in find(page, "#outcomes").text.replace("\n", " ")


def test_page_asks_the_network_for_nothing(page: Any) -> None:
    page.get_log("performance")
    page.refresh()
    find(page, "[name=metric][value=strict]").click()
    choose(page, "#samples [name=outcome]", "11")
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
    for key in ("other", "base"):
        find(page, f".choose[value={key}]").click()
    choose(page, "#controls [name=family]", ENDING)
    find(page, "#controls [type=reset]").click()
    choose(page, "#samples [name=b]", "base")
    with pytest.raises(NoAlertPresentException):
        _ = page.switch_to.alert
    assert page.execute_script("return window.hacked") is None
    assert page.execute_script("return document.images.length") == 0
    kinds = page.execute_script("return [...document.scripts].map((s) => s.type)")
    assert kinds.count("") == 1
    assert kinds.count("application/json") == len(kinds) - 1 == 2
    names = page.execute_script(
        "return [...document.querySelectorAll('#board th.name bdi')].map((e) => e.textContent)"
    )
    assert {SCRIPT, IMAGE, LONG} <= set(names)
    assert page.get_log("browser") == []


def test_table_is_complete_with_scripts_off(site: str, tmp_path: Path) -> None:
    driver = start_browser(tmp_path / "profile", scripts=False)
    try:
        driver.get(site)
        assert "on" not in (find(driver, "html").get_attribute("class") or "").split()
        rows = driver.find_elements("css selector", "#board tr[data-key]")
        assert len(rows) == 8
        assert all(row.is_displayed() for row in rows)
        assert find(driver, "tr[data-key=teacher] td.avg .v").text == "71.2"
        assert not find(driver, "#controls").is_displayed()
        assert not find(driver, "#theme").is_displayed()
        assert len(driver.find_elements("css selector", ".plot svg .point")) == 6 + 5
    finally:
        driver.quit()


@pytest.mark.parametrize("width", [375, 1280])
def test_page_never_scrolls_sideways_but_the_table_does(page: Any, width: int) -> None:
    set_width(page, width)
    page.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
    wide = page.execute_script("return document.documentElement.scrollWidth")
    assert wide <= width
    inside = page.execute_script(
        "const t = document.querySelector('#table'); t.scrollLeft = 300;"
        "const n = document.querySelector('tr[data-key=base] th');"
        "return [t.scrollWidth > t.clientWidth, t.scrollLeft,"
        "n.getBoundingClientRect().left - t.getBoundingClientRect().left, n.offsetWidth]"
    )
    if width == 375:
        assert inside[0]
        assert inside[1] == 300
        assert inside[3] < width / 2
    assert inside[2] == pytest.approx(0, abs=1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(page: Any, scheme: str) -> None:
    path = os.environ.get("AXE_PATH")
    if not path:
        pytest.skip("AXE_PATH names no axe.min.js")
    feature = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", feature)
    page.execute_script("localStorage.clear()")
    page.refresh()
    find(page, ".choose[value=student2]").click()
    page.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
    page.execute_script(Path(path).read_text(encoding="utf-8"))
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
