# sanche: `make` lists what there is.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install demo test check airflow docs clean lock

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(STAMP): requirements.lock pyproject.toml infra/install.sh
	@bash infra/install.sh $(PYTHON) $(VENV)
	@touch $@

install: $(STAMP) ## make the virtual environment from the pinned, hashed lock file

demo: $(STAMP) ## three business dates on embedded agencies, with the real DAGs; run again: nothing changes
	@$(BIN)/sanche demo

test: $(STAMP) ## all tests; starts what it needs and stops it
	@bash infra/test-packages.sh
	@$(BIN)/python -m pytest -n 2 tests/unit tests/contracts
	@$(BIN)/python -m pytest tests/end_to_end

check: $(STAMP) ## what CI checks without running anything: style, types, imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

airflow: $(STAMP) ## the same DAGs in the Airflow UI, on the real scheduler, until Ctrl-C
	@$(BIN)/sanche airflow

lock: ## resolve the dependencies anew into requirements.lock
	@$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --extra dev --no-emit-package sanche -o requirements.lock pyproject.toml

clean: ## remove the demo and the virtual environment
	rm -rf .demo $(VENV)
