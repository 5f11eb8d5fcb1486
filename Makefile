# Two commands for a fresh machine: `make demo` runs the main job, `make test` passes the tests.
# Each sets up what it needs (a virtual environment in .venv); neither needs the other.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
PYTHON ?= python3
VENV ?= .venv
# The versions that are installed. The oldest supported: make test CONSTRAINTS=constraints-oldest.txt VENV=.venv-oldest
CONSTRAINTS ?= constraints.txt
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed
DEV_STAMP = $(VENV)/.installed-dev
DEMO_RUNS = $(addprefix runs/digits/,resnet10t resnet10t+stage234 irb_tiny irb_tiny+transcnn)

.PHONY: demo gpu kills shapes test test-long test-browser test-fuzz test-disk test-libs test-mutants test-wheel test-zoo wheel docs notebooks tutorial lint format clean

demo: $(STAMP)
	$(BIN)/hmhsa-insert apply resnet50 --recipe stage3.yaml -o runs/demo --overwrite
	@echo; echo "Four trainings on scikit-learn's digits, two at a time"
	@$(MAKE) --no-print-directory -j2 $(DEMO_RUNS)
	$(BIN)/hmhsa-insert report $(DEMO_RUNS) --columns method,params,macs,top1,delta_params,delta_macs

# runs/digits/NETWORK or runs/digits/NETWORK+RECIPE
.PHONY: $(DEMO_RUNS)
$(DEMO_RUNS): runs/digits/%:
	@OMP_NUM_THREADS=1 $(BIN)/hmhsa-insert train $(firstword $(subst +, ,$*)) \
	  $(patsubst %,--recipe %.yaml,$(word 2,$(subst +, ,$*))) \
	  --data digits --epochs 3 --set input_size=24 -o $@ | sed -u 's/^/$*: /'

# The linters judge the source, so the newest versions are enough for them.
test: $(DEV_STAMP) $(if $(filter constraints.txt,$(CONSTRAINTS)),lint)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not long and not libs" -n 2

test-long: $(DEV_STAMP)
	$(BIN)/python -m pytest -m long

# With ultralytics, transformers, Lightning, segmentation_models_pytorch, ONNX: installs them (an hour on 2 cores).
test-libs: $(DEV_STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e '.[libs]'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m libs

# The page of a report in headless chromium; fails where there is none.
test-browser: $(DEV_STAMP)
	BROWSER_TESTS=1 $(BIN)/python -m pytest -m browser

# A hundred thousand damaged files of every kind, and their table (half an hour on 2 cores).
test-fuzz: $(DEV_STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/driver.py --cases 100000 --workers 2 --report reports/fuzz.md

# Disks that fill up and folders that go under a command, and their table; as root, because it mounts the disks.
test-disk: $(DEV_STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/disturb.py --report reports/disturbed.md

# Over a hundred faults put into the package one at a time, and the tests that notice them (an hour on 2 cores).
test-mutants: $(DEV_STAMP)
	$(BIN)/python tests/mutants/run.py --jobs 2 --report reports/mutants.md

# All 312 networks, and the report of the run (an hour on 2 cores).
test-zoo: $(STAMP)
	$(BIN)/hmhsa-insert zoo --report reports/zoo.md --overwrite

# The wheel and the source archive, in dist/.
wheel: $(DEV_STAMP)
	rm -rf dist
	$(BIN)/python -m hatchling build -d dist
	$(BIN)/twine check --strict dist/*

# What is in them, and what mypy and the command say of the package once it is installed from the wheel.
test-wheel: $(DEV_STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m long tests/package

# The documentation's site, in site/; a warning is an error. The variable keeps a notice of the theme's makers silent.
docs: $(DEV_STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict -d site

# The notebooks' outputs, made again.
notebooks: $(DEV_STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python docs/tools/notebooks.py

# Every command of the tutorial, in a fresh environment that has nothing but the wheel.
tutorial: wheel
	rm -rf $(VENV)-tutorial runs/tutorial
	$(PYTHON) -m venv $(VENV)-tutorial
	$(VENV)-tutorial/bin/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) dist/*.whl
	PATH="$(abspath $(VENV)-tutorial)/bin:$$PATH" OMP_NUM_THREADS=2 python docs/tools/snippets.py docs/tutorial.md runs/tutorial

# Four detectors on the shapes set, two at a time, and their report (under an hour on 2 cores).
shapes: $(DEV_STAMP)
	$(BIN)/python benchmarks/shapes.py

# 100 trainings stopped by every signal, sent to every process, wherever they are (half an hour on 2 cores).
kills: $(DEV_STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python tests/training/kill_matrix.py runs/kills --jobs 2 --report reports/kills.md

# What is right and how fast it is on a GPU, to reports/gpu/; on a machine without one: make gpu GPU="--device cpu --quick"
GPU ?= --minutes 9
gpu: $(DEV_STAMP)
	$(BIN)/python benchmarks/gpu.py $(GPU)

lint: $(DEV_STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV_STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e .
	@touch $@

$(DEV_STAMP): pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e ".[dev]"
	@touch $@ $(STAMP)

clean:
	rm -rf $(VENV) $(VENV)-tutorial runs dist site .pytest_cache .mypy_cache .ruff_cache
