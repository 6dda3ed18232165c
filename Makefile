# `make tour` and `make test` need nothing set up before them; the rest is for developers.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TOUR_DIR ?=

# The tool is started hundreds of times: without byte code it is compiled each time.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup system tour test lint types unit bench soak docs example wheel clean

help:
	@echo "make tour     set up, then a whole campaign on the embedded filesystem, unattended"
	@echo "make test     set up, then lint, types and all tests"
	@echo "make bench    ratios of speed and cost, measured in one run"
	@echo "make docs     regenerate what the documents say by program: options, metrics, errors"
	@echo "make soak     kill the tool 200 times in whole campaigns, and fuzz what it reads"
	@echo "make example  regenerate docs/example from a fresh tour"
	@echo "make wheel    build the wheel into dist/"
	@echo "make clean    remove everything that was made"

setup: system $(STAMP)

system:
ifneq ($(SYSTEM_PACKAGES),skip)
	@scripts/system-packages $(PACKAGES)
endif

$(STAMP): pyproject.toml constraints.txt | system
	@echo "Setting up $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; point PYTHON at one: make tour PYTHON=python3.11" >&2; exit 6; }
	@$(PYTHON) -m venv $(VENV)
	@PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(BIN)/python -m pip install --quiet \
		--disable-pip-version-check -e '.[model,dev]'
	@touch $@

tour: setup
	@$(BIN)/python -m reactivate tour $(TOUR_DIR)

test bench soak: PACKAGES := tests

test: setup lint types unit

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types:
	$(BIN)/mypy

unit:
	$(BIN)/python scripts/unit

bench: setup
	$(BIN)/python -m benchmarks

docs: setup
	$(BIN)/python scripts/documents

soak: setup
	$(BIN)/python -m tests.reliability.soak
	FUZZ_EXAMPLES=400 $(BIN)/python -m pytest -q --timeout 1800 tests/fuzz
	$(BIN)/python -m tests.fuzz.guided 60

example: setup
	$(BIN)/python -m reactivate tour --example docs/example
	$(BIN)/python scripts/readme-story

wheel: setup
	$(BIN)/python -m build --wheel --outdir dist .

clean:
	rm -rf $(VENV) build dist results ledger.db ledger.db-journal ledger.db.lock .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
