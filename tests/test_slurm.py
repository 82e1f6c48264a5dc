"""The workflow on Slurm, which is there in earnest but for its GPUs: every job through it, and the same results."""

import contextlib
import importlib.util
import signal
import subprocess
import sys
import time
from datetime import datetime

import pytest
import slurm
from test_workflow import MORE

pytestmark = pytest.mark.slow

STUDY = """
title: Two initializers on digits
source: {work: work, where: here}
question: Which is better?
fixed:
  data: {name: digits, train_examples: 300}
  model: {name: mlp, hidden: [20, 20]}
  optimizer: {name: sgd, lr: 0.1}
  training: {steps: 40, batch_size: 30, evaluate_every: 20}
compare: {init: {small: {name: gaussian, std: 0.01}, He: he_normal}}
seeds: 2
pack: 1
resources: {mem_mb: 3000, runtime: 5}
table: [{metric: test_accuracy}]
"""
SNAKEMAKE = [sys.executable, "-m", "snakemake"]
# The published scale alone asks for GPUs by itself; the tests cannot wait as long as a cluster's user may.
ON_SLURM = ["--profile", "profiles/slurm", "--set-resources", "train:gpu=1"]
QUICK = ["--slurm-init-seconds-before-status-checks", "4", "--latency-wait", "5"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Return the environment in which a throw-away Slurm is found, and the folder of what its jobs saw."""
    if not slurm.available():
        pytest.skip("Slurm is not installed: apt-get install --no-install-recommends slurm-wlm")
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        pytest.skip("snakemake-executor-plugin-slurm is not installed: pip install --requirement requirements.lock")
    folder = tmp_path_factory.mktemp("slurm")
    with slurm.cluster(folder) as environment:
        yield environment | {"GOODINIT_DATA": ""}, folder / "seen"


@pytest.fixture(scope="module")
def started(cluster, project_of, tmp_path_factory):
    """Start the workflow on Slurm, stop one of its trainings, and let its time run out; return folder and process."""
    environment, _ = cluster
    folder = project_of(tmp_path_factory.mktemp("project"), STUDY + MORE)
    with _workflow(folder, environment) as process:
        running = _wait_for(lambda: _jobs(environment, folder, rule="train", state="RUNNING"), process, folder)
        number = running[0]["JobId"]
        # A limit is of whole minutes; so the end is moved nearer, which Slurm enforces within half a minute.
        subprocess.run(["scancel", "--full", "--signal=STOP", number], env=environment, check=True)
        subprocess.run(["scontrol", "update", f"JobId={number}", "EndTime=now"], env=environment, check=True)
        yield folder, process, number


@pytest.fixture(scope="module")
def finished(cluster, started):
    """Wait for the workflow; return its folder, its jobs, and the number of the one whose time ran out."""
    folder, process, number = started
    assert process.wait(240) == 0, (folder / "output").read_text()
    return folder, _jobs(cluster[0], folder), number


@contextlib.contextmanager
def _workflow(folder, environment):
    """Start Snakemake; what still runs at the end of the block is interrupted, which ends its jobs, or killed."""
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(
            [*SNAKEMAKE, *ON_SLURM, *QUICK], cwd=folder, env=environment, stdout=output, stderr=output,
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


def _local(folder, environment, *words):
    command = [*SNAKEMAKE, "--cores", "2", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _wait_for(what, process, folder, seconds=60):
    end = time.monotonic() + seconds
    while not (found := what()):
        if time.monotonic() > end or process.poll() is not None:
            pytest.fail((folder / "output").read_text())
        time.sleep(0.1)
    return found


def _jobs(environment, folder, rule="", state=""):
    """Return Slurm's jobs of the workflow in a folder, of one rule and state if these are given."""
    return [
        job
        for job in slurm.jobs(environment)
        if job["WorkDir"] == str(folder) and job["Comment"].startswith(f"rule_{rule}") and state in job["JobState"]
    ]


def _seconds(job, key):
    return datetime.fromisoformat(job[key]).timestamp()


def test_a_cancelled_workflow_leaves_no_job_behind(cluster, started, project_of, tmp_path):
    """`started` only comes first to have its time run out meanwhile."""
    environment, _ = cluster
    folder = project_of(tmp_path, STUDY + MORE)
    with _workflow(folder, environment) as process:
        _wait_for(lambda: len(_jobs(environment, folder, rule="train")) == 4, process, folder)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) != 0
    end = time.monotonic() + 15  # what is killed takes a moment to be gone
    while any(job["JobState"] in ("RUNNING", "PENDING", "COMPLETING") for job in _jobs(environment, folder)):
        assert time.monotonic() < end, _jobs(environment, folder)
        time.sleep(0.2)
    assert _jobs(environment, folder, state="CANCELLED")
    # Nothing is locked or half-written: the next call goes on.
    _local(folder, environment, "--dry-run")
    assert not list(folder.rglob("*.part"))


