"""Requirements and the version of the project agree wherever they are written."""

import ast
import importlib.metadata
import re
import sys
import tomllib

import pytest
import yaml
from checkout import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import goodinit

CONDA_TO_PYPI = {
    "pytorch": "torch",
    "matplotlib-base": "matplotlib",
    "seaborn-base": "seaborn",
    "snakemake-minimal": "snakemake",
}


def _specifiers(lines):
    """Return {normalized PyPI name: version specifier} of requirement lines."""
    requirements = [Requirement(line) for line in lines]
    return {canonicalize_name(CONDA_TO_PYPI.get(item.name, item.name)): item.specifier for item in requirements}


@pytest.fixture(scope="module")
def project():
    """Return the [project] table of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def all_specifiers(project):
    """Return the specifiers of the project's dependencies, including the optional ones."""
    optional = [line for extra in project["optional-dependencies"].values() for line in extra]
    return _specifiers([*project["dependencies"], *optional])


def test_the_version_is_that_of_the_citation_and_of_the_latest_release():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    releases = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert citation["version"] == releases[0] == goodinit.__version__


def _conda_environment(file):
    environment = yaml.safe_load((ROOT / file).read_text())
    assert environment["channels"][-1] == "nodefaults"
    for line in environment["dependencies"]:  # the syntax that conda and pip share
        assert re.fullmatch(r"[a-z][a-z0-9.-]*>=[0-9.]+(,<[0-9.]+)?", line), line
    return _specifiers(environment["dependencies"])


def test_conda_environments_require_the_versions_of_the_project(project):
    training, report = _conda_environment("environment.yml"), _conda_environment("workflow/envs/report.yaml")
    assert training.pop("python") == report.pop("python")
    assert training == _specifiers(project["dependencies"])
    assert report.items() <= training.items()
    assert "torch" not in report


def test_the_report_environment_contains_what_report_jobs_import():
    package = ROOT / "src" / "goodinit"
    files = [file for room in ("report", "studies", "records") for file in (package / room).rglob("*.py")]
    imported = set()
    others = {package / "report" / "ro_crate.py", package / "transfer.py"}  # export runs in no job; only for training
    for file in {*files, *package.glob("*.py")} - others:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            imported |= {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"goodinit"}
    assert "pandas" in imported
    distributions = {"ruamel-yaml" if name == "ruamel" else name for name in imported}
    assert distributions <= _conda_environment("workflow/envs/report.yaml").keys()


def test_lock_file_pins_every_version_and_names_no_index(all_specifiers):
    lines = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if line]
    assert all("==" in line and "://" not in line and not line.startswith("-") for line in lines)
    locked = {}
    for requirement in map(Requirement, lines):
        locked.setdefault(canonicalize_name(requirement.name), []).append(next(iter(requirement.specifier)).version)
    for name, specifier in all_specifiers.items():
        assert locked.get(name), name
        assert all(specifier.contains(version) for version in locked[name]), name


def test_installed_packages_satisfy_the_project(all_specifiers):
    for name, specifier in all_specifiers.items():
        assert specifier.contains(importlib.metadata.version(name).split("+")[0]), name
