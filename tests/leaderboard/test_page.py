"""The page as text."""

import base64
import html
import json
import re
import zlib
from dataclasses import asdict, replace
from html.parser import HTMLParser
from random import Random
from typing import Any
from unicodedata import category
from xml.etree import ElementTree

from small_board import ALL_TASKS, LINE, SCRIPT, TASKS, make_board, make_items, ranks, with_student

from leaderboard.board import Ancestor, Badge, Board, GapClosed, PastRun
from leaderboard.items import Prompts
from leaderboard.page.render import render_page, render_plots
from leaderboard.runs.results import Problem
from sentibench.pages.text import short


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
        assert short(row.name, 200) in texts
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
        "The two cannot be told apart. With these items, a true difference of 3.1 points or more "
        "would be found in 8 of 10 repetitions. "
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
        "lm_eval --model hf --model_args pretrained=MODEL,dtype=bfloat16,softmax_dtype=float32 ",
        "<b>9</b> models measured, <b>4</b> rows ranked",
        "<b>180</b> runs of one dataset each</li>",
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
        assert f'<td class="fact {name} more">{text}</td>' in page
    assert '<td class="fact trained more">sst2</td>' in page
    assert page.count('<td class="fact speed more">–</td>') == 7
    assert 'class="fact speed' not in render_page(board, None)  # no row says it: no column


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
    assert "<dt>Demonstrations in the prompt</dt><dd>0</dd>" in page
    assert "<dt>Chat template</dt><dd>yes</dd>" in page
    for absent in ("Demonstrations as", "System instruction", "generation settings", ">dtype<"):
        assert absent not in page


def test_the_plot_of_all_intervals_is_a_drawing_of_its_own() -> None:
    plots = render_plots(make_board())
    assert list(plots) == ["intervals_official.svg", "intervals_strict.svg"]
    assert plots == render_plots(make_board())
    root = ElementTree.fromstring(plots["intervals_official.svg"])
    space = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{space}svg"
    # four ranked rows and two reported ones without interval, four panels; no unranked one
    assert len(root.findall(f"{space}circle")) == 6 * 4
    assert len(root.findall(f"{space}line[@class='bar']")) == 4 * 4
    names = {text.text for text in root.findall(f"{space}text[@x='8']")}
    assert "Gemstone 270M + KnowDist" not in names
    assert {"Gemstone 9B", "Llama-3 70B"} < names
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


# Characters that nobody sees, and texts without end

HIDDEN = "a\0b\x01c\x1bd\x9be\u202ef\u2066g\u200bh\u2028i\ud800j\ufeffk\ufffel\uffff"


def hidden_in(text: str) -> set[str]:
    kinds = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return {c for c in text if c != "\n" and (category(c) in kinds or c in "\ufffe\uffff")}


def with_texts(text: str) -> Board:
    """A board that says one text wherever it can say one."""
    board = make_board()
    texts: dict[str, Any] = dict.fromkeys(
        ("name", "family", "base", "teacher", "licence", "command"), text
    )
    texts |= {"reasons": (text,), "trained_on": (text,), "arguments": {text: text}}
    texts |= {"protocol": {"system_instruction": text, text: text}, "badges": (Badge(text, text),)}
    texts |= {"history": (PastRun(text, text, 0.5),), "lineage": (Ancestor(text, 0.5, 12),) * 2}
    texts |= {"link": f"https://example.org/{text}"}
    rows = tuple(replace(row, **texts) for row in board.rows)
    report = (Problem(text, text),)
    return replace(board, title=text, rows=rows, report=report, versions={text: (text,)})


def test_no_page_and_no_plot_holds_what_cannot_be_seen() -> None:
    board = with_texts(HIDDEN)
    assert hidden_in(render_page(board, None)) == set()
    found = re.search(r'id="board-data">(.*?)</script>', render_page(board, None), re.DOTALL)
    assert found
    data = json.loads(found[1])
    texts = [data["rows"][0]["name"], *data["rows"][0]["facts"].values()]
    assert hidden_in("".join(map(str, texts))) == set()
    plots = render_plots(board)
    assert len(plots) == 2
    for plot in plots.values():
        assert hidden_in(plot) == set()
        labels = [element.text or "" for element in ElementTree.fromstring(plot).iter()]
        assert sum("d\ufffde\ufffdf\ufffdg" in label for label in labels) > 4


def test_line_breaks_of_commands_stay() -> None:
    board = make_board()
    rows = (replace(board.rows[0], command="lm_eval --seed 1\nlm_eval --seed 2\t\x1b[1m"),)
    page = render_page(replace(board, rows=rows), None)
    assert "<code>lm_eval --seed 1\nlm_eval --seed 2 \ufffd[1m</code>" in page


def test_a_report_without_end_is_cut_and_counted() -> None:
    report = tuple(Problem(f"file{i}.json", "not JSON") for i in range(100_000))
    page = render_page(replace(make_board(), report=report), None)
    assert page.count("not JSON") == 200
    assert "file199.json" in page
    assert "100,000 files were left out." in page
    assert "and 99,800 more" in page
    page = render_page(replace(make_board(), report=report[:200]), None)
    assert page.count("not JSON") == 200
    assert "more;" not in page.partition('id="h-report"')[2].partition("</section>")[0]


def test_declared_texts_without_end_are_shown_shortened() -> None:
    long = "word " * 20_000
    page, less = (
        render_page(replace(with_texts(text), title="ours", versions={}), None)
        for text in (long, long[:2_000])
    )
    assert len(page) < 1.2 * len(less)
    row = page[page.index('<tr data-key="teacher"') :].partition("</tr>")[0]
    for text in ("trained", "licence"):
        cell = re.search(f'<td class="fact {text} more"( title="([^"]*)")?>([^<]*)<', row)
        assert cell
        assert len(cell[3]) <= 60
        assert len(cell[3]) < len(cell[2]) <= 1000
    licence = re.search(r'<dt>Licence</dt><dd><bdi title="([^"]*)">([^<]*)<', page)
    assert licence
    assert (len(licence[1]) > 900, len(licence[2]) <= 200) == (True, True)
    assert "<dt>Licence</dt><dd><bdi>Apache-2.0</bdi>" in render_page(make_board(), None)
