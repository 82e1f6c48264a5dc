"""Counts of the faults that are tried, and projects.

`make test-faults` writes the counts to docs/reliability.md.
"""

import contextlib
import os
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import disturbed_project
import pytest


class Undisturbed(NamedTuple):
    """A folder of a project in which every command has been run, and the seconds that this took."""

    folder: Path
    seconds: float


class Tally:
    """Counts how often each fault is tried, and how often it is survived."""

    def __init__(self):
        self.counts = {}

    @contextlib.contextmanager
    def __call__(self, fault):
        """Count a fault as tried, and, if the block does not fail, as survived."""
        tried, survived = self.counts.get(fault, (0, 0))
        self.counts[fault] = tried + 1, survived
        yield
        self.counts[fault] = tried + 1, survived + 1

    def page(self):
        """Return the counts as a Markdown page."""
        lines = [
            "# Reliability",
            "",
            "Faults that `make test-faults` causes while a small study is run from data to verdict. A fault is",
            "survived if every visible file is complete at every moment, if the program continues or ends with one",
            "line that says what is wrong and how to fix it, and if the same commands, run again, give the results of",
            "an undisturbed run, bit by bit.",
            "",
            "| fault | tried | survived | lost |",
            "|---|---:|---:|---:|",
        ]
        lines += [f"| {fault} | {tried} | {right} | {tried - right} |" for fault, (tried, right) in self.counts.items()]
        return "\n".join([*lines, ""])


@pytest.fixture(scope="session")
def tally():
    """Return the counts, which are written to the file that GOODINIT_RELIABILITY names."""
    counts = Tally()
    yield counts
    if page := os.environ.get("GOODINIT_RELIABILITY"):
        Path(page).write_text(counts.page(), encoding="utf-8")


@pytest.fixture
def folder(tmp_path):
    """Return a new project."""
    return disturbed_project.create(tmp_path / "project")


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """Return an undisturbed project."""
    folder = disturbed_project.create(tmp_path_factory.mktemp("undisturbed") / "project")
    disturbed_project.finish(folder, [["list"]])  # waits until everything is imported
    start = time.perf_counter()
    status, output = disturbed_project.finish(folder, disturbed_project.EVERYTHING)
    assert status == 0, output
    return Undisturbed(folder, time.perf_counter() - start)


@pytest.fixture
def small_disk(tmp_path):
    """Return a function that mounts a file system in memory, of a given size or read-only; or skip."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options, again=False):
        command = ["mount", "-t", "tmpfs", "-o", f"remount,{options}" if again else options, "none", str(folder)]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip("no permission to mount a small disk")
        return folder

    yield mount
    subprocess.run(["umount", str(folder)], check=False, capture_output=True)
