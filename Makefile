# Each target sets up what it needs: Python 3.11 or later and make are enough.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Python compiles a package when it is first imported; not to keep that would double the time of every short command.
unexport PYTHONDONTWRITEBYTECODE

comma := ,

.PHONY: demo test test-all test-cluster test-faults lint format figures costs report reproduce bench clean

demo: .venv/installed  ## the demonstration: everything, on embedded stand-in data
	snakemake --cores all

# One thread a process, and as many processes as processors; the same tests with the same result every time.
PYTEST := OMP_NUM_THREADS=1 pytest -n logical --maxprocesses 8
SEED := $(shell $(PYTHON) -c 'import random; print(random.randrange(2**32))')

test: .venv/installed  ## the tests that take seconds
	$(PYTEST) --dist loadfile -m "not slow and not real_data"

test-all: test  ## the others, too: Slurm, a browser, kills and full disks, real data where GOODINIT_DATA is; a random search
	$(PYTEST) --dist loadfile -rs -m "slow or real_data"
	@echo "random search: make test-all SEED=$(SEED) repeats it"
	$(PYTEST) tests/studies/test_fuzz.py --hypothesis-profile fuzz --hypothesis-seed $(SEED)

test-cluster: .venv/installed  ## the workflow on a throw-away Slurm of one node, where Slurm is installed
	pytest -rs tests/workflow/test_slurm.py

test-faults: .venv/installed  ## kills, full disks, damaged files: what was tried goes into docs/reliability.md
	GOODINIT_RELIABILITY=docs/reliability.md pytest -rs tests/test_faults.py

lint: .venv/installed  ## what the code must pass
	ruff check
	ruff format --check
	snakefmt --check Snakefile workflow
	snakemake --lint
	goodinit readme --check

format: .venv/installed  ## mend what `lint` says of form
	ruff check --fix
	ruff format
	snakefmt Snakefile workflow

figures: .venv/installed  ## tables, figures, verdicts and pages of the committed records; trains nothing
	goodinit report --scale all
	goodinit readme

costs: .venv/installed  ## what the studies cost at each scale, which the README shows: after a change of the studies
	for scale in laptop overnight paper; do goodinit estimate --scale $$scale --csv results/$$scale/costs.csv || exit 1; done

report: .venv/installed  ## report.html: everything at laptop scale as one page that needs no network
	snakemake --cores all --config scale=laptop
	snakemake --cores all --config scale=laptop --report report.html --quiet all

WORKS ?= xavier_he,textbook
reproduce: .venv/installed  ## train works anew at laptop scale, and compare with the committed records
	snakemake --cores all --config scale=laptop works=$(WORKS) results=reproduced figures=reproduced/figures
	goodinit compare results/laptop reproduced/laptop $(subst $(comma), ,$(WORKS))

bench: .venv/installed  ## speed, as ratios
	for benchmark in benchmarks/*.py; do python $$benchmark || exit 1; done

clean:  ## what the demonstration wrote
	rm -rf results/demo figures/demo logs/demo reproduced report.html

# The stamp comes last, so an installation that broke off is begun again.
.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit(f"Goodinit needs Python 3.11 or later; {sys.executable} is {sys.version.split()[0]}: make PYTHON=python3.12")'
	$(PYTHON) -m venv --clear .venv
	command -v uv > /dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	uv pip install --quiet --python $(BIN)/python -r requirements.lock
	uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@
