"""The page of a run: everything is text, every piece may be missing, drawings say the numbers."""

import copy
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from small_manifest import cell, hostile, interval, manifest, own_task, step, student

from distill.report.card import write_card
from distill.report.page import write_report
from distill.report.wording import evaluation_notes, plain
from sentibench.pages.drawing import MAX_DOTS

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&amp; {{ 7 * 7 }} </style></title>"
VOID = {"meta", "link", "col"}
TAGS = """
html head meta title link style body header h1 bdi ol li b span div p main section h2 h3 table thead
tbody caption colgroup col tr th td small svg circle rect path line text polyline details summary
figure figcaption ul q dl dt dd pre footer
"""
ATTRIBUTES = """
lang charset name content http-equiv rel href class id aria-label aria-labelledby aria-hidden role
tabindex scope width height x y x1 x2 y1 y2 cx cy r d dx dy text-anchor points viewbox
preserveaspectratio vector-effect
"""


class Page(HTMLParser):
    """Elements with their attributes and all texts; refuses what is not well nested."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    for stage in ("knowdist", "icldist"):
        (tmp_path / f"{stage}-train").mkdir()
        (tmp_path / f"{stage}-filter").mkdir()
        lines = [{"step": n, "loss_nats_per_token": 3 - n / 50} for n in range(1, 101)]
        log = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / f"{stage}-train" / "log.jsonl").write_text(log, encoding="utf-8")
        row = {"family": "all", "source": "all", "asked": 20, "failed": 2, "answered": 18}
        row |= {"empty": 4, "refusal": 4, "kept": 10}
        example = {"id": "knowdist/1", "detail": "twin", "excerpt": "I cannot help"}
        funnel = {
            "table": [{**row, "family": "analysing", "source": "sst2"}, row],
            "failures": {"timeout": 2},
            "not_checked": ["too long"],
            "examples": {"refusal": [example, {**example, "id": "knowdist/2"}, example]},
        }
        path = tmp_path / f"{stage}-filter" / "funnel.json"
        path.write_text(json.dumps(funnel), encoding="utf-8")
    (tmp_path / "texts").mkdir()
    examples = {"examples": {"no words": ["5/5"], "markup": ["so <br> good"]}}
    (tmp_path / "texts" / "funnel.json").write_text(json.dumps(examples), encoding="utf-8")
    return tmp_path


def page_of(folder: Path, raw: dict[str, Any]) -> Page:
    return Page(write_report(folder, manifest(raw)).read_text(encoding="utf-8"))


def write_answers(run_folder: Path, task: str, answers: list[list[str | None]]) -> None:
    """The file of the step that asks teacher and student: text, answer, answer."""
    (run_folder / "agreement").mkdir()
    asked = {"answers": {task: answers}, "usage": {}, "reason": ""}
    path = run_folder / "agreement" / "agreement.json"
    path.write_text(json.dumps(asked), encoding="utf-8")


def test_a_report_shows_the_run(run_folder: Path, raw: dict[str, Any]) -> None:
    raw["config"]["evaluation"]["limit"] = 8
    text = page_of(run_folder, raw).text
    for expected in (
        *("org/large", "abc123", "tiny", "small-icldist"),
        *("50.0", "± 2.0", "+5.0 (+4.0 to +6.0)", "+11.0 (+10.0 to +12.0)"),
        *("37.0 (27.0 to 47.0)", "The teacher leads the base by +30.0 (+29.0 to +31.0) points."),
        "Only the first 8 items of each task were evaluated.",
        *("7 contaminated (imdb)", "Cleaned: 5 markup (imdb).", "no words : 5/5", "so <br> good"),
        *("Not checked: too long.", "2 timeout", "I cannot help"),
        *("1 min 15 s", "4,122 supervised", "torch", "2.13.0", "1 min 20 s"),
        "No answer was dropped as: only reasoning, run-on, cut off, only a label, JSON, copied",
    ):
        assert expected in text
    # 50 -> 55 -> 61: the change from stage to stage, not from the base
    assert "55.0 +5.0" in text
    assert "61.0 +6.0" in text
    assert text.count("I cannot help") == 2 * 2  # two examples of three, in two stages
    assert "not there" not in text
    assert "not measured" not in text


def test_page_and_card_tell_the_same_losses(
    run_folder: Path, raw: dict[str, Any], tmp_path: Path
) -> None:
    ends = {"first_loss_nats_per_token": 2.5, "last_loss_nats_per_token": 1.25}
    raw["steps"]["icldist-train"] = step(**ends)
    shown = "From 2.500 to 1.250 in 100 steps (means of the first and the last tenth)."
    assert shown in write_report(run_folder, manifest(raw)).read_text()
    assert "2.500 to 1.250" in write_card(tmp_path, "icldist", manifest(raw)).read_text()


def test_a_student_that_is_surely_worse_than_its_base_is_called_so(
    run_folder: Path, raw: dict[str, Any], tmp_path: Path
) -> None:
    cells = raw["comparison"]["students"]["icldist"]
    for high, is_said in ((-0.01, True), (0.01, False)):
        cells["all"]["difference"] = {"value": -0.05, "low": -0.09, "high": high}
        page = write_report(run_folder, manifest(raw)).read_text()
        card = write_card(tmp_path, "icldist", manifest(raw)).read_text()
        for text in (page, card):
            assert ("ICLDist is worse than the base: −5.0 (−9.0 to −1.0)" in text) is is_said


def test_a_limit_above_all_tasks_is_no_limit(raw: dict[str, Any]) -> None:
    n_most = max(task["n"] for task in raw["comparison"]["tasks"].values())
    for limit, is_said in ((n_most, True), (n_most + 1, False)):
        raw["config"]["evaluation"]["limit"] = limit
        notes = evaluation_notes(manifest(raw))
        assert any("Only the first" in note for note in notes) is is_said


def test_the_same_run_gives_the_same_page(run_folder: Path, raw: dict[str, Any]) -> None:
    first = write_report(run_folder, manifest(raw)).read_bytes()
    assert write_report(run_folder, manifest(copy.deepcopy(raw))).read_bytes() == first
    assert [p.name for p in run_folder.glob("report*")] == ["report.html"]


def test_nothing_from_a_file_becomes_markup(run_folder: Path, raw: dict[str, Any]) -> None:
    for stage in ("knowdist", "icldist"):
        path = run_folder / f"{stage}-filter" / "funnel.json"
        funnel = json.loads(path.read_text(encoding="utf-8"))
        funnel["table"][0] |= {"family": EVIL, "source": EVIL}
        funnel["failures"] = funnel["changed"] = funnel["overlaps"] = {EVIL: 2}
        funnel["corrected"], funnel["not_corrected"] = {EVIL: (2, 3)}, {EVIL: 2}
        funnel["not_checked"] = [EVIL]
        funnel["examples"]["refusal"] = [{"id": EVIL, "detail": EVIL, "excerpt": EVIL}]
        path.write_text(json.dumps(funnel), encoding="utf-8")
        with (run_folder / f"{stage}-train" / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps({"step": EVIL, "loss_nats_per_token": EVIL}) + f"\n{EVIL}\n")
    examples = {"examples": {EVIL: [EVIL]}}
    (run_folder / "texts" / "funnel.json").write_text(json.dumps(examples), encoding="utf-8")
    run = hostile(raw, EVIL)
    ((task, found),) = run.own_tasks.items()
    first = found.agreement.differing[0]
    write_answers(run_folder, task, [[f"own{EVIL}", first.teacher, first.student]])
    path = write_report(run_folder, run)
    page = Page(path.read_text(encoding="utf-8"))
    assert {tag for tag, _ in page.elements} <= set(TAGS.split())
    found = {name for _, attributes in page.elements for name in attributes}
    assert found <= set(ATTRIBUTES.split())
    # whatever is no label for a screen reader is a number, a class of ours or an address of ours
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            if name not in ("aria-label", "content"):
                assert not set(value) & set('<>&"{}'), (tag, name, value)
    assert page.text.count("<script>alert(1)</script>") > 20
    assert "own<script>" in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert "49" not in page.text.split()


def test_the_page_asks_the_network_for_nothing(run_folder: Path, raw: dict[str, Any]) -> None:
    page = page_of(run_folder, raw)
    addresses = [a["href"] for _, a in page.elements if "href" in a]
    assert addresses == ["data:,"]
    policies = [a["content"] for _, a in page.elements if "http-equiv" in a]
    assert len(policies) == 1
    assert policies[0].startswith("default-src 'none'; ")
    assert "script" not in policies[0]


def test_what_was_not_measured_is_said(run_folder: Path, raw: dict[str, Any]) -> None:
    raw["comparison"] |= {"students": {}, "tasks": {}, "means": {}}
    raw["scores"] = {"base": {}, "knowdist": {}, "icldist": {}}
    raw["steps"]["icldist-ask"] = step(requests=3)
    text = page_of(run_folder, raw).text
    for line in (
        "No model of this run has been evaluated yet.",
        "No student could be compared with the base: nothing measured on the same items.",
        "No student could be compared with the base, so there is no gap to close.",
        "No coverage: this run has no ICLDist stage",
    ):
        assert line in text
    raw["scores"] = {"base": {"sentibench_sst2": [0.5, None]}}
    assert "Teacher: not measured in this run." in page_of(run_folder, raw).text


def test_calibration_stands_in_a_table_of_models(run_folder: Path, raw: dict[str, Any]) -> None:
    assert "no log-likelihoods of labels were saved" in page_of(run_folder, raw).text
    ece, nll = interval(0.042), interval(0.6931)
    of_models = {"icldist": {"ece": ece}, "base": {"ece": interval(0.2), "nll": nll}}
    tasks = ["sentibench_sst2", "sentibench_imdb"]
    raw["comparison"]["calibration"] = {"tasks": tasks, "models": of_models}
    text = page_of(run_folder, raw).text
    assert "Mean over 2 label tasks" in text
    assert "Base 20.0 [19.0, 21.0] – 0.693 [0.683, 0.703] – ICLDist 4.2 [3.2, 5.2] – – –" in text
    assert "Teacher: not shown. It gave no probabilities for the labels of all these tasks." in text
    assert "Temperatures beside" not in text
    raw["steps"]["calibrate"] = step(
        temperatures={"sentibench_sst2": 1.234}, no_temperature={"sentibench_imdb": "a <b> reason"}
    )
    text = page_of(run_folder, raw).text
    assert "from validation items: SST2 1.23." in text
    assert "No temperature for IMDb: a <b> reason." in text


def test_files_that_are_not_there_or_torn_are_said_so(
    tmp_path: Path, run_folder: Path, raw: dict[str, Any]
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    text = page_of(empty, raw).text
    assert text.count("No loss curve: ") == text.count("Unknown: funnel.json") == 2
    for path in run_folder.glob("*/funnel.json"):
        path.write_text(path.read_text(encoding="utf-8")[:-9], encoding="utf-8")
    for path in run_folder.glob("*/log.jsonl"):
        content = path.read_text(encoding="utf-8")
        torn = content + '{"step": 101, "loss_nats_per_token": NaN}\n{"step": 1'
        path.write_text(torn, encoding="utf-8")
    text = page_of(run_folder, raw).text
    assert text.count("Unknown: funnel.json") == 2
    assert text.count("Lines of the log without a finite loss, not drawn: 2.") == 2


def test_own_tasks_are_shown_with_confusion_agreement_and_costs(
    run_folder: Path, raw: dict[str, Any]
) -> None:
    raw["own_tasks"] = {"reviews": own_task()}
    long = "word " * 40
    texts = ["first", "second", long, "fourth"]
    answers: list[list[str | None]] = [[text, "praise", "complaint"] for text in texts]
    write_answers(run_folder, "reviews", [*answers, ["fifth", None, "praise"]])
    page = page_of(run_folder, raw)
    text = page.text
    for expected in (
        # rows are gold labels; the stage between is not shown
        "gold praise complaint unreadable praise 11 1 0 complaint 2 9 3",
        "gold praise complaint unreadable praise 4 8 0 complaint 7 7 0",
        "gold praise complaint unreadable praise 10 2 0 complaint 5 9 0",
        "Teacher and ICLDist answered 100 texts that the teacher was not asked about before. "
        "57.0 (47.2 to 66.3) percent of the answers are the same",
        "Teacher praise , ICLDist complaint : 30 first second word word",
        "Teacher unreadable, ICLDist praise : 13 fifth",
        "Seconds 192.9 not known –",
        "Prompt tokens 30,454 not known – Answer tokens 2,000 not known –",
        "US dollars 0.0345 not known –",
        "Teacher: 130 answers. ICLDist: not measured.",
    ):
        assert expected in text
    assert "fourth" not in text
    assert long.strip() not in text
    assert "5555" not in text.replace(",", "")
    # the diagonals of three models
    cells = [a.get("class") for tag, a in page.elements if tag == "td"]
    first = cells.index("num right")
    assert cells[first : first + 6] == ["num right", *["num"] * 3, "num right", "num"]
    assert cells.count("num right") == 3 * 2
    assert text.index("Own tasks") < text.index("Requests: how many were kept")


def test_why_there_is_no_agreement_is_said(run_folder: Path, raw: dict[str, Any]) -> None:
    raw["own_tasks"] = {"meals": own_task() | {"labels": [], "confusion": {}}}
    raw["own_tasks"]["meals"]["agreement"] = {"reason": "evaluation.agreement is 0"}
    text = page_of(run_folder, raw).text
    expected = "Agreement of teacher and student: not measured: evaluation.agreement is 0."
    assert expected in text
    assert "by gold label" not in text  # tuples have no confusion


def test_a_run_without_own_tasks_shows_nothing_of_them(
    run_folder: Path, raw: dict[str, Any]
) -> None:
    text = page_of(run_folder, raw).text
    assert "Own tasks" not in text
    assert "1,000 texts" not in text


def test_a_single_task_is_shown_without_means(run_folder: Path, raw: dict[str, Any]) -> None:
    assert "Seen are the tasks" in page_of(run_folder, raw).text
    for cells in raw["comparison"]["students"].values():
        one = cells["all"] | {"n_tasks": 1}
        cells |= {"all": one, "seen": one, "unseen": None, "tasks": {"sentibench_sst2": one}}
    page = page_of(run_folder, raw)
    assert "Mean of" not in page.text
    assert "Seen are" not in page.text
    assert "Below each model its score on SST2, in percent" in page.text
    whiskers = [a for tag, a in page.elements if a.get("class") == "whisker s0"]
    assert len(whiskers) == 2  # one of the difference, one of the gap


def test_a_run_without_demonstrations_says_so(run_folder: Path, raw: dict[str, Any]) -> None:
    raw["steps"]["demonstrations"] = step(labelled=0)
    assert "Unknown: funnel.json" in page_of(run_folder, raw).text
    raw["config"]["icldist"]["shots"] = [0]
    text = page_of(run_folder, raw).text
    assert "No requests: the prompts show no demonstrations" in text
    assert "Unknown: funnel.json" not in text


def test_why_there_is_no_gap_is_said_once_for_all_that_it_concerns(
    run_folder: Path, raw: dict[str, Any]
) -> None:
    cells = student(0.1, None)
    raw["comparison"]["students"] = {"icldist": cells}
    reason = "the teacher was not measured."
    assert f"No gap for any of them: {reason}" in page_of(run_folder, raw).text
    cells["seen"] = cell(0.1, 0.5, 2)
    text = page_of(run_folder, raw).text
    assert f"No gap for ICLDist, Mean of all; ICLDist, Mean of unseen: {reason}" in text


def test_marks_stand_where_their_numbers_are(run_folder: Path, raw: dict[str, Any]) -> None:
    raw["comparison"]["students"] = {"icldist": student(0.06, None)}
    elements = page_of(run_folder, raw).elements
    whiskers = [a for tag, a in elements if a.get("class") == "whisker s0"]
    zeros = [a for tag, a in elements if a.get("class") == "zero"]
    # of 5 to 7 points, on an axis from 0 to 7
    assert len(whiskers) == 4
    for whisker in whiskers:
        assert float(whisker["x1"].rstrip("%")) == pytest.approx(100 * 5 / 7, abs=0.01)
        assert whisker["x2"] == "100.0%"
    assert {zero["x1"] for zero in zeros} == {"0.0%"}


def test_the_effect_of_the_bias_correction_is_shown(run_folder: Path, raw: dict[str, Any]) -> None:
    assert "preference for words" not in page_of(run_folder, raw).text
    path = run_folder / "icldist-filter" / "funnel.json"
    funnel = json.loads(path.read_text(encoding="utf-8"))
    funnel["corrected"] = {"bad / good": (31, 1200), "sad / happy": (2, 40)}
    funnel["not_corrected"] = {"without a number": 7}
    path.write_text(json.dumps(funnel), encoding="utf-8")
    text = " ".join(page_of(run_folder, raw).text.split())
    for shown in ("31 of 1,200", "bad / good", "2 of 40", "sad / happy", "7 without a number"):
        assert shown in text


def test_the_funnel_falls_from_asked_to_kept(run_folder: Path, raw: dict[str, Any]) -> None:
    elements = page_of(run_folder, raw).elements
    bars = [
        (a["class"], float(a.get("x", "0%").rstrip("%")), float(a["width"].rstrip("%")))
        for tag, a in elements
        if a.get("class", "").startswith("bar-")
    ]
    assert bars[: len(bars) // 2] == [
        ("bar-asked", 0, 100),
        ("bar-drop", 90, 10),
        ("bar-drop", 70, 20),
        ("bar-drop", 50, 20),
        ("bar-kept", 0, 50),
    ]


def test_what_became_of_the_labels_of_demonstrations_is_shown_where_they_were_asked_for(
    run_folder: Path, raw: dict[str, Any]
) -> None:
    title = "Labels of demonstrations"
    assert title not in page_of(run_folder, raw).text
    raw["steps"]["demonstrations"] = step(labelled=10, unreadable=8)
    (run_folder / "icldist-filter").rename(run_folder / "demonstrations")
    shown = page_of(run_folder, raw).text
    assert title in shown
    assert shown.count("I cannot help") == 4  # twice each, of KnowDist and of the labels


def test_the_loss_curve_is_drawn_between_its_axes(run_folder: Path, raw: dict[str, Any]) -> None:
    page = page_of(run_folder, raw)
    dots = [a for tag, a in page.elements if a.get("class") == "dot"]
    assert len(dots) == 2 * 100
    # step 100 of 100 at the right; loss 1 on an axis from 1 to 3 at the bottom
    assert (dots[99]["cx"], dots[99]["cy"]) == ("100.0%", "100.0%")
    (x, y) = next(a for t, a in page.elements if t == "polyline")["points"].split()[-1].split(",")
    assert x == "1000.0"
    assert 900 < float(y) < 1000  # the mean of the last steps, above the last
    assert "From 2.960 to 1.020 in 100 steps. Line: mean of 5 steps" in page.text


def test_a_long_log_is_thinned_and_the_page_says_so(run_folder: Path, raw: dict[str, Any]) -> None:
    lines = (json.dumps({"step": n, "loss_nats_per_token": 2.0 + n % 2}) for n in range(5000))
    path = run_folder / "knowdist-train" / "log.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    raw["stages"] = ["knowdist"]
    del raw["scores"]["icldist"]
    page = page_of(run_folder, raw)
    assert sum(a.get("class") == "dot" for _, a in page.elements) <= MAX_DOTS
    assert "dots: one step in 9" in page.text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234, "1,234"),
        (2.0, "2"),
        (0.00012345, "0.0001234"),
        (float("nan"), "nan"),
        (True, "yes"),
        (None, "None"),
        ("step-12", "step-12"),
    ],
)
def test_figures_are_written_for_people(value: object, text: str) -> None:
    assert plain(value) == text
