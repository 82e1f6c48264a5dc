"""After any interruption of processes, the results are those of an undisturbed run."""

import functools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from disturbed_project import (
    EVERYTHING,
    PREPARE,
    TRAIN,
    assert_complete,
    assert_equal,
    assert_one_error,
    finish,
    limit_memory,
    output,
    shift_clock,
    start,
    visible_files,
)

pytestmark = pytest.mark.slow

KILLS, TERMINATIONS = 50, 10


def test_killed_at_any_moment(folder, undisturbed, tally):
    """Preparing, training and drawing are killed again and again; after they are finished, they start again."""
    moments = random.Random(0)
    killed = 0
    while killed < KILLS:
        process = start(folder, EVERYTHING)
        process.join(moments.uniform(0.02, undisturbed.seconds))
        if process.exitcode is None:
            with tally("killed (SIGKILL) while preparing, training, or writing records, tables and figures"):
                killed += 1
                process.kill()
                process.join()
                assert_complete(folder, undisturbed.folder)
        else:
            assert process.exitcode == 0
            assert_equal(folder, undisturbed.folder, everything=True)
            for kind in ("results", "figures", "data"):
                shutil.rmtree(folder / kind)
    assert finish(folder, EVERYTHING)[0] == 0
    assert_equal(folder, undisturbed.folder, everything=True)


def test_terminated_while_training(folder, undisturbed, tally):
    """As by a cluster before it takes a machine away."""
    assert finish(folder, [PREPARE])[0] == 0
    moments = random.Random(1)
    terminated = 0
    while terminated < TERMINATIONS:
        process = start(folder, [["train", "--device", "cpu", "--checkpoint-minutes", "60"]])
        while process.exitcode is None and "recorded already" not in output(folder):
            time.sleep(0.001)
        process.join(moments.uniform(0, 0.2))
        if process.exitcode is None:
            os.kill(process.pid, signal.SIGTERM)
            process.join(60)
        if process.exitcode == 128 + signal.SIGTERM:
            with tally("terminated (SIGTERM) while training"):
                terminated += 1
                assert "starts over" not in output(folder)
                assert_complete(folder, undisturbed.folder)
        elif process.exitcode == 0:
            assert_complete(folder, undisturbed.folder)
            shutil.rmtree(folder / "results")
    assert finish(folder)[0] == 0
    assert_equal(folder, undisturbed.folder)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no way to see this process's memory")
def test_out_of_memory(folder, undisturbed, tally):
    assert finish(folder, [PREPARE])[0] == 0
    rejected = 0
    for megabytes in (0, 1, 2, 4, 8, 9, 12, 16, 24):
        with tally("out of memory"):
            status, text = finish(folder, prelude=functools.partial(limit_memory, megabytes))
            assert status in (0, 2) or status < 0, text  # a library may end the process
            if status == 2:
                rejected += 1
                assert_one_error(text, "out of memory")
            assert_complete(folder, undisturbed.folder)
    assert rejected
    assert finish(folder)[0] == 0
    assert_equal(folder, undisturbed.folder)


def test_same_job_in_two_processes(folder, undisturbed, tally):
    assert finish(folder, [PREPARE])[0] == 0
    for _ in range(5):
        with tally("the same job trained by two processes at once"):
            processes = [start(folder, [TRAIN]), start(folder, [TRAIN])]
            for process in processes:
                process.join(120)
                assert process.exitcode == 0, output(folder)
            assert finish(folder)[0] == 0
            assert_equal(folder, undisturbed.folder)
            shutil.rmtree(folder / "results")


def test_other_clock_and_locale(folder, undisturbed, tally, monkeypatch):
    for seconds in (-10 * 365 * 86400, 10 * 365 * 86400):
        with tally("another clock"):
            assert finish(folder, prelude=functools.partial(shift_clock, seconds))[0] == 0
            for file in visible_files(folder).values():
                os.utime(file, (time.time() + seconds,) * 2)
            assert "1 jobs, 1 of them recorded already" in finish(folder)[1]
            assert_equal(folder, undisturbed.folder)
            shutil.rmtree(folder / "results")
    for variables in (
        {"LC_ALL": "C", "PYTHONUTF8": "0"},
        {"LC_ALL": "POSIX", "PYTHONIOENCODING": "ascii"},
        {"TZ": "Asia/Tokyo"},
    ):
        with tally("another locale or time zone"):
            for command in (["list"], TRAIN, ["table"]):
                done = subprocess.run(
                    [sys.executable, "-m", "goodinit", *command], cwd=folder, capture_output=True, check=False,
                    env={**os.environ, **variables, "GOODINIT_DATA": "data"},
                )  # fmt: skip
                assert done.returncode == 0, done.stderr
            assert_complete(folder, undisturbed.folder)
            shutil.rmtree(folder / "results")
