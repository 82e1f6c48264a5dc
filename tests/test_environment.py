"""pyproject.toml, requirements.lock and the conda environments say the same, and --use-conda hands these to conda."""

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PYPI = {
    "pytorch": "torch",
    "matplotlib-base": "matplotlib",
    "seaborn-base": "seaborn",
    "snakemake-minimal": "snakemake",
}


def _project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    return {one.name: one.specifier for one in map(Requirement, wanted)}, len(project["dependencies"])


def _conda(file):
    found = yaml.safe_load((ROOT / file).read_text())
    assert found["channels"][-1] == "nodefaults"
    for line in found["dependencies"]:  # in the words that conda and pip both read
        assert re.fullmatch(r"[a-z][a-z0-9-]*>=[0-9.]+(,<[0-9.]+)?", line), line
    requirements = [Requirement(line) for line in found["dependencies"]]
    return {PYPI.get(one.name, one.name): one.specifier for one in requirements}


def test_conda_environments_have_the_project_s_versions():
    project, count = _project()
    training, report = _conda("environment.yml"), _conda("workflow/envs/report.yaml")
    assert training.pop("python") == report.pop("python")
    assert training == dict(list(project.items())[:count])
    assert report.items() <= training.items()
    assert "torch" not in report


def test_lock_pins_everything_exactly_and_names_no_index():
    lines = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if line]
    assert all("==" in line and "://" not in line and not line.startswith("-") for line in lines)
    locked = {}
    for one in map(Requirement, lines):
        locked.setdefault(one.name, []).append(next(iter(one.specifier)).version)
    for name, specifier in _project()[0].items():
        assert locked[name], name
        assert all(specifier.contains(version) for version in locked[name]), name


def test_what_is_installed_satisfies_the_project():
    for name, specifier in _project()[0].items():
        assert specifier.contains(importlib.metadata.version(name).split("+")[0]), name


# Not conda: it says what conda would of itself, makes folders in place of environments, and keeps what it was told.
CONDA = """#!/bin/sh
case "$1 $2" in
  "info --json") echo '{"conda_prefix": "/nowhere", "platform": "linux-64"}' ;;
  "--version ") echo "conda 25.1.0" ;;
  "config --get") echo '{"get": {"channel_priority": "strict"}}' ;;
  "env create")
    while [ $# -gt 1 ]; do
      case "$1" in --file) cat "$2" > "$0.$(basename "$2")" ;; --prefix) mkdir -p "$2/conda-meta" ;; esac
      shift
    done ;;
esac
"""
STUDY = (ROOT / "tests" / "test_trainer.py").read_text().split('"""')[3]


@pytest.fixture
def with_conda(project_of, tmp_path):
    """Return a function that calls Snakemake with --use-conda in a small project, given the folders of its PATH."""
    folder = project_of(tmp_path, STUDY)

    def call(*folders, words=()):
        command = [sys.executable, "-m", "snakemake", "--cores", "1", "--use-conda", *words]
        environment = {**os.environ, "GOODINIT_DATA": "", "PATH": ":".join(map(str, folders))}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    return call


def test_both_environments_are_handed_to_conda_as_they_are(with_conda, tmp_path):
    conda = tmp_path / "bin" / "conda"
    conda.parent.mkdir()
    conda.write_text(CONDA)
    conda.chmod(0o755)
    status, output = with_conda(conda.parent, "/usr/bin", "/bin", words=["--conda-create-envs-only"])
    assert status == 0, output
    given = [file.read_text() for file in conda.parent.glob("conda.*.yaml")]
    ours = [(ROOT / name).read_text() for name in ("environment.yml", "workflow/envs/report.yaml")]
    assert sorted(given) == sorted(ours)


def test_without_conda_one_line_says_what_to_do(with_conda):
    status, output = with_conda("/usr/bin", "/bin", words=["--dry-run"])
    assert status != 0
    assert "--use-conda: conda is not on the path: install miniforge, or leave --use-conda out" in output
    assert "Traceback" not in output
