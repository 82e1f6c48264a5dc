# What the rules know of the studies, through goodinit.studies and datasets.catalog, and nothing else.

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

# The package is imported from the checkout, also in the conda environments, which do not hold it; without
# conda, `python` is the one that runs Snakemake, whether or not its environment was activated.
PREFIX = f"export PYTHONPATH={shlex.quote(str(ROOT / 'src'))}; "
if DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method:
    if shutil.which("conda") is None:
        raise WorkflowError("--use-conda: conda is not on the path: install miniforge, or omit --use-conda")
else:
    PREFIX += f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; "
shell.prefix(PREFIX)


# A GPU is a resource of each machine: a cap for the local one does not slow a cluster down.
resource_scopes:
    gpu="local",


try:
    config = settings.check(config)
    CONFIGS = settings.configs(config["configs"], ROOT)
    DATA_ROOT = settings.data_root(config["data_root"])
    STUDIES = {f"{study.work}/{study.name}": study for study in studies.load_all(CONFIGS, config["works"])}
except InputError as error:
    raise WorkflowError(str(error)) from None

SCALE = config["scale"]
RESULTS = f"{config['results']}/{SCALE}"
FIGURES = f"{config['figures']}/{SCALE}"
JOBS = {name: {job.name: job for job in study.jobs(SCALE)} for name, study in STUDIES.items()}
# A study of pictures that are not there, and that is not recorded, is left out: the others are for all.
for name, study in list(STUDIES.items()):
    absent = [folder for folder in study.folders(SCALE) if not (DATA_ROOT / "folders" / folder).is_dir()]
    if absent and not all(Path(f"{RESULTS}/runs/{name}/{job}.json").exists() for job in JOBS[name]):
        print(f"{name}: left out: there is no folder {DATA_ROOT / 'folders' / absent[0]}", file=sys.stderr)
        del STUDIES[name]
# Where the commands find studies and records: options that come after the subcommand.
STUDIES_AND_RECORDS = (
    f"--configs {shlex.quote(str(CONFIGS))} --results {shlex.quote(config['results'])} --scale {SCALE}"
)


wildcard_constraints:
    work="[a-z0-9_]+",
    study="[a-z0-9_]+",


def untracked(value):
    """Return a parameter whose changes rerun nothing: where a job runs is no part of what it computes.

    Snakemake does not compare parameters that are derived from a job's outputs, as this one pretends to be.
    """
    return lambda wildcards, output: value


def rule_name(stage, study):
    """Return the name of the rule of one stage and one study."""
    return "_".join([stage, *study.split("/")])


def shown_in_report(file, study, what):
    """Return an output file that the report shows among those of its study."""
    return report(file, caption="report/study.rst", category=study.work, subcategory=study.name, labels={"what": what})


def requested(resource, default):
    """Return how much of a resource a training job requests: what its study says, and more after each failure."""

    def amount(wildcards, attempt):
        study = STUDIES[f"{wildcards.work}/{wildcards.study}"]
        return attempt * study.resources_at(SCALE).get(resource, default)

    return amount


def manifests(jobs):
    """Return the manifests of the data sets that jobs are trained on."""
    return sorted({str(catalog.manifest_path(name, DATA_ROOT)) for job in jobs for name in job.data})


def records(name):
    """Return the files of a study's records."""
    return [f"{RESULTS}/runs/{name}/{job}.{kind}" for job in JOBS[name] for kind in ("json", "npz")]


def recorded_studies():
    """Return (name, study) of the studies that are run at this scale."""
    return [(name, study) for name, study in STUDIES.items() if JOBS[name]]


def studies_together(count):
    """Return lists of at most so many names of studies of one work that are run at this scale."""
    names = [name for name, _ in recorded_studies()]
    by_work = [list(group) for _, group in itertools.groupby(names, lambda name: name.split("/")[0])]
    return [group[start : start + count] for group in by_work for start in range(0, len(group), count)]


def outputs():
    """Return the tables and figures of all studies that are run at this scale."""
    tables = [f"{RESULTS}/tables/{name}.csv" for name, _ in recorded_studies()]
    return tables + [
        f"{FIGURES}/{name}-{figure}.{kind}"
        for name, study in recorded_studies()
        for figure in study.figures
        for kind in ("svg", "png")
    ]


def works_with_claims():
    """Return the works that are run at this scale and make claims: each has a figure of its verdicts."""
    run = dict.fromkeys(study.work for _, study in recorded_studies())
    claiming = {study.work for study in STUDIES.values() if study.claims}
    return [work for work in run if work in claiming]
