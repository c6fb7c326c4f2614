# `make demo` and `make test` do everything on a fresh machine: environment, pinned install, run.
# Another Python: `make test PYTHON=python3.12`. More processes: `make test JOBS=8`.

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
EXTRAS := dev,minilm,notebooks,typeseg,rtl,pnr,sweep,ray

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Tests run side by side in processes; a pool of torch threads in each would only spin.
export OMP_NUM_THREADS ?= 1
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

.PHONY: help install demo test test-slow lint types format constraints clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(STAMP) ## make the virtual environment with the pinned packages

# The stamp is written last: an install that broke off is done again.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "cosim needs Python 3.11 or newer, and $(PYTHON) is older;" \
	    "name another one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

demo: $(STAMP) ## take the shipped model all the way: integers, bits, cycles, energy, report
	$(BIN)/cosim demo

test: $(STAMP) ## run the tests and doctests, but the slow ones
	$(PYTEST)

test-slow: $(STAMP) ## run the slow tests only
	$(PYTEST) -m 'slow and not gpu'

lint: $(STAMP) ## check format and lint, list the long files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	@$(BIN)/python -m tests.house_rules

types: $(STAMP) ## check the types
	$(BIN)/mypy

format: $(STAMP) ## format, and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Resolves all extras anew in an empty environment, and keeps the comment at the top of the file.
constraints: ## write constraints.txt anew
	rm -rf build
	$(PYTHON) -m venv build/pins
	grep '^torch==' constraints.txt > build/pins/torch.txt
	build/pins/bin/python -m pip install -q -c build/pins/torch.txt '.[$(EXTRAS)]'
	sed -n '/^#/p' constraints.txt > build/pins/new.txt
	build/pins/bin/python -m pip freeze --all --exclude pip --exclude cosim-toolkit \
	  | sed -E 's/^(torch==[0-9.]+).*/\1/' >> build/pins/new.txt
	mv build/pins/new.txt constraints.txt
	rm -rf build

clean: ## remove what this file has made
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
