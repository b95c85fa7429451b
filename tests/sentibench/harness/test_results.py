"""Per-document results and their aggregation."""

import numpy as np
import pytest

from sentibench.data.cards import task_named
from sentibench.data.read import load_split
from sentibench.errors import InputError
from sentibench.evaluate_metrics import SentiBenchMetric
from sentibench.harness import results as harness
from sentibench.harness.documents import document_of


def documents(name: str):
    task = task_named(name, "test")
    examples = load_split(task, "test").examples
    return [(document_of(task, example), example) for example in examples]


def test_gold_labels_as_most_likely_choice_score_one_and_the_first_of_a_tie_wins() -> None:
    items = []
    for document, _ in documents("mini_emotion20"):
        chosen = np.arange(4) == document["gold"]
        results = harness.label_results(document, [(float(hit), False) for hit in chosen])
        assert results["acc"] == 1.0
        items.append(results["score"])
    assert harness.macro_f1(items) == 1.0
    # not 0: a label with 6 of 24 items is missing from some replicates and then counts as 0
    assert harness.macro_f1_stderr(items) < 0.02
    assert harness.label_results(document, [(-1.0, False)] * 4)["score"][1] == 0


def test_a_model_that_gives_nan_predicts_nothing() -> None:
    document, _ = documents("mini_sst2")[0]
    results = harness.label_results(document, [(float("nan"), False), (-1.0, False)])
    assert (results["acc"], results["invalid_rate"], results["score"][1]) == (0.0, 1.0, -1)
    assert harness.macro_f1([results["score"]]) == 0.0


def test_nothing_predicted_scores_zero_without_an_error_bar() -> None:
    items = [(0.0, 0.0, 0.0, 0.0)] * 3 + [(0.0, 0.0, 0.0, 2.0)]
    assert (harness.f1(items), harness.f1_stderr(items)) == (0.0, 0.0)


def test_swapped_labels_score_zero() -> None:
    items = []
    for document, _ in documents("mini_sst2"):
        wrong = [(float(i != document["gold"]), False) for i in range(2)]
        items.append(harness.label_results(document, wrong)["score"])
    assert harness.macro_f1(items) == 0.0


@pytest.mark.parametrize("name", ["mini_atsa_rest16", "mini_acsa_rest16", "mini_asqp_rest16"])
def test_gold_answers_as_generation_score_one(name: str) -> None:
    results = [
        harness.extraction_results(document, [f" {example.answer}\n\nSentence: more"])
        for document, example in documents(name)
    ]
    for key in ("score", "official_f1", "strict_f1"):
        assert harness.f1([row[key] for row in results]) == 1.0
    assert sum(row["invalid_rate"] for row in results) == 0
    shuffled = [results[i]["score"] for i in np.random.default_rng(3).permutation(len(results))]
    assert harness.f1_stderr(shuffled) == harness.f1_stderr([r["score"] for r in results])


def test_evaluate_metric_scores_like_the_command() -> None:
    gold = [example for _, example in documents("mini_opener")]
    scores = SentiBenchMetric("mini_opener").compute(
        predictions=[example.answer for example in gold],
        references=[example.index for example in gold],
    )
    assert scores is not None
    assert scores["strict"]["f1"] == 1.0
    with pytest.raises(InputError, match="foreign index; got 24"):
        SentiBenchMetric("mini_opener").compute(predictions=["[]"] * 24, references=range(1, 25))
    assert scores["official"]["f1"] < 1.0  # counts the all-NULL tuple that the prompt asks for
