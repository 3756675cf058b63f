# make demo   draw pictures, choose a network's units, make a study's stimuli, intervene, score, report (simulated participants)
# make test   every check that CI runs; make test-all adds those that take minutes each
# make vendor fetch jsPsych with npm and copy it into the package (after a change of package.json)
# All set up .venv on first use and need nothing but Python and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Linux without an NVIDIA GPU: torch's CPU build, where its index can be reached; the default one brings gigabytes of CUDA.
CPU_TORCH := [ "$$(uname)" != Linux ] || command -v nvidia-smi > /dev/null || $(INSTALL) --no-deps --retries 0 --timeout 10 \
	--constraint constraints.txt --index-url https://download.pytorch.org/whl/cpu torch 2> /dev/null || true
# Modules and tests of ours are compiled when they are first imported, and kept.
export PYTHONDONTWRITEBYTECODE =

# What tests compare with; its own requirements ask for torchvision, which nothing here needs.
ORACLES := clip-anytorch==2.6.0

.PHONY: demo test test-all lint sanity benchmarks vendor clean

demo: $(VENV)/.installed
	@$(BIN)/python Data/demo/make_demo.py demo_results
	@$(BIN)/interpscore score demo_results/demo_experiment.csv demo_results/demo_neuron_map.json demo_results/results.csv \
		--level-kinds '3=adversarial 4=synthetic' --images demo_results/stimuli/pictures --model clip-mini --baseline demo_results/untrained
	@$(BIN)/interpscore label demo_results/selection.zarr --concepts demo_results/pictures/selection.csv -o demo_results/labels.parquet --quiet
	@$(BIN)/interpscore report demo_results/results.csv --data demo_results/demo_experiment.csv --store demo_results/selection.zarr \
		--images demo_results/pictures --renders demo_results/renders --labels demo_results/labels.parquet -o demo_results/report.html --quiet
	@$(BIN)/interpscore microscope build demo_results/selection.zarr --images demo_results/pictures/selection.csv --labels demo_results/labels.parquet \
		--renders demo_results/renders --results demo_results/results.csv --model clip-mini --effect-images 16 --top 16 --strata 6x3 \
		-o demo_results/microscope --quiet
	@echo
	@echo "Open demo_results/report.html in a browser: the findings, a card for each neuron, limits and methods."
	@echo "Then look at what it rests on:"
	@echo "  demo_results/units.png                   the pictures that activate each unit most"
	@echo "  demo_results/stimuli/contact_sheet.png   what the (simulated) participants saw"
	@echo "  demo_results/results.csv                 every number, with intervals and notes"
	@echo "To see what each of the 512 units sees, type: $(BIN)/interpscore microscope serve demo_results/microscope"

# One process for each core, each with one thread; freed memory is kept, since getting it again is slow on some machines.
test test-all: export OMP_NUM_THREADS = 1
test test-all: export MALLOC_MMAP_MAX_ = 0
test test-all: export MALLOC_TRIM_THRESHOLD_ = 100000000000
test test-all: export MALLOC_TOP_PAD_ = 67108864

test: $(VENV)/.installed-dev lint
	$(BIN)/python -m pytest -n logical --dist loadscope --no-loadscope-reorder -m "not slow"

test-all: $(VENV)/.installed-dev lint
	$(BIN)/python -m pytest -n logical --dist loadscope --no-loadscope-reorder --hypothesis-profile thorough

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

sanity: $(VENV)/.installed
	$(BIN)/interpscore sanity

benchmarks: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/scoring.py
	$(BIN)/python benchmarks/extraction.py
	$(BIN)/python benchmarks/fidelity.py
	$(BIN)/python benchmarks/store.py
	$(BIN)/python benchmarks/causality.py
	$(BIN)/python benchmarks/profile.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/dream.py
	$(BIN)/python benchmarks/microscope.py build
	$(BIN)/python benchmarks/coverage.py
	$(BIN)/python benchmarks/labelling.py
	$(BIN)/python benchmarks/labelling_rates.py
	$(BIN)/python benchmarks/labelling_coverage.py
	$(BIN)/python benchmarks/study_load.py
	$(BIN)/python benchmarks/microscope.py pages

vendor: $(VENV)/.installed
	npm ci --ignore-scripts --no-audit --no-fund
	$(BIN)/python Human_Experiment_Setup/static/vendor.py

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@$(CPU_TORCH)
	$(INSTALL) --constraint constraints.txt --editable '.[models,dream,study,figures,microscope]'
	@touch $@

# Holds what the demo needs as well, so that a fresh machine resolves requirements once.
$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@$(CPU_TORCH)
	$(INSTALL) --constraint constraints.txt --editable '.[dev]'
	$(INSTALL) --no-deps $(ORACLES)
	@touch $(VENV)/.installed $@

clean:
	rm -rf $(VENV) demo_results batch_results .pytest_cache .mypy_cache .ruff_cache .hypothesis
