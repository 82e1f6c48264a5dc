"""Snakemake reruns a job only if its results may change, and no rerun loses a record."""

import os
import shutil
import signal
import subprocess
import time

import pytest
from example_project import SNAKEMAKE, planned_jobs, record_contents, snakemake

BACKGROUND = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}


def _add_comment(file):
    file.write_text("# a comment\n" + file.read_text())


def test_a_finished_workflow_has_nothing_to_do(project_copy):
    status, output = snakemake(project_copy)
    assert (status, "Nothing to be done" in output) == (0, True)
    (project_copy / "src" / "goodinit" / "training" / "trainer.py").touch()
    _add_comment(project_copy / "environment.yml")
    assert "Nothing to be done" in snakemake(project_copy)[1]


def test_a_clone_with_records_trains_nothing_and_needs_no_data(project, tmp_path):
    clone = tmp_path / "clone"
    shutil.copytree(project, clone, copy_function=shutil.copy)  # with new modification times, like git clone
    for name in (".snakemake", "data", "logs", "figures", "results/laptop/tables"):
        shutil.rmtree(clone / name)
    for name in ("claims.md", "claims.csv"):
        (clone / "results" / "laptop" / name).unlink()
    planned = planned_jobs(snakemake(clone, "--dry-run")[1])
    assert planned.keys() == {"all", "report_work_study", "claims"}


def test_paths_and_devices_do_not_cause_reruns(project_copy, tmp_path):
    """Other paths of checkout, data and results, another device, more threads, another environment file."""
    before = record_contents(project_copy)
    renamed = project_copy.rename(tmp_path / "renamed")
    (renamed / "data").rename(tmp_path / "shared")
    (renamed / "results").rename(tmp_path / "elsewhere")
    (renamed / "results").symlink_to(tmp_path / "elsewhere")
    _add_comment(renamed / "environment.yml")
    arguments = ["--config", "device=cpu", "--set-threads", "train=2"]
    status, output = snakemake(renamed, *arguments, environment={"GOODINIT_DATA": str(tmp_path / "shared")})
    assert (status, "Nothing to be done" in output) == (0, True), output
    assert record_contents(renamed) == before


def test_data_of_recorded_runs_is_not_prepared_in_a_new_data_folder(project_copy, tmp_path):
    (tmp_path / "empty").mkdir()
    status, output = snakemake(project_copy, environment={"GOODINIT_DATA": str(tmp_path / "empty")})
    assert (status, "Nothing to be done" in output) == (0, True), output
    assert not list((tmp_path / "empty").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["--forcerun", "train"],
        ["--forceall"],
        ["--rerun-triggers", "mtime", "params", "input", "software-env", "code", "--config", "device=cpu"],
    ],
)
def test_forced_jobs_keep_their_records(project_copy, arguments):
    before = record_contents(project_copy)
    assert len(before) == 2
    status, output = snakemake(project_copy, *arguments)
    assert status == 0, output
    assert record_contents(project_copy) == before


def test_a_killed_rerun_keeps_the_old_record(project_copy):
    before = record_contents(project_copy)
    command = [*SNAKEMAKE, "--forcerun", "train"]
    with subprocess.Popen(command, cwd=project_copy, **BACKGROUND) as process:
        log = next(iter((project_copy / "logs").glob("*/train/*/*/*.log")))
        written = log.stat().st_mtime_ns
        while process.poll() is None and (not log.exists() or log.stat().st_mtime_ns == written):
            time.sleep(0.01)  # until the training job writes to its log
        os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert record_contents(project_copy) == before
    for arguments in (["--unlock"], []):
        status, output = snakemake(project_copy, *arguments)
        assert status == 0, output
    assert record_contents(project_copy) == before


@pytest.mark.slow
def test_a_second_snakemake_in_the_same_folder_is_refused(project_copy):
    """The first one is stopped while it holds its lock, and continues when the second one has ended."""
    locks = project_copy / ".snakemake" / "locks"

    def is_locked():
        return any(lock.stat().st_size for lock in locks.glob("*.output.lock"))  # which is written last

    assert not is_locked()
    environment = {**os.environ, "GOODINIT_DATA": ""}
    command = [*SNAKEMAKE, "--forcerun", "claims"]
    with subprocess.Popen(command, cwd=project_copy, env=environment, **BACKGROUND) as first:
        try:
            while first.poll() is None and not is_locked():
                time.sleep(0.01)
            first.send_signal(signal.SIGSTOP)
            assert is_locked()
            status, output = snakemake(project_copy)
            first.send_signal(signal.SIGCONT)
            assert first.wait() == 0
        finally:
            if first.poll() is None:
                os.killpg(first.pid, signal.SIGKILL)
    assert status != 0
    assert "Directory cannot be locked" in output
    assert "Traceback" not in output
    assert "Nothing to be done" in snakemake(project_copy)[1]
