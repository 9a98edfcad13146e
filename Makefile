# Everything a newcomer or CI runs. `make` alone lists the targets.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
JOBS   ?= 4
PREFIX ?= /usr/local
STAMP  := $(VENV)/.installed
DEV    := $(VENV)/.installed-dev
PYTEST  = $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help run test test-fast soak dev fmt lint type check cover bench bench-quick docs install uninstall clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "reaperd needs Python 3.11 or newer: make PYTHON=python3.11 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "no venv module here; on Debian: apt-get install -y python3-venv"; exit 1; }

$(STAMP): pyproject.toml | $(BIN)/python
	@echo "installing reaperd into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(DEV): pyproject.toml | $(BIN)/python
	@echo "installing reaperd and the tools of its developers into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(STAMP)

run: $(STAMP) ## start the daemon in the foreground on the demo services
	@exec $(BIN)/reaperd run -c examples/demo/reaperd.toml

dev: $(DEV) ## make the virtual environment with all development tools

test: lint type ## lint, types and every test that this machine allows
	@$(PYTEST) -n $(JOBS) tests

test-fast: $(DEV) ## arch, unit and kernel tests only
	@$(PYTEST) -q -n $(JOBS) tests/arch tests/unit tests/kernel

soak: $(DEV) ## a million random system calls that kernel and model must agree on, a million orphans for the init
	@REAPERD_ORACLE_STEPS=1000000 $(PYTEST) -q -n $(JOBS) tests/process/test_oracle.py
	@REAPERD_INIT_ORPHANS=1000000 $(PYTEST) -q -o faulthandler_timeout=0 tests/process/test_init_trouble.py -k many_orphans

lint: $(DEV) ## ruff, without changing anything
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

type: $(DEV) ## mypy --strict, tests included
	@$(BIN)/mypy

fmt: $(DEV) ## format and fix what can be fixed
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

check: lint type test-fast ## what to run before each commit

cover: $(DEV) ## branch coverage, child processes included; fails under 90 %
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -n $(JOBS) tests
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

bench: $(DEV) ## measure everything beside its peers, and write docs/explanation/performance.md; wants root and a calm machine
	@$(BIN)/python bench/report.py

bench-quick: $(DEV) ## the same in a minute or two, printed alone
	@$(BIN)/python bench/report.py --quick

docs: $(DEV) ## write the generated parts of the manual anew
	@$(BIN)/python -m reaperd.config.reference docs/reference/configuration.md docs/man/reaperd.toml.5
	@$(BIN)/python -m reaperd.policy.diagram docs/reference/states.md
	@$(BIN)/python -m reaperd.control.openapi docs/reference/openapi.json docs/reference/control.md

install: $(STAMP) ## put it on this host: PREFIX=/usr/local, DESTDIR=, PYTHON=
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' PYTHON='$(PYTHON)' ./install.sh install

uninstall: ## take it away again; configuration and state stay
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' ./install.sh uninstall

clean: ## remove everything that make made
	rm -rf $(VENV) dist build .coverage* htmlcov .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
