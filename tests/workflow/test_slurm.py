"""The workflow on a temporary Slurm cluster: each job runs through it, with the results of a local run.

Slurm is real, except for its GPUs.
"""

import contextlib
import importlib.util
import signal
import subprocess
import sys
import time
from datetime import datetime

import pytest
import slurm
from example_project import FIGURE_AND_CLAIM, TWO_INITIALIZERS, copy_project

pytestmark = pytest.mark.slow

FOUR_JOBS = (
    TWO_INITIALIZERS.replace("seeds: 3", "seeds: 2").replace("pack: 6", "pack: 1")
    + "resources: {mem_mb: 3000, runtime: 5}"
    + FIGURE_AND_CLAIM
)
SNAKEMAKE = [sys.executable, "-m", "snakemake"]
# Only the paper scale requests GPUs by default.  The waiting times are shorter than a cluster needs.
ON_SLURM = ["--profile", "profiles/slurm", "--set-resources", "train:gpu=1"]
SHORT_WAITS = ["--slurm-init-seconds-before-status-checks", "4", "--latency-wait", "5"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Start a temporary Slurm; yield its environment variables and the folder with the GPUs that each job saw."""
    if not slurm.available():
        pytest.skip("Slurm is not installed: apt-get install --no-install-recommends slurm-wlm")
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        pytest.skip("snakemake-executor-plugin-slurm is not installed: pip install --requirement requirements.lock")
    folder = tmp_path_factory.mktemp("slurm")
    with slurm.cluster(folder) as environment:
        yield environment | {"GOODINIT_DATA": ""}, folder / "gpus"


@pytest.fixture(scope="module")
def started(cluster, tmp_path_factory):
    """Start the workflow and let one training job exceed its time limit; yield folder, process and job number."""
    environment, gpu_files = cluster
    folder = copy_project(tmp_path_factory.mktemp("project"), FOUR_JOBS)

    def running():
        jobs = _jobs(environment, folder, rule="train", state="RUNNING")
        return [job["JobId"] for job in jobs if (gpu_files / job["JobId"]).exists()]

    with _workflow(folder, environment) as process:
        number = _wait_for(running, process, folder)[0]
        # Time limits are whole minutes.  Set the end time to now instead; Slurm enforces it within half a minute.
        subprocess.run(["scancel", "--full", "--signal=STOP", number], env=environment, check=True)
        subprocess.run(["scontrol", "update", f"JobId={number}", "EndTime=now"], env=environment, check=True)
        yield folder, process, number


@pytest.fixture(scope="module")
def finished(cluster, started):
    """Wait for the workflow; return its folder, its jobs, and the number of the job that timed out."""
    folder, process, number = started
    assert process.wait(240) == 0, (folder / "output").read_text()
    return folder, _jobs(cluster[0], folder), number


@contextlib.contextmanager
def _workflow(folder, environment):
    """Start Snakemake; at the end of the block interrupt it, which cancels its jobs, or kill it."""
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(
            [*SNAKEMAKE, *ON_SLURM, *SHORT_WAITS], cwd=folder, env=environment, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            for number in (signal.SIGINT, signal.SIGKILL):
                if process.poll() is None:
                    process.send_signal(number)
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(20)


def _interrupt(process):
    """Interrupt Snakemake, which can lose an interrupt while it submits a job, up to twice; return its status."""
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(20)
    return process.wait(20)


def _run_locally(folder, environment, *arguments):
    command = [*SNAKEMAKE, "--cores", "2", *arguments]
    completed = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stdout + completed.stderr


def _wait_for(condition, process, folder, seconds=60):
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end or process.poll() is not None:
            pytest.fail((folder / "output").read_text())
        time.sleep(0.1)
    return value


def _jobs(environment, folder, rule="", state=""):
    """Return Slurm's jobs of the workflow in a folder, optionally of one rule and state."""
    return [
        job
        for job in slurm.jobs(environment)
        if job["WorkDir"] == str(folder) and job["Comment"].startswith(f"rule_{rule}") and state in job["JobState"]
    ]


def _seconds(job, key):
    return datetime.fromisoformat(job[key]).timestamp()


def _comment(jobs, number):
    return next(job["Comment"] for job in jobs if job["JobId"] == number)


def test_an_interrupted_workflow_cancels_all_jobs(cluster, started, tmp_path):
    """`started` is requested only so that its job exceeds the time limit meanwhile."""
    environment, _ = cluster
    folder = copy_project(tmp_path, FOUR_JOBS)
    with _workflow(folder, environment) as process:
        _wait_for(lambda: len(_jobs(environment, folder, rule="train")) == 4, process, folder)
        assert _interrupt(process) != 0
    end = time.monotonic() + 15  # Slurm needs a moment to end cancelled jobs
    while any(job["JobState"] in ("RUNNING", "PENDING", "COMPLETING") for job in _jobs(environment, folder)):
        assert time.monotonic() < end, _jobs(environment, folder)
        time.sleep(0.2)
    assert _jobs(environment, folder, state="CANCELLED")
    # No lock and no temporary file remains, so that the next call can continue.
    _run_locally(folder, environment, "--dry-run")
    assert not list(folder.rglob("*.part"))


def test_every_job_runs_through_slurm(finished):
    folder, jobs, timed_out = finished
    assert {job["JobState"] for job in jobs if job["JobId"] != timed_out} == {"COMPLETED"}
    assert [job["Comment"].count("train") for job in jobs].count(1) == 4 + 1
    assert len([job for job in jobs if job["Comment"].startswith("rule_claims")]) == 1
    assert len(jobs) == 4 + 1 + 1 + 1  # four trainings, one retry, one report job, the claims
    assert "He's is better" in (folder / "results/laptop/claims.md").read_text()


def test_a_job_gets_the_resources_of_its_rule(finished):
    _, jobs, timed_out = finished
    for job in jobs:
        training = job["Comment"].startswith("rule_train")
        assert ("gres:gpu:1" in job.get("TresPerJob", "")) == training
        if training and job["Comment"] != _comment(jobs, timed_out):
            assert (job["MinMemoryNode"], job["TimeLimit"]) == ("3000M", "00:05:00")


def test_no_two_jobs_use_a_gpu_at_the_same_time(cluster, finished):
    _, gpu_files = cluster
    _, jobs, _ = finished
    training = [job for job in jobs if job["Comment"].startswith("rule_train")]
    files = {job["JobId"]: gpu_files / job["JobId"] for job in jobs}
    gpus = {number: file.read_text().strip() for number, file in files.items() if file.exists()}
    assert {gpus[job["JobId"]] for job in training if job["JobId"] in gpus} == {"0", "1"}
    assert not any(gpus[job["JobId"]] for job in jobs if job not in training)
    times = [(_seconds(job, "StartTime"), _seconds(job, "EndTime"), gpus.get(job["JobId"])) for job in training]
    running = [sum(start <= moment < end for start, end, _ in times) for moment, _, _ in times]
    assert max(running) == slurm.GPUS
    for index, (start, end, gpu) in enumerate(times):
        for other_start, other_end, other_gpu in times[:index]:
            assert gpu != other_gpu or end <= other_start or other_end <= start, times


def test_a_job_that_timed_out_is_retried_with_more_resources(finished):
    folder, jobs, timed_out = finished
    attempts = [job for job in jobs if job["Comment"] == _comment(jobs, timed_out)]
    assert [job["JobState"] for job in attempts] == ["TIMEOUT", "COMPLETED"]
    assert [job["MinMemoryNode"] for job in attempts] == ["3000M", "6000M"]
    assert attempts[1]["TimeLimit"] == "00:10:00"
    assert "Trying to restart job" in (folder / "output").read_text()


def test_results_equal_those_of_a_local_run(cluster, finished, tmp_path):
    folder = copy_project(tmp_path, FOUR_JOBS)
    _run_locally(folder, cluster[0])

    def outputs(root):
        files = [file for suffix in ("npz", "csv", "svg") for file in sorted(root.glob(f"*/laptop/**/*.{suffix}"))]
        return {str(file.relative_to(root)): file.read_bytes() for file in files}

    local, remote = outputs(folder), outputs(finished[0])
    assert len([name for name in local if name.endswith(".npz")]) == 4
    assert [name for name in local if local[name] != remote.get(name)] == []
    assert local.keys() == remote.keys()
