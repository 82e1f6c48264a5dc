"""Devices are chosen by name, and concurrent processes share several GPUs, for which stand-ins serve here."""

import os
import select
import subprocess
import sys

import pytest
import torch

from goodinit.errors import InputError
from goodinit.training import devices

# A process that reserves one of two GPUs, prints which, and keeps it until its standard input ends. If both are in use,
# it first prints that it waits.
HOLDER = """
import logging, sys, torch
torch.cuda.device_count = lambda: 2
from goodinit.training import devices
devices.POLL_SECONDS = 0.05
devices.LOGGER.setLevel(logging.INFO)
devices.LOGGER.addHandler(logging.StreamHandler(sys.stdout))
with devices.reserve(torch.device("cuda")) as device:
    print(device, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def hold(tmp_path):
    """Return a function that starts a process that reserves a GPU; all of them are ended after the test."""
    processes = []

    def start(**environment):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,  # so that `select` knows of all output that is not read yet
            env=os.environ | {"TMPDIR": str(tmp_path)} | environment,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def _next_line(process):
    return process.stdout.readline().decode().strip()


def test_each_process_has_a_gpu_of_its_own_and_a_killed_one_frees_it(hold):
    holders = {_next_line(process): process for process in (hold(), hold())}
    assert holders.keys() == {"cuda:0", "cuda:1"}
    third = hold()
    assert _next_line(third) == "all 2 places on 2 GPUs are in use, waiting for one"
    assert not select.select([third.stdout], [], [], 1)[0]
    holders["cuda:1"].kill()
    assert _next_line(third) == "cuda:1"


def test_jobs_share_a_gpu_only_after_each_gpu_has_one(hold):
    holders = [hold(GOODINIT_JOBS_PER_GPU="2") for _ in range(2)]
    assert {_next_line(process) for process in holders} == {"cuda:0", "cuda:1"}
    holders = [hold(GOODINIT_JOBS_PER_GPU="2") for _ in range(2)]
    assert {_next_line(process) for process in holders} == {"cuda:0", "cuda:1"}


def test_processes_that_see_other_gpus_do_not_wait_for_each_other(hold):
    holders = [hold(CUDA_VISIBLE_DEVICES=visible) for visible in ("0,1", "0,1", "2,3", "2,3")]
    assert [_next_line(process) for process in holders].count("cuda:0") == 2


@pytest.mark.parametrize("name", ["cpu", "cuda:1"])
def test_a_device_with_a_number_is_not_reserved(monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with devices.reserve(torch.device(name)) as device:
        assert str(device) == name


def test_a_single_gpu_is_not_reserved(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with devices.reserve(torch.device("cuda")) as device:
        assert str(device) == "cuda"


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", ""])
def test_a_number_of_jobs_that_is_not_positive_is_an_error(monkeypatch, text):
    monkeypatch.setenv("GOODINIT_JOBS_PER_GPU", text)
    with pytest.raises(InputError, match="GOODINIT_JOBS_PER_GPU must be an integer, at least 1, not "):
        devices.jobs_per_gpu()


def test_the_cpu_has_a_name_and_nothing_to_wait_for():
    assert devices.name_of(torch.device("cpu")) == "cpu"
    devices.wait_for_gpu()
