# Each target installs its requirements into .venv; this needs Python 3.11 or later.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Keep compiled bytecode; without it, short commands take twice as long.
unexport PYTHONDONTWRITEBYTECODE

comma := ,

.PHONY: demo test test-all test-cluster test-faults test-rehearsal lint format figures costs report reproduce bench clean

demo: .venv/installed  ## run everything on embedded data
	snakemake --cores all

# One thread per process, one process per CPU.
PYTEST := OMP_NUM_THREADS=1 pytest -n logical --maxprocesses 8
SEED := $(shell $(PYTHON) -c 'import random; print(random.randrange(2**32))')

test: .venv/installed  ## run the quick tests
	$(PYTEST) --dist loadfile -m "not slow and not real_data"

test-all: test  ## also run the slow tests: Slurm, browser, faults, real data if GOODINIT_DATA is set, randomized tests
	$(PYTEST) --dist loadfile -rs -m "slow or real_data"
	@echo "randomized tests: repeat with make test-all SEED=$(SEED)"
	$(PYTEST) tests/studies/test_fuzz.py --hypothesis-profile fuzz --hypothesis-seed $(SEED)

test-cluster: .venv/installed  ## run the workflow on a temporary Slurm, if Slurm is installed
	pytest -rs tests/workflow/test_slurm.py

test-faults: .venv/installed  ## test kills, full disks and damaged files, and write docs/reliability.md
	GOODINIT_RELIABILITY=docs/reliability.md pytest -rs tests/faults

test-rehearsal: .venv/installed  ## train every study on a rehearsed GPU, and write docs/rehearsal.md
	GOODINIT_REHEARSAL=docs/rehearsal.md pytest tests/training/test_rehearsal.py

lint: .venv/installed  ## check style, types and generated text
	ruff check
	ruff format --check
	snakefmt --check Snakefile workflow
	snakemake --lint
	mypy
	goodinit readme --check

format: .venv/installed  ## format the code
	ruff check --fix
	ruff format
	snakefmt Snakefile workflow

figures: .venv/installed  ## rebuild tables, figures, verdicts and pages from the committed records
	goodinit report --scale all
	goodinit readme

costs: .venv/installed  ## estimate the costs that the README shows; run after a change of the studies
	for scale in laptop overnight paper; do goodinit estimate --scale $$scale --csv results/$$scale/costs.csv || exit 1; done

report: .venv/installed  ## write report.html: all results of the laptop scale on one page that works offline
	snakemake --cores all --config scale=laptop
	snakemake --cores all --config scale=laptop --report report.html --quiet all

SCALE ?= laptop
WORKS ?= xavier_he,textbook
reproduce: .venv/installed  ## train works again and compare with the records; WORKS=work/study SCALE=overnight selects others
	snakemake --cores all --config scale=$(SCALE) works=$(WORKS) results=reproduced figures=reproduced/figures
	goodinit compare results/$(SCALE) reproduced/$(SCALE) $(subst $(comma), ,$(WORKS))

bench: .venv/installed  ## measure speed, as ratios
	for benchmark in benchmarks/*.py; do python $$benchmark || exit 1; done

clean:  ## remove the outputs of the demonstration
	rm -rf results/demo figures/demo logs/demo reproduced report.html

# The stamp is written last, so that an interrupted installation is repeated.
.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit(f"Goodinit needs Python 3.11 or later; {sys.executable} is {sys.version.split()[0]}: make PYTHON=python3.12")'
	$(PYTHON) -m venv --clear .venv
	command -v uv > /dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	uv pip install --quiet --python $(BIN)/python -r requirements.lock
	uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@
