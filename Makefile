# make demo | test | lint | bench | up - each sets itself up; nothing else needs to be installed but Debian and Python 3.11+.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench lab up lock format clean

help:
	@echo "make demo    the main job, start to end, in one terminal (under three minutes)"
	@echo "make test    lint, types, layers and all tests"
	@echo "make up      Satchel with embedded engines, until Ctrl-C"
	@echo "make lab     a whole installation in network namespaces, broken on purpose (root, Linux)"
	@echo "make bench   all figures beside limits and peers, table and plots (about 25 minutes); BENCH=--help shows the parts"
	@echo "make lint    ruff, mypy, import-linter"
	@echo "make lock    resolve the locked dependencies anew"

setup: $(VENV)/.installed

$(VENV)/.installed: requirements/dev.txt pyproject.toml
	@echo "satchel: installing the locked Python packages into $(VENV)"
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || { echo "satchel: installing Debian's python3-venv"; apt-get update -qq && apt-get install -y -qq python3-venv && $(PYTHON) -m venv $(VENV); }
	@$(BIN)/pip install --quiet --require-hashes -r requirements/dev.txt
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: setup
	@$(BIN)/python -m demo

# $(call tests,OF,HOW): what fails is run once more by itself, on a machine that does nothing else. What passes then was
# chance or load: it is named, to be looked after, and does not fail the whole.
define tests
	@$(BIN)/pytest -q $(2) -m "$(1)" || { echo "satchel: once more, what failed, by itself"; \
		$(BIN)/pytest -q -m "$(1)" --last-failed --last-failed-no-failures none; }
endef

test: setup lint
	@$(BIN)/python tests/prepare.py
	$(call tests,not lab and not kill,-n auto --maxprocesses 4 --dist loadfile --durations 25)
	$(call tests,kill and not lab,-n 2 --dist worksteal --durations 10)
	$(call tests,lab,)

lint: setup
	@$(BIN)/ruff check src tests benchmarks demo
	@$(BIN)/ruff format --check --quiet src tests benchmarks demo
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: setup
	@$(BIN)/ruff check --fix --quiet src tests benchmarks demo
	@$(BIN)/ruff format --quiet src tests benchmarks demo

bench: setup $(VENV)/.bench
	@$(BIN)/python -m benchmarks $(BENCH)

$(VENV)/.bench: requirements/bench.txt
	@echo "satchel: installing what the benchmarks need into $(VENV)"
	@$(BIN)/pip install --quiet --require-hashes -r requirements/bench.txt
	@touch $@

lab: setup
	@$(BIN)/python tests/prepare.py
	@$(BIN)/python -m tests.lab

up: setup
	@$(BIN)/satchel up

lock:
	@$(PYTHON) -m venv .cache/lock && .cache/lock/bin/pip install --quiet uv
	@.cache/lock/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade pyproject.toml -o requirements/runtime.txt >/dev/null
	@.cache/lock/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade pyproject.toml --group dev requirements/build.in -o requirements/dev.txt >/dev/null
	@.cache/lock/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade -c requirements/dev.txt --group bench -o requirements/bench.txt >/dev/null

clean:
	rm -rf $(VENV) .cache .node .mypy_cache .ruff_cache .pytest_cache
