"""The model card: what was done and measured, in Markdown and YAML that names cannot break."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_manifest import hostile, manifest, own_task

from distill.report.card import is_on_hub, markdown, write_card
from distill.report.manifest import Manifest, Stage
from sentibench.__main__ import main

EVIL = (
    "a|b\n\n# heading\n- [link](https://evil.example) ![](x.png) `code` **bold** <img src=x> "
    "www.evil.example @someone $x$ ~~gone~~ :smile: &lt; me@evil.example \\ ---"
)


def card_of(
    folder: Path, raw: dict[str, Any] | Manifest, model: Stage = "icldist"
) -> tuple[Any, str]:
    """Front matter and body."""
    path = write_card(folder, model, raw if isinstance(raw, Manifest) else manifest(raw))
    assert path == folder / "README.md"
    assert [p.name for p in folder.iterdir() if p.suffix == ".unfinished"] == []
    front, body = re.fullmatch(
        r"---\n(.*?)\n---\n(.*)", path.read_text(encoding="utf-8"), re.DOTALL
    ).groups()  # type: ignore[union-attr]
    return yaml.safe_load(front), body


def test_a_card_says_how_the_checkpoint_was_made(tmp_path: Path, raw: dict[str, Any]) -> None:
    no_gap = {"gap_closed": None, "reason": "the teacher was not measured"}
    raw["comparison"]["students"]["icldist"]["seen"] |= no_gap
    front, body = card_of(tmp_path, raw)
    assert front == {
        "base_model": "org/tiny-base",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "license": "other",
        "tags": ["sentiment-analysis", "distillation", "sentibench", "knowdist", "icldist"],
        "datasets": ["imdb"],
    }
    for line in (
        "# Model card: small-icldist",
        "| | KnowDist | ICLDist |",
        "| answers kept | 80 of 120 | 150 of 160 |",
        "| fraction kept by difficulty | 0.25 | – |",
        "| samples trained on | 79 | 150 |",
        "| learning rate | 0.0003 | 0.0003 |",
        "| LoRA r | 8 | – |",
        "| supervised tokens | 4,122 | – |",
        "| loss, nats per token | 3.200 to 2.100 | – |",
        "| task | Base | ICLDist | Teacher |",
        "| SST2 | 50.0 ± 2.0 | 61.0 ± 2.0 | 80.0 ± 2.0 |",
        "| Mean of all | 4 | +11.0 (+10.0 to +12.0) | 37 (27 to 47) |",
        "| Mean of seen | 2 | +11.0 (+10.0 to +12.0) | not given: the teacher was not measured |",
        "  --tasks sentibench",
        "Made and measured with lm\\_eval 0.4.13, torch 2.13.0+cpu.",
    ):
        assert line in body.splitlines()
    for words in (
        *("org/large (revision abc123)", "KnowDist, then ICLDist", "share a run of 13 words"),
        *("User texts left out for that reason: 7.", "sst2 (the package's own small texts)"),
    ):
        assert words in body
    assert "/home/someone" not in body
    assert "reviews.csv" in body
    assert "continued from it" not in body


def test_a_card_of_the_first_stage_tells_nothing_of_the_second(
    tmp_path: Path, raw: dict[str, Any]
) -> None:
    front, body = card_of(tmp_path, raw, "knowdist")
    assert "icldist" not in front["tags"]
    assert "ICLDist" not in body
    assert "the run continued from it" in body
    assert "| SST2 | 50.0 ± 2.0 | 55.0 ± 2.0 | 80.0 ± 2.0 |" in body
    with pytest.raises(ValueError, match="card of 'base': the manifest's stages are knowdist, icl"):
        write_card(tmp_path, "base", manifest(raw))  # type: ignore[arg-type]


def test_agreement_on_own_tasks_stands_in_the_card_of_the_last_stage(
    tmp_path: Path, raw: dict[str, Any]
) -> None:
    unmeasured = own_task() | {"agreement": {"reason": "no texts"}}
    raw["own_tasks"] = {"reviews": own_task(), "meals": unmeasured}
    expected = (
        "Agreement on reviews: 57.0 (47.2 to 66.3) percent equal answers of teacher and student "
        "(95% Wilson interval). They answered 100 texts that the teacher was not asked about "
        "before."
    )
    _, body = card_of(tmp_path, raw)
    assert expected in body.splitlines()
    assert "Agreement on meals" not in body
    _, body = card_of(tmp_path, raw, "knowdist")
    assert "Agreement on" not in body


def test_a_card_of_an_own_task_alone_says_what_its_texts_were_compared_with(
    tmp_path: Path, raw: dict[str, Any], desk: Path
) -> None:
    rows = [f"text {n},{'good' if n % 2 else 'bad'}" for n in range(4)]
    (desk / "t.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    assert main(["task", "new", "reviews", "--test", "t.csv", "--title", "Reviews"]) == 0
    raw["config"]["icldist"] |= {"tasks": ["reviews"]}
    assert (
        "with a SentiBench test text or a held-out text of Reviews were left out."
        in card_of(tmp_path, raw)[1]
    )
    raw["config"]["texts"] = [{"file": "own.csv"}]
    raw["config"]["evaluation"] = {"tasks": ["reviews"]}
    raw["scores"] = {m: {"reviews": row["sentibench_sst2"]} for m, row in raw["scores"].items()}
    comparison = raw["comparison"]
    comparison["tasks"] = {"reviews": {"n": 24, "seen": False}}
    for cells in comparison["students"].values():
        one = cells["all"] | {"n_tasks": 1}
        cells |= {"all": one, "seen": None, "unseen": None, "tasks": {"reviews": one}}
    _, body = card_of(tmp_path, raw)
    assert "13 words with a held-out text of Reviews were left out." in body
    assert "| Reviews | 1 | +11.0 (+10.0 to +12.0) | 37 (27 to 47) |" in body.splitlines()
    for foreign in ("SentiBench test", '"Seen"', "Mean of", "is English", "lm_eval --model"):
        assert foreign not in body
    assert "A language model for Reviews, distilled from" in body
    assert "sentibench run --model sentibench-hf" in body  # lm_eval finds no card here
    assert card_of(tmp_path, raw)[0]["tags"][0] == "text-classification"
    assert "learnt of scored labels" in body
    raw["steps"]["icldist-filter"]["summary"]["with_distributions"] = 0
    assert "learnt of scored labels" not in card_of(tmp_path, raw)[1]


def test_limits_of_the_run_stand_in_the_card(tmp_path: Path, raw: dict[str, Any]) -> None:
    raw["config"]["evaluation"] = {"tasks": ["sentibench_mini", "a b; rm"], "limit": 8}
    raw["config"]["filters"] = {"skip": ["contaminated"]}
    del raw["scores"]["teacher"]
    _, body = card_of(tmp_path, raw)
    assert "- Only the first 8 items of each task were evaluated" in body
    assert "- The mini tasks are small replacements" in body
    assert "  --tasks sentibench_mini --limit 8\n```" in body
    assert "Overlap with test texts was not checked." in body
    assert "were left out" not in body
    assert "The teacher was not measured." in body


def test_demonstration_seeds_of_the_run_stand_in_the_card(
    tmp_path: Path, raw: dict[str, Any]
) -> None:
    (task,) = raw["comparison"]["tasks"]
    raw["comparison"]["tasks"][task]["seeds"] = [42, 52]
    raw["config"]["evaluation"] = {"tasks": [task], "seeds": {task: [42, 52], "a b; rm": [62]}}
    _, body = card_of(tmp_path, raw)
    assert "- The scores of SST2 are means over the demonstration seeds 42, 52." in body
    assert f"  --tasks {task}\n" in body
    assert f"""  --tasks {task} --metadata '{{"demo_seed": 52}}'\n""" in body
    assert "62" not in body


@pytest.mark.parametrize(
    ("config", "base", "licence"),
    [
        ("{}", None, "other"),
        ('{"license": "apache-2.0"}', None, "apache-2.0"),
        ('{"license": "mit\\n- evil: 1"}', None, "other"),
        ("torn", '{"license": "mit"}', "mit"),
        ("[]", "[1]", "other"),
    ],
)
def test_the_licence_is_the_bases_or_other(
    tmp_path: Path, raw: dict[str, Any], config: str, base: str | None, licence: str
) -> None:
    checkpoint, student = tmp_path / "checkpoint", tmp_path / "student"
    for folder, content in ((checkpoint, config), (student, base)):
        folder.mkdir()
        if content is not None:
            (folder / "config.json").write_text(content, encoding="utf-8")
    raw["config"]["student"] = str(student)
    front, body = card_of(checkpoint, raw)
    assert front["license"] == licence
    assert "base_model" not in front
    assert "into student. The student is a local checkpoint: add its name on the hub" in body
    assert str(tmp_path) not in body


def test_names_cannot_break_the_front_matter(tmp_path: Path, raw: dict[str, Any]) -> None:
    front, _ = card_of(tmp_path, hostile(raw, EVIL))
    assert set(front) == {"library_name", "pipeline_tag", "license", "tags", "datasets"}
    assert front["datasets"] == ["imdb"]
    assert front["license"] == "other"
    assert front["tags"] == ["sentiment-analysis", "distillation", "sentibench", *raw["stages"]]


def test_names_cannot_become_markup(tmp_path: Path, raw: dict[str, Any]) -> None:
    markdown_it = pytest.importorskip("markdown_it")
    _, body = card_of(tmp_path, hostile(raw, EVIL))
    parser = markdown_it.MarkdownIt("gfm-like", {"linkify": False, "html": True})
    tokens = parser.parse(body)
    inline = [child for token in tokens for child in token.children or ()]
    kinds = {token.type for token in (*tokens, *inline)}
    assert not {
        kind for kind in kinds if kind.startswith(("link", "html", "image", "strong", "em"))
    }
    assert not kinds & {"hr", "s_open", "code_block", "lheading_open"}
    headings = [body.splitlines()[t.map[0]] for t in tokens if t.type == "heading_open"]
    assert [
        heading for heading in headings[1:] if not re.fullmatch(r"## [A-Za-z ]+", heading)
    ] == []
    assert [t.content for t in inline if t.type == "code_inline"] == [
        "base_model",
        "sentibench.json",
    ]
    # every row of a table has as many cells as its heading
    widths: list[list[int]] = []
    for token in tokens:
        if token.type == "table_open":
            widths.append([])
        elif token.type == "tr_open":
            widths[-1].append(0)
        elif token.type in ("td_open", "th_open"):
            widths[-1][-1] += 1
    assert len(widths) == 3
    assert all(len(set(of_table)) == 1 for of_table in widths)
    text = " ".join(t.content for t in inline if t.type in ("text", "text_special"))
    assert "evil.example" in text


def test_plain_text_stays_plain_in_markdown() -> None:
    for text, escaped in (
        ("gemma-3-4b-it", "gemma-3-4b-it"),
        ("a_b|c", "a\\_b\\|c"),
        ("two\nlines", "two lines"),
        ("www.x.org", "www\\.x.org"),
        ("https://x.org", "https\\://x.org"),
        ("me@x.org", "me\\@x.org"),
        ("turned\u202e", "turned\ufffd"),
        (3, "3"),
    ):
        assert markdown(text) == escaped


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("org/model-1.5", True),
        ("gpt2", True),
        ("/models/tiny", False),
        ("a/b/c", False),
        ("org/mo del", False),
        ("", False),
        ("../model", False),
    ],
)
def test_only_a_name_of_the_hub_is_given_as_the_base_model(name: str, known: bool) -> None:
    assert is_on_hub(name) == known


def test_a_local_folder_is_no_name_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "tiny").mkdir(parents=True)
    assert not is_on_hub("models/tiny")


def test_the_hubs_own_library_reads_the_card(tmp_path: Path, raw: dict[str, Any]) -> None:
    huggingface_hub = pytest.importorskip("huggingface_hub")
    write_card(tmp_path, "icldist", manifest(raw))
    data = huggingface_hub.ModelCard.load(tmp_path / "README.md").data.to_dict()
    assert (data["base_model"], data["license"]) == ("org/tiny-base", "other")
    assert json.dumps(data["tags"])


def test_the_code_of_the_card_runs_as_it_stands(
    tiny_student: Path, tmp_path: Path, raw: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    raw["config"]["evaluation"]["tasks"] = ["sentibench_mini_pstance", "sentibench_mini_sst2"]
    _, body = card_of(tmp_path, raw)
    shell, python = re.findall(r"```(?:sh|python)\n(.*?)```", body, re.DOTALL)[:2]
    (tmp_path / "path" / "to" / "this").mkdir(parents=True)
    (tmp_path / "path" / "to" / "this" / "model").symlink_to(tiny_student)
    (tmp_path / "texts.csv").write_text("text\nA quiet film that stays with you.\n")
    monkeypatch.chdir(tmp_path)
    exec(compile(python, "README.md", "exec"), {})
    shown = capsys.readouterr().out.splitlines()
    assert [line.startswith("Labelled(label=") for line in shown] == [True, True]
    name, *arguments = shlex.split(shell)
    assert name == "sentibench"
    assert main(arguments) == 0
    labelled = (tmp_path / "labelled.csv").read_text().splitlines()
    assert labelled[0] == "text,label,probability,p_negative,p_positive"
    assert len(labelled) == 2
