PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# stamps of the installed dependencies: of a run, and of the tests
RUN := $(VENV)/.run
DEV := $(VENV)/.dev
# -qq: errors only
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt

# folders of tests that start no process and load no model
FAST := $(addprefix tests/,analysis artifacts config data docs plan probe report selection)

.PHONY: help demo test test-all fast lint format docs bench clean

help:
	@echo "make demo     a first run: key neurons of SmolLM2-135M on the starter treebank"
	@echo "make test     all checks and tests, as in CI"
	@echo "make fast     the unit tests of the pure modules, in under a minute"
	@echo "make lint     only the checks: ruff, mypy, import-linter"
	@echo "make format   format the code"
	@echo "make docs     regenerate the generated pages of docs/ and build the site (site/index.html)"
	@echo "make bench    run all benchmarks and write docs/performance.md"
	@echo "make clean    remove the environment and build products"

demo: $(RUN)
	$(BIN)/keyneurons

test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal -m "not long"

# also the long notebooks, crashes of Ray and Slurm workers, and a trial of the benchmarks
test-all: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal

fast: $(DEV)
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 --dist worksteal -m "not slow" $(FAST)

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(DEV)
	$(BIN)/python benchmarks/report.py
	$(BIN)/python tools/configuration.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

# takes about an hour on two cores; use an idle machine
bench: $(DEV)
	for each in extraction size moments selection attribution faithfulness lesions probe run compare; do $(BIN)/python benchmarks/$$each.py || exit 1; done
	$(BIN)/python benchmarks/report.py

$(BIN)/python:
	@echo "Creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(RUN): | $(BIN)/python
$(RUN): pyproject.toml constraints.txt
	@echo "Installing keyneurons and its dependencies (a few minutes)"
	@$(PIP) -e .
	@touch $@

$(DEV): | $(BIN)/python
$(DEV): pyproject.toml constraints.txt
	@echo "Installing keyneurons, its dependencies and the tools of the tests (a few minutes)"
	@$(PIP) -e ".[dev]"
	@touch $@ $(RUN)

clean:
	rm -rf $(VENV) build dist
