# Every target is a line or two; what they do is in the `churn` command and in Dagster's jobs.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do command -v $$p >/dev/null && $$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
export DAGSTER_HOME ?= $(CURDIR)/.dagster
export DO_NOT_TRACK := 1

.PHONY: all test checks-tools setup lint format data features train promote batch drift ui api bench lock
.DEFAULT_GOAL := all

all: setup
	$(BIN)/churn seed

setup: .venv/installed $(DAGSTER_HOME)/dagster.yaml

test: .venv/tested $(DAGSTER_HOME)/dagster.yaml
	$(BIN)/python -m pytest

checks-tools: .venv-checks/installed

lint: .venv/tested
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

format: .venv/tested
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

data features train promote: setup
	$(BIN)/churn build $@

batch: setup
	$(BIN)/churn score

drift: setup
	$(BIN)/churn drift

ui: setup
	env --default-signal=INT,TERM $(BIN)/dagster dev -w workspace.yaml -h 127.0.0.1 -p 3000

api: setup
	$(BIN)/churn serve

bench: .venv/tested
	$(BIN)/python -m benchmarks

# The three lock files say the same versions: what serves, what builds models, what develops.
lock: .venv/bin/uv
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml --extra pipeline --extra dev -o requirements/dev.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml --extra pipeline -c requirements/dev.txt -o requirements/pipeline.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml -c requirements/dev.txt -o requirements/serving.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header requirements/checks.in -o requirements/checks.txt

.venv/bin/uv:
	@test -n "$(PYTHON)" || { echo "No Python 3.11, 3.12 or 3.13 with venv was found: install one (on Debian: apt install python3 python3-venv), or say which: make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check uv

.venv/installed: requirements/pipeline.txt pyproject.toml | .venv/bin/uv
	$(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python -r requirements/pipeline.txt
	$(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python --no-deps -e .
	@touch $@

.venv/tested: .venv/installed requirements/dev.txt
	$(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python -r requirements/dev.txt
	@touch $@

# What judges manifests, images and scripts, apart from the rest: checkov's pins go with nothing else.
.venv-checks/installed: requirements/checks.txt | .venv/bin/uv
	$(BIN)/uv venv -q --clear --python $(BIN)/python .venv-checks
	$(BIN)/uv pip install -q --python .venv-checks/bin/python -r requirements/checks.txt
	@touch $@

$(DAGSTER_HOME)/dagster.yaml: dagster.yaml
	@mkdir -p $(@D) && cp $< $@
