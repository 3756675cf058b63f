# make demo   score the embedded (simulated) demo table
# make test   every check that CI runs
# Both set up .venv on first use and need nothing but Python and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint sanity benchmarks clean

demo: $(VENV)/.installed
	@mkdir -p demo_results
	@$(BIN)/interpscore score Data/demo/simulated_experiment.csv Data/demo/simulated_neuron_map.json demo_results/results.csv

test: $(VENV)/.installed-dev lint
	$(BIN)/python -m pytest

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

sanity: $(VENV)/.installed
	$(BIN)/interpscore sanity

benchmarks: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/scoring.py

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) demo_results batch_results .pytest_cache .mypy_cache .ruff_cache .hypothesis
