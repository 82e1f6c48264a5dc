"""The package as a wheel: it works where it is installed, without its checkout."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STUDY = """
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
def installed(tmp_path_factory):
    """Return a function that runs the installed package's command in a folder with one study, and that folder."""
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
    own = folder / "own"
    (own / "configs" / "mine").mkdir(parents=True)
    (own / "configs" / "mine" / "first.yaml").write_text(STUDY)

    def goodinit(*words):
        environment = {**os.environ, "PYTHONPATH": str(packages), "GOODINIT_DATA": ""}
        return _run([str(packages / "bin" / "goodinit"), *words], cwd=own, env=environment)

    where = _run(
        [sys.executable, "-c", "import goodinit; print(goodinit.__file__)"],
        cwd=own,
        env={**os.environ, "PYTHONPATH": str(packages)},
    )
    assert Path(where.strip()).is_relative_to(packages)
    return goodinit, own


def _run(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_study_of_one_s_own_goes_from_data_to_verdict(installed):
    goodinit, own = installed
    assert "laptop scale: 4 runs in 1 jobs; 0 recorded" in goodinit("list", "--scale", "laptop")
    goodinit("train", "--scale", "laptop")
    assert "laptop scale: 4 runs in 1 jobs; 4 recorded" in goodinit("list", "--scale", "laptop")
    goodinit("report", "--scale", "laptop")
    assert "| It is low. |" in (own / "results/laptop/claims.md").read_text()
    assert (own / "figures/laptop/mine/first-loss.svg").stat().st_size > 0


@pytest.mark.slow
def test_a_mistake_is_one_line(installed):
    _, own = installed
    file = own / "configs" / "mine" / "second.yaml"
    file.write_text(STUDY.replace("seeds: 2", "sedes: 2"))
    try:
        with pytest.raises(AssertionError, match="unknown key 'sedes'; did you mean seeds"):
            installed[0]("list")
    finally:
        file.unlink()


@pytest.mark.slow
def test_what_needs_the_checkout_says_so(installed):
    with pytest.raises(AssertionError, match="export: needs a checkout"):
        installed[0]("export", "--scale", "laptop")
