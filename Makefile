PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# stamps: what a run needs, and what the tests need besides
RUN := $(VENV)/.run
DEV := $(VENV)/.dev
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test bench clean

demo: $(RUN)
	$(BIN)/keyneurons

test: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n 2

# takes about an hour on two cores; use an idle machine
bench: $(DEV)
	for each in extraction size selection attribution lesions probe run compare; do $(BIN)/python benchmarks/$$each.py || exit 1; done
	$(BIN)/python benchmarks/report.py

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(RUN): | $(BIN)/python
$(RUN): pyproject.toml constraints.txt
	$(PIP) -e .
	touch $@

$(DEV): | $(BIN)/python
$(DEV): pyproject.toml constraints.txt
	$(PIP) -e ".[dev]"
	touch $@ $(RUN)

clean:
	rm -rf $(VENV) build dist
