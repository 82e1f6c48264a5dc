"""A small project whose commands run in new processes, and what must hold of its files after any fault."""

import multiprocessing
import os
import resource
import time
from pathlib import Path

from goodinit import records
from goodinit.cli.main import main

TWO_UPDATE_RULES = """\
title: Größe, 猫
source: {work: work, where: here}
question: Why?
fixed:
  data: {name: digits, train_examples: 128, test_examples: 64}
  init: he_normal
  training: {steps: 40, batch_size: 16, evaluate_every: 10}
conditions:
  one: {model: {name: mlp, hidden: [32], dropout: 0.2}, optimizer: {name: adam, lr: 0.01}}
  other: {model: {name: mlp, hidden: [64, 64]}, optimizer: {name: momentum, lr: 0.1},
          update: semi_synchronous}
seeds: 3
pack: 6
table:
  - {metric: test_accuracy}
figures: {accuracy: {kind: curves, y: test_accuracy, hue: condition}}
claims:
  - {id: low, says: It is low., source: here, test: {within: {metric: loss, below: 9.0}}}
"""
PREPARE, TRAIN = ["prepare", "digits"], ["train", "--device", "cpu", "--checkpoint-minutes", "0.00001"]
NUMBERS = [PREPARE, TRAIN, ["table"]]
EVERYTHING = [*NUMBERS, ["figure"], ["claims"]]

FORKS = multiprocessing.get_context("forkserver")  # its server imports everything once
FORKS.set_forkserver_preload(["goodinit.training.jobs", "goodinit.report.build", "sklearn.datasets", "scipy.stats"])


def nothing():
    """Do nothing before the commands."""


def limit_memory(megabytes):
    """Limit the memory of this process to what it uses and a number of MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def redirect_downloads(address):
    """Let torchvision download from an address."""
    from torchvision import datasets

    datasets.MNIST.mirrors = [address]
    datasets.CIFAR10.url = datasets.CIFAR100.url = f"{address}cifar.tar.gz"


def shift_clock(seconds):
    """Shift the clock of this process."""
    now = time.time
    time.time = lambda: now() + seconds


def create(folder):
    """Write the project to a folder; return the folder."""
    (folder / "configs" / "work").mkdir(parents=True)
    (folder / "configs" / "work" / "study.yaml").write_text(TWO_UPDATE_RULES, encoding="utf-8")
    return folder


def start(folder, commands=NUMBERS, prelude=nothing):
    """Start a process that runs commands in a project; return the process."""
    (folder / "output").unlink(missing_ok=True)
    process = FORKS.Process(target=_run, args=(folder, commands, prelude))
    process.start()
    return process


def output(folder):
    """Return the output of the last process in a project."""
    file = folder / "output"
    return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""


def finish(folder, commands=NUMBERS, prelude=nothing):
    """Run commands in a project in a new process; return the exit status and the output without warnings."""
    process = start(folder, commands, prelude)
    process.join(120)
    return process.exitcode, "\n".join(line for line in output(folder).splitlines() if "Warning" not in line)


def visible_files(folder):
    """Return {relative path: path} of the files of results, figures and data that are not hidden."""
    return {
        file.relative_to(folder).as_posix(): file
        for kind in ("results", "figures", "data")
        for file in (folder / kind).rglob("*")
        if file.is_file() and not file.name.startswith(".")
    }


def assert_complete(folder, undisturbed):
    """Assert that every visible file is complete: records can be read, other files equal the undisturbed ones."""
    for name, file in visible_files(folder).items():
        if "/runs/" in name and file.suffix == ".json":
            records.read(file)
        else:
            assert file.read_bytes() == (undisturbed / name).read_bytes(), name


def assert_equal(folder, undisturbed, everything=False):
    """Assert that a project has the files of the undisturbed one, and no others; without everything, only NUMBERS."""
    expected = visible_files(undisturbed)
    if not everything:
        drawn = ("figures/", "results/demo/claims", "results/demo/README")
        expected = {name: file for name, file in expected.items() if not name.startswith(drawn)}
    assert visible_files(folder).keys() == expected.keys()
    assert_complete(folder, undisturbed)
    hidden = [file.name for kind in ("results", "figures") for file in (folder / kind).rglob(".*")]
    assert [name for name in hidden if not name.endswith(".part")] == []


def assert_one_error(text, *phrases):
    """Assert that an output has one error line, which contains the phrases, and no traceback."""
    lines = [line for line in text.splitlines() if line.startswith("goodinit: error: ")]
    assert len(lines) == 1, text
    assert "Traceback" not in text
    assert all(phrase in lines[0] for phrase in phrases), lines[0]


def _run(folder, commands, prelude):
    os.chdir(folder)
    file = os.open("output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1), os.dup2(file, 2)
    os.environ.pop("GOODINIT_DATA", None)
    prelude()
    for command in commands:
        main(command)
