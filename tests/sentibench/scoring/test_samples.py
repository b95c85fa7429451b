"""Sample files: read by item, refused with a reason, and task names of two versions of lm-eval."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sentibench.scoring.samples
from sentibench.data.cards import load_tasks
from sentibench.scoring.metrics import macro_f1, tuple_f1
from sentibench.scoring.samples import (
    Unusable,
    newest_samples,
    read_samples,
    results_beside,
    samples_beside,
    task_of,
)

SST2 = load_tasks()["sentibench_mini_sst2"]
ATSA = load_tasks()["sentibench_mini_atsa_rest16"]
STAMP = "2026-01-02T03-04-05.678901"


def label_row(index: int, gold: int, predicted: int) -> dict[str, Any]:
    return {
        "filter": "none",
        "prompt_hash": f"p{index}",
        "doc": {"index": index, "label": SST2.card.labels[gold], "sentence": f"text {index}"},
        "invalid_rate": float(predicted < 0),
        "score": [gold, predicted, 2],
        "resps": [[]],
    }


def tuple_row(index: int, official: Sequence[float], strict: Sequence[float]) -> dict[str, Any]:
    return label_row(index, 0, 0) | {
        "doc": {"index": index, "answer": "[('soup', 'positive')]", "sentence": f"text {index}"},
        "official_f1": list(official),
        "strict_f1": list(strict),
    }


def answered(index: int, answer: str, **statistics: Sequence[float]) -> dict[str, Any]:
    """An item with one gold tuple, and with what a model wrote."""
    row = tuple_row(index, (1, 1, 1, 1), (1, 1, 1, 1)) | statistics
    row["doc"]["opinions"] = [{"aspect": "soup", "polarity": "positive"}]
    return row | {"resps": [[answer]]}


def write(folder: Path, rows: Sequence[Any], task: str = SST2.name, stamp: str = STAMP) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"samples_{task}_{stamp}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


LABELS = [label_row(0, 0, 0), label_row(1, 1, 0), label_row(2, 1, -1), label_row(3, 1, 1)]


def test_label_items_are_read_in_the_order_of_the_test_file(tmp_path: Path) -> None:
    other_filter = label_row(0, 1, 1) | {"filter": "other"}
    samples = read_samples(write(tmp_path, [*LABELS[::-1], other_filter]), SST2, with_texts=True)
    assert samples.indices.tolist() == [0, 1, 2, 3]
    assert samples.invalid.tolist() == [0, 0, 1, 0]
    assert samples.right.tolist() == [True, False, False, True]
    # by hand: negative 1 hit of 2 answers and 1 gold, positive 1 hit of 1 answer and 3 gold
    expected = (2 / 3 + 2 / 4) / 2
    for statistics in samples.statistics.values():
        assert float(macro_f1(statistics.sum(axis=0))) == pytest.approx(expected)
    assert [text.answer for text in samples.texts] == ["negative", "negative", "", "positive"]
    assert (samples.texts[1].sentence, samples.texts[1].gold) == ("text 1", "positive")
    assert not samples.is_whole
    assert read_samples(write(tmp_path, LABELS), SST2).texts == ()


def test_tuples_have_the_statistics_of_both_metrics(tmp_path: Path) -> None:
    rows = [tuple_row(0, (2, 2, 2, 2), (1, 2, 1, 2)), tuple_row(1, (0, 1, 0, 2), (2, 2, 2, 2))]
    samples = read_samples(write(tmp_path, rows), ATSA, with_texts=True)
    assert samples.right.tolist() == [False, True]  # by the strict metric
    sums = {metric: of.sum(axis=0) for metric, of in samples.statistics.items()}
    assert sums["official"].tolist() == [2, 3, 2, 4]
    assert float(tuple_f1(sums["strict"])) == pytest.approx(3 / 4)
    assert samples.texts[0].answer == ""  # was not saved


@pytest.mark.parametrize(
    ("strict", "is_right"),
    [((2, 2, 2, 2), True), ((1, 1, 1, 2), False), ((1, 2, 1, 1), False), ((0.5, 1, 1, 1), False)],
)
def test_an_answer_is_right_that_holds_all_tuples_and_no_other(
    strict: Sequence[float], is_right: bool, tmp_path: Path
) -> None:
    samples = read_samples(write(tmp_path, [tuple_row(0, (2, 2, 2, 2), strict)]), ATSA)
    assert samples.right.tolist() == [is_right]


def test_a_whole_test_set_is_known_as_such(tmp_path: Path) -> None:
    rows = [label_row(index, index % 2, 0) for index in range(24)]
    assert read_samples(write(tmp_path, rows), SST2).is_whole


def test_keys_depend_on_items_and_prompts_and_not_on_the_order_of_lines(tmp_path: Path) -> None:
    def keys(rows: Sequence[Any]) -> tuple[str, str]:
        samples = read_samples(write(tmp_path, rows), SST2)
        return samples.data_key, samples.prompt_key

    data, prompts = keys(LABELS)
    assert keys(LABELS[::-1]) == (data, prompts)
    for changed in ({"sentence": "x"}, {"index": 7}):
        row = LABELS[0] | {"doc": LABELS[0]["doc"] | changed}
        assert keys([row, *LABELS[1:]])[0] != data
    for other_gold in (label_row(3, 0, 1), label_row(3, 0, 0)):
        assert keys([*LABELS[:3], other_gold])[0] != data
        assert keys([*LABELS[:3], other_gold])[1] == prompts
    assert keys([{**LABELS[0], "prompt_hash": "x"}, *LABELS[1:]])[1] != prompts
    assert keys(LABELS[:3])[0] != data


Change = Callable[[list[dict[str, Any]]], Sequence[Any]]
LABEL_DAMAGE: list[tuple[str, Change, str]] = [
    ("no item", lambda rows: [], "the sample file has no row"),
    ("one item twice", lambda rows: [*rows, rows[0]], "an item occurs twice in the samples"),
    ("no object", lambda rows: ["<b>"], "not in the format of our tasks (AttributeError)"),
    ("no document", lambda rows: [rows[0] | {"doc": None}], "not in the format of our tasks"),
    ("no score", lambda rows: [{k: rows[0][k] for k in ("doc",)}], "not in the format"),
    ("no hash", lambda rows: [{k: v for k, v in rows[0].items() if k != "prompt_hash"}], "format"),
    (
        "another prompt",
        lambda rows: [rows[0] | {"arguments": {"gen_args_0": {"arg_0": "x"}}}],
        "a prompt that has not the hash beside it",
    ),
    (
        "another answer",
        lambda rows: [rows[0] | {"resps": [[["-2.0", "False"]], [["-1.0", "False"]]]}],
        "a label that is not the likeliest of the saved answers",
    ),
    (
        "no answer",
        lambda rows: [rows[0] | {"resps": [[["nan", "False"]], [["-1.0", "False"]]]}],
        "a label that is not the likeliest of the saved answers",
    ),
    *(
        (
            f"log-likelihood {said}",
            lambda rows, said=said: [rows[0] | {"resps": [[[said, "False"]], [["-1.0", "False"]]]}],
            "a log-likelihood above 0",
        )
        for said in ("inf", "0.01", "1e308")
    ),
    (
        "minus infinity alone",
        lambda rows: [rows[0] | {"resps": [[["-inf", "False"]]] * 2}],
        "a label that is not the likeliest of the saved answers",
    ),
    ("endless", lambda rows: [rows[0] | {"doc": {"index": float("inf")}}], "OverflowError"),
    ("foreign label", lambda rows: [rows[0] | {"score": [0, 2, 2]}], "a predicted label outside"),
    ("label -2", lambda rows: [rows[0] | {"score": [0, -2, 2]}], "a predicted label outside"),
    ("other labels", lambda rows: [rows[0] | {"score": [0, 1, 3]}], "a gold label outside"),
    ("other gold", lambda rows: [rows[0] | {"score": [1, 1, 2]}], "gold is not the label"),
    ("foreign item", lambda rows: [label_row(24, 0, 0)], "an item outside of the test set"),
    ("item -1", lambda rows: [label_row(-1, 0, 0)], "an item outside of the test set"),
    ("half invalid", lambda rows: [rows[0] | {"invalid_rate": 0.5}], "neither 0 nor 1"),
]


@pytest.mark.parametrize(
    ("change", "reason"), [d[1:] for d in LABEL_DAMAGE], ids=[d[0] for d in LABEL_DAMAGE]
)
def test_what_no_run_of_a_label_task_writes_is_unusable(
    change: Change, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(Unusable) as caught:
        read_samples(write(tmp_path, change(LABELS)), SST2)
    assert reason in str(caught.value)
    assert "text 0" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


TUPLE_DAMAGE = [
    ("official_f1", [3, 2, 1, 1], "more hits than tuples"),
    ("strict_f1", [0, 0, 2, 1], "more hits than tuples"),
    ("official_f1", [-1, 2, 1, 1], "a negative or an endless count"),
    ("strict_f1", [float("nan")] * 4, "a negative or an endless count"),
    ("official_f1", [1.0] * 8, "not four statistics per item"),
    ("strict_f1", [1e308] * 4, "a negative or an endless count"),
    ("strict_f1", None, "not in the format of our tasks (TypeError)"),
    ("official_f1", ["x"] * 4, "not in the format of our tasks (ValueError)"),
]


@pytest.mark.parametrize(("name", "value", "reason"), TUPLE_DAMAGE)
def test_what_no_run_of_an_extraction_task_writes_is_unusable(
    name: str, value: Any, reason: str, tmp_path: Path
) -> None:
    row = tuple_row(0, (1, 1, 1, 1), (1, 1, 1, 1)) | {name: value}
    with pytest.raises(Unusable, match=reason.replace("(", r"\(").replace(")", r"\)")):
        read_samples(write(tmp_path, [row]), ATSA)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (answered(0, "[('soup', 'positive')]\nSentence: more"), None),
        (answered(0, "[]", official_f1=(0, 0, 0, 1), strict_f1=(0, 1, 0, 1)), None),
        (answered(0, "[('soup', 'negative')]"), "official statistics that the saved answer"),
        (answered(0, "[]", official_f1=(0, 0, 0, 1)), "strict statistics that the saved answer"),
    ],
)
def test_statistics_of_tuples_are_those_of_the_saved_answer(
    row: dict[str, Any], reason: str | None, tmp_path: Path
) -> None:
    path = write(tmp_path, [row])
    if reason is None:
        assert read_samples(path, ATSA, with_texts=True).texts[0].answer == row["resps"][0][0]
    else:
        with pytest.raises(Unusable, match=reason):
            read_samples(path, ATSA)


def test_of_equally_likely_labels_the_first_is_the_answer(tmp_path: Path) -> None:
    equal = {"resps": [[["-1.0", "False"]], [["-1.0", "True"]]]}
    read_samples(write(tmp_path, [LABELS[0] | equal]), SST2)
    with pytest.raises(Unusable, match="likeliest"):
        read_samples(write(tmp_path, [LABELS[3] | equal]), SST2)


def test_labels_that_were_written_and_not_scored_have_no_probabilities(tmp_path: Path) -> None:
    written = {"resps": [[["0.0", "True"]], [["-inf", "False"]]]}
    rows = [LABELS[0] | written, LABELS[1] | written]
    assert read_samples(write(tmp_path, rows), SST2).answers is None
    scored = {"resps": [[["-0.1", "True"]], [["-2.0", "False"]]]}
    answers = read_samples(write(tmp_path, [rows[0], LABELS[1] | scored]), SST2).answers
    assert answers is not None


def test_only_a_regular_file_of_some_size_is_read(tmp_path: Path, monkeypatch) -> None:
    path = write(tmp_path, LABELS)
    monkeypatch.setattr(sentibench.scoring.samples, "MAX_SAMPLES_BYTES", 10)
    with pytest.raises(Unusable, match="bytes, expected at most 10"):
        read_samples(path, SST2)
    os.mkfifo(tmp_path / "pipe")
    for no_file in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(Unusable, match="no regular file"):
            read_samples(no_file, SST2)


def test_a_file_that_is_no_text_or_no_json_is_unusable(tmp_path: Path) -> None:
    path, line = write(tmp_path, LABELS), r"^line 1 of the samples: "
    path.write_bytes(b"\xff\xfe\n")
    with pytest.raises(Unusable, match=line + r"broken JSON \(UnicodeDecodeError\)$"):
        read_samples(path, SST2)
    path.write_text('{"secret": ', encoding="utf-8")
    with pytest.raises(Unusable, match=line + r"broken JSON \(JSONDecodeError\)$"):
        read_samples(path, SST2)
    with pytest.raises(Unusable, match=r"^cannot be read: No such file"):
        read_samples(tmp_path / "none", SST2)


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("sentibench_mini_sst2", SST2),
        ("sentibench_mini::sentibench_mini_sst2", SST2),
        ("a::b::sentibench_mini_sst2", SST2),
        ("../x::sentibench_mini_sst2", None),
        ("sentibench_mini", None),
        ("", None),
    ],
)
def test_a_task_is_known_by_its_name_with_or_without_a_group(name: str, task: Any) -> None:
    found = task_of(name)  # cards may have been read anew since the tests were collected
    assert (found and found.name) == (task and task.name)


def test_files_of_one_evaluation_find_each_other(tmp_path: Path) -> None:
    for name in (SST2.name, f"sentibench_mini::{SST2.name}"):
        results = tmp_path / f"results_{STAMP}.json"
        samples = samples_beside(results, name)
        assert samples.name == f"samples_{name}_{STAMP}.jsonl"
        assert results_beside(samples) == results


def test_the_newest_samples_of_a_finished_evaluation_count(tmp_path: Path) -> None:
    def evaluate(
        folder: str, name: str, stamp: str, finished: bool = True, seed: object = None
    ) -> Path:
        path = write(tmp_path / folder, LABELS, name, stamp)
        content = {"configs": {name: {"metadata": {"demo_seed": seed}}}} if seed else {}
        if finished:
            results_beside(path).write_text(json.dumps(content), encoding="utf-8")
        return path

    evaluate("a", SST2.name, "2026-01-01T00-00-00.000000")
    newest = evaluate("b", f"sentibench_mini::{SST2.name}", "2026-01-02T00-00-00.000000")
    evaluate("a", SST2.name, "2026-01-03T00-00-00.000000", finished=False)
    evaluate("a", "another_task", "2026-01-04T00-00-00.000000")
    only = evaluate("c", ATSA.name, "2025-01-01T00-00-00.000000")
    evaluate("d", SST2.name, "2026-01-05T00-00-00.000000", seed=52)
    other = evaluate("e", SST2.name, "2026-01-06T00-00-00.000000", seed=52)
    evaluate("e", SST2.name, "2026-01-01T00-00-01.000000", seed=["hostile"])
    assert newest_samples(tmp_path) == {ATSA.name: {42: only}, SST2.name: {42: newest, 52: other}}


def test_statistics_of_both_metrics_of_labels_are_one_array(tmp_path: Path) -> None:
    samples = read_samples(write(tmp_path, LABELS), SST2)
    assert np.shares_memory(samples.statistics["official"], samples.statistics["strict"])
