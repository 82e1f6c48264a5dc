# What the rules know of the studies, through goodinit.spec, and nothing else.

import shlex
import shutil
import sys
from pathlib import Path

ROOT = Path(workflow.basedir)
sys.path.insert(0, str(ROOT / "src"))

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

from goodinit import catalog, protocol, settings, spec
from goodinit.errors import InputError

# The package is imported from the checkout, also in the conda environments, which do not hold it; without
# conda, `python` is the one that runs Snakemake, whether or not its environment was activated.
PREFIX = f"export PYTHONPATH={shlex.quote(str(ROOT / 'src'))}; "
if DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method:
    if shutil.which("conda") is None:
        raise WorkflowError("--use-conda: conda is not on the path: install miniforge, or leave --use-conda out")
else:
    PREFIX += f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; "
shell.prefix(PREFIX)


# A GPU is a resource of each machine: a cap for the local one does not slow a cluster down.
resource_scopes:
    gpu="local",


try:
    config = settings.check(config)
    DATA_ROOT = settings.data_root(config["data_root"])
    STUDIES = {f"{study.work}/{study.name}": study for study in spec.studies(ROOT / "configs", config["works"])}
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
# How the commands find the studies: what they are called with, after the subcommand.
PLACE = f"--configs {shlex.quote(str(ROOT / 'configs'))} --results {shlex.quote(config['results'])} --scale {SCALE}"


wildcard_constraints:
    work="[a-z0-9_]+",
    study="[a-z0-9_]+",
    figure="[a-z0-9_.]+",


def study_of(wildcards):
    return STUDIES[f"{wildcards.work}/{wildcards.study}"]


def asked(name, default):
    """Return how much of a resource a training job asks a cluster for: what its study says, and more if it failed."""

    def amount(wildcards, attempt):
        return attempt * study_of(wildcards).scaled("resources", SCALE, {}).get(name, default)

    return amount


def manifests(wildcards):
    job = JOBS[f"{wildcards.work}/{wildcards.study}"][wildcards.job]
    return [str(catalog.manifest_path(name, DATA_ROOT)) for name in job.data]


def records(name):
    return [f"{RESULTS}/runs/{name}/{job}.json" for job in JOBS[name]]


def records_of(wildcards):
    return records(f"{wildcards.work}/{wildcards.study}")


def all_records():
    return [file for name in STUDIES for file in records(name)]


def all_tables():
    return [f"{RESULTS}/tables/{name}.csv" for name in STUDIES if records(name)]


def all_figures():
    return [
        f"{FIGURES}/{name}-{figure}.{kind}"
        for name, study in STUDIES.items()
        if records(name)
        for figure in study.figures()
        for kind in ("svg", "png")
    ]


def all_verdicts():
    """Return the works that have records and claims: each has a figure of its verdicts."""
    ran = dict.fromkeys(study.work for name, study in STUDIES.items() if records(name))
    claiming = {study.work for study in STUDIES.values() if study.body.get("claims")}
    return [work for work in ran if work in claiming]


def caption(wildcards):
    """Return what the caption of a study's figures and table says beside the study's own words."""
    study = study_of(wildcards)
    return {"scale": SCALE, "protocol": protocol.lines(study, SCALE)}
