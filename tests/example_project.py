"""A small project for tests of the workflow: one study that trains in seconds, and calls of Snakemake."""

import os
import shutil
import subprocess
import sys

from checkout import ROOT

SNAKEMAKE = [sys.executable, "-m", "snakemake", "--cores", "2"]
TWO_INITIALIZERS = """
title: Two initializers on digits
source: {work: work, where: here}
question: Which is better?
fixed:
  data: {name: digits, train_examples: 300, validation_examples: 60}
  model: {name: mlp, hidden: [20, 20]}
  optimizer: {name: sgd, lr: 0.1}
  training: {steps: 40, batch_size: 30, evaluate_every: 20}
compare: {init: {small: {name: gaussian, std: 0.01}, He: he_normal}}
seeds: 3
pack: 6
table: [{metric: test_accuracy}]
"""
FIGURE_AND_CLAIM = """
figures: {accuracy: {kind: curves, y: test_accuracy, hue: init}}
claims:
  - id: he-is-better
    says: He's is better.
    source: here
    test: {beats: {better: {init: He}, worse: {init: small}, metric: test_accuracy, best: highest}}
"""


def copy_project(folder, study):
    """Copy what the workflow needs into a folder, at laptop scale, with one study in place of the project's."""
    for name in ("Snakefile", "workflow", "profiles", "src", "environment.yml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    (folder / "configs" / "work").mkdir(parents=True)
    config = (ROOT / "configs" / "config.yaml").read_text()
    (folder / "configs" / "config.yaml").write_text(config.replace("scale: demo", "scale: laptop"))
    (folder / "configs" / "work" / "study.yaml").write_text(study)
    return folder


def snakemake(folder, *arguments, environment=None):
    """Run Snakemake in a folder; return its exit status and output."""
    completed = subprocess.run(
        [*SNAKEMAKE, *arguments], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "GOODINIT_DATA": "", **(environment or {})},
    )  # fmt: skip
    return completed.returncode, completed.stdout + completed.stderr


def planned_jobs(output):
    """Return {rule: number of jobs} from the table of a dry run."""
    lines = output.partition("job ")[2].partition("total ")[0].splitlines()
    pairs = (line.split() for line in lines if len(line.split()) == 2)
    return {rule: int(count) for rule, count in pairs if count.isdigit()}


def record_contents(folder):
    """Return {file: content} of all records below a folder."""
    files = sorted(folder.glob("results/*/runs/*/*/*"))
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}
