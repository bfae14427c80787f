# What people call: make demo, make check, make test. Each sets up what it needs on a fresh machine.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TORCH ?= torch==2.13.0

.PHONY: help setup demo check test prove bench registry browser chart chart-readme containers lock clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.ready  ## Make the virtual environment with everything in it

$(VENV)/.ready: pyproject.toml constraints.txt
	@echo "setting up $(VENV) (a few minutes, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -q --disable-pip-version-check $(TORCH)
	@$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: setup  ## Teach a small model to reason, from data to a registered version
	@$(BIN)/chainsight run configs/demo.yaml

check: setup  ## Format, lint, types, import rules
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python k8s/readme.py --check

test: setup  ## The default tests: no network, no GPU, no key
	@OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal -m "not slow and not chart"  # two workers, one thread each

prove: setup  ## The heavier proofs: runs through S3, runs, ranks and payers killed, two processes against one (40 minutes)
	@$(BIN)/pytest -m "slow and not registry and not browser"

bench: setup  ## Time, tokens and memory against TRL and generate, on the CPU (a quarter of an hour)
	@OMP_NUM_THREADS=1 PYTHONPATH=src:. $(BIN)/python -W ignore -m benchmarks.cpu $(BENCH_FLAGS)

registry: setup  ## Promotion on a real PostgreSQL, S3 and MLflow, with crashes and races (ten minutes)
	@HELM=$$(PYTHON=$(BIN)/python k8s/prove.sh --helm) OMP_NUM_THREADS=1 $(BIN)/pytest tests/registry -m registry -rs $(REGISTRY_FLAGS)

browser: setup  ## The pages of MLflow and our own report in a headless chromium; pictures into docs/img
	@OMP_NUM_THREADS=1 $(BIN)/pytest tests/registry tests/report -m browser -rs $(REGISTRY_FLAGS)

chart: setup  ## Lint, render and check the Helm chart without a cluster (a few minutes)
	@PYTHON=$(BIN)/python k8s/prove.sh $(CHART_FLAGS)

containers: setup  ## Build all images without network and run configs/smoke.yaml in them (docs/images.md)
	@PYTHON=$(BIN)/python docker/prove.sh $(CONTAINERS_FLAGS)

chart-readme: setup  ## Write the chart's README anew from its schema
	@$(BIN)/python k8s/readme.py

lock: setup  ## Resolve docker/requirements anew from pyproject.toml and constraints.txt
	@PATH=$(BIN):$$PATH $(BIN)/python docker/lock.py

clean:  ## Remove the environment and everything that runs left behind
	rm -rf $(VENV) .chainsight
