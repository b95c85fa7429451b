# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # Tutorial: from texts to a student to a page
#
# You have texts and a large model. You want a small model that does the same work. This tutorial
# has five steps:
#
# 1. look at the texts;
# 2. let the large model, the teacher, answer questions about them;
# 3. train the small model, the student, on the answers;
# 4. measure what the training changed;
# 5. use the student, and publish a page.
#
# It needs no model hub, no GPU, and no teacher model: the teacher's answers are recorded.
#
# Install once, in a clone of the repository: `make setup .demo/SmolLM2-135M-Instruct`. Then run
# this file with `.venv/bin/python docs/tutorial.py`. Or convert it into a notebook with `jupytext
# --to notebook docs/tutorial.py`.

# %%
import json
from pathlib import Path

from distill.__main__ import main as distill
from distill.report.manifest import load_manifest
from leaderboard.__main__ import main as leaderboard
from sentibench.predict.classifier import Classifier

STUDENT = ".demo/SmolLM2-135M-Instruct"
TASKS = ["sentibench_mini_sst2", "sentibench_mini_emotion20", "sentibench_mini_irony18"]
OUT = Path(".demo/tutorial")
DEMO = Path("docs/distill_demo")

# %% [markdown]
# ## The texts
#
# The input is two files with one JSON object per line. The texts have no labels.

# %%
for name in ("reviews.jsonl", "posts.jsonl"):
    texts = [
        json.loads(line)["text"] for line in (DEMO / name).read_text(encoding="utf-8").splitlines()
    ]
    print(f"{name}: {len(texts)} texts, such as: {texts[0]}")

# %% [markdown]
# ## The configuration
#
# One YAML file configures a run: its student, teacher, texts and two stages. Here the teacher is a
# store of recorded answers (`backend: replay`). For a model behind a server, write `{backend:
# openai, model: NAME, base_url: URL}`.

# %%
print((DEMO / "demo.yaml").read_text(encoding="utf-8"))

# %% [markdown]
# ## The plan
#
# `plan` counts the requests and sends none. In a terminal the command is `python -m distill plan
# docs/distill_demo/demo.yaml`. Settings after the file name override those in the file.

# %%
config = str(DEMO / "demo.yaml")
settings = [f"student={STUDENT}", f"out={OUT}", f"evaluation.tasks={json.dumps(TASKS)}"]
settings.append("evaluation.seeds={}")  # of the demonstrations: each task is measured once
assert distill(["plan", config, *settings]) == 0

# %% [markdown]
# ## The answers
#
# `filter` asks the teacher and drops answers that are not fit to learn from. In stage 1, KnowDist,
# the teacher explains or restates a text. In stage 2, ICLDist, it sees a few demonstrations and
# labels another text.

# %%
assert distill(["filter", config, *settings]) == 0
RUN = OUT / "demo"


def show(step: str, n: int) -> None:
    """Print the first samples of a stage, shortened."""
    lines = (RUN / step / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    print(f"{step}: {len(lines)} samples")
    for sample in map(json.loads, lines[:n]):
        print(f"  question: ...{sample['prompt'][-120:]!r}")
        print(f"  answer:   {sample['response'][:120]!r}")


show("knowdist-filter", 2)
show("icldist-filter", 2)

# %% [markdown]
# The funnel counts kept and dropped answers, with the reasons. A row is one family of prompts and
# one source of texts. The last row has the totals.

# %%
funnel = json.loads((RUN / "icldist-filter" / "funnel.json").read_text(encoding="utf-8"))
for row in funnel["table"]:
    print({key: value for key, value in row.items() if value})

# %% [markdown]
# ## The student
#
# `run` does the missing steps. It trains the student in stage 1, trains the result in stage 2, and
# measures the base model and both students. If it was stopped, call it again: it continues.

# %%
assert distill(["run", config, *settings]) == 0

# %% [markdown]
# ## What it gained
#
# `run.json` holds the scores. Each is printed with its standard error in parentheses, which
# estimates how much the score would change with other test items.

# %%
for task, scores in load_manifest(RUN / "results" / "run.json").score_rows():
    of = {model: f"{score.value:.2f} ({score.stderr or 0:.2f})" for model, score in scores.items()}
    print(task, of)

# %% [markdown]
# ## Using the student
#
# The student is an ordinary checkpoint of transformers. `Classifier` gives each text a label, and a
# probability for each label.

# %%
classifier = Classifier(str(RUN / "icldist-merge" / "student"), "sentibench_mini_sst2")
for prediction in classifier(["A small film with a large heart.", "I want my evening back."]):
    print(prediction)

# %% [markdown]
# ## The page
#
# `leaderboard` makes a page from the same results.

# %%
results = str(RUN / "results")
assert leaderboard(["build", results, "--source", "mini", "--out", str(OUT / "site")]) == 0
print(f"page: {OUT / 'site' / 'index.html'}; report of the run: {RUN / 'report.html'}")
