# `make` alone explains itself; the text behind ## is the help.
PYTHON ?= python3
BIN    := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help install up test check bench torture clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: .venv/installed ## make .venv with the command .venv/bin/planewatch (PYTHON=python3.12 picks another Python)

.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'planewatch needs Python 3.11 or newer; name one: make install PYTHON=/path/to/python3.11' >&2; \
	  exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[embedded,dev]'
	@touch $@

up: install ## run everything on this machine; REHEARSE=list-storm picks the incident to rehearse
	@$(BIN)/planewatch up $(if $(REHEARSE),--rehearse $(REHEARSE))

test: install ## run all tests; what a machine lacks is skipped and named
	$(BIN)/python -m pytest

check: install ## lint, format, types, architecture
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/unit/test_architecture.py

bench: install ## measure; BENCH=name runs one of tests/bench
	@set -e; for file in $(or $(BENCH:%=tests/bench/%.py),$(filter-out tests/bench/_%,$(sort $(wildcard tests/bench/*.py)))); do \
	  PYTHONPATH=. $(BIN)/python $$file; \
	done

torture: install ## repeat kills and faults for a long time
	$(BIN)/python -m pytest -m torture

clean: ## remove .venv and caches; planewatch-data stays
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
