"""Snakemake's --use-conda: it passes both environment files to conda, and reports a missing conda."""

import os
import subprocess
import sys

import pytest
from checkout import ROOT
from example_project import TWO_INITIALIZERS, copy_project

# A stand-in for conda: it answers queries as conda does, creates empty environments, and stores the files it receives.
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


@pytest.fixture
def use_conda(tmp_path):
    """Return a function that runs Snakemake with --use-conda in a small project, with the given folders as PATH."""
    folder = copy_project(tmp_path, TWO_INITIALIZERS)

    def call(*path, arguments=()):
        command = [sys.executable, "-m", "snakemake", "--cores", "1", "--use-conda", *arguments]
        environment = {**os.environ, "GOODINIT_DATA": "", "PATH": ":".join(map(str, path))}
        completed = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        return completed.returncode, completed.stdout + completed.stderr

    return call


def test_conda_receives_both_environment_files_unchanged(use_conda, tmp_path):
    conda = tmp_path / "bin" / "conda"
    conda.parent.mkdir()
    conda.write_text(CONDA)
    conda.chmod(0o755)
    status, output = use_conda(conda.parent, "/usr/bin", "/bin", arguments=["--conda-create-envs-only"])
    assert status == 0, output
    received = [file.read_text() for file in conda.parent.glob("conda.*.yaml")]
    expected = [(ROOT / name).read_text() for name in ("environment.yml", "workflow/envs/report.yaml")]
    assert sorted(received) == sorted(expected)


def test_missing_conda_is_reported_in_one_line(use_conda):
    status, output = use_conda("/usr/bin", "/bin", arguments=["--dry-run"])
    assert status != 0
    assert "--use-conda: conda is not on the path: install miniforge, or omit --use-conda" in output
    assert "Traceback" not in output
