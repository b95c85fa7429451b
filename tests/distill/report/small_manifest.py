"""The ``run.json`` of a small run, to be changed and read."""

import json
from typing import Any

from distill.report.manifest import Manifest, TeacherFacts

SCORES = {"teacher": 0.8, "base": 0.5, "knowdist": 0.55, "icldist": 0.61}


def interval(value: float, half: float = 0.01) -> dict[str, float]:
    return {"value": value, "low": value - half, "high": value + half}


def cell(value: float, closed: float | None, n_tasks: int = 1) -> dict[str, Any]:
    reason = "" if closed is not None else "the teacher was not measured"
    gap = None if closed is None else interval(closed, 0.1)
    found = {"n_tasks": n_tasks, "n_items": 24, "difference": interval(value)}
    return {**found, "gap_closed": gap, "reason": reason}


def student(value: float, closed: float | None) -> dict[str, Any]:
    n_tasks = {"all": 4, "seen": 2, "unseen": 2}
    cells = {scope: cell(value, closed, n) for scope, n in n_tasks.items()}
    return {**cells, "tasks": {"sentibench_sst2": cell(value, closed)}}


def step(seconds: float = 1.0, **summary: Any) -> dict[str, Any]:
    return {"inputs": {}, "outputs": {}, "summary": summary, "seconds": seconds}


def own_task(evil: str = "") -> dict[str, Any]:
    """Facts on a task of two labels, with hostile text in all of their texts."""
    praise, complaint = f"praise{evil}", f"complaint{evil}"
    cost = {"seconds": 192.91, "prompt_tokens": 30453.8, "answer_tokens": 2000.0}
    return {
        "labels": [praise, complaint],
        "confusion": {
            "teacher": [[11, 1, 0], [2, 9, 3]],
            "base": [[4, 8, 0], [7, 7, 0]],
            "knowdist": [[5555, 0, 0], [0, 5555, 0]],
            "icldist": [[10, 2, 0], [5, 9, 0]],
        },
        "agreement": {
            "n": 100,
            "equal": {"value": 0.57, "low": 0.472, "high": 0.663},
            "differing": [
                {"teacher": praise, "student": complaint, "n": 30},
                {"teacher": None, "student": praise, "n": 13},
            ],
        },
        "costs": {"teacher": {**cost, "usd": 0.0345, "basis": f"130 answers{evil}"}},
    }


def run_json() -> dict[str, Any]:
    training = {"learning_rate": 0.0003, "epochs": 2.0, "lora": {"r": 8, "alpha": 32}}
    losses = {"first_loss_nats_per_token": 3.2, "last_loss_nats_per_token": 2.1}
    return {
        "name": "small",
        "stages": ["knowdist", "icldist"],
        "scores": {m: {"sentibench_sst2": [score, 0.02]} for m, score in SCORES.items()},
        "comparison": {
            "base": "base",
            "teacher": "teacher",
            "replicates": 10000,
            "tasks": {"sentibench_sst2": {"n": 24, "seen": True}},
            "means": {m: {"all": {"value": s, "stderr": 0.01}} for m, s in SCORES.items()},
            "lead": {"all": interval(0.3)},
            "students": {"knowdist": student(0.05, 0.17), "icldist": student(0.11, 0.37)},
            "left_out": [],
        },
        "config": {
            "name": "small",
            "student": "org/tiny-base",
            "teacher": {"backend": "hf", "model": "org/large"},
            "texts": [
                {"dataset": "imdb"},
                {"dataset": "sst2", "mini": True},
                {"file": "/home/someone/reviews.csv"},
            ],
            "knowdist": {"training": training, "difficulty": {"keep": 0.25}},
            "icldist": {"training": {**training, "method": "full"}},
            "evaluation": {"tasks": ["sentibench"]},
        },
        "packages": {"torch": "2.13.0+cpu", "lm_eval": "0.4.13"},
        "teacher": {"name": "org/large", "revision": "abc123"},
        "steps": {
            "texts": step(
                texts=90,
                left_out=[["imdb", "contaminated", 7]],
                changed=[["imdb", "markup", 5]],
            ),
            "knowdist-filter": step(kept=80, of=120),
            "knowdist-train": step(75.0, samples=79, steps=20, supervised_tokens=4122, **losses),
            "icldist-ask": step(requests=3, coverage={"shots": {"1": 2, "2": 1}}),
            "icldist-filter": step(kept=150, of=160),
            "icldist-train": step(samples=150),
        },
        "models": {"org/tiny-base": {"name": "tiny-base"}},
    }


def manifest(raw: dict[str, Any]) -> Manifest:
    return Manifest.model_validate_json(json.dumps(raw))


def poisoned(value: Any, evil: str) -> Any:
    """The value with hostile text behind every text and as a key of every table."""
    if isinstance(value, dict):
        return {key: poisoned(below, evil) for key, below in value.items()}
    if isinstance(value, list):
        return [poisoned(below, evil) for below in value]
    return f"{value}{evil}" if isinstance(value, str) else value


def hostile(raw: dict[str, Any], evil: str) -> Manifest:
    """The manifest with hostile text wherever its form allows one."""
    evil += "\u2028\u202e"
    for key in ("packages", "teacher", "models", "steps"):
        raw[key] = poisoned(raw[key], evil)
    raw["models"][evil] = {"name": evil}
    raw["packages"][evil] = evil
    raw["steps"][evil] = step(**{evil: evil, "a": evil})
    raw["steps"]["knowdist-choose"] = step(chosen=evil)
    for losses in ("left_out", "changed"):
        raw["steps"]["texts"]["summary"][losses] = [[evil, evil, 3]]
    raw["steps"]["icldist-ask"]["summary"]["coverage"] = {evil: {evil: 3}}
    raw["own_tasks"] = {evil: own_task(evil)}
    raw["scores"]["base"][evil] = [0.5, "N/A"]
    comparison = raw["comparison"]
    comparison["tasks"][evil] = {"n": 3, "seen": False}
    comparison["left_out"] = [{"model": evil, "task": evil, "reason": evil}]
    comparison["students"] = {"icldist": student(0.2, None), evil: student(0.1, None)}
    measured = {evil: interval(0.1), "ece": interval(0.1)}
    comparison["calibration"] = {"tasks": [evil], "models": {evil: measured, "base": measured}}
    for cells in comparison["students"].values():
        cells["tasks"][evil] = {**cell(0.1, None), "reason": evil}
        cells["seen"]["reason"] = evil
    config = raw["config"]
    config["student"] += evil
    config["teacher"]["model"] += evil
    config["texts"][0]["name"] = evil
    config["texts"][2]["file"] += evil
    config["evaluation"] = {"tasks": [evil], "limits": {evil: 3}}
    teacher = TeacherFacts(name=f"org/large{evil}\ud800", revision=f"{evil}\ud800")
    return manifest(raw).model_copy(update={"teacher": teacher})