def test_every_job_goes_through_slurm(finished):
    folder, jobs, timed_out = finished
    assert {job["JobState"] for job in jobs if job["JobId"] != timed_out} == {"COMPLETED"}
    assert [job["Comment"].count("train") for job in jobs].count(1) == 4 + 1
    assert len([job for job in jobs if job["Comment"].startswith("rule_claims")]) == 1
    assert len(jobs) == 4 + 1 + 1 + 1  # the table and the figure are one
    assert "He's is better" in (folder / "results/laptop/claims.md").read_text()


def test_a_job_gets_what_its_rule_asks_for(finished):
    _, jobs, timed_out = finished
    for job in jobs:
        training = job["Comment"].startswith("rule_train")
        assert ("gres:gpu:1" in job.get("TresPerJob", "")) == training
        if training and job["Comment"] != _comment(jobs, timed_out):
            assert (job["MinMemoryNode"], job["TimeLimit"]) == ("3000M", "00:05:00")


def test_there_are_never_more_gpu_jobs_than_gpus(cluster, finished):
    _, seen = cluster
    _, jobs, _ = finished
    training = [job for job in jobs if job["Comment"].startswith("rule_train")]
    gpus = {job["JobId"]: (seen / job["JobId"]).read_text().strip() for job in jobs if (seen / job["JobId"]).exists()}
    assert {gpus[job["JobId"]] for job in training if job["JobId"] in gpus} == {"0", "1"}
    assert not any(gpus[job["JobId"]] for job in jobs if job not in training)
    times = [(_seconds(job, "StartTime"), _seconds(job, "EndTime"), gpus.get(job["JobId"])) for job in training]
    together = [sum(start <= moment < end for start, end, _ in times) for moment, _, _ in times]
    assert max(together) == slurm.GPUS
    for one in times:
        for other in times:
            if one is not other and one[2] == other[2]:
                assert one[1] <= other[0] or other[1] <= one[0], times


def test_a_job_past_its_time_is_tried_again_with_more(finished):
    folder, jobs, timed_out = finished
    same = [job for job in jobs if job["Comment"] == _comment(jobs, timed_out)]
    assert [job["JobState"] for job in same] == ["TIMEOUT", "COMPLETED"]
    assert [job["MinMemoryNode"] for job in same] == ["3000M", "6000M"]
    assert same[1]["TimeLimit"] == "00:10:00"
    assert "Trying to restart job" in (folder / "output").read_text()


def test_results_are_those_of_a_local_run(cluster, finished, project_of, tmp_path):
    folder = project_of(tmp_path, STUDY + MORE)
    _local(folder, cluster[0])

    def written(root):
        kinds = ("npz", "csv", "svg")
        files = [file for kind in kinds for file in sorted(root.glob(f"*/laptop/**/*.{kind}"))]
        return {str(file.relative_to(root)): file.read_bytes() for file in files}

    here, there = written(folder), written(finished[0])
    assert len([name for name in here if name.endswith(".npz")]) == 4
    assert [name for name in here if here[name] != there.get(name)] == []
    assert here.keys() == there.keys()


def _comment(jobs, number):
    return next(job["Comment"] for job in jobs if job["JobId"] == number)
