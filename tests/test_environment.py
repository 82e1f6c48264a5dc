"""pyproject.toml, requirements.lock and the conda environments say the same."""

import importlib.metadata
import tomllib
from pathlib import Path

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
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    return {one.name: one.specifier for one in map(Requirement, wanted)}, len(project["dependencies"])


def _conda(file):
    found = yaml.safe_load((ROOT / file).read_text())
    assert found["channels"][-1] == "nodefaults"
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
