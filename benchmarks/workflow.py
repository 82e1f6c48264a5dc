"""The time in which Snakemake plans three thousand jobs, and finds that nothing is to be done in a complete project.

Nothing is trained. Both are measured in copies of this project.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
STUDY = """
title: Many seeds
source: {work: work, where: nowhere}
question: How long does it take to plan many jobs?
fixed:
  data: digits
  model: {name: mlp, hidden: [8]}
  optimizer: {name: sgd, lr: 0.1}
  training: {steps: 1}
compare: {init: [he_normal, glorot_normal, lecun_normal]}
seeds: 1000
table: [{metric: loss}]
figures: {loss: {kind: curves, y: loss, hue: init}}
"""


def project(folder: Path, *names: str) -> Path:
    """Copy the files of the workflow, and further ones, into a folder."""
    for name in ("Snakefile", "workflow", "profiles", "src", "environment.yml", "configs", *names):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    return folder


def snakemake(folder: Path, *arguments: str) -> tuple[tuple[float, float], str]:
    """Return the wall time and the CPU time of Snakemake in seconds, and its output."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    environment = {**os.environ, "GOODINIT_DATA": ""}
    start, used = time.perf_counter(), os.times()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    clock, now = time.perf_counter() - start, os.times()
    processor = now.children_user + now.children_system - used.children_user - used.children_system
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return (clock, processor), done.stdout + done.stderr


def plan(folder: Path) -> tuple[float, float]:
    """Return the seconds of a dry run of a study with 3,000 jobs."""
    project(folder)
    for work in (folder / "configs").glob("*/"):
        shutil.rmtree(work)
    (folder / "configs" / "work").mkdir()
    (folder / "configs" / "work" / "study.yaml").write_text(STUDY)
    seconds, output = snakemake(folder, "--dry-run")
    assert re.search(r"^train +3000$", output, re.MULTILINE), output
    return seconds


def find_nothing(folder: Path) -> tuple[float, float]:
    """Return the seconds of a call in which nothing is to be done: the complete laptop scale."""
    project(folder, "results", "figures")
    config = ["--config", "scale=laptop"]
    snakemake(folder, "--touch", *config)
    seconds, output = snakemake(folder, *config)
    assert "Nothing to be done" in output, output
    return seconds


def main() -> None:
    for title, measure, limit in (
        ("a dry run of 3,000 jobs", plan, 10),
        ("laptop scale, nothing to be done", find_nothing, 5),
    ):
        with tempfile.TemporaryDirectory() as folder:
            clock, processor = measure(Path(folder))
            print(f"{title:32}  {clock:5.1f} s, should be at most {limit}; {processor:.1f} s of CPU time", flush=True)


if __name__ == "__main__":
    main()
