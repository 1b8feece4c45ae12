# make demo: the whole product on embedded defaults.   make test: the whole gate (what .ci/run calls).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet
CODE := halfgateway camera_registry auth ops tests docs
# A hundred processes of ours start in the tests: what each would compile anew is kept beside what is installed.
COMPILED := env -u PYTHONDONTWRITEBYTECODE PYTHONPYCACHEPREFIX=$(CURDIR)/$(VENV)/pycache

.DEFAULT_GOAL := help
.PHONY: help install demo test test-postgresql lint bench soak compatibility lock clean

help:  ## What can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

install: $(VENV)/.installed  ## .venv with halfgateway in it

demo: $(VENV)/.installed  ## The whole product, with twelve simulated cameras, on this machine
	@$(BIN)/halfgateway demo $(ARGS)

test: $(VENV)/.installed-test lint  ## The whole gate: format, lint, types, imports, tests, coverage
	@tests/install-peers
	@$(BIN)/coverage erase
	$(COMPILED) tests/in-memory $(BIN)/coverage run -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder
	@$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --skip-covered --skip-empty
	$(BIN)/coverage report --fail-under=90 --include='halfgateway/protocol/*' --format=total
	$(BIN)/coverage report --fail-under=90 --include='halfgateway/relay/*' --format=total
	$(BIN)/coverage report --fail-under=90 --include='halfgateway/control/*' --format=total

test-postgresql: $(VENV)/.installed-test  ## Every test with its records in PostgreSQL, as several nodes keep theirs
	@tests/install-peers
	$(COMPILED) HALFGATEWAY_TEST_DATABASE=postgresql tests/in-memory $(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.installed-test  ## Format, lint, types and import contracts
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(VENV)/.installed-test  ## Relay speed as ratios against peers, in one run (bench.json)
	@tests/install-peers
	@$(BIN)/python -m tests.bench $(BENCH)

soak: $(VENV)/.installed-test  ## What takes too long for the gate
	@tests/install-peers
	$(BIN)/pytest -m soak --timeout 7200

compatibility: $(VENV)/.installed-test  ## Every player by every transport with every camera; writes docs/compatibility.md
	@tests/install-peers
	$(BIN)/pytest tests/compat -m '' --write-compatibility

lock:  ## Resolve the requirements anew
	$(BIN)/pip --quiet install uv
	for extra in build test; do \
	  $(BIN)/uv --no-config pip compile pyproject.toml --universal --generate-hashes --no-header \
	    --extra build $$([ $$extra = test ] && echo --extra test) --python-version 3.11 --quiet --upgrade \
	    -o requirements$$([ $$extra = test ] && echo -test).lock; done
	$(BIN)/uv --no-config pip compile tests/peers.in --universal --generate-hashes --no-header \
	  --python-version 3.11 --quiet --upgrade -o tests/peers.lock

clean:  ## What was made, but for the demo's data
	rm -rf $(VENV) .venv-peers .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "CPython 3.11 or later is needed")'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python requirements.lock pyproject.toml
	@echo "installing into $(VENV) ..." >&2
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed requirements-test.lock
	@$(PIP) install --require-hashes -r requirements-test.lock
	@touch $@
