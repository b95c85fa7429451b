"""Per-document results and their aggregation."""

import math
import statistics
from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import brier_score_loss, log_loss

from sentibench.data.cards import task_named
from sentibench.data.read import load_split
from sentibench.errors import InputError
from sentibench.evaluate_metrics import SentiBenchMetric
from sentibench.harness import results as harness
from sentibench.harness.documents import document_of
from sentibench.scoring import calibration


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


@pytest.mark.parametrize("said", [(math.nan, -1.0), (-1.0, math.nan), (-math.inf, -math.inf)])
def test_a_model_that_gives_no_number_predicts_nothing(said: tuple[float, float]) -> None:
    document, _ = documents("mini_sst2")[0]
    results = harness.label_results(document, [(one, False) for one in said])
    assert not calibration.is_answer(np.array([said])).any()
    assert (results["acc"], results["invalid_rate"], results["score"][1]) == (0.0, 1.0, -1)
    assert harness.macro_f1([results["score"]]) == 0.0


def said_by_a_model(n: int, k: int) -> list[tuple[int, list[float]]]:
    """Gold and log-likelihoods; a model that is too sure, and once gives no number."""
    random = np.random.default_rng(7)
    odds = random.normal(scale=2, size=(n, k))
    p = np.exp(odds) / np.exp(odds).sum(axis=1, keepdims=True)
    gold = [int(random.choice(k, p=row)) for row in p]
    said = 2 * odds - 20 - odds.max()
    said[3] = math.nan
    return list(zip(gold, said.tolist(), strict=True))


def coverage(pairs: list[tuple[float, bool]]) -> float:
    """Of confidence and right: the largest share above a threshold with at most 5% wrong."""
    shares = [0.0]
    for threshold, _ in pairs:
        given = [right for confidence, right in pairs if confidence >= threshold]
        if given.count(False) <= 0.05 * len(given):
            shares.append(len(given) / len(pairs))
    return max(shares)


def gaps(pairs: list[tuple[float, bool]], edges: list[float]) -> list[float]:
    """Confidence minus accuracy of the bins that begin at the edges, times their shares."""
    sums = dict.fromkeys(range(len(edges) + 1), 0.0)
    for confidence, right in pairs:
        sums[sum(confidence >= edge for edge in edges)] += confidence - right
    return [total / len(pairs) for total in sums.values()]


@pytest.fixture(scope="module")
def expected() -> dict[str, tuple[float, float]]:
    """Each metric of ``said_by_a_model(150, 4)`` and its standard error, by other people's code."""
    n, k = 150, 4
    said = said_by_a_model(n, k)
    gold = [one for one, _ in said]
    p = np.array([np.full(k, 1 / k) if math.isnan(row[0]) else softmax(row) for _, row in said])
    pairs = [
        (max(of), not math.isnan(row[0]) and row.index(max(row)) == g)
        for of, (g, row) in zip(p.tolist(), said, strict=True)
    ]
    ordered = sorted(confidence for confidence, _ in pairs)
    edges = [ordered[math.ceil(b * (n - 1) / 10)] for b in range(1, 10)]
    draws = np.random.default_rng(5).integers(0, n, size=(400, n))

    def spread(measure: Callable[[list[tuple[float, bool]]], float]) -> float:
        return statistics.stdev(measure([pairs[i] for i in draw]) for draw in draws)

    ours = gaps(pairs, edges)
    ece = sum(map(abs, ours))
    drawn = [gaps([pairs[i] for i in draw], edges) for draw in draws]
    changes = [sum(abs(b - a) for a, b in zip(ours, of, strict=True)) for of in drawn]
    along = [
        sum((b - a) * math.copysign(1, a) for a, b in zip(ours, of, strict=True)) for of in drawn
    ]
    reach = max(min(ece, np.quantile(changes, 0.975)), np.quantile(along, 0.975))
    each_brier = ((p - np.eye(k)[gold]) ** 2).sum(axis=1)
    each_nll = -np.log(p[range(n), gold])
    labels = list(range(k))
    return {
        "ece": (ece, float(reach / 1.96)),
        "brier": (
            brier_score_loss(gold, p, labels=labels, scale_by_half=False),
            each_brier.std() / math.sqrt(n),
        ),
        "nll": (log_loss(gold, p, labels=labels), each_nll.std() / math.sqrt(n)),
        "coverage_at_5": (coverage(pairs), spread(coverage)),
    }


@pytest.mark.parametrize("name", calibration.METRICS)
def test_calibration_in_lm_eval_is_that_of_independent_code(
    name: str, expected: dict[str, tuple[float, float]]
) -> None:
    found = [
        harness.label_results({"gold": gold, "choices": ["x"] * 4}, [(one, False) for one in row])
        for gold, row in said_by_a_model(150, 4)
    ]
    value, error = expected[name]
    measure, stderr = getattr(harness, name), getattr(harness, f"{name}_stderr")
    assert measure([row[name] for row in found]) == pytest.approx(value)
    assert stderr([row[f"{name}_stderr"] for row in found]) == pytest.approx(error, rel=0.1)


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
    with pytest.raises(InputError, match="got the index 24"):
        SentiBenchMetric("mini_opener").compute(predictions=["[]"] * 24, references=range(1, 25))
    assert scores["official"]["f1"] < 1.0  # counts the all-NULL tuple that the prompt asks for
