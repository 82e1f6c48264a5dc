# Settings, studies and helper functions of the rules.  Only goodinit.studies and goodinit.datasets.catalog are used.

import base64
import collections
import csv
import itertools
import os
import shlex
import shutil
import sys
from pathlib import Path

ROOT = Path(workflow.basedir)
sys.path.insert(0, str(ROOT / "src"))

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

from goodinit import studies
from goodinit.datasets import catalog
from goodinit.errors import InputError
from goodinit.studies import settings, summary

# Jobs import the package from the checkout, because the conda environments do not contain it.  Without conda,
# `python` is the interpreter that runs Snakemake, even if its environment is not activated.
PREFIX = f"export PYTHONPATH={shlex.quote(str(ROOT / 'src'))}; "
if DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method:
    if shutil.which("conda") is None:
        raise WorkflowError("--use-conda: conda is not on the path: install miniforge, or omit --use-conda")
else:
    PREFIX += f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; "
shell.prefix(PREFIX)


# GPUs are counted per machine: the limit for the local machine does not apply to a cluster.
resource_scopes:
    gpu="local",


try:
    config = settings.check(config)
    CONFIGS = settings.configs(config["configs"], ROOT)
    DATA_ROOT = settings.data_root(config["data_root"])
    STUDIES = {study.full_name: study for study in studies.load_all(CONFIGS, config["works"])}
except InputError as error:
    raise WorkflowError(str(error)) from None

SCALE = config["scale"]
RESULTS = f"{config['results']}/{SCALE}"
FIGURES = f"{config['figures']}/{SCALE}"
JOBS = {name: {job.name: job for job in study.jobs(SCALE)} for name, study in STUDIES.items()}
# Skip a study whose image folder does not exist, unless all of its jobs are recorded.
for name, study in list(STUDIES.items()):
    missing = [folder for folder in study.folders(SCALE) if not (DATA_ROOT / "folders" / folder).is_dir()]
    if missing and not all(Path(f"{RESULTS}/runs/{name}/{job}.json").exists() for job in JOBS[name]):
        print(f"{name}: skipped: {DATA_ROOT / 'folders' / missing[0]} does not exist", file=sys.stderr)
        del STUDIES[name]
# Options that tell each command where studies and records are.
INPUT_OPTIONS = f"--configs {shlex.quote(str(CONFIGS))} --results {shlex.quote(config['results'])} --scale {SCALE}"


wildcard_constraints:
    work="[a-z0-9_]+",
    study="[a-z0-9_]+",


def untracked(value):
    """Return a parameter whose changes do not rerun a job, for paths and devices, which do not affect results.

    Snakemake ignores changes of parameters that depend on the outputs of a job; the function has `output` as an
    argument for this reason alone.
    """
    return lambda wildcards, output: value


def rule_name(stage, study):
    """Return the name of the rule for one stage of one study."""
    return "_".join([stage, *study.split("/")])


def in_report(file, study, content):
    """Mark an output file for the report, under its work and study."""
    labels = {"content": content}
    return report(file, caption="report/study.rst", category=study.work, subcategory=study.name, labels=labels)


def caption(study):
    """Return the fields of the caption in report/study.rst."""
    return {
        "title": study.title,
        "source": f"{study.work}, {study.source}",
        "question": study.question,
        "claims": [f"{claim.says} ({claim.source})" for claim in study.claims],
        "protocol": summary.lines(study, SCALE),
        "deviations": list(study.deviations),
    }


def requested(resource, default):
    """Return a function for the amount of a resource of a training job: the study's or the default, times the attempt."""

    def amount(wildcards, attempt):
        study = STUDIES[f"{wildcards.work}/{wildcards.study}"]
        return attempt * study.resources_at(SCALE).get(resource, default)

    return amount


def requested_gpu(wildcards):
    """Return the number of GPUs of a training job: 1 with a CUDA device; with auto, what its study requests, at paper scale only."""
    if config["device"] != "auto" or SCALE != "paper":
        return int(config["device"].startswith("cuda"))
    return STUDIES[f"{wildcards.work}/{wildcards.study}"].resources_at(SCALE).get("gpu", 1)


def manifests(jobs):
    """Return the manifests of the data sets that jobs use."""
    return sorted({str(catalog.manifest_path(name, DATA_ROOT)) for job in jobs for name in job.data})


def records(name):
    """Return the record files of a study."""
    return [f"{RESULTS}/runs/{name}/{job}.{kind}" for job in JOBS[name] for kind in ("json", "npz")]


def active_studies():
    """Return (name, study) of each study that has jobs at this scale."""
    return [(name, study) for name, study in STUDIES.items() if JOBS[name]]


def study_groups(size):
    """Return lists of at most `size` active studies of the same work."""
    names = [name for name, _ in active_studies()]
    by_work = [list(group) for _, group in itertools.groupby(names, lambda name: name.split("/")[0])]
    return [group[start : start + size] for group in by_work for start in range(0, len(group), size)]


def outputs():
    """Return the tables and figures of all active studies."""
    tables = [f"{RESULTS}/tables/{name}.csv" for name, _ in active_studies()]
    return tables + [
        f"{FIGURES}/{name}-{figure}.{kind}"
        for name, study in active_studies()
        for figure in study.figures
        for kind in ("svg", "png")
    ]


def works_with_claims():
    """Return the active works that have claims; each has a verdict chart."""
    active = dict.fromkeys(study.work for _, study in active_studies())
    with_claims = {study.work for study in STUDIES.values() if study.claims}
    return [work for work in active if work in with_claims]


def verdict_counts():
    """Return the number of each verdict on the claims of each work, for the first page of the report.

    The first row is the header, and the most frequent verdict is the next one. There are no rows before the verdicts
    are written.
    """
    file = Path(f"{RESULTS}/claims.csv")
    if not file.exists():
        return []
    with file.open(encoding="utf-8", newline="") as text:
        rows = [row for row in csv.DictReader(text) if row.get("kind") == "claim"]
    counts = collections.Counter((row["verdict"], row["work"]) for row in rows)
    verdicts = [verdict for verdict, _ in collections.Counter(row["verdict"] for row in rows).most_common()]
    works = list(dict.fromkeys(row["work"] for row in rows))
    return [["", *works]] + [[verdict, *(counts[verdict, work] or "" for work in works)] for verdict in verdicts]


# The text of the report's first page can read the configuration only.
config["verdict_counts"] = verdict_counts()
figure = Path(f"{FIGURES}/verdicts.png")
# Lines of base64, since docutils rejects lines of more than 10,000 characters.
config["verdict_figure"] = base64.encodebytes(figure.read_bytes()).decode().split() if figure.exists() else []
