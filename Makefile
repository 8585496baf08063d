# Everything a developer does by hand; .ci/run calls the same targets.
# Needs make and Python 3.10 or later, e.g. `make test PYTHON=python3.12`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --constraint constraints.txt --editable

ifneq ($(words $(CURDIR)),1)
$(error The path of this folder contains a space, which make cannot handle: move or rename it)
endif

.PHONY: help demo test lint format docs bench bench-training bench-generation bench-adapters table clean
.NOTPARALLEL:

help:
	@echo "make demo    generate deformations with the bundled model into demo-output/"
	@echo "make test    lint, check the types, run all tests"
	@echo "make lint    ruff and mypy only"
	@echo "make format  rewrite the sources in the house format"
	@echo "make docs    build the site of the documentation into build/site"
	@echo "make bench   time everything; bench-training: a training step; bench-generation: samples;"
	@echo "             bench-adapters: the transforms for MONAI and TorchIO"
	@echo "make table   parity and accuracy table"
	@echo "make clean   remove what make made, the virtual environment too"

demo: $(VENV)/installed
	$(BIN)/drdm demo --out demo-output

# The tests of a file stay in one process: they share what its fixtures made.
# Their order is that of conftest.py: files with slow tests first.
test: lint
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(VENV)/installed-dev
	$(BIN)/python -m mkdocs build --strict

bench: $(VENV)/installed
	$(BIN)/python -m Testing.Benchmarks

bench-training: $(VENV)/installed
	$(BIN)/python -m Testing.Benchmarks.training_benchmark

bench-generation: $(VENV)/installed
	$(BIN)/python -m Testing.Benchmarks.generation_benchmark

bench-adapters: $(VENV)/installed-dev
	$(BIN)/python -m Testing.Benchmarks.adapters_benchmark

table: $(VENV)/installed
	$(BIN)/python Testing/Benchmarks/accuracy_table.py

clean:
	rm -rf $(VENV) build dist demo-output .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find DRDMCore Testing -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps are written last: an interrupted installation leaves none and is taken up again.
$(VENV)/installed: pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) .
	@touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) '.[dev]'
	@touch $(VENV)/installed $@

# pip is the last thing that venv writes, so a half-made environment is made anew.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "Python 3.10 or later is needed, '$(PYTHON)' is not: try make PYTHON=python3.12" >&2; \
	  exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); \
	  echo "'$(PYTHON) -m venv' failed. On Debian and Ubuntu it is a package of its own:" >&2; \
	  echo "  apt install python3-venv" >&2; exit 1; }
