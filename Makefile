# Each target sets up what it needs: Python 3.11 or later and make are enough.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: demo test lint format figures bench clean

demo: .venv/installed  ## the demonstration: everything, on embedded stand-in data
	snakemake --cores all

test: .venv/installed  ## the tests; those on real data run where GOODINIT_DATA points to it
	pytest

lint: .venv/installed  ## what the code must pass
	ruff check
	ruff format --check
	snakefmt --check Snakefile workflow
	snakemake --lint

format: .venv/installed  ## mend what `lint` says of form
	ruff check --fix
	ruff format
	snakefmt Snakefile workflow

figures: .venv/installed  ## tables, figures and verdicts of the committed records; trains nothing
	for scale in $(notdir $(patsubst %/runs,%,$(wildcard results/*/runs))); do \
	  goodinit table --scale $$scale && goodinit figure --scale $$scale && goodinit claims --scale $$scale || exit 1; \
	done

bench: .venv/installed  ## speed, as ratios
	for benchmark in benchmarks/*.py; do python $$benchmark || exit 1; done

clean:  ## what the demonstration wrote
	rm -rf results/demo figures/demo logs/demo

# The stamp comes last, so an installation that broke off is begun again.
.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit(f"Goodinit needs Python 3.11 or later; {sys.executable} is {sys.version.split()[0]}: make PYTHON=python3.12")'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@
