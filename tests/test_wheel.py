"""The installed wheel works without a checkout."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT

pytestmark = pytest.mark.slow

FOUR_RUNS = """
title: Two initializers
source: {work: mine, where: here}
question: Which is better?
fixed:
  data: {name: digits, train_examples: 100}
  model: {name: mlp, hidden: [8]}
  optimizer: {name: sgd, lr: 0.1}
  training: {steps: 4, batch_size: 10}
compare: {init: [he_normal, lecun_normal]}
seeds: 2
pack: 4
table: [{metric: loss}]
figures: {loss: {kind: curves, y: loss, hue: init}}
claims: [{id: low, says: It is low., source: here, test: {within: {metric: loss, below: 100.0}}}]
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """Build the wheel, install it, delete the source, and return the folder with the installed package."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("src", "pyproject.toml", "README.md", "LICENSE"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    _run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=source)
    (wheel,) = folder.glob("*.whl")
    packages = folder / "packages"
    _run([sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--target", str(packages), str(wheel)])
    shutil.rmtree(source)
    command = [sys.executable, "-c", "import goodinit; print(goodinit.__file__)"]
    file = _run(command, cwd=folder, env={**os.environ, "PYTHONPATH": str(packages)})
    assert Path(file.strip()).is_relative_to(packages)
    return packages


@pytest.fixture
def folder(tmp_path):
    """Return a folder with one study."""
    (tmp_path / "configs" / "mine").mkdir(parents=True)
    (tmp_path / "configs" / "mine" / "first.yaml").write_text(FOUR_RUNS)
    return tmp_path


@pytest.fixture
def goodinit(packages, folder):
    """Return a function that runs the installed command in the folder and returns its output."""
    environment = {**os.environ, "PYTHONPATH": str(packages), "GOODINIT_DATA": ""}
    return lambda *arguments: _run([str(packages / "bin" / "goodinit"), *arguments], cwd=folder, env=environment)


def _run(command, **options):
    completed = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout


def test_a_study_runs_from_data_to_verdict(goodinit, folder):
    assert "laptop scale: 4 runs in 1 jobs; 0 recorded" in goodinit("list", "--scale", "laptop")
    goodinit("train", "--device", "cpu", "--scale", "laptop")
    assert "laptop scale: 4 runs in 1 jobs; 4 recorded" in goodinit("list", "--scale", "laptop")
    goodinit("report", "--scale", "laptop")
    assert "| It is low. |" in (folder / "results/laptop/claims.md").read_text()
    assert (folder / "figures/laptop/mine/first-loss.svg").stat().st_size > 0
    with pytest.raises(AssertionError, match="export: needs a checkout"):
        goodinit("export", "--scale", "laptop")


def test_an_unknown_key_is_reported_in_one_line(goodinit, folder):
    (folder / "configs" / "mine" / "second.yaml").write_text(FOUR_RUNS.replace("seeds: 2", "sedes: 2"))
    with pytest.raises(AssertionError, match="unknown key 'sedes'; did you mean seeds"):
        goodinit("list")
