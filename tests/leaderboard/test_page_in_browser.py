"""The page in a real browser."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from small_board import ALL_TASKS, ENDING, IMAGE, LONG, SCRIPT, make_board, make_items, make_row

from leaderboard.page.render import render_page
from sentibench.pages.text import percent, short

AXE = Path(__file__).parents[2] / ".axe" / "package" / "axe.min.js"


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
        "(p < 0.001). With these items, a true difference of 3.1 points or more would be found in "
        "8 of 10 repetitions."
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


def test_sentence_table_and_matrix_say_the_same_difference(browser: Any, tmp_path: Path) -> None:
    """Scores whose rounded values differ by another tenth than the scores do."""
    board = make_board(hostile=False)
    values = {
        "official": (0.71249, 0.57351, 0.57449, 0.43151),
        "strict": (0.69349, 0.55451, 0.55462, 0.38349),
    }
    rows = [
        replace(
            row,
            scores={
                m: {
                    c: replace(cell, value=values[m][i] + (n * (i + 1) % 7 / 1300 if n else 0))
                    for n, (c, cell) in enumerate(
                        sorted(of.items(), key=lambda pair: pair[0] != "overall")
                    )
                    if cell
                }
                for m, of in row.scores.items()
            },
        )
        for i, row in enumerate(board.rows[:4])
    ]
    by_key = {row.key: row for row in rows}
    pairs = tuple(
        replace(pair, difference=difference, low=difference - 0.02, high=difference + 0.02)
        for pair in board.comparisons
        for difference in [
            by_key[pair.a].scores[pair.metric]["overall"].value
            - by_key[pair.b].scores[pair.metric]["overall"].value
        ]
    )
    changed = replace(board, rows=(*rows, *board.rows[4:]), comparisons=pairs)
    path = tmp_path / "index.html"
    path.write_text(render_page(changed, None), encoding="utf-8")
    set_width(browser, 1280)
    names, order = board.titles, [row.key for row in rows]
    disagreeing = 0
    for metric in ("official", "strict"):
        for a, b in [*combinations(order, 2), ("base", "teacher"), ("student2", "other")]:
            browser.get("about:blank")
            browser.get(f"{path.as_uri()}#metric={metric}&compare={a}+{b}")
            cells = browser.execute_script(
                "return [...document.querySelectorAll('#compared .sides tbody tr')].map((r) => "
                "[r.cells[0].textContent, r.cells[4].textContent])"
            )
            shown = dict(cells)
            one, other = (by_key[key].scores[metric] for key in (a, b))
            for column, title in names.items():
                by = one[column].value - other[column].value
                assert shown[title] in {percent(by, signed=True), percent(by)}, (title, a, b)
                rounded = float(percent(one[column].value)) - float(percent(other[column].value))
                disagreeing += f"{rounded:.1f}" != f"{100 * by:.1f}"
            cell = browser.execute_script(
                "const [m, x, y] = arguments;"
                "const t = document.querySelector(`.only-${m} .pairs`);"
                "return t.tBodies[0].rows[x].cells[y + 1].firstChild.textContent",
                *(metric, order.index(a), order.index(b)),
            )
            assert shown["Overall"] == cell
            line = find(browser, "#compared li").text
            side = "below" if cell.startswith("−") else "above"
            assert f" is {cell[1:]} points {side} " in line
    assert disagreeing > 20


def test_marks_of_rows_without_a_rank_are_hollow(page: Any) -> None:
    def looks(key: str) -> list[str]:
        return page.execute_script(
            "return ['circle', 'line'].map((s) => document.querySelector("
            "`tr[data-key=${arguments[0]}] td.plot ${s}`)).map((e) => e && "
            "[getComputedStyle(e).fill, getComputedStyle(e).stroke].join())",
            key,
        )

    for column in ("overall", "basic"):
        choose(page, "#plotted", column)
        assert looks("base") == looks("teacher")
        assert looks("student1")[0] == looks("paper0")[0] != looks("base")[0]
        assert looks("student1")[1] != looks("base")[1]
    assert "hollow" in find(page, ".under").text.lower()
    point = ".only-official .point[data-key={}] .{}"
    fills = [
        find(page, point.format(*of)).value_of_css_property("fill")
        for of in (("student1", "student"), ("paper0", "teacher"), ("student2", "student"))
    ]
    assert fills[0] == fills[1] != fills[2]


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
    page.get(f"{site}#cols=rank.seen.licence")
    assert heads() == ["name", "rank", "seen", "licence"]
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
    assert size[1] >= 400
    assert size[2] > 800  # the dots and bars, in the colour of a light page
    assert size[3] == [255, 255, 255, 255]


def test_the_prompt_that_a_model_saw_is_shown(page: Any) -> None:
    open_samples(page)
    first = find(page, "#sample-table tbody tr")
    titles = [summary.text for summary in first.find_elements("css selector", "summary")]
    assert titles == ["Prompt of A", "Prompt of B"]
    for place, text in ((0, "Decide the sentiment."), (1, f"Another way for Text 0 {SCRIPT}.")):
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
        find(page, "th[data-col=overall] button").click()
        assert page.current_url == f"{site}#sort=overall&dir=descending&model=student2"


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
    assert kinds.count("") == 2
    assert kinds.count("application/json") == 3
    assert kinds.count("text/plain") == len(kinds) - 5 == 2
    names = page.execute_script(
        "return [...document.querySelectorAll('#board th.name bdi')].map((e) => e.textContent)"
    )
    assert {SCRIPT, IMAGE, short(LONG, 200)} <= set(names)
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
        circles = driver.find_elements("css selector", ".only-official .wide-only circle")
        assert len(circles) == 24
        sizes = [
            find(driver, "#table").get_property(f"{kind}Width") for kind in ("scroll", "client")
        ]
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


def test_on_a_phone_all_measures_of_calibration_are_seen(page: Any) -> None:
    set_width(page, 390)
    page.execute_script("document.querySelector('[name=view][value=calibration]').click()")
    page.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
    for shown in ("#table", ".scroll:has(> .calibration)"):
        wide, room = page.execute_script(
            f"const t = document.querySelector('{shown}'); return [t.scrollWidth, t.clientWidth]"
        )
        assert wide == room, shown
    cut = page.execute_script(
        "return [...document.querySelectorAll('.small caption')]"
        ".filter((e) => e.checkVisibility() && e.getBoundingClientRect().right > innerWidth)"
        ".map((e) => e.textContent)"
    )
    assert cut == []


@pytest.mark.parametrize("view", ["averages", "datasets", "about", "calibration"])
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
        "return ['tr[data-key=teacher]', 'tr[data-key=teacher] td.plot']"
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
    page.execute_script(
        "const all = new CSSStyleSheet(); all.replaceSync('* { content-visibility: visible }');"
        "document.adoptedStyleSheets.push(all)"  # what is far away is checked too
    )
    page.execute_script(path.read_text(encoding="utf-8"))
    found = []
    for view in ("datasets", "about", "averages"):
        page.execute_script(f"document.querySelector('[name=view][value={view}]').click()")
        found += page.execute_async_script(
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
